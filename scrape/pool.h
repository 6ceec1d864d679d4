// The targets of one job: discovered groups in, running scrape loops out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "scrape/config.h"
#include "scrape/discovery.h"
#include "scrape/http_transport.h"
#include "scrape/loop.h"

namespace tidewright::scrape {

// Loops of targets that have gone and whose staleness markers are still to be written. Thread-safe.
class RetiredLoops {
 public:
  void Add(const std::shared_ptr<ScrapeLoop>& loop);
  // Gives up on the markers: the program stops.
  void StopAll();

 private:
  base::Mutex mu_;
  std::vector<std::weak_ptr<ScrapeLoop>> loops_ GUARDED_BY(mu_);
};

// A target that was discovered and is not scraped.
struct DroppedTarget {
  std::string job;
  tsdb::Labels discovered;
  std::string reason;  // "relabel_configs[2] (action keep)", or what is wrong with its labels.
};

// What a pool needs from its surroundings. Borrowed; outlives the pool.
struct PoolContext {
  LoopContext loops;
  RetiredLoops& retired;
  base::Scheduler& discovery;          // Not that of the loops: a large cluster or a slow disk must not delay a scrape.
  kube::SharedCaches* kube = nullptr;  // Null: kubernetes_sd_configs find nothing.
  HttpTransport::Factory client_factory;
  base::MetricRegistry* metrics = nullptr;
};

// Thread-safe, but for Start, Reconfigure and Stop, which one owner calls in turn.
class ScrapePool {
 public:
  ScrapePool(const PoolContext& context, ScrapeConfig config);
  ~ScrapePool();

  void Start();
  // Applies another configuration of the same job. Targets that stay the same keep their rhythm, and what is known
  // about their series where KeepsSeriesCache() allows it.
  void Reconfigure(ScrapeConfig config);
  // Stops discovery and all loops. `gone`: the job has been removed, so its series get staleness markers.
  void Stop(bool gone);

  std::shared_ptr<const ScrapeConfig> config() const;
  std::vector<std::shared_ptr<ScrapeLoop>> Loops() const;
  // At most keep_dropped_targets (1,000 if not set).
  std::vector<DroppedTarget> Dropped() const;
  size_t dropped_count() const;

 private:
  struct Group {
    TargetGroup group;
    std::vector<uint64_t> targets;  // Hashes of its running targets.
    std::vector<size_t> dropped;    // Indices into group.targets.
  };
  struct Running {
    std::shared_ptr<ScrapeLoop> loop;
    int groups = 0;  // In how many groups the target occurs.
  };
  using Groups = std::map<std::pair<int, std::string>, Group>;  // By discoverer and source.

  void StartDiscovery();
  void StopDiscovery();
  void OnGroups(int discoverer, std::vector<TargetGroup> groups);
  void ReplaceGroup(int discoverer, TargetGroup group) REQUIRES_LOCK(mu_);
  void RunTargets(Group* group, std::unordered_map<uint64_t, Running>* previous) REQUIRES_LOCK(mu_);
  void RunTarget(TargetResult result, Group* group, std::unordered_map<uint64_t, Running>* previous) REQUIRES_LOCK(mu_);
  void Release(const std::vector<uint64_t>& targets) REQUIRES_LOCK(mu_);
  void Retire(const std::shared_ptr<ScrapeLoop>& loop) REQUIRES_LOCK(mu_);
  void ForgetDiscoverersBefore(int discoverer);
  void ApplyTargetLimit() REQUIRES_LOCK(mu_);

  const PoolContext context_;
  std::vector<std::unique_ptr<Discoverer>> discoverers_;  // Used by the owner only.
  base::Scheduler::TaskId cleanup_ = 0;                   // Used by the owner only.

  mutable base::Mutex mu_;
  std::shared_ptr<const ScrapeConfig> config_ GUARDED_BY(mu_);
  std::shared_ptr<const ScrapeConfig> previous_config_ GUARDED_BY(mu_);  // While Reconfigure() runs.
  std::shared_ptr<HttpTransport> transport_ GUARDED_BY(mu_);
  int next_discoverer_ GUARDED_BY(mu_) = 0;
  Groups groups_ GUARDED_BY(mu_);
  std::unordered_map<uint64_t, Running> loops_ GUARDED_BY(mu_);
  bool stopped_ GUARDED_BY(mu_) = false;
  bool over_limit_ GUARDED_BY(mu_) = false;
};

}  // namespace tidewright::scrape
