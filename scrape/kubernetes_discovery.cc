#include <map>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/mutex.h"
#include "base/strings.h"
#include "scrape/discovery.h"
#include "scrape/kubernetes_targets.h"
#include "scrape/kubernetes_view.h"

namespace tidewright::scrape {
namespace {

// Changes are rarely alone: a rollout touches the pod, its endpoints and its slice within milliseconds.
constexpr int64_t kBatchMs = 100;
constexpr char kNamespaceFile[] = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

std::string OwnNamespace() {
  auto text = base::ReadFile(kNamespaceFile);
  return text.ok() ? std::string(base::TrimSpace(*text)) : "default";
}

const kube::Resource& ResourceOf(const std::string& role) {
  static const std::map<std::string, const kube::Resource*>& resources =
      *new std::map<std::string, const kube::Resource*>{
          {"pod", &kube::resources::kPods},
          {"node", &kube::resources::kNodes},
          {"service", &kube::resources::kServices},
          {"endpoints", &kube::resources::kEndpoints},
          {"endpointslice", &kube::resources::kEndpointSlices},
          {"ingress", &kube::resources::kIngresses},
          {"namespace", &kube::resources::kNamespaces},
          {"replicaset", &kube::resources::kReplicaSets},
          {"job", &kube::resources::kJobs},
      };
  return *resources.at(role);
}

// An object, by the role of its kind.
struct ObjectKey {
  std::string role, ns, name;
  auto operator<=>(const ObjectKey&) const = default;
};

// Which objects' groups show something of which others. Not thread-safe.
class Dependencies {
 public:
  void Set(const ObjectKey& user, std::set<ObjectKey> used) {
    std::set<ObjectKey>& known = used_[user];
    for (const ObjectKey& key : known) {
      if (used.count(key) == 0) Drop(key, user);
    }
    for (const ObjectKey& key : used) users_[key].insert(user);
    known = std::move(used);
    if (known.empty()) used_.erase(user);
  }
  // May be null.
  const std::set<ObjectKey>* UsersOf(const ObjectKey& key) const {
    auto found = users_.find(key);
    return found == users_.end() ? nullptr : &found->second;
  }

 private:
  void Drop(const ObjectKey& key, const ObjectKey& user) {
    auto found = users_.find(key);
    found->second.erase(user);
    if (found->second.empty()) users_.erase(found);
  }

  std::map<ObjectKey, std::set<ObjectKey>> used_;
  std::map<ObjectKey, std::set<ObjectKey>> users_;
};

// Collects what the caches report and delivers groups in batches.
class KubernetesDiscoverer : public Discoverer {
 public:
  // The own namespace is among those of `config`.
  KubernetesDiscoverer(KubernetesSdConfig config, kube::SharedCaches& caches, base::Clock& clock,
                       base::Scheduler& scheduler)
      : config_(std::move(config)), clock_(clock), scheduler_(scheduler) {
    for (const std::string& role : Roles()) views_.try_emplace(role, caches, ViewOptions(role));
  }

  void Start(Update update) override {
    update_ = std::move(update);
    for (auto& [role, view] : views_) {
      view.Open([this, role = role](const std::string& ns, const std::string& name) { MarkChanged({role, ns, name}); });
    }
    base::MutexLock lock(mu_);
    started_ = true;
    ScheduleFlush();
  }

  void Stop() override {
    base::Scheduler::TaskId task = 0;
    {
      base::MutexLock lock(mu_);
      stopped_ = true;
      task = task_;
    }
    if (task != 0) scheduler_.Cancel(task);
    for (auto& [role, view] : views_) view.Close();
  }

 private:
  // The configuration's own, and those of what its labels show.
  std::set<std::string> Roles() const {
    std::set<std::string> roles = {config_.role};
    const bool endpoints = config_.role == "endpoints" || config_.role == "endpointslice";
    if (endpoints) roles.insert({"pod", "service"});
    if (endpoints || config_.role == "pod") {
      if (config_.attach_node) roles.insert("node");
      if (config_.attach_deployment) roles.insert("replicaset");
      if (config_.attach_job || config_.attach_cronjob) roles.insert("job");
    }
    if (config_.attach_namespace && config_.role != "node") roles.insert("namespace");
    return roles;
  }

  KubernetesView::Options ViewOptions(const std::string& role) const {
    KubernetesView::Options options;
    options.resource = ResourceOf(role);
    for (const KubernetesSdConfig::Selector& selector : config_.selectors) {
      if (selector.role != role) continue;
      options.label_selector = selector.label;
      options.field_selector = selector.field;
    }
    if (!options.resource.namespaced) return options;
    options.namespaces.insert(config_.namespaces.begin(), config_.namespaces.end());
    return options;
  }

