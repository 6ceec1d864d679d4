// The scrape loop of one target: request, reply, samples, on a fixed rhythm, without a thread of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "scrape/config.h"
#include "scrape/http_transport.h"
#include "scrape/ingester.h"
#include "scrape/metadata.h"
#include "scrape/target.h"
#include "tsdb/appender.h"

namespace tidewright::scrape {

enum class Health { kUnknown, kUp, kDown };

// How the last scrape of a target went.
struct ScrapeState {
  Health health = Health::kUnknown;
  std::string last_error;      // Why it is down; "" when up.
  int64_t last_scrape_ms = 0;  // Start of the last finished scrape; 0 before the first.
  double last_duration_seconds = 0;
};

// The program's metrics about scraping, shared by all loops. Null members are not reported.
struct ScrapeInstruments {
  base::Counter* scrapes = nullptr;
  base::Counter* failures = nullptr;
  base::Counter* samples = nullptr;
  base::Counter* out_of_order = nullptr;
  base::Counter* duplicate = nullptr;
  base::Counter* over_store_limit = nullptr;
  base::Counter* exemplars = nullptr;  // Refused ones.
};

// What all loops share. Borrowed; outlives every loop that is not stopped.
struct LoopContext {
  tsdb::Appendable& appendable;
  MetadataTable& metadata;
  base::Clock& clock;
  base::Scheduler& scheduler;
  ScrapeInstruments instruments;
};

// Thread-safe. Made by Create() and kept by shared_ptr: a reply that arrives after Stop() finds the loop stopped and
// touches nothing else. The first scrape is at FirstScrapeMs(), or at once if that would have been just before; each
// further one an interval later; a scrape that could not start in time is left out, never made up for.
class ScrapeLoop : public std::enable_shared_from_this<ScrapeLoop> {
 public:
  static std::shared_ptr<ScrapeLoop> Create(const LoopContext& context, std::shared_ptr<const ScrapeConfig> config,
                                            std::shared_ptr<HttpTransport> transport, TargetResult target);

  void Start();
  // Ends without a trace: the program stops, and the series continue when it starts again. Waits for work under way,
  // but not for a reply.
  void Stop();
  // Ends because the target has gone: its series get staleness markers at the time of the scrape that it misses,
  // written two and a tenth intervals after the last one, so that a target that comes back under the same labels is not
  // cut off.
  void Retire();

  // Takes over a changed configuration of which the target's labels and URL are the same.
  void Update(std::shared_ptr<const ScrapeConfig> config, std::shared_ptr<HttpTransport> transport, Target target);
  // What discovery says of the target has changed, though not what is made of it.
  void SetDiscovered(tsdb::Labels discovered);
  // While an error is set every scrape fails with it, without a request (target_limit). OK clears it.
  void SetForcedError(base::Status error);

  Target target() const;
  tsdb::Labels discovered() const;
  ScrapeState state() const;
  // Of the families that its last scrapes exposed. Waits for a scrape that is just being stored.
  std::vector<std::shared_ptr<const FamilyMetadata>> Metadata() const;

 private:
  ScrapeLoop(const LoopContext& context, std::shared_ptr<const ScrapeConfig> config,
             std::shared_ptr<HttpTransport> transport, TargetResult target);

  void Schedule(int64_t when_ms, void (ScrapeLoop::*step)()) REQUIRES_LOCK(mu_);
  void ScheduleRequest(int64_t when_ms) REQUIRES_LOCK(mu_);
  void ScheduleNext() REQUIRES_LOCK(mu_);
  void Request();
  void Ingest();
  void WriteEnd();
  void SendAuthorized(const base::Result<http::Headers>& authorization);
  void OnReply(base::Result<http::Response> reply);
  const http::ClientRequest& RequestOfTarget() REQUIRES_LOCK(mu_);
  ScrapeOutcome IngestReply(const base::Result<http::Response>& reply, int64_t t_ms, double duration_seconds)
      REQUIRES_LOCK(step_mu_);
  void Record(const ScrapeOutcome& outcome) REQUIRES_LOCK(mu_);
  void Count(const ScrapeOutcome& outcome) const;

  const LoopContext context_;

  // Held by a step while it works, so that Stop() can wait for it and markers never overtake samples. Before mu_.
  mutable base::Mutex step_mu_;
  Ingester ingester_ GUARDED_BY(step_mu_);
  int64_t last_sample_ms_ GUARDED_BY(step_mu_) = 0;

  mutable base::Mutex mu_;
  Target target_ GUARDED_BY(mu_);
  tsdb::Labels discovered_ GUARDED_BY(mu_);
  std::shared_ptr<const ScrapeConfig> config_ GUARDED_BY(mu_);
  std::shared_ptr<HttpTransport> transport_ GUARDED_BY(mu_);
  std::optional<http::ClientRequest> request_ GUARDED_BY(mu_);  // What configuration and target make, once asked for.
  bool reconfigured_ GUARDED_BY(mu_) = false;  // Since the ingester was told of configuration and target.
  base::Status forced_error_ GUARDED_BY(mu_);
  bool started_ GUARDED_BY(mu_) = false;
  bool stopped_ GUARDED_BY(mu_) = false;
  bool ended_ GUARDED_BY(mu_) = false;  // Not even staleness markers are written any more.
  int64_t planned_ms_ GUARDED_BY(mu_) = 0;
  int64_t start_ms_ GUARDED_BY(mu_) = 0;
  int64_t start_nanos_ GUARDED_BY(mu_) = 0;
  double duration_seconds_ GUARDED_BY(mu_) = 0;
  std::optional<base::Result<http::Response>> reply_ GUARDED_BY(mu_);
  ScrapeState state_ GUARDED_BY(mu_);
};

}  // namespace tidewright::scrape
