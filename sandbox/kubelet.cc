// Cluster's node: pods from Pending to gone, and the endpoints of Services.
#include <algorithm>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "sandbox/cluster.h"

namespace tidewright::sandbox {

namespace {

using base::Find;
using base::FindInt;
using base::FindString;
using base::Json;
using base::Status;

constexpr const char* kNodeName = "sandbox-node";

Json ContainerStatuses(const Json& pod, const std::string& phase, bool ready, const std::string& started) {
  Json statuses = Json::array();
  const Json* containers = Find(pod, {"spec", "containers"});
  if (containers == nullptr || !containers->is_array()) return statuses;
  for (const Json& container : *containers) {
    const bool running = phase == "Running";
    Json state =
        running ? Json{{"running", {{"startedAt", started}}}} : Json{{"waiting", {{"reason", "ContainerCreating"}}}};
    std::string image = FindString(container, {"image"});
    statuses.push_back({{"name", FindString(container, {"name"})},
                        {"image", image},
                        {"imageID", image},
                        {"ready", ready},
                        {"started", running},
                        {"restartCount", 0},
                        {"state", std::move(state)},
                        {"lastState", Json::object()}});
  }
  return statuses;
}

// The number that a Service's targetPort means for a pod; 0 when the pod has no such port.
int64_t TargetPort(const Json& port, const Json& pod) {
  const Json* target = Find(port, {"targetPort"});
  if (target == nullptr) return FindInt(port, {"port"});
  if (target->is_number_integer()) return target->get<int64_t>();
  const Json* containers = Find(pod, {"spec", "containers"});
  if (containers == nullptr || !containers->is_array()) return 0;
  for (const Json& container : *containers) {
    const Json* ports = Find(container, {"ports"});
    if (ports == nullptr || !ports->is_array()) continue;
    for (const Json& candidate : *ports) {
      if (Json(FindString(candidate, {"name"})) == *target) return FindInt(candidate, {"containerPort"});
    }
  }
  return 0;
}

Json EndpointAddress(const Json& pod) {
  return {{"ip", FindString(pod, {"status", "podIP"})},
          {"nodeName", kNodeName},
          {"targetRef",
           {{"kind", "Pod"},
            {"name", kube::NameOf(pod)},
            {"namespace", kube::NamespaceOf(pod)},
            {"uid", kube::UidOf(pod)}}}};
}

}  // namespace

Cluster::Cluster(Rest& rest, ClusterOptions options, PodHost* host)
    : rest_(rest), store_(rest.store()), options_(std::move(options)), host_(host) {}

int64_t Cluster::NowMs() const { return store_.clock().NowMs(); }

std::string Cluster::NodeAddress() const { return "127.30." + std::to_string(options_.address_block) + ".1"; }

base::Result<ObjectPtr> Cluster::Create(const char* group, const char* version, const char* plural, Json object) {
  ObjectRef ref{rest_.registry().Find(group, version, plural), kube::NamespaceOf(object), kube::NameOf(object)};
  WriteContext context;
  return rest_.Create(ref, std::move(object), context);
}

Status Cluster::Start() {
  Json node = {{"metadata",
                {{"name", kNodeName},
                 {"labels",
                  {{"kubernetes.io/hostname", kNodeName},
                   {"kubernetes.io/os", "linux"},
                   {"kubernetes.io/arch", "amd64"},
                   {"node-role.kubernetes.io/sandbox", ""}}}}}};
  auto created = Create("", "v1", "nodes", std::move(node));
  if (!created.ok()) return created.status().Annotate("sandbox node");
  auto mutate = [&](Json& object) {
    Json resources = {{"cpu", options_.node_cpu}, {"memory", options_.node_memory}, {"pods", "250"}};
    object["status"] = {{"capacity", resources},
                        {"allocatable", resources},
                        {"addresses", Json::array({{{"type", "InternalIP"}, {"address", NodeAddress()}},
                                                   {{"type", "Hostname"}, {"address", kNodeName}}})},
                        {"daemonEndpoints", {{"kubeletEndpoint", {{"Port", options_.kubelet_port}}}}},
                        {"nodeInfo",
                         {{"kubeletVersion", "v1.32.0+sandbox"},
                          {"kubeProxyVersion", ""},
                          {"osImage", "Tidewright sandbox"},
                          {"operatingSystem", "linux"},
                          {"architecture", "amd64"},
                          {"kernelVersion", "none"},
                          {"containerRuntimeVersion", "sandbox://1"},
                          {"machineID", ""},
                          {"systemUUID", ""},
                          {"bootID", ""}}}};
    kube::SetCondition(object, "Ready", "True", "KubeletReady", "the simulated kubelet is posting ready status",
                       NowMs());
    return Status::Ok();
  };
  auto updated = store_.Update("nodes", "", kNodeName, mutate);
  return updated.ok() ? Status::Ok() : updated.status();
}

void Cluster::Tick() {
  ReconcileDeployments();
  ReconcileReplicaSets();
  ReconcilePods();
  // Statuses that pods just reached count at once.
  ReconcileReplicaSets();
  ReconcileDeployments();
  ReconcileEndpoints();
}

void Cluster::ReconcilePods() {
  std::set<std::string> present;
  for (const ObjectPtr& pod : store_.List("pods", "")) {
    present.insert(kube::UidOf(pod->json));
    ReconcilePod(pod);
  }
  for (auto it = pods_.begin(); it != pods_.end();) {
    if (present.count(it->first) > 0) {
      ++it;
      continue;
    }
    if (it->second.started && host_ != nullptr) host_->PodStopped(it->first);
    addresses_.erase(it->second.ip);
    it = pods_.erase(it);
  }
}

int64_t Cluster::StartupDelayMs(const Json& pod) const {
  auto annotations = kube::AnnotationsOf(pod);
  auto it = annotations.find(kStartupDelayAnnotation);
  if (it == annotations.end()) return options_.default_startup_delay_ms;
  auto delay = base::ParseGoDuration(it->second);
  return delay.ok() && delay->ms >= 0 ? delay->ms : options_.default_startup_delay_ms;
}

std::string Cluster::AllocatePodAddress() {
  constexpr int kPerBlock = 254;
  for (int tries = 0; tries < kPerBlock * 64; ++tries) {
    const int index = next_address_++;
    const int block = (options_.address_block + index / kPerBlock) % 256;
    std::string address = "127.10." + std::to_string(block) + "." + std::to_string(index % kPerBlock + 1);
    if (addresses_.insert(address).second) return address;
  }
  return "";
}

void Cluster::ReconcilePod(const ObjectPtr& pod) {
  PodState& state = pods_[kube::UidOf(pod->json)];
  if (state.created_ms == 0) state.created_ms = NowMs();
  if (kube::IsBeingDeleted(pod->json)) {
    EndPod(pod, state);
    return;
  }
  if (kube::IsPodReady(pod->json)) return;
  const int64_t age_ms = NowMs() - state.created_ms;
  const int64_t delay_ms = StartupDelayMs(pod->json);
  if (FindString(pod->json, {"spec", "nodeName"}).empty()) {
    auto bind = [](Json& object) {
      object["spec"]["nodeName"] = kNodeName;
      return Status::Ok();
    };
    if (!store_.Update("pods", kube::NamespaceOf(pod->json), kube::NameOf(pod->json), bind).ok()) return;
    RecordEvent(pod->json, "Scheduled",
                "Successfully assigned " + kube::KeyOf(pod->json) + " to " + std::string(kNodeName),
                "default-scheduler");
    WritePodStatus(pod, "Pending", false, "");
  }
  if (age_ms < delay_ms / 4) return;
  if (state.ip.empty()) state.ip = AllocatePodAddress();
  if (age_ms < delay_ms) {
    WritePodStatus(pod, "Running", false, state.ip);
    return;
  }
  if (StartPod(pod, state)) RecordEvent(pod->json, "Started", "Started container", "kubelet");
}

bool Cluster::StartPod(const ObjectPtr& pod, PodState& state) {
  constexpr int kAttempts = 5;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Json placed = pod->json;
    placed["status"]["podIP"] = state.ip;
    Status started = host_ == nullptr ? Status::Ok() : host_->PodStarted(placed);
    if (started.ok()) {
      state.started = true;
      WritePodStatus(pod, "Running", true, state.ip);
      return true;
    }
    // Another sandbox on this machine has the address; ours stays reserved so that it is not tried again.
    base::LogWarn("sandbox", "pod address not usable",
                  {{"pod", kube::KeyOf(pod->json)}, {"error", started.ToString()}});
    state.ip = AllocatePodAddress();
  }
  return false;
}

