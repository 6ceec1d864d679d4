// A kube::Client over a map of objects, for tests that need an API server's answers but no API server.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/mutex.h"
#include "kube/client.h"
#include "kube/meta.h"
#include "kube/object_reader.h"

namespace tidewright::testing {

// Thread-safe. Objects live under Resource::Path(). Lists honour label selectors; patches are merge patches.
class FakeKubeClient : public kube::Client {
 public:
  // Answers a Create instead of storing the object (TokenReview, SubjectAccessReview), by kind.
  std::map<std::string, std::function<base::Result<base::Json>(const base::Json&)>> on_create;
  std::map<std::string, base::Json> raw;  // GetRaw by path.

  void Put(const kube::Resource& resource, const base::Json& object) {
    base::MutexLock lock(mu_);
    objects_[resource.Path(kube::NamespaceOf(object), kube::NameOf(object))] = object;
  }
  bool Has(const kube::Resource& resource, const std::string& ns, const std::string& name) {
    return Get(resource, ns, name).ok();
  }
  int writes() {
    base::MutexLock lock(mu_);
    return writes_;
  }

  base::Result<base::Json> Get(const kube::Resource& resource, std::string_view ns, std::string_view name,
                               std::string_view = "") override {
    base::MutexLock lock(mu_);
    auto it = objects_.find(resource.Path(ns, name));
    if (it == objects_.end()) return base::NotFoundError("no such object");
    return it->second;
  }
  base::Result<base::Json> List(const kube::Resource& resource, std::string_view ns,
                                const kube::ListOptions& options) override {
    auto selector = kube::LabelSelector::Parse(options.label_selector);
    if (!selector.ok()) return selector.status();
    base::Json items = base::Json::array();
    base::MutexLock lock(mu_);
    for (const auto& [path, object] : objects_) {
      std::string own = resource.Path(kube::NamespaceOf(object), kube::NameOf(object));
      bool in_namespace = ns.empty() || kube::NamespaceOf(object) == ns;
      if (own == path && in_namespace && selector->Matches(kube::LabelsOf(object))) items.push_back(object);
    }
    return base::Json{{"metadata", {{"resourceVersion", "1"}}}, {"items", items}};
  }
  base::Result<base::Json> Create(const kube::Resource& resource, std::string_view ns,
                                  const base::Json& object) override {
    auto hook = on_create.find(base::FindString(object, {"kind"}));
    if (hook != on_create.end()) return hook->second(object);
    base::MutexLock lock(mu_);
    auto [it, added] = objects_.try_emplace(resource.Path(ns, kube::NameOf(object)), object);
    if (!added) return base::AlreadyExistsError("exists");
    ++writes_;
    return it->second;
  }
  base::Result<base::Json> Update(const kube::Resource&, std::string_view, std::string_view, const base::Json&,
                                  std::string_view) override {
    return base::UnimplementedError("update");
  }
  base::Result<base::Json> Patch(const kube::Resource& resource, std::string_view ns, std::string_view name,
                                 kube::PatchType, const base::Json& patch, std::string_view) override {
    base::MutexLock lock(mu_);
    auto it = objects_.find(resource.Path(ns, name));
    if (it == objects_.end()) return base::NotFoundError("no such object");
    it->second.merge_patch(patch);
    ++writes_;
    return it->second;
  }
  base::Status Delete(const kube::Resource& resource, std::string_view ns, std::string_view name,
                      kube::Propagation) override {
    base::MutexLock lock(mu_);
    ++writes_;
    return objects_.erase(resource.Path(ns, name)) > 0 ? base::Status::Ok() : base::NotFoundError("no such object");
  }
  // Nothing ever changes; ends when cancelled.
  base::Status Watch(const kube::Resource&, std::string_view, const kube::ListOptions&, const kube::WatchHandler&,
                     http::CancelToken* cancel) override {
    base::Mutex mu;
    base::CondVar cv;
    bool done = false;
    uint64_t id = cancel->OnCancel([&] {
      base::MutexLock lock(mu);
      done = true;
      cv.NotifyAll();
    });
    {
      base::MutexLock lock(mu);
      while (!done) cv.Wait(mu);
    }
    cancel->Remove(id);
    return base::CancelledError("cancelled");
  }
  base::Result<base::Json> GetRaw(const std::string& path) override {
    auto it = raw.find(path);
    if (it == raw.end()) return base::NotFoundError("GET " + path + ": not found");
    return it->second;
  }

 private:
  base::Mutex mu_;
  std::map<std::string, base::Json> objects_ GUARDED_BY(mu_);
  int writes_ GUARDED_BY(mu_) = 0;
};

// Reads its objects without caches.
class FakeObjectReader : public kube::ObjectReader {
 public:
  explicit FakeObjectReader(FakeKubeClient& client) : client_(client) {}
  base::Result<Object> Get(const kube::Resource& resource, const std::string& ns, const std::string& name) override {
    TW_ASSIGN_OR_RETURN(base::Json object, client_.Get(resource, ns, name));
    return std::make_shared<const base::Json>(std::move(object));
  }
  base::Result<std::vector<Object>> List(const kube::Resource& resource, const std::string& ns,
                                         const kube::LabelSelector& selector) override {
    if (!error.ok()) return error;
    kube::ListOptions options;
    options.label_selector = selector.ToString();
    TW_ASSIGN_OR_RETURN(base::Json list, client_.List(resource, ns, options));
    std::vector<Object> objects;
    for (base::Json& item : list["items"]) objects.push_back(std::make_shared<const base::Json>(std::move(item)));
    return objects;
  }
  void Follow(const kube::Resource&) override {}

  base::Status error;  // Of every List.

 private:
  FakeKubeClient& client_;
};

}  // namespace tidewright::testing
