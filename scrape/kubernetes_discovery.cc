#include <map>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/mutex.h"
#include "base/strings.h"
#include "kube/informer.h"
#include "kube/meta.h"
#include "scrape/discovery.h"
#include "scrape/kubernetes_targets.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kBatchMs = 500;
constexpr char kNamespaceFile[] = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

std::string OwnNamespace() {
  auto text = base::ReadFile(kNamespaceFile);
  return text.ok() ? std::string(base::TrimSpace(*text)) : "default";
}

// Collects what the caches report and delivers groups in batches.
class KubernetesDiscoverer : public Discoverer {
 public:
  KubernetesDiscoverer(KubernetesSdConfig config, kube::SharedCaches& caches, base::Clock& clock,
                       base::Scheduler& scheduler)
      : config_(std::move(config)), caches_(caches), clock_(clock), scheduler_(scheduler) {}

  void Start(Update update) override {
    update_ = std::move(update);
    const kube::Resource* primary = PrimaryResource();
    if (primary == nullptr) return;
    for (const std::string& ns : Namespaces(*primary)) {
      Watch(&primary_, *primary, config_.role, ns);
      if (config_.role == "endpoints") {
        Watch(&pods_, kube::resources::kPods, "pod", ns);
        Watch(&services_, kube::resources::kServices, "service", ns);
      }
    }
    bool pod_based = config_.role == "pod" || config_.role == "endpoints";
    if (config_.attach_node && pod_based) Watch(&nodes_, kube::resources::kNodes, "node", "");
    if (config_.attach_namespace && config_.role != "node") {
      Watch(&namespaces_, kube::resources::kNamespaces, "namespace", "");
    }
    // Only now: a handler may run at once and read any of the lists.
    for (List* list : Lists()) {
      for (Followed& followed : *list) Handle(list == &primary_, followed);
    }
  }

  void Stop() override {
    for (List* list : Lists()) {
      for (Followed& followed : *list) followed.informer->RemoveHandler(followed.handler);
    }
    base::Scheduler::TaskId task = 0;
    {
      base::MutexLock lock(mu_);
      stopped_ = true;
      task = task_;
    }
    if (task != 0) scheduler_.Cancel(task);
  }

 private:
  struct Followed {
    std::shared_ptr<kube::Informer> informer;
    kube::Informer::HandlerId handler = 0;
  };
  using List = std::vector<Followed>;

  std::vector<List*> Lists() { return {&nodes_, &namespaces_, &pods_, &services_, &primary_}; }

  const kube::Resource* PrimaryResource() const {
    if (config_.role == "pod") return &kube::resources::kPods;
    if (config_.role == "node") return &kube::resources::kNodes;
    if (config_.role == "service") return &kube::resources::kServices;
    if (config_.role == "endpoints") return &kube::resources::kEndpoints;
    return nullptr;
  }

  // The namespaces to watch; "" is all of them.
  std::set<std::string> Namespaces(const kube::Resource& primary) const {
    if (!primary.namespaced) return {""};
    std::set<std::string> names(config_.namespaces.begin(), config_.namespaces.end());
    if (config_.own_namespace) names.insert(OwnNamespace());
    if (names.empty()) names.insert("");
    return names;
  }

  void Watch(List* list, const kube::Resource& resource, const std::string& role, const std::string& ns) {
    kube::InformerOptions options;
    options.ns = ns;
    for (const KubernetesSdConfig::Selector& selector : config_.selectors) {
      if (selector.role != role) continue;
      options.label_selector = selector.label;
      options.field_selector = selector.field;
    }
    list->push_back({caches_.Get(resource, options), 0});
  }

  void Handle(bool primary, Followed& followed) {
    followed.handler = followed.informer->AddHandler(
        [this, primary](kube::EventType, const std::shared_ptr<const base::Json>& object) {
          primary ? MarkObject(*object) : MarkDependents(*object);
        });
  }

  bool HasSynced() {
    for (List* list : Lists()) {
      for (const Followed& followed : *list) {
        if (!followed.informer->HasSynced()) return false;
      }
    }
    return true;
  }

