// MetricRule objects: rules that the owner of a namespace writes for it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "adapter/registry.h"
#include "adapter/rule.h"
#include "base/clock.h"
#include "base/gate.h"
#include "base/json_fwd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "kube/client.h"
#include "kube/informer.h"
#include "kube/shared_caches.h"

namespace tidewright::adapter {

// tidewright.dev/v1alpha1 MetricRule.
const kube::Resource& MetricRuleResource();

// The rule of an object: its spec is an element of rules, or with `api: External` of externalRules, in either form
// (ReadRule). It serves requests about its own namespace alone, and its series are looked for there, if resources maps
// a label to namespaces. kInvalidArgument lists every fault.
base::Result<std::shared_ptr<const Rule>> DecodeMetricRule(const base::Json& object);

// Follows the objects. A faulty one costs itself: it gives no metrics, and Faults() says why. Thread-safe. Borrows
// caches.
class MetricRuleSource {
 public:
  using Changed = std::function<void(std::vector<std::shared_ptr<const Rule>> rules)>;

  explicit MetricRuleSource(kube::SharedCaches& caches);
  ~MetricRuleSource();  // Stop().

  // `changed` gets all rules, in the order of namespace and name, whenever one has changed; on a thread of the
  // informer.
  void Start(Changed changed);
  void Stop();  // Idempotent.

  std::vector<std::shared_ptr<const base::Json>> Objects() const;
  // What is wrong with the objects, by "namespace/name".
  std::map<std::string, std::string> Faults() const;

 private:
  void OnObject(kube::EventType type, const base::Json& object);

  const std::shared_ptr<kube::Informer> informer_;
  kube::Informer::HandlerId handler_ = 0;
  Changed changed_;
  mutable base::Mutex mu_;
  std::map<std::string, base::Result<std::shared_ptr<const Rule>>> rules_ GUARDED_BY(mu_);
};

// The status that an object should have: observedGeneration, series, metrics, and the condition Ready, whose
// lastTransitionTime changes with its status only. `rule` is null while nothing is known of it, `fault` "" if it is
// valid.
base::Json MetricRuleStatus(const base::Json& object, const RuleStatus* rule, const std::string& fault, int64_t now_ms);

// Writes the status of all objects where it differs, every ten seconds. For the leader. Thread-safe. Borrows
// everything.
class MetricRuleReporter {
 public:
  MetricRuleReporter(MetricRuleSource& source, std::function<std::vector<RuleStatus>()> rules, kube::Client& client,
                     base::Clock& clock, base::Scheduler& scheduler);
  ~MetricRuleReporter();  // Stop().

  void Start();
  void Stop();  // Idempotent.
  void ReportNow();

 private:
  void Schedule(int64_t when_ms);

  MetricRuleSource& source_;
  const std::function<std::vector<RuleStatus>()> rules_;
  kube::Client& client_;
  base::Clock& clock_;
  base::Scheduler& scheduler_;
  base::Gate gate_;
  base::Mutex mu_;
  base::Scheduler::TaskId task_ GUARDED_BY(mu_) = 0;
};

}  // namespace tidewright::adapter
