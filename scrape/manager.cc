#include "scrape/manager.h"

#include <algorithm>
#include <set>
#include <utility>

namespace tidewright::scrape {
namespace {

constexpr int kDiscoveryThreads = 2;

ScrapeInstruments MakeInstruments(base::MetricRegistry* metrics) {
  ScrapeInstruments to;
  if (metrics == nullptr) return to;
  to.scrapes = &metrics->GetCounter("tidewright_scrapes_total", "Scrapes that were finished.");
  to.failures = &metrics->GetCounter("tidewright_scrape_failures_total", "Scrapes that failed as a whole.");
  to.samples = &metrics->GetCounter("tidewright_scrape_samples_total", "Samples of successful scrapes.");
  auto refused = [metrics](const std::string& reason) {
    return &metrics->GetCounter("tidewright_scrape_samples_refused_total",
                                "Samples that the store did not take, while the rest of their scrape was stored.",
                                {{"reason", reason}});
  };
  to.out_of_order = refused("out_of_order");
  to.duplicate = refused("duplicate");
  to.over_store_limit = refused("series_limit");
  to.exemplars = &metrics->GetCounter("tidewright_scrape_exemplars_refused_total",
                                      "Exemplars that were older than their series' newest one, or too long.");
  return to;
}

}  // namespace

Manager::Manager(tsdb::Appendable& appendable, base::Clock& clock, base::Scheduler& scheduler,
                 base::MetricRegistry* metrics, kube::SharedCaches* kube, HttpTransport::Factory client_factory)
    : discovery_pool_("discovery", kDiscoveryThreads),
      discovery_scheduler_(clock, discovery_pool_),
      context_{
          {appendable, metadata_, clock, scheduler, MakeInstruments(metrics)}, retired_, discovery_scheduler_, kube,
          client_factory ? std::move(client_factory) : http::NewPollingClient, metrics} {}

Manager::~Manager() { Stop(); }

base::Status Manager::ApplyConfig(const Config& config) {
  base::MutexLock lock(apply_mu_);
  if (stopped_) return base::FailedPreconditionError("the scraper has been stopped");
  if (!started_) {
    pending_ = config.scrape_configs;
    return base::Status::Ok();
  }
  ApplyLocked(config.scrape_configs);
  return base::Status::Ok();
}

void Manager::Start() {
  base::MutexLock lock(apply_mu_);
  if (stopped_ || std::exchange(started_, true)) return;
  ApplyLocked(std::exchange(pending_, {}));
}

void Manager::ApplyLocked(const std::vector<ScrapeConfig>& jobs) {
  std::set<std::string> wanted;
  for (const ScrapeConfig& job : jobs) {
    wanted.insert(job.job_name);
    std::shared_ptr<ScrapePool> pool;
    {
      base::MutexLock lock(mu_);
      pool = pools_[job.job_name];
    }
    if (pool != nullptr) {
      pool->Reconfigure(job);
      continue;
    }
    pool = std::make_shared<ScrapePool>(context_, job);
    {
      base::MutexLock lock(mu_);
      pools_[job.job_name] = pool;
    }
    pool->Start();
  }
  std::vector<std::pair<std::string, std::shared_ptr<ScrapePool>>> gone;
  {
    base::MutexLock lock(mu_);
    for (auto it = pools_.begin(); it != pools_.end();) {
      bool keep = wanted.count(it->first) > 0;
      if (!keep) gone.emplace_back(it->first, it->second);
      it = keep ? std::next(it) : pools_.erase(it);
    }
  }
  for (auto& [job, pool] : gone) {
    pool->Stop(/*gone=*/true);
    if (context_.metrics != nullptr) context_.metrics->Remove("tidewright_scrape_targets", {{"job", job}});
  }
}

void Manager::Stop() {
  base::MutexLock lock(apply_mu_);
  if (std::exchange(stopped_, true)) return;
  for (const auto& pool : Pools()) pool->Stop(/*gone=*/false);
  retired_.StopAll();
  discovery_scheduler_.Stop();
  discovery_pool_.Stop();
  base::MutexLock pools_lock(mu_);
  pools_.clear();
}

std::vector<std::shared_ptr<ScrapePool>> Manager::Pools() const {
  std::vector<std::shared_ptr<ScrapePool>> pools;
  base::MutexLock lock(mu_);
  for (const auto& [job, pool] : pools_) {
    if (pool != nullptr) pools.push_back(pool);
  }
  return pools;
}

TargetsSnapshot Manager::Targets() const {
  TargetsSnapshot snapshot;
  for (const auto& pool : Pools()) {
    const std::string job = pool->config()->job_name;
    for (const auto& loop : pool->Loops()) {
      Target target = loop->target();
      snapshot.active.push_back(
          {job, target.labels, loop->discovered(), target.url, target.interval, target.timeout, loop->state()});
    }
    for (DroppedTarget& dropped : pool->Dropped()) snapshot.dropped.push_back(std::move(dropped));
    snapshot.dropped_counts[job] = pool->dropped_count();
  }
  std::sort(snapshot.active.begin(), snapshot.active.end(), [](const TargetStatus& a, const TargetStatus& b) {
    return a.job != b.job ? a.job < b.job : a.labels < b.labels;
  });
  return snapshot;
}

std::vector<TargetFamilies> Manager::Metadata() const {
  std::vector<TargetFamilies> all;
  for (const auto& pool : Pools()) {
    const std::string job = pool->config()->job_name;
    for (const auto& loop : pool->Loops()) all.push_back({job, loop->target().labels, loop->Metadata()});
  }
  for (TargetFamilies& target : all) {
    std::sort(target.families.begin(), target.families.end(),
              [](const auto& a, const auto& b) { return a->family < b->family; });
  }
  std::sort(all.begin(), all.end(), [](const TargetFamilies& a, const TargetFamilies& b) {
    return a.job != b.job ? a.job < b.job : a.labels < b.labels;
  });
  return all;
}

std::vector<std::shared_ptr<const ScrapeConfig>> Manager::Jobs() const {
  std::vector<std::shared_ptr<const ScrapeConfig>> jobs;
  for (const auto& pool : Pools()) jobs.push_back(pool->config());
  return jobs;
}

}  // namespace tidewright::scrape