  void MarkObject(const base::Json& object) {
    base::MutexLock lock(mu_);
    dirty_.emplace(kube::NamespaceOf(object), kube::NameOf(object));
    ScheduleFlush();
  }

  // What may show an object's metadata: everything in its namespace; everything at all for a node or a namespace.
  void MarkDependents(const base::Json& object) {
    base::MutexLock lock(mu_);
    dirty_namespaces_.insert(kube::NamespaceOf(object));
    ScheduleFlush();
  }

  void ScheduleFlush() REQUIRES_LOCK(mu_) {
    if (stopped_ || std::exchange(flush_scheduled_, true)) return;
    task_ = scheduler_.At(clock_.NowMs() + kBatchMs, [this] { Flush(); });
  }

  static std::shared_ptr<const base::Json> Find(const List& list, const std::string& ns, const std::string& name) {
    for (const Followed& followed : list) {
      if (auto object = followed.informer->Get(ns, name)) return object;
    }
    return nullptr;
  }

  KubernetesLookup Lookup() {
    auto in = [](const List& list) {
      return [&list](const std::string& ns, const std::string& name) { return Find(list, ns, name); };
    };
    KubernetesLookup lookup;
    if (!pods_.empty()) lookup.pod = in(pods_);
    if (!services_.empty()) lookup.service = in(services_);
    if (!nodes_.empty()) lookup.node = in(nodes_);
    if (!namespaces_.empty()) lookup.namespaces = in(namespaces_);
    return lookup;
  }

  // Every object of the role whose namespace is in `namespaces` ("" stands for all).
  void AddDependents(const std::set<std::string>& namespaces, std::set<std::pair<std::string, std::string>>* dirty) {
    if (namespaces.empty()) return;
    for (const Followed& followed : primary_) {
      for (const auto& object : followed.informer->List()) {
        std::string ns = kube::NamespaceOf(*object);
        if (namespaces.count("") > 0 || namespaces.count(ns) > 0) dirty->emplace(ns, kube::NameOf(*object));
      }
    }
  }

  void Flush() {
    std::set<std::pair<std::string, std::string>> dirty;
    std::set<std::string> namespaces;
    bool synced = HasSynced();
    {
      base::MutexLock lock(mu_);
      if (stopped_) return;
      if (!synced) {
        flush_scheduled_ = false;
        return ScheduleFlush();
      }
      dirty.swap(dirty_);
      namespaces.swap(dirty_namespaces_);
    }
    AddDependents(namespaces, &dirty);
    KubernetesLookup lookup = Lookup();
    std::vector<TargetGroup> groups;
    for (const auto& [ns, name] : dirty) {
      auto object = Find(primary_, ns, name);
      TargetGroup group;
      group.source = KubernetesSource(config_.role, ns, name);
      if (object != nullptr) group = KubernetesGroup(config_.role, *object, lookup);
      groups.push_back(std::move(group));
    }
    update_(std::move(groups));
    base::MutexLock lock(mu_);
    flush_scheduled_ = false;  // Only now, so that flushes never overlap.
    if (!dirty_.empty() || !dirty_namespaces_.empty()) ScheduleFlush();
  }

  const KubernetesSdConfig config_;
  kube::SharedCaches& caches_;
  base::Clock& clock_;
  base::Scheduler& scheduler_;
  Update update_;
  List primary_, pods_, services_, nodes_, namespaces_;  // Filled by Start().
  base::Mutex mu_;
  std::set<std::pair<std::string, std::string>> dirty_ GUARDED_BY(mu_);  // Namespace and name.
  std::set<std::string> dirty_namespaces_ GUARDED_BY(mu_);
  bool flush_scheduled_ GUARDED_BY(mu_) = false;
  bool stopped_ GUARDED_BY(mu_) = false;
  base::Scheduler::TaskId task_ GUARDED_BY(mu_) = 0;
};

}  // namespace

std::unique_ptr<Discoverer> NewKubernetesDiscoverer(KubernetesSdConfig config, kube::SharedCaches& caches,
                                                    base::Clock& clock, base::Scheduler& scheduler) {
  return std::make_unique<KubernetesDiscoverer>(std::move(config), caches, clock, scheduler);
}

}  // namespace tidewright::scrape