void Cluster::EndPod(const ObjectPtr& pod, PodState& state) {
  if (state.deleted_ms < 0) {
    state.deleted_ms = NowMs();
    if (std::exchange(state.started, false) && host_ != nullptr) host_->PodStopped(kube::UidOf(pod->json));
    RecordEvent(pod->json, "Killing", "Stopping container", "kubelet");
    if (kube::IsPodReady(pod->json)) WritePodStatus(pod, "Running", false, state.ip);
  }
  if (NowMs() - state.deleted_ms < options_.termination_ms) return;
  auto finish = [](Json& object) {
    object["metadata"]["deletionGracePeriodSeconds"] = 0;
    return Status::Ok();
  };
  (void)store_.Update("pods", kube::NamespaceOf(pod->json), kube::NameOf(pod->json), finish);
}

void Cluster::WritePodStatus(const ObjectPtr& pod, const std::string& phase, bool ready, const std::string& ip) {
  const int64_t now_ms = NowMs();
  auto mutate = [&](Json& object) {
    Json& status = object["status"];
    if (!status.is_object()) status = Json::object();
    status["phase"] = phase;
    status["hostIP"] = NodeAddress();
    status["qosClass"] = "Burstable";
    if (!status.contains("startTime")) status["startTime"] = base::FormatTime(now_ms);
    if (!ip.empty()) {
      status["podIP"] = ip;
      status["podIPs"] = Json::array({{{"ip", ip}}});
    }
    // The time at which a container started stays while its readiness changes.
    std::string started = base::FormatTime(now_ms);
    const Json* old = Find(status, {"containerStatuses"});
    if (old != nullptr && old->is_array() && !old->empty()) {
      started = FindString((*old)[0], {"state", "running", "startedAt"}, started);
    }
    status["containerStatuses"] = ContainerStatuses(object, phase, ready, started);
    const char* word = ready ? "True" : "False";
    const char* reason = ready ? "" : "ContainersNotReady";
    kube::SetCondition(object, "PodScheduled", "True", "", "", now_ms);
    kube::SetCondition(object, "Initialized", "True", "", "", now_ms);
    kube::SetCondition(object, "ContainersReady", word, reason, "", now_ms);
    kube::SetCondition(object, "Ready", word, reason, "", now_ms);
    return Status::Ok();
  };
  (void)store_.Update("pods", kube::NamespaceOf(pod->json), kube::NameOf(pod->json), mutate);
}

