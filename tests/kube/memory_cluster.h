// MemoryCluster: a kube::Client over objects in memory whose lists and watches agree with each other, for tests of what
// follows objects. It knows no kinds: whoever writes an object says which resource it is of.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/mutex.h"
#include "kube/client.h"
#include "kube/meta.h"

namespace tidewright::kube {

// Thread-safe.
class MemoryCluster : public Client {
 public:
  // Stores or replaces.
  void Put(const Resource& resource, base::Json object) {
    base::MutexLock lock(mu_);
    object["metadata"]["resourceVersion"] = std::to_string(log_.size() + 1);
    auto& stored = objects_[resource.Path("", "")][KeyOf(object)];
    log_.push_back({resource.Path("", ""), stored.is_null() ? "ADDED" : "MODIFIED", object});
    stored = std::move(object);
    changed_.NotifyAll();
  }
  void Remove(const Resource& resource, const std::string& ns, const std::string& name) {
    base::MutexLock lock(mu_);
    auto& objects = objects_[resource.Path("", "")];
    auto found = objects.find(ns.empty() ? name : ns + "/" + name);
    if (found == objects.end()) return;
    found->second["metadata"]["resourceVersion"] = std::to_string(log_.size() + 1);
    log_.push_back({resource.Path("", ""), "DELETED", std::move(found->second)});
    objects.erase(found);
    changed_.NotifyAll();
  }
  // Lists and watches of all namespaces are forbidden from now on.
  void ForbidAllNamespaces() {
    base::MutexLock lock(mu_);
    namespaced_only_ = true;
  }
  // What GetRaw answers.
  void SetRaw(const std::string& path, base::Json reply) {
    base::MutexLock lock(mu_);
    raw_[path] = std::move(reply);
  }
  // The paths of all lists so far.
  std::multiset<std::string> lists() {
    base::MutexLock lock(mu_);
    return lists_;
  }

  base::Result<base::Json> Get(const Resource& resource, std::string_view ns, std::string_view name,
                               std::string_view) override {
    base::MutexLock lock(mu_);
    auto& objects = objects_[resource.Path("", "")];
    auto found = objects.find((ns.empty() ? "" : std::string(ns) + "/") + std::string(name));
    if (found == objects.end()) return base::NotFoundError(std::string(name) + " not found");
    return found->second;
  }
  base::Result<base::Json> List(const Resource& resource, std::string_view ns, const ListOptions&) override {
    base::MutexLock lock(mu_);
    lists_.insert(resource.Path(ns, ""));
    TW_RETURN_IF_ERROR(Check(resource, ns));
    base::Json items = base::Json::array();
    for (const auto& [key, object] : objects_[resource.Path("", "")]) {
      if (ns.empty() || NamespaceOf(object) == ns) items.push_back(object);
    }
    return base::Json{{"metadata", {{"resourceVersion", std::to_string(log_.size())}}}, {"items", std::move(items)}};
  }
  base::Status Watch(const Resource& resource, std::string_view ns, const ListOptions& options,
                     const WatchHandler& handler, http::CancelToken* cancel) override {
    auto wake = cancel->OnCancel([this] {
      base::MutexLock lock(mu_);
      changed_.NotifyAll();
    });
    if (options.on_open) options.on_open();
    base::Status status;
    for (size_t next = std::stoul(options.resource_version); status.ok(); ++next) {
      Event event;
      {
        base::MutexLock lock(mu_);
        while (next >= log_.size() && !cancel->cancelled()) changed_.Wait(mu_);
        if (cancel->cancelled()) break;
        event = log_[next];
      }
      const bool inside = ns.empty() || NamespaceOf(event.object) == ns;
      if (event.resource == resource.Path("", "") && inside) status = handler(event.type, event.object);
    }
    cancel->Remove(wake);
    return status;
  }
  base::Result<base::Json> GetRaw(const std::string& path) override {
    base::MutexLock lock(mu_);
    auto found = raw_.find(path);
    if (found == raw_.end()) return base::NotFoundError(path + " not found");
    return found->second;
  }

  base::Result<base::Json> Create(const Resource&, std::string_view, const base::Json&) override { return ReadOnly(); }
  base::Result<base::Json> Update(const Resource&, std::string_view, std::string_view, const base::Json&,
                                  std::string_view) override {
    return ReadOnly();
  }
  base::Result<base::Json> Patch(const Resource&, std::string_view, std::string_view, PatchType, const base::Json&,
                                 std::string_view) override {
    return ReadOnly();
  }
  base::Status Delete(const Resource&, std::string_view, std::string_view, Propagation) override { return ReadOnly(); }

 private:
  struct Event {
    std::string resource;  // The path of all its objects.
    std::string type;
    base::Json object;
  };
  static base::Status ReadOnly() { return base::UnimplementedError("a test's cluster is changed by the test alone"); }
  base::Status Check(const Resource& resource, std::string_view ns) const REQUIRES_LOCK(mu_) {
    if (!namespaced_only_ || !ns.empty() || !resource.namespaced) return base::Status::Ok();
    return base::PermissionDeniedError("forbidden at the cluster scope");
  }

  base::Mutex mu_;
  base::CondVar changed_;
  std::map<std::string, std::map<std::string, base::Json>> objects_ GUARDED_BY(mu_);  // By resource and key.
  std::vector<Event> log_ GUARDED_BY(mu_);  // The resource version is the number of events so far.
  std::map<std::string, base::Json> raw_ GUARDED_BY(mu_);
  std::multiset<std::string> lists_ GUARDED_BY(mu_);
  bool namespaced_only_ GUARDED_BY(mu_) = false;
};

}  // namespace tidewright::kube
