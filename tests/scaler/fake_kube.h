// FakeKube: an API server in memory, for tests of controllers.
//
// What it models: objects by resource, namespace and name; merge patches; the status subresource; the scale subresource
// of Deployments, whose pods appear and are ready at once unless told otherwise; lists and watches; finalizers; events.
// What it does not: schemas, defaults, selectors, pagination, conflicts other than an outdated metadata.resourceVersion
// in a patch, other patch types, authorization.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mutex.h"
#include "kube/client.h"
#include "kube/object_reader.h"
#include "scaler/cluster.h"

namespace tidewright::scaler {

class FakeKube : public kube::Client {
 public:
  // Creates or replaces an object.
  void Put(const kube::Resource& resource, base::Json object);
  // Deletes as a user would: objects with finalizers only get a deletionTimestamp. A foreground deletion leaves them
  // with the finalizer foregroundDeletion.
  void Remove(const kube::Resource& resource, const std::string& ns, const std::string& name);
  // The object, or null.
  base::Json Read(const kube::Resource& resource, const std::string& ns, const std::string& name);
  int64_t Replicas(const std::string& ns, const std::string& deployment);
  // "Normal SuccessfulRescale ...", oldest first.
  std::vector<std::string> Events();
  int StatusWrites();
  int ScaleWrites();
  // Answers GetRaw; a path without an answer is kNotFound.
  void SetRaw(const std::string& path, base::Json answer);
  std::vector<std::string> RawPaths();
  // A non-OK status fails every call for which it is returned ("get", "patch", ...).
  void FailWith(std::function<base::Status(const std::string& verb, const std::string& path)> fail);
  void AddEvent(const std::string& event);
  // New pods of Deployments stay not ready.
  void HoldPods(bool hold);

  base::Result<base::Json> Get(const kube::Resource& resource, std::string_view ns, std::string_view name,
                               std::string_view subresource) override;
  base::Result<base::Json> List(const kube::Resource& resource, std::string_view ns,
                                const kube::ListOptions& options) override;
  base::Result<base::Json> Create(const kube::Resource& resource, std::string_view ns,
                                  const base::Json& object) override;
  base::Result<base::Json> Update(const kube::Resource& resource, std::string_view ns, std::string_view name,
                                  const base::Json& object, std::string_view subresource) override;
  base::Result<base::Json> Patch(const kube::Resource& resource, std::string_view ns, std::string_view name,
                                 kube::PatchType type, const base::Json& patch, std::string_view subresource) override;
  base::Status Delete(const kube::Resource& resource, std::string_view ns, std::string_view name,
                      kube::Propagation propagation) override;
  base::Status Watch(const kube::Resource& resource, std::string_view ns, const kube::ListOptions& options,
                     const kube::WatchHandler& handler, http::CancelToken* cancel) override;
  base::Result<base::Json> GetRaw(const std::string& path_and_query) override;

 private:
  struct Change {
    int64_t version;
    std::string collection;
    std::string type;
    base::Json object;
  };
  base::Status Check(const std::string& verb, const std::string& path);
  void Store(const kube::Resource& resource, const std::string& path, base::Json object) REQUIRES_LOCK(mu_);
  void Erase(const kube::Resource& resource, const std::string& path) REQUIRES_LOCK(mu_);

  base::Mutex mu_;
  base::CondVar changed_;
  std::map<std::string, base::Json> objects_ GUARDED_BY(mu_);  // By path.
  std::vector<Change> changes_ GUARDED_BY(mu_);
  std::vector<std::string> events_ GUARDED_BY(mu_);
  std::map<std::string, base::Json> raw_ GUARDED_BY(mu_);
  std::vector<std::string> raw_paths_ GUARDED_BY(mu_);
  std::function<base::Status(const std::string&, const std::string&)> fail_ GUARDED_BY(mu_);
  int64_t version_ GUARDED_BY(mu_) = 1;
  int status_writes_ GUARDED_BY(mu_) = 0;
  int scale_writes_ GUARDED_BY(mu_) = 0;
  bool hold_pods_ GUARDED_BY(mu_) = false;
};

// Reads without caches, so that a pass sees at once what the one before it wrote.
class DirectReader : public kube::ObjectReader {
 public:
  explicit DirectReader(FakeKube& kube) : kube_(kube) {}
  base::Result<Object> Get(const kube::Resource& resource, const std::string& ns, const std::string& name) override;
  base::Result<std::vector<Object>> List(const kube::Resource& resource, const std::string& ns,
                                         const kube::LabelSelector& selector) override;
  void Follow(const kube::Resource&) override {}

 private:
  FakeKube& kube_;
};

// What a controller is given; events are recorded at once.
Cluster ClusterOf(FakeKube& kube, kube::ObjectReader& objects, kube::SharedCaches* caches = nullptr);

// A Deployment "shop/<name>" whose replicas are all ready.
base::Json MakeDeployment(const std::string& name, int replicas);

}  // namespace tidewright::scaler
