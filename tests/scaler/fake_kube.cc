#include "tests/scaler/fake_kube.h"

#include <chrono>
#include <utility>

#include "kube/meta.h"

namespace tidewright::scaler {

namespace {

std::string CollectionOf(const kube::Resource& resource) { return resource.Path("", ""); }

bool HasFinalizers(const base::Json& object) {
  const base::Json* finalizers = base::Find(object, {"metadata", "finalizers"});
  return finalizers != nullptr && !finalizers->empty();
}

base::Json ScaleOf(const base::Json& object) {
  return {{"metadata", object["metadata"]},
          {"spec", {{"replicas", base::FindInt(object, {"spec", "replicas"})}}},
          {"status", {{"replicas", base::FindInt(object, {"status", "replicas"})}, {"selector", "app=x"}}}};
}

}  // namespace

base::Status FakeKube::Check(const std::string& verb, const std::string& path) {
  std::function<base::Status(const std::string&, const std::string&)> fail;
  {
    base::MutexLock lock(mu_);
    fail = fail_;
  }
  return fail ? fail(verb, path) : base::Status::Ok();
}

void FakeKube::Store(const kube::Resource& resource, const std::string& path, base::Json object) {
  object["metadata"]["resourceVersion"] = std::to_string(++version_);
  object["apiVersion"] = resource.ApiVersion();
  object["kind"] = resource.kind;
  if (base::FindString(object, {"metadata", "uid"}).empty()) {
    object["metadata"]["uid"] = "uid-" + std::to_string(version_);
  }
  if (resource.kind == "Deployment" && !hold_pods_) {
    int64_t replicas = base::FindInt(object, {"spec", "replicas"}, 1);
    object["status"]["replicas"] = replicas;
    object["status"]["readyReplicas"] = replicas;
  }
  bool known = objects_.count(path) > 0;
  changes_.push_back({version_, CollectionOf(resource), known ? "MODIFIED" : "ADDED", object});
  objects_[path] = std::move(object);
  changed_.NotifyAll();
}

void FakeKube::Erase(const kube::Resource& resource, const std::string& path) {
  auto it = objects_.find(path);
  if (it == objects_.end()) return;
  changes_.push_back({++version_, CollectionOf(resource), "DELETED", it->second});
  objects_.erase(it);
  changed_.NotifyAll();
}

void FakeKube::Put(const kube::Resource& resource, base::Json object) {
  base::MutexLock lock(mu_);
  std::string path = resource.Path(kube::NamespaceOf(object), kube::NameOf(object));
  auto before = objects_.find(path);
  if (before != objects_.end()) {
    object["metadata"]["uid"] = kube::UidOf(before->second);
    if (before->second.contains("status") && !object.contains("status")) object["status"] = before->second["status"];
    object["metadata"]["generation"] = base::FindInt(before->second, {"metadata", "generation"}, 1) + 1;
  } else {
    object["metadata"]["generation"] = 1;
  }
  Store(resource, path, std::move(object));
}

void FakeKube::Remove(const kube::Resource& resource, const std::string& ns, const std::string& name) {
  base::MutexLock lock(mu_);
  std::string path = resource.Path(ns, name);
  auto it = objects_.find(path);
  if (it == objects_.end()) return;
  if (!HasFinalizers(it->second)) return Erase(resource, path);
  base::Json object = it->second;
  object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  Store(resource, path, std::move(object));
}

base::Json FakeKube::Read(const kube::Resource& resource, const std::string& ns, const std::string& name) {
  base::MutexLock lock(mu_);
  auto it = objects_.find(resource.Path(ns, name));
  return it == objects_.end() ? base::Json() : it->second;
}

int64_t FakeKube::Replicas(const std::string& ns, const std::string& deployment) {
  return base::FindInt(Read(kube::resources::kDeployments, ns, deployment), {"spec", "replicas"}, -1);
}

std::vector<std::string> FakeKube::Events() {
  base::MutexLock lock(mu_);
  return events_;
}
void FakeKube::AddEvent(const std::string& event) {
  base::MutexLock lock(mu_);
  events_.push_back(event);
}
int FakeKube::StatusWrites() {
  base::MutexLock lock(mu_);
  return status_writes_;
}
int FakeKube::ScaleWrites() {
  base::MutexLock lock(mu_);
  return scale_writes_;
}
void FakeKube::SetRaw(const std::string& path, base::Json answer) {
  base::MutexLock lock(mu_);
  raw_[path] = std::move(answer);
}
std::vector<std::string> FakeKube::RawPaths() {
  base::MutexLock lock(mu_);
  return raw_paths_;
}
void FakeKube::FailWith(std::function<base::Status(const std::string&, const std::string&)> fail) {
  base::MutexLock lock(mu_);
  fail_ = std::move(fail);
}
void FakeKube::HoldPods(bool hold) {
  base::MutexLock lock(mu_);
  hold_pods_ = hold;
}

base::Result<base::Json> FakeKube::Get(const kube::Resource& resource, std::string_view ns, std::string_view name,
                                       std::string_view subresource) {
  std::string path = resource.Path(ns, name);
  TW_RETURN_IF_ERROR(Check("get", path));
  base::MutexLock lock(mu_);
  auto it = objects_.find(path);
  if (it == objects_.end()) return base::NotFoundError("get " + path + ": not found");
  if (subresource == "scale") return ScaleOf(it->second);
  return it->second;
}

base::Result<base::Json> FakeKube::List(const kube::Resource& resource, std::string_view ns,
                                        const kube::ListOptions& options) {
  TW_RETURN_IF_ERROR(Check("list", CollectionOf(resource)));
  TW_ASSIGN_OR_RETURN(kube::LabelSelector selector, kube::LabelSelector::Parse(options.label_selector));
  base::MutexLock lock(mu_);
  base::Json items = base::Json::array();
  for (const auto& [path, object] : objects_) {
    bool same_kind = object["kind"] == resource.kind && object["apiVersion"] == resource.ApiVersion();
    bool same_ns = ns.empty() || kube::NamespaceOf(object) == ns;
    if (same_kind && same_ns && selector.Matches(kube::LabelsOf(object))) items.push_back(object);
  }
  return base::Json{{"metadata", {{"resourceVersion", std::to_string(version_)}}}, {"items", items}};
}

base::Result<base::Json> FakeKube::Create(const kube::Resource& resource, std::string_view ns,
                                          const base::Json& object) {
  TW_RETURN_IF_ERROR(Check("create", resource.Path(ns, "")));
  base::MutexLock lock(mu_);
  Store(resource, resource.Path(ns, kube::NameOf(object)), object);
  return object;
}

base::Result<base::Json> FakeKube::Update(const kube::Resource& resource, std::string_view ns, std::string_view name,
                                          const base::Json& object, std::string_view) {
  TW_RETURN_IF_ERROR(Check("update", resource.Path(ns, name)));
  base::MutexLock lock(mu_);
  Store(resource, resource.Path(ns, name), object);
  return object;
}

base::Result<base::Json> FakeKube::Patch(const kube::Resource& resource, std::string_view ns, std::string_view name,
                                         kube::PatchType type, const base::Json& patch, std::string_view subresource) {
  std::string path = resource.Path(ns, name);
  TW_RETURN_IF_ERROR(Check("patch", path + "/" + std::string(subresource)));
  if (type != kube::PatchType::kMerge) return base::UnimplementedError("only merge patches are modelled");
  base::MutexLock lock(mu_);
  auto it = objects_.find(path);
  if (it == objects_.end()) return base::NotFoundError("patch " + path + ": not found");
  std::string expected = kube::ResourceVersionOf(patch);
  if (!expected.empty() && expected != kube::ResourceVersionOf(it->second)) return base::AbortedError("patch: changed");
  base::Json object = it->second;
  object.merge_patch(patch);
  if (subresource == "status") ++status_writes_;
  if (subresource == "scale") ++scale_writes_;
  bool last_finalizer = kube::IsBeingDeleted(object) && !HasFinalizers(object);
  Store(resource, path, object);
  if (last_finalizer) Erase(resource, path);
  return object;
}

base::Status FakeKube::Delete(const kube::Resource& resource, std::string_view ns, std::string_view name,
                              kube::Propagation propagation) {
  if (propagation == kube::Propagation::kForeground) {
    const base::Json waits = {{"metadata", {{"finalizers", base::Json::array({"foregroundDeletion"})}}}};
    TW_RETURN_IF_ERROR(Patch(resource, ns, name, kube::PatchType::kMerge, waits, "").status());
  }
  Remove(resource, std::string(ns), std::string(name));
  return base::Status::Ok();
}

base::Status FakeKube::Watch(const kube::Resource& resource, std::string_view, const kube::ListOptions& options,
                             const kube::WatchHandler& handler, http::CancelToken* cancel) {
  int64_t seen = options.resource_version.empty() ? 0 : std::stoll(options.resource_version);
  while (!cancel->cancelled()) {
    std::vector<Change> news;
    {
      base::MutexLock lock(mu_);
      for (const Change& change : changes_) {
        if (change.version > seen && change.collection == CollectionOf(resource)) news.push_back(change);
      }
      if (news.empty()) changed_.WaitFor(mu_, std::chrono::milliseconds(20));
    }
    for (const Change& change : news) {
      seen = change.version;
      TW_RETURN_IF_ERROR(handler(change.type, change.object));
    }
  }
  return base::CancelledError("watch cancelled");
}

base::Result<base::Json> FakeKube::GetRaw(const std::string& path_and_query) {
  TW_RETURN_IF_ERROR(Check("raw", path_and_query));
  base::MutexLock lock(mu_);
  raw_paths_.push_back(path_and_query);
  auto it = raw_.find(path_and_query);
  if (it == raw_.end()) return base::NotFoundError("GET " + path_and_query + ": the server could not find it");
  return it->second;
}

base::Result<kube::ObjectReader::Object> DirectReader::Get(const kube::Resource& resource, const std::string& ns,
                                                           const std::string& name) {
  TW_ASSIGN_OR_RETURN(base::Json object, kube_.Get(resource, ns, name, ""));
  return std::make_shared<const base::Json>(std::move(object));
}

base::Result<std::vector<kube::ObjectReader::Object>> DirectReader::List(const kube::Resource& resource,
                                                                         const std::string& ns,
                                                                         const kube::LabelSelector& selector) {
  kube::ListOptions options;
  options.label_selector = selector.ToString();
  TW_ASSIGN_OR_RETURN(base::Json list, kube_.List(resource, ns, options));
  std::vector<Object> objects;
  for (base::Json& item : list["items"]) objects.push_back(std::make_shared<const base::Json>(std::move(item)));
  return objects;
}

Cluster ClusterOf(FakeKube& kube, kube::ObjectReader& objects, kube::SharedCaches* caches) {
  Cluster cluster;
  cluster.client = &kube;
  cluster.caches = caches;
  cluster.objects = &objects;
  cluster.record_event = [&kube](const base::Json&, std::string_view type, std::string_view reason,
                                 std::string_view message) {
    kube.AddEvent(std::string(type) + " " + std::string(reason) + " " + std::string(message));
  };
  return cluster;
}

base::Json MakeDeployment(const std::string& name, int replicas) {
  return {{"metadata", {{"name", name}, {"namespace", "shop"}}},
          {"spec",
           {{"replicas", replicas},
            {"selector", {{"matchLabels", {{"app", name}}}}},
            {"template", {{"spec", {{"containers", {{{"name", "main"}}}}}}}}}}};
}

}  // namespace tidewright::scaler