// ---- Endpoints ----

void Cluster::ReconcileEndpoints() {
  if (store_.resource_version() == endpoints_version_) return;
  for (const ObjectPtr& service : store_.List("services", "")) {
    const Json* selector = Find(service->json, {"spec", "selector"});
    if (selector != nullptr && selector->is_object() && !selector->empty()) WriteEndpoints(service);
  }
  endpoints_version_ = store_.resource_version();
}

void Cluster::WriteEndpoints(const ObjectPtr& service) {
  const std::string ns = kube::NamespaceOf(service->json);
  const std::string name = kube::NameOf(service->json);
  auto selector = kube::LabelSelector::FromJson({{"matchLabels", *Find(service->json, {"spec", "selector"})}});
  const Json* ports = Find(service->json, {"spec", "ports"});
  if (!selector.ok() || ports == nullptr || !ports->is_array() || kube::IsBeingDeleted(service->json)) return;
  std::map<std::string, Json> subsets;  // By the resolved ports: pods may name them differently.
  for (const ObjectPtr& pod : store_.List("pods", ns)) {
    if (FindString(pod->json, {"status", "podIP"}).empty() || !selector->Matches(kube::LabelsOf(pod->json))) continue;
    if (kube::IsBeingDeleted(pod->json)) continue;
    Json resolved = Json::array();
    for (const Json& port : *ports) {
      const int64_t number = TargetPort(port, pod->json);
      if (number == 0) continue;
      Json entry = {{"port", number}, {"protocol", FindString(port, {"protocol"}, "TCP")}};
      if (std::string port_name = FindString(port, {"name"}); !port_name.empty()) entry["name"] = port_name;
      resolved.push_back(std::move(entry));
    }
    Json& subset = subsets[base::DumpJson(resolved)];
    if (subset.is_null()) subset = {{"ports", resolved}};
    subset[kube::IsPodReady(pod->json) ? "addresses" : "notReadyAddresses"].push_back(EndpointAddress(pod->json));
  }
  Json list = Json::array();
  for (auto& [key, subset] : subsets) list.push_back(std::move(subset));
  if (store_.Get("endpoints", ns, name) == nullptr) {
    Json object = {
        {"metadata",
         {{"name", name},
          {"namespace", ns},
          {"labels", kube::LabelsOf(service->json)},
          {"ownerReferences",
           Json::array(
               {{{"apiVersion", "v1"}, {"kind", "Service"}, {"name", name}, {"uid", kube::UidOf(service->json)}}})}}},
        {"subsets", std::move(list)}};
    (void)Create("", "v1", "endpoints", std::move(object));  // A terminating namespace takes none.
    return;
  }
  auto mutate = [&](Json& object) {
    object["subsets"] = std::move(list);
    return Status::Ok();
  };
  (void)store_.Update("endpoints", ns, name, mutate);
}

void Cluster::RecordEvent(const Json& object, const std::string& reason, const std::string& message,
                          const std::string& component) {
  const std::string now = base::FormatTime(NowMs());
  const std::string ns = kube::NamespaceOf(object).empty() ? "default" : kube::NamespaceOf(object);
  Json event = {
      {"metadata", {{"name", kube::NameOf(object) + ".sandbox" + std::to_string(next_event_++)}, {"namespace", ns}}},
      {"involvedObject",
       {{"apiVersion", FindString(object, {"apiVersion"})},
        {"kind", FindString(object, {"kind"})},
        {"name", kube::NameOf(object)},
        {"namespace", ns},
        {"uid", kube::UidOf(object)}}},
      {"type", "Normal"},
      {"reason", reason},
      {"message", message},
      {"count", 1},
      {"firstTimestamp", now},
      {"lastTimestamp", now},
      {"source", {{"component", component}}}};
  (void)Create("", "v1", "events", std::move(event));  // Events are best effort.
}

}  // namespace tidewright::sandbox
