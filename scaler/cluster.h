// What the controllers reach the Kubernetes API by.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/json_fwd.h"
#include "kube/client.h"
#include "kube/object_reader.h"
#include "kube/shared_caches.h"

namespace tidewright::scaler {

// Borrows everything; all of it must outlive the controllers. Value type.
struct Cluster {
  // For writes, and for what is not to be cached: Secrets, ConfigMaps, scale subresources. Of several replicas only the
  // leader's must write: give it the client that the leader election guards.
  kube::Client* client = nullptr;
  kube::SharedCaches* caches = nullptr;      // Where the autoscaler objects are followed.
  kube::ObjectReader* objects = nullptr;     // Everything else.
  std::string own_namespace = "tidewright";  // Where the Secrets of ClusterTriggerAuthentications are.
  // Records an event about an object, without blocking; kube::EventRecorder outside of tests.
  std::function<void(const base::Json& object, std::string_view type, std::string_view reason,
                     std::string_view message)>
      record_event;
};

}  // namespace tidewright::scaler
