// The scraper's public face: a configuration in, samples in the store, the state of every target for the web API.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "kube/shared_caches.h"
#include "scrape/config.h"
#include "scrape/http_transport.h"
#include "scrape/loop.h"
#include "scrape/metadata.h"
#include "scrape/pool.h"
#include "tsdb/appender.h"

namespace tidewright::scrape {

// A target that is being scraped.
struct TargetStatus {
  std::string job;          // The scrape config's job_name (the pool), which a target's label `job` may differ from.
  tsdb::Labels labels;      // Of its series.
  tsdb::Labels discovered;  // Before relabelling.
  std::string url;
  base::Duration interval;
  base::Duration timeout;
  ScrapeState state;
};

// What a target says about its metric families.
struct TargetFamilies {
  std::string job;
  tsdb::Labels labels;
  std::vector<std::shared_ptr<const FamilyMetadata>> families;  // Sorted by name.
};

struct TargetsSnapshot {
  std::vector<TargetStatus> active;              // Sorted by job, then labels.
  std::vector<DroppedTarget> dropped;            // At most keep_dropped_targets (1,000 if not set) of each job.
  std::map<std::string, size_t> dropped_counts;  // All of them, by job.
};

// Thread-safe. Uses the scheduler's pool for its work, two threads for discovery, and none per target. Borrows
// everything it is given, which must outlive it; the scheduler must not be stopped before Stop(), and its tasks must
// not call ApplyConfig, Start or Stop.
//
//   scrape::Manager manager(db, clock, scheduler, &registry, &caches);
//   manager.ApplyConfig(config);   // again after each reload
//   manager.Start();
class Manager {
 public:
  // `metrics` and `kube` may be null; without `kube`, kubernetes_sd_configs find no targets. `client_factory` is
  // replaced in tests; empty is http::NewPollingClient.
  Manager(tsdb::Appendable& appendable, base::Clock& clock, base::Scheduler& scheduler, base::MetricRegistry* metrics,
          kube::SharedCaches* kube, HttpTransport::Factory client_factory = {});
  ~Manager();  // Stop().

  // Makes the jobs of `config` run. Jobs that did not change go on undisturbed; of changed jobs, targets that stay the
  // same keep their rhythm; series of jobs and targets that went away get staleness markers. Before Start() it only
  // remembers. kFailedPrecondition after Stop().
  base::Status ApplyConfig(const Config& config);

  void Start();  // Idempotent.
  // Ends all scraping without staleness markers, so that series continue after a restart. Idempotent.
  void Stop();

  TargetsSnapshot Targets() const;
  std::vector<TargetFamilies> Metadata() const;                   // Sorted by job, then labels.
  std::vector<std::shared_ptr<const ScrapeConfig>> Jobs() const;  // Sorted by name.

 private:
  void ApplyLocked(const std::vector<ScrapeConfig>& jobs) REQUIRES_LOCK(apply_mu_);
  std::vector<std::shared_ptr<ScrapePool>> Pools() const;

  base::ThreadPool discovery_pool_;
  base::Scheduler discovery_scheduler_;
  RetiredLoops retired_;
  MetadataTable metadata_;
  PoolContext context_;

  base::Mutex apply_mu_;  // One ApplyConfig, Start or Stop at a time. Taken before mu_.
  bool started_ GUARDED_BY(apply_mu_) = false;
  bool stopped_ GUARDED_BY(apply_mu_) = false;
  std::vector<ScrapeConfig> pending_ GUARDED_BY(apply_mu_);  // Applied before Start().

  mutable base::Mutex mu_;
  std::map<std::string, std::shared_ptr<ScrapePool>> pools_ GUARDED_BY(mu_);  // By job_name.
};

}  // namespace tidewright::scrape
