#include "cmd/self_metrics.h"

#include <utility>

#include "base/gate.h"
#include "base/log.h"
#include "base/mutex.h"
#include "scrape/config.h"
#include "scrape/ingester.h"
#include "scrape/metadata.h"
#include "scrape/target.h"

namespace tidewright::cmd {

namespace {

constexpr int64_t kIntervalMs = 15'000;
constexpr const char* kTextFormat = "text/plain; version=0.0.4";

// What scaling_alerts.yml reads.
constexpr const char* kConfig = R"(scrape_configs:
- job_name: tidewright-self
  scrape_interval: 15s
  metric_relabel_configs:
  - source_labels: [__name__]
    regex: tidewright_(workload|trigger|scale|leader|receiver)_.+|leader_election_master_status|rest_client_requests_total
    action: keep
)";

}  // namespace

// Tasks on the scheduler know it weakly, so that one that comes late finds nothing to do.
class SelfMetrics::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(base::MetricRegistry& metrics, tsdb::Appendable& store, base::Clock& clock, base::Scheduler& scheduler,
       std::string instance, std::function<void()> refresh)
      : metrics_(metrics),
        store_(store),
        clock_(clock),
        scheduler_(scheduler),
        instance_(std::move(instance)),
        refresh_(std::move(refresh)) {}

  base::Status Start() {
    TW_ASSIGN_OR_RETURN(scrape::Config config, scrape::ParseConfig(kConfig, "the configuration of self metrics"));
    auto job = std::make_shared<const scrape::ScrapeConfig>(config.scrape_configs.front());
    auto built = scrape::BuildTarget(*job, tsdb::Labels::Of({{"__address__", instance_}}), {});
    if (!built.target) return base::InternalError("self metrics have no target: " + built.error.ToString());
    ingester_ = std::make_unique<scrape::Ingester>(job, *built.target, store_, metadata_);
    Schedule(clock_.NowMs());
    return base::Status::Ok();
  }

  void Stop() {
    gate_.CloseAndWait();
    if (ingester_ != nullptr) ingester_->AppendEnd(clock_.NowMs());
    ingester_.reset();
  }

 private:
  void Schedule(int64_t when_ms) {
    scheduler_.At(when_ms, [weak = weak_from_this(), when_ms] {
      if (auto self = weak.lock()) self->Run(when_ms);
    });
  }

  void Run(int64_t when_ms) {
    auto pass = gate_.TryEnter();
    if (!pass) return;
    refresh_();
    const int64_t now = clock_.NowMs();
    const int64_t start = base::MonotonicNanos();
    const std::string text = metrics_.Render();
    const double seconds = static_cast<double>(base::MonotonicNanos() - start) / 1e9;
    const scrape::ScrapeOutcome outcome = ingester_->Append(text, kTextFormat, now, now, seconds);
    if (!outcome.status.ok()) base::LogWarn("cmd", "self metrics", {{"error", outcome.status.ToString()}});
    Schedule(std::max(when_ms, now - kIntervalMs) + kIntervalMs);
  }

  base::MetricRegistry& metrics_;
  tsdb::Appendable& store_;
  base::Clock& clock_;
  base::Scheduler& scheduler_;
  const std::string instance_;
  const std::function<void()> refresh_;
  base::Gate gate_;
  scrape::MetadataTable metadata_;
  std::unique_ptr<scrape::Ingester> ingester_;  // Used by one task at a time.
};

SelfMetrics::SelfMetrics(base::MetricRegistry& metrics, tsdb::Appendable& store, base::Clock& clock,
                         base::Scheduler& scheduler, std::string instance, std::function<void()> refresh)
    : impl_(std::make_shared<Impl>(metrics, store, clock, scheduler, std::move(instance), std::move(refresh))) {}

SelfMetrics::~SelfMetrics() { Stop(); }

base::Status SelfMetrics::Start() { return impl_->Start(); }
void SelfMetrics::Stop() { impl_->Stop(); }

}  // namespace tidewright::cmd
