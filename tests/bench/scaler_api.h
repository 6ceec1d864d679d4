// MemoryApi: what an API server is to the scaler's benchmarks: it lists ScaledObjects and Deployments, takes every
// write and keeps none, so that only the scaler's own work is measured.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/mutex.h"
#include "kube/client.h"

namespace tidewright::scaler {

inline std::string NameOf(int i) { return "app-" + std::to_string(i); }

// An API server that knows a ScaledObject and a Deployment of each name, and takes every write.
class MemoryApi : public kube::Client {
 public:
  // `trigger_of` gives the only trigger of each ScaledObject.
  MemoryApi(int objects, int interval_ms, int replicas, std::function<base::Json(const std::string& name)> trigger_of)
      : objects_(objects), interval_ms_(interval_ms), replicas_(replicas), trigger_of_(std::move(trigger_of)) {}

  // Called for each replica count that is written; set before use.
  std::function<void(std::string_view target)> on_scale = [](std::string_view) {};
  int64_t writes() const { return writes_; }

  base::Result<base::Json> Get(const kube::Resource&, std::string_view, std::string_view name,
                               std::string_view) override {
    return base::NotFoundError(std::string(name));
  }
  base::Result<base::Json> List(const kube::Resource& resource, std::string_view, const kube::ListOptions&) override {
    base::Json items = base::Json::array();
    for (int i = 0; i < objects_; ++i) {
      if (resource.kind == "ScaledObject" && resource.group == "tidewright.dev") items.push_back(ScaledObjectOf(i));
      if (resource.kind == "Deployment") items.push_back(DeploymentOf(i));
    }
    return base::Json{{"metadata", {{"resourceVersion", "1"}}}, {"items", std::move(items)}};
  }
  base::Result<base::Json> Create(const kube::Resource&, std::string_view, const base::Json& object) override {
    return Write(object);
  }
  base::Result<base::Json> Update(const kube::Resource&, std::string_view, std::string_view, const base::Json& object,
                                  std::string_view) override {
    return Write(object);
  }
  base::Result<base::Json> Patch(const kube::Resource&, std::string_view, std::string_view name, kube::PatchType,
                                 const base::Json& patch, std::string_view subresource) override {
    if (subresource == "scale") on_scale(name);
    return Write(patch);
  }
  base::Status Delete(const kube::Resource&, std::string_view, std::string_view, kube::Propagation) override {
    return Write(base::Json()).status();
  }
  base::Status Watch(const kube::Resource&, std::string_view, const kube::ListOptions& options,
                     const kube::WatchHandler&, http::CancelToken* cancel) override {
    if (options.on_open) options.on_open();
    base::Mutex mu;
    base::CondVar ended;
    bool done = false;
    uint64_t id = cancel->OnCancel([&] {
      base::MutexLock lock(mu);
      done = true;
      ended.NotifyAll();
    });
    {
      base::MutexLock lock(mu);
      while (!done) ended.Wait(mu);
    }
    cancel->Remove(id);
    return base::CancelledError("watch cancelled");
  }
  base::Result<base::Json> GetRaw(const std::string& path) override { return base::NotFoundError(path); }
  std::unique_ptr<kube::Client> Guarded(kube::RequestGuard&) override { return nullptr; }

 private:
  base::Result<base::Json> Write(const base::Json& object) {
    ++writes_;
    return object;
  }
  base::Json MetadataOf(int i) const {
    return {{"name", NameOf(i)},
            {"namespace", "shop-" + std::to_string(i % 100)},
            {"uid", "6f0e2b1c-7d53-4b7e-9d1c-" + std::to_string(100'000'000'000 + i)},
            {"resourceVersion", "1"},
            {"generation", 1},
            {"creationTimestamp", "2026-01-08T12:00:00Z"},
            {"labels", {{"app.kubernetes.io/name", NameOf(i)}, {"team", "orders"}}}};
  }
  base::Json ScaledObjectOf(int i) const {
    base::Json spec = {{"scaleTargetRef", {{"name", NameOf(i)}}},
                       {"minReplicaCount", replicas_ > 0 ? 1 : 0},
                       {"maxReplicaCount", 10},
                       {"triggers", base::Json::array({trigger_of_(NameOf(i))})}};
    if (interval_ms_ % 1000 == 0) {
      spec["pollingInterval"] = interval_ms_ / 1000;
    } else {
      spec["pollingIntervalMilliseconds"] = interval_ms_;
    }
    return {{"apiVersion", "tidewright.dev/v1alpha1"},
            {"kind", "ScaledObject"},
            {"metadata", MetadataOf(i)},
            {"spec", std::move(spec)}};
  }
  base::Json DeploymentOf(int i) const {
    return {{"apiVersion", "apps/v1"},
            {"kind", "Deployment"},
            {"metadata", MetadataOf(i)},
            {"spec",
             {{"replicas", replicas_},
              {"selector", {{"matchLabels", {{"app", NameOf(i)}}}}},
              {"template",
               {{"metadata", {{"labels", {{"app", NameOf(i)}}}}},
                {"spec", {{"containers", base::Json::array({{{"name", "main"}, {"image", "registry/app:1"}}})}}}}}}},
            {"status", {{"replicas", replicas_}, {"readyReplicas", replicas_}, {"availableReplicas", replicas_}}}};
  }

  const int objects_;
  const int interval_ms_;
  const int replicas_;  // Of each Deployment, whatever is written.
  const std::function<base::Json(const std::string& name)> trigger_of_;
  std::atomic<int64_t> writes_ = 0;
};

}  // namespace tidewright::scaler
