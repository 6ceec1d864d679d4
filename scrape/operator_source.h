// OperatorSource: the monitoring objects of the cluster (ServiceMonitor, PodMonitor, Probe, ScrapeConfig), followed,
// and the scrape configurations that they stand for; with them PrometheusRules, as they are.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/json_fwd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "kube/client.h"
#include "kube/informer.h"
#include "kube/meta.h"
#include "kube/shared_caches.h"
#include "scrape/config.h"
#include "scrape/operator_registry.h"

namespace tidewright::scrape {

struct OperatorSourceOptions {
  kube::LabelSelector objects;     // Which objects count, by their labels.
  kube::LabelSelector namespaces;  // In which namespaces, by theirs; empty: all.
  // Whether objects may name files, which the program then reads and sends to their targets: the token of its own
  // service account, for instance. prometheus-operator lets them.
  bool allow_files = false;
  // Says what is wrong with a PrometheusRule; null: they are not followed. Called on the thread that `changed` runs on.
  std::function<base::Status(const base::Json& object)> check_rule;
};

// Looks every ten seconds which of the kinds the API server serves, so that their definitions may come and go, and
// watches those. Secrets and ConfigMaps are read one by one when an object first refers to them, and again every half
// minute, or five seconds later where that failed; nothing lists or watches them. What cannot be read keeps what was
// read before, unless the API server says that it is gone or forbidden. While the API server is away everything stays
// as it was.
//
// Thread-safe. Borrows everything it is given.
class OperatorSource {
 public:
  // What is wrong with an object, of which there are kind and identity, for an event on it.
  using Report = std::function<void(const base::Json& object, std::string_view reason, const std::string& message)>;

  OperatorSource(OperatorSourceOptions options, kube::Client& client, kube::SharedCaches& caches,
                 base::Scheduler& scheduler);
  ~OperatorSource();  // Stop().
  OperatorSource(const OperatorSource&) = delete;
  OperatorSource& operator=(const OperatorSource&) = delete;

  // `changed` runs, on one thread, after ScrapeConfigs() may have changed. Called once.
  void Start(std::function<void()> changed);
  void Stop();  // Afterwards `changed` does not run any more. Idempotent.

  // What the jobs inherit: the section `global` of the configuration.
  void SetDefaults(const GlobalConfig& global);
  std::vector<ScrapeConfig> ScrapeConfigs() const;
  // The PrometheusRules that nothing is wrong with.
  std::vector<std::shared_ptr<const base::Json>> RuleObjects() const;
  std::vector<OperatorObjectStatus> Statuses() const;

  // Who is told of faults, from any thread, one at a time; empty: nobody. What is wrong at present is told again. When
  // it returns, the former one is not called any more.
  void ReportTo(Report report);

 private:
  struct ObjectKey {
    std::string kind, ns, name;
    auto operator<=>(const ObjectKey&) const = default;
  };
  struct Watched {
    std::shared_ptr<kube::Informer> informer;
    kube::Informer::HandlerId handler;
  };
  struct RuleObject {
    std::shared_ptr<const base::Json> object;
    OperatorObjectStatus status;
  };
  struct Told {  // Of an object's fault.
    std::string logged, reported;
  };

  void Run();
  void Step();
  void Tick();
  void WakeSoon() REQUIRES_LOCK(mu_);
  void Wake();
  void FindKinds();
  bool AddKindsOf(const std::string& version, std::set<std::string>* served);
  void Watch(const std::string& kind);
  void Unwatch(const std::string& kind);
  void FollowNamespaces();
  void TakeChanges();
  void Take(const ObjectKey& key);
  void TakeRule(const ObjectKey& key, std::shared_ptr<const base::Json> object);
  bool IsFollowed(const std::string& kind) const { return kind != kRuleKind || options_.check_rule != nullptr; }
  bool IsSelected(const base::Json& object) const;
  void ReadReferences();
  int64_t Read(const OperatorRegistry::Reference& reference, bool known);
  void TellFaults();
  void TellFault(const OperatorObjectStatus& status) REQUIRES_LOCK(report_mu_);

  static constexpr const char* kRuleKind = "PrometheusRule";

  const OperatorSourceOptions options_;
  kube::Client& client_;
  kube::SharedCaches& caches_;
  base::Scheduler& scheduler_;
  OperatorRegistry registry_;
  std::function<void()> on_change_;
  std::thread thread_;  // It waits for the API server, so it is nobody else's. Written by Start() and Stop() only.

  // Of the thread, and of Stop() when that has ended.
  std::map<std::string, Watched> watched_;  // By kind.
  std::shared_ptr<kube::Informer> namespaces_;
  kube::Informer::HandlerId namespaces_handler_ = 0;
  int64_t find_kinds_ms_ = 0;                                     // When to look again.
  std::map<OperatorRegistry::Reference, int64_t> read_again_ms_;  // When to read each again.

  base::Mutex mu_;
  base::CondVar awake_;
  bool wake_ GUARDED_BY(mu_) = false;
  bool stopped_ GUARDED_BY(mu_) = false;
  std::set<ObjectKey> changed_ GUARDED_BY(mu_);
  bool namespaces_changed_ GUARDED_BY(mu_) = false;
  bool waking_soon_ GUARDED_BY(mu_) = false;
  base::Scheduler::TaskId wake_task_ GUARDED_BY(mu_) = 0;
  base::Scheduler::TaskId tick_task_ GUARDED_BY(mu_) = 0;

  mutable base::Mutex rules_mu_;
  std::map<ObjectKey, RuleObject> rules_ GUARDED_BY(rules_mu_);
  bool rules_changed_ GUARDED_BY(rules_mu_) = false;

  base::Mutex report_mu_;  // Held while telling.
  Report report_ GUARDED_BY(report_mu_);
  std::map<ObjectKey, Told> told_ GUARDED_BY(report_mu_);
};

}  // namespace tidewright::scrape
