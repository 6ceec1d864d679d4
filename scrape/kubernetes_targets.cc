#include "scrape/kubernetes_targets.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"

namespace tidewright::scrape {
namespace {

using base::Json;
using LabelList = std::vector<tsdb::Label>;

const std::string kMeta = "__meta_kubernetes_";

const Json& Member(const Json& object, std::initializer_list<std::string_view> path) {
  static const Json none = Json::array();
  const Json* found = base::Find(object, path);
  return found != nullptr && found->is_array() ? *found : none;
}

std::string Text(const Json& object, std::initializer_list<std::string_view> path) {
  return base::FindString(object, path);
}

// Label and annotation keys with every character that a label name may not have replaced.
std::string LabelKey(std::string_view key) {
  std::string out(key);
  for (char& c : out) {
    bool valid = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!valid) c = '_';
  }
  return out;
}

void Add(LabelList* labels, const std::string& name, std::string value) {
  labels->push_back({kMeta + name, std::move(value)});
}

void AddMap(LabelList* labels, const std::string& prefix, const std::map<std::string, std::string>& values) {
  for (const auto& [key, value] : values) {
    Add(labels, prefix + "_" + LabelKey(key), value);
    Add(labels, prefix + "present_" + LabelKey(key), "true");
  }
}

void AddLabelsAndAnnotations(LabelList* labels, const std::string& role, const Json& object) {
  AddMap(labels, role + "_label", kube::LabelsOf(object));
  AddMap(labels, role + "_annotation", kube::AnnotationsOf(object));
}

void AddObject(LabelList* labels, const std::string& role, const Json& object) {
  Add(labels, role + "_name", kube::NameOf(object));
  AddLabelsAndAnnotations(labels, role, object);
}

// host:port, with brackets around IPv6 addresses.
std::string JoinHostPort(const std::string& host, const std::string& port) {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port;
}

std::string PortNumber(const Json& object, std::string_view key) {
  return std::to_string(base::FindInt(object, {key}, 0));
}

void AddNode(LabelList* labels, const KubernetesLookup& lookup, const std::string& name) {
  if (!lookup.node || name.empty()) return;
  if (auto node = lookup.node("", name)) AddObject(labels, "node", *node);
}

void AddNamespace(LabelList* labels, const KubernetesLookup& lookup, const std::string& ns) {
  Add(labels, "namespace", ns);
  if (!lookup.namespaces) return;
  if (auto object = lookup.namespaces("", ns)) AddLabelsAndAnnotations(labels, "namespace", *object);
}

tsdb::Labels Finish(LabelList labels) { return tsdb::Labels::FromPairs(std::move(labels)); }

// "true", "false" or "unknown": the Ready condition in lower case.
std::string PodReady(const Json& pod) {
  for (const Json& condition : Member(pod, {"status", "conditions"})) {
    if (Text(condition, {"type"}) == "Ready") return base::ToLower(Text(condition, {"status"}));
  }
  return "unknown";
}

// The owner reference of an object's controller; null if there is none.
const Json* ControllerOf(const Json& object) {
  for (const Json& owner : Member(object, {"metadata", "ownerReferences"})) {
    if (base::FindBool(owner, {"controller"})) return &owner;
  }
  return nullptr;
}

// What is behind the controller of a pod: the Deployment of its ReplicaSet, its Job, the CronJob of that.
void AddWorkload(LabelList* labels, const Json& pod, const Json& controller, const KubernetesLookup& lookup) {
  const std::string kind = Text(controller, {"kind"}), name = Text(controller, {"name"});
  const bool replica_set = kind == "ReplicaSet" && lookup.replica_set, job = kind == "Job" && lookup.job;
  if (!replica_set && !job) return;
  auto found = (job ? lookup.job : lookup.replica_set)(kube::NamespaceOf(pod), name);
  if (found == nullptr) return;
  if (job && lookup.attach_job) Add(labels, "pod_job_name", name);
  const Json* owner = ControllerOf(*found);
  const bool wanted = owner != nullptr && (job ? lookup.attach_cronjob && Text(*owner, {"kind"}) == "CronJob"
                                               : Text(*owner, {"kind"}) == "Deployment");
  if (wanted) Add(labels, job ? "pod_cronjob_name" : "pod_deployment_name", Text(*owner, {"name"}));
}

void AddPod(LabelList* labels, const Json& pod, const KubernetesLookup& lookup) {
  Add(labels, "pod_ip", Text(pod, {"status", "podIP"}));
  Add(labels, "pod_ready", PodReady(pod));
  Add(labels, "pod_phase", Text(pod, {"status", "phase"}));
  Add(labels, "pod_node_name", Text(pod, {"spec", "nodeName"}));
  Add(labels, "pod_host_ip", Text(pod, {"status", "hostIP"}));
  Add(labels, "pod_uid", kube::UidOf(pod));
  if (const Json* controller = ControllerOf(pod)) {
    Add(labels, "pod_controller_kind", Text(*controller, {"kind"}));
    Add(labels, "pod_controller_name", Text(*controller, {"name"}));
    AddWorkload(labels, pod, *controller, lookup);
  }
  AddObject(labels, "pod", pod);
}

// A container of a pod, init containers after the others.
struct Container {
  const Json* spec;
  bool init;
};

std::vector<Container> ContainersOf(const Json& pod) {
  std::vector<Container> containers;
  for (const Json& spec : Member(pod, {"spec", "containers"})) containers.push_back({&spec, false});
  for (const Json& spec : Member(pod, {"spec", "initContainers"})) containers.push_back({&spec, true});
  return containers;
}

std::string ContainerId(const Json& pod, const Container& container) {
  std::string_view key = container.init ? "initContainerStatuses" : "containerStatuses";
  for (const Json& status : Member(pod, {"status", key})) {
    if (Text(status, {"name"}) == Text(*container.spec, {"name"})) return Text(status, {"containerID"});
  }
  return "";
}

void AddContainer(LabelList* labels, const Container& container) {
  Add(labels, "pod_container_name", Text(*container.spec, {"name"}));
  Add(labels, "pod_container_image", Text(*container.spec, {"image"}));
  Add(labels, "pod_container_init", container.init ? "true" : "false");
}

void AddContainerPort(LabelList* labels, const Json& port) {
  Add(labels, "pod_container_port_name", Text(port, {"name"}));
  Add(labels, "pod_container_port_number", PortNumber(port, "containerPort"));
  Add(labels, "pod_container_port_protocol", Text(port, {"protocol"}));
}

TargetGroup PodGroup(const Json& pod, const KubernetesLookup& lookup) {
  TargetGroup group;
  const std::string ip = Text(pod, {"status", "podIP"});
  const std::string node = Text(pod, {"spec", "nodeName"});
  if (ip.empty()) return group;
  // With node metadata asked for, a pod whose node is not known yet waits for it.
  if (lookup.node && lookup.node("", node) == nullptr) return group;
  LabelList labels;
  AddPod(&labels, pod, lookup);
  AddNamespace(&labels, lookup, kube::NamespaceOf(pod));
  AddNode(&labels, lookup, node);
  group.labels = Finish(std::move(labels));
  for (const Container& container : ContainersOf(pod)) {
    LabelList base;
    AddContainer(&base, container);
    Add(&base, "pod_container_id", ContainerId(pod, container));
    const Json& ports = Member(*container.spec, {"ports"});
    for (const Json& port : ports) {
      LabelList target = base;
      AddContainerPort(&target, port);
      target.push_back({"__address__", JoinHostPort(ip, PortNumber(port, "containerPort"))});
      group.targets.push_back(Finish(std::move(target)));
    }
    if (!ports.empty()) continue;
    base.push_back({"__address__", ip.find(':') == std::string::npos ? ip : "[" + ip + "]"});
    group.targets.push_back(Finish(std::move(base)));
  }
  return group;
}

// The first address of each type.
std::map<std::string, std::string> NodeAddresses(const Json& node) {
  std::map<std::string, std::string> addresses;
  for (const Json& address : Member(node, {"status", "addresses"})) {
    addresses.emplace(Text(address, {"type"}), Text(address, {"address"}));
  }
  return addresses;
}

std::string NodeAddress(const Json& node) {
  const auto by_type = NodeAddresses(node);
  for (auto type : {"InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"}) {
    if (auto it = by_type.find(type); it != by_type.end()) return it->second;
  }
  return "";
}

TargetGroup NodeGroup(const Json& node, const std::string& host) {
  TargetGroup group;
  LabelList labels;
  AddObject(&labels, "node", node);
  Add(&labels, "node_provider_id", Text(node, {"spec", "providerID"}));
  for (const Json& condition : Member(node, {"status", "conditions"})) {
    Add(&labels, "node_condition_" + LabelKey(base::ToLower(Text(condition, {"type"}))),
        base::ToLower(Text(condition, {"status"})));
  }
  group.labels = Finish(std::move(labels));
  LabelList target;
  for (const auto& [type, address] : NodeAddresses(node)) Add(&target, "node_address_" + LabelKey(type), address);
  int64_t port = base::FindInt(node, {"status", "daemonEndpoints", "kubeletEndpoint", "Port"}, 0);
  target.push_back({"__address__", JoinHostPort(host, std::to_string(port))});
  target.push_back({"instance", kube::NameOf(node)});
  group.targets.push_back(Finish(std::move(target)));
  return group;
}

TargetGroup ServiceGroup(const Json& service, const KubernetesLookup& lookup) {
  TargetGroup group;
  const std::string ns = kube::NamespaceOf(service), type = Text(service, {"spec", "type"});
  LabelList labels;
  AddObject(&labels, "service", service);
  AddNamespace(&labels, lookup, ns);
  group.labels = Finish(std::move(labels));
  for (const Json& port : Member(service, {"spec", "ports"})) {
    LabelList target;
    const std::string number = PortNumber(port, "port");
    target.push_back({"__address__", JoinHostPort(kube::NameOf(service) + "." + ns + ".svc", number)});
    Add(&target, "service_port_name", Text(port, {"name"}));
    Add(&target, "service_port_number", number);
    Add(&target, "service_port_protocol", Text(port, {"protocol"}));
    Add(&target, "service_type", type);
    bool external = type == "ExternalName";
    Add(&target, external ? "service_external_name" : "service_cluster_ip",
        Text(service, {"spec", external ? "externalName" : "clusterIP"}));
    if (type == "LoadBalancer") Add(&target, "service_loadbalancer_ip", Text(service, {"spec", "loadBalancerIP"}));
    group.targets.push_back(Finish(std::move(target)));
  }
  return group;
}

// The pods behind an endpoints object and the ports that their endpoints cover.
struct SeenPod {
  std::shared_ptr<const Json> pod;
  std::set<int64_t> ports;
};

// The container port that an endpoint port leads to: the last container that declares the number wins, whatever the
// protocol. Endpoints objects replace that by their own, unlike slices.
void AddServingContainer(LabelList* labels, const Json& pod, int64_t number, const std::string& protocol) {
  LabelList found;
  for (const Container& container : ContainersOf(pod)) {
    for (const Json& port : Member(*container.spec, {"ports"})) {
      if (base::FindInt(port, {"containerPort"}, 0) != number) continue;
      found.clear();
      AddContainer(&found, container);
      AddContainerPort(&found, port);
      if (!protocol.empty()) found.back().value = protocol;
      break;
    }
  }
  labels->insert(labels->end(), found.begin(), found.end());
}

using SeenPods = std::map<std::string, SeenPod>;  // By namespace and name.

// What an endpoint of either kind says about what is behind it: the node, and the pod with the container that serves.
void AddBehind(LabelList* labels, const Json& endpoint, int64_t port, const std::string& protocol,
               const KubernetesLookup& lookup, const std::string& ns, SeenPods* pods) {
  const std::string kind = Text(endpoint, {"targetRef", "kind"}), name = Text(endpoint, {"targetRef", "name"});
  AddNode(labels, lookup, kind == "Node" ? name : Text(endpoint, {"nodeName"}));
  if (kind != "Pod" || !lookup.pod) return;
  std::string pod_ns = Text(endpoint, {"targetRef", "namespace"});
  if (pod_ns.empty()) pod_ns = ns;
  auto pod = lookup.pod(pod_ns, name);
  if (pod == nullptr) return;
  AddPod(labels, *pod, lookup);
  AddServingContainer(labels, *pod, port, protocol);
  SeenPod& seen = (*pods)[pod_ns + "/" + name];
  seen.pod = std::move(pod);
  seen.ports.insert(port);
}

tsdb::Labels EndpointTarget(const Json& address, const Json& port, bool ready, const KubernetesLookup& lookup,
                            const std::string& ns, SeenPods* pods) {
  LabelList labels;
  const int64_t number = base::FindInt(port, {"port"}, 0);
  labels.push_back({"__address__", JoinHostPort(Text(address, {"ip"}), std::to_string(number))});
  Add(&labels, "endpoint_port_name", Text(port, {"name"}));
  Add(&labels, "endpoint_port_protocol", Text(port, {"protocol"}));
  Add(&labels, "endpoint_ready", ready ? "true" : "false");
  Add(&labels, "endpoint_address_target_kind", Text(address, {"targetRef", "kind"}));
  Add(&labels, "endpoint_address_target_name", Text(address, {"targetRef", "name"}));
  Add(&labels, "endpoint_node_name", Text(address, {"nodeName"}));
  Add(&labels, "endpoint_hostname", Text(address, {"hostname"}));
  AddBehind(&labels, address, number, Text(port, {"protocol"}), lookup, ns, pods);
  return Finish(std::move(labels));
}

// Container ports that no endpoint port covers are targets of their own.
void AddUncoveredPorts(const SeenPod& seen, const KubernetesLookup& lookup, TargetGroup* group) {
  const std::string ip = Text(*seen.pod, {"status", "podIP"});
  if (ip.empty()) return;
  for (const Container& container : ContainersOf(*seen.pod)) {
    for (const Json& port : Member(*container.spec, {"ports"})) {
      if (seen.ports.count(base::FindInt(port, {"containerPort"}, 0)) > 0) continue;
      LabelList labels;
      labels.push_back({"__address__", JoinHostPort(ip, PortNumber(port, "containerPort"))});
      AddPod(&labels, *seen.pod, lookup);
      AddContainer(&labels, container);
      AddContainerPort(&labels, port);
      group->targets.push_back(Finish(std::move(labels)));
    }
  }
}

// The service that endpoints belong to, if it is known.
std::shared_ptr<const Json> AddService(LabelList* labels, const KubernetesLookup& lookup, const std::string& ns,
                                       const std::string& name) {
  auto service = lookup.service && !name.empty() ? lookup.service(ns, name) : nullptr;
  if (service != nullptr) AddObject(labels, "service", *service);
  return service;
}

TargetGroup EndpointsGroup(const Json& endpoints, const KubernetesLookup& lookup) {
  TargetGroup group;
  const std::string ns = kube::NamespaceOf(endpoints);
  LabelList labels;
  AddObject(&labels, "endpoints", endpoints);
  AddNamespace(&labels, lookup, ns);
  AddService(&labels, lookup, ns, kube::NameOf(endpoints));
  group.labels = Finish(std::move(labels));
  SeenPods pods;
  for (const Json& subset : Member(endpoints, {"subsets"})) {
    for (const Json& port : Member(subset, {"ports"})) {
      for (const Json& address : Member(subset, {"addresses"})) {
        group.targets.push_back(EndpointTarget(address, port, true, lookup, ns, &pods));
      }
      for (const Json& address : Member(subset, {"notReadyAddresses"})) {
        group.targets.push_back(EndpointTarget(address, port, false, lookup, ns, &pods));
      }
    }
  }
  for (const auto& [key, seen] : pods) AddUncoveredPorts(seen, lookup, &group);
  return group;
}

// "true", "false", or "" when the member is not there.
std::string OptionalBool(const Json& object, std::initializer_list<std::string_view> path) {
  const Json* found = base::Find(object, path);
  if (found == nullptr || !found->is_boolean()) return "";
  return found->get<bool>() ? "true" : "false";
}

void AddSlicePort(LabelList* labels, const Json& port) {
  if (const int64_t number = base::FindInt(port, {"port"}, 0); number != 0) {
    Add(labels, "endpointslice_port", std::to_string(number));
  }
  Add(labels, "endpointslice_port_name", Text(port, {"name"}));
  Add(labels, "endpointslice_port_protocol", Text(port, {"protocol"}));
  Add(labels, "endpointslice_port_app_protocol", Text(port, {"appProtocol"}));
}

void AddSliceEndpoint(LabelList* labels, const Json& endpoint) {
  for (std::string condition : {"ready", "serving", "terminating"}) {
    Add(labels, "endpointslice_endpoint_conditions_" + condition, OptionalBool(endpoint, {"conditions", condition}));
  }
  Add(labels, "endpointslice_address_target_kind", Text(endpoint, {"targetRef", "kind"}));
  Add(labels, "endpointslice_address_target_name", Text(endpoint, {"targetRef", "name"}));
  Add(labels, "endpointslice_endpoint_hostname", Text(endpoint, {"hostname"}));
  Add(labels, "endpointslice_endpoint_node_name", Text(endpoint, {"nodeName"}));
  Add(labels, "endpointslice_endpoint_zone", Text(endpoint, {"zone"}));
  const Json* topology = base::Find(endpoint, {"deprecatedTopology"});
  if (topology == nullptr || !topology->is_object()) return;
  for (const auto& [key, value] : topology->items()) {
    if (!value.is_string()) continue;
    Add(labels, "endpointslice_endpoint_topology_" + LabelKey(key), value.get<std::string>());
    Add(labels, "endpointslice_endpoint_topology_present_" + LabelKey(key), "true");
  }
}

tsdb::Labels SliceTarget(const std::string& host, const Json& endpoint, const Json& port,
                         const KubernetesLookup& lookup, const std::string& ns, SeenPods* pods) {
  LabelList labels;
  const int64_t number = base::FindInt(port, {"port"}, 0);
  labels.push_back({"__address__", number == 0 ? host : JoinHostPort(host, std::to_string(number))});
  AddSlicePort(&labels, port);
  AddSliceEndpoint(&labels, endpoint);
  AddBehind(&labels, endpoint, number, "", lookup, ns, pods);
  return Finish(std::move(labels));
}

// Whether the addresses of the slice are in its dual-stack service's second family: the same endpoints once more.
bool IsOfSecondFamily(const Json& slice, const Json& service) {
  const std::string policy = Text(service, {"spec", "ipFamilyPolicy"});
  if (policy != "PreferDualStack" && policy != "RequireDualStack") return false;
  const Json& families = Member(service, {"spec", "ipFamilies"});
  return !families.empty() && families[0] != Text(slice, {"addressType"});
}

TargetGroup SliceGroup(const Json& slice, const KubernetesLookup& lookup) {
  TargetGroup group;
  const std::string ns = kube::NamespaceOf(slice);
  LabelList labels;
  AddObject(&labels, "endpointslice", slice);
  Add(&labels, "endpointslice_address_type", Text(slice, {"addressType"}));
  AddNamespace(&labels, lookup, ns);
  auto service = AddService(&labels, lookup, ns, Text(slice, {"metadata", "labels", "kubernetes.io/service-name"}));
  if (service != nullptr && IsOfSecondFamily(slice, *service)) return group;
  group.labels = Finish(std::move(labels));
  SeenPods pods;
  for (const Json& endpoint : Member(slice, {"endpoints"})) {
    for (const Json& port : Member(slice, {"ports"})) {
      for (const Json& address : Member(endpoint, {"addresses"})) {
        if (!address.is_string()) continue;
        group.targets.push_back(SliceTarget(address.get<std::string>(), endpoint, port, lookup, ns, &pods));
      }
    }
  }
  for (const auto& [key, seen] : pods) AddUncoveredPorts(seen, lookup, &group);
  return group;
}

// Whether a host is meant by a name in a certificate: the same, or a wildcard that stands for exactly its first part.
bool IsCovered(std::string_view host, std::string_view pattern) {
  if (host == pattern) return true;
  const size_t dot = host.find('.');
  return dot != std::string_view::npos && pattern.substr(0, 2) == "*." && host.substr(dot) == pattern.substr(1);
}

std::string IngressScheme(const Json& ingress, const std::string& host) {
  for (const Json& tls : Member(ingress, {"spec", "tls"})) {
    for (const Json& pattern : Member(tls, {"hosts"})) {
      if (pattern.is_string() && IsCovered(host, pattern.get<std::string>())) return "https";
    }
  }
  return "http";
}

TargetGroup IngressGroup(const Json& ingress, const KubernetesLookup& lookup) {
  TargetGroup group;
  LabelList labels;
  AddObject(&labels, "ingress", ingress);
  AddNamespace(&labels, lookup, kube::NamespaceOf(ingress));
  Add(&labels, "ingress_class_name", Text(ingress, {"spec", "ingressClassName"}));
  group.labels = Finish(std::move(labels));
  for (const Json& rule : Member(ingress, {"spec", "rules"})) {
    const std::string host = Text(rule, {"host"});
    LabelList base = {{"__address__", host}};
    Add(&base, "ingress_host", host);
    Add(&base, "ingress_scheme", IngressScheme(ingress, host));
    std::vector<std::string> paths;
    for (const Json& path : Member(rule, {"http", "paths"})) paths.push_back(Text(path, {"path"}));
    if (base::Find(rule, {"http"}) == nullptr) paths.emplace_back();
    for (const std::string& path : paths) {
      LabelList target = base;
      Add(&target, "ingress_path", path.empty() ? "/" : path);
      group.targets.push_back(Finish(std::move(target)));
    }
  }
  return group;
}

}  // namespace

std::string KubernetesSource(const std::string& role, const std::string& ns, const std::string& name) {
  if (role == "node") return "node/" + name;
  return (role == "service" ? "svc" : role) + "/" + ns + "/" + name;
}

std::optional<TargetGroup> KubernetesGroup(const std::string& role, const Json& object,
                                           const KubernetesLookup& lookup) {
  TargetGroup group;
  if (role == "pod") group = PodGroup(object, lookup);
  if (role == "node") {
    const std::string host = NodeAddress(object);
    if (host.empty()) return std::nullopt;
    group = NodeGroup(object, host);
  }
  if (role == "service") group = ServiceGroup(object, lookup);
  if (role == "endpoints") group = EndpointsGroup(object, lookup);
  if (role == "endpointslice") group = SliceGroup(object, lookup);
  if (role == "ingress") group = IngressGroup(object, lookup);
  group.source = KubernetesSource(role, kube::NamespaceOf(object), kube::NameOf(object));
  return group;
}

}  // namespace tidewright::scrape
