#include "kube/slim_object.h"

#include "base/json.h"

namespace tidewright::kube {

namespace {

void Erase(base::Json& object, std::initializer_list<const char*> keys) {
  if (!object.is_object()) return;
  for (const char* key : keys) object.erase(key);
}

// Null if `object` has no such member.
base::Json* MemberOf(base::Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

void SlimPod(base::Json& pod) {
  base::Json* spec = MemberOf(pod, "spec");
  if (spec == nullptr) return;
  Erase(*spec, {"affinity", "dnsConfig", "hostAliases", "imagePullSecrets", "securityContext", "tolerations",
                "topologySpreadConstraints", "volumes"});
  for (const char* list : {"containers", "initContainers"}) {
    base::Json* containers = MemberOf(*spec, list);
    if (containers == nullptr || !containers->is_array()) continue;
    for (base::Json& container : *containers) {
      Erase(container, {"args", "command", "env", "envFrom", "lifecycle", "livenessProbe", "readinessProbe",
                        "securityContext", "startupProbe", "volumeDevices", "volumeMounts"});
    }
  }
}

void SlimNode(base::Json& node) {
  if (base::Json* status = MemberOf(node, "status")) Erase(*status, {"images", "volumesAttached", "volumesInUse"});
}

}  // namespace

std::function<void(base::Json& object)> SlimmingOf(const Resource& resource) {
  if (resource.group != "") return {};
  if (resource.plural == "pods") return SlimPod;
  if (resource.plural == "nodes") return SlimNode;
  return {};
}

}  // namespace tidewright::kube