  void MarkChanged(ObjectKey key) {
    base::MutexLock lock(mu_);
    changed_.insert(std::move(key));
    ScheduleFlush();
  }

  void ScheduleFlush() REQUIRES_LOCK(mu_) {
    if (!started_ || stopped_ || std::exchange(flush_scheduled_, true)) return;
    task_ = scheduler_.At(clock_.NowMs() + kBatchMs, [this] { Flush(); });
  }

  // Whether everything that labels are made of is known.
  bool IsReady() {
    bool ready = true;
    for (auto& [role, view] : views_) {
      if (view.ShouldNarrow()) view.Narrow();
      ready = ready && view.HasSynced();
    }
    return ready;
  }

  // Remembers in `used` what is asked for, found or not.
  KubernetesLookup Lookup(std::set<ObjectKey>* used) const {
    auto in = [this, used](const std::string& role) -> KubernetesLookup::Find {
      auto found = views_.find(role);
      if (found == views_.end() || role == config_.role) return {};
      return [used, role, &view = found->second](const std::string& ns, const std::string& name) {
        used->insert({role, ns, name});
        return view.Find(ns, name);
      };
    };
    return {in("pod"),        in("service"), in("node"),         in("namespace"),
            in("replicaset"), in("job"),     config_.attach_job, config_.attach_cronjob};
  }

  // The objects of the role whose groups a change may have changed.
  std::set<ObjectKey> Affected(const std::set<ObjectKey>& changed) const {
    std::set<ObjectKey> affected;
    for (const ObjectKey& key : changed) {
      if (key.role == config_.role) affected.insert(key);
      if (const auto* users = dependencies_.UsersOf(key)) affected.insert(users->begin(), users->end());
    }
    return affected;
  }

  std::vector<TargetGroup> GroupsOf(const std::set<ObjectKey>& keys) {
    std::vector<TargetGroup> groups;
    const KubernetesView& primary = views_.at(config_.role);
    for (const ObjectKey& key : keys) {
      std::set<ObjectKey> used;
      TargetGroup gone;
      gone.source = KubernetesSource(config_.role, key.ns, key.name);
      std::optional<TargetGroup> group = std::move(gone);
      if (auto object = primary.Find(key.ns, key.name)) group = KubernetesGroup(config_.role, *object, Lookup(&used));
      dependencies_.Set(key, std::move(used));
      if (group.has_value()) groups.push_back(*std::move(group));
    }
    return groups;
  }

  void Flush() {
    const bool ready = IsReady();
    std::set<ObjectKey> changed;
    {
      base::MutexLock lock(mu_);
      if (stopped_) return;
      if (!ready) {
        flush_scheduled_ = false;
        return ScheduleFlush();
      }
      changed.swap(changed_);
    }
    std::vector<TargetGroup> groups = GroupsOf(Affected(changed));
    if (!groups.empty()) update_(std::move(groups));
    base::MutexLock lock(mu_);
    flush_scheduled_ = false;  // Only now, so that flushes never overlap.
    if (!changed_.empty()) ScheduleFlush();
  }

  const KubernetesSdConfig config_;
  base::Clock& clock_;
  base::Scheduler& scheduler_;
  Update update_;
  std::map<std::string, KubernetesView> views_;  // By role. After Start() and before Stop() of Flush() only.
  Dependencies dependencies_;                    // Of Flush() only.
  base::Mutex mu_;
  std::set<ObjectKey> changed_ GUARDED_BY(mu_);
  bool started_ GUARDED_BY(mu_) = false;  // All views are open.
  bool flush_scheduled_ GUARDED_BY(mu_) = false;
  bool stopped_ GUARDED_BY(mu_) = false;
  base::Scheduler::TaskId task_ GUARDED_BY(mu_) = 0;
};

}  // namespace

std::unique_ptr<Discoverer> NewKubernetesDiscoverer(KubernetesSdConfig config, kube::SharedCaches& caches,
                                                    base::Clock& clock, base::Scheduler& scheduler,
                                                    const std::string& own_namespace) {
  if (config.own_namespace) config.namespaces.push_back(own_namespace.empty() ? OwnNamespace() : own_namespace);
  return std::make_unique<KubernetesDiscoverer>(std::move(config), caches, clock, scheduler);
}

}  // namespace tidewright::scrape
