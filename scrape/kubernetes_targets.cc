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

void AddPod(LabelList* labels, const Json& pod) {
  Add(labels, "pod_ip", Text(pod, {"status", "podIP"}));
  Add(labels, "pod_ready", PodReady(pod));
  Add(labels, "pod_phase", Text(pod, {"status", "phase"}));
  Add(labels, "pod_node_name", Text(pod, {"spec", "nodeName"}));
  Add(labels, "pod_host_ip", Text(pod, {"status", "hostIP"}));
  Add(labels, "pod_uid", kube::UidOf(pod));
  for (const Json& owner : Member(pod, {"metadata", "ownerReferences"})) {
    if (!base::FindBool(owner, {"controller"})) continue;
    Add(labels, "pod_controller_kind", Text(owner, {"kind"}));
    Add(labels, "pod_controller_name", Text(owner, {"name"}));
    break;
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
  AddPod(&labels, pod);
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

std::string NodeAddress(const std::map<std::string, std::string>& by_type) {
  for (auto type : {"InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"}) {
    if (auto it = by_type.find(type); it != by_type.end()) return it->second;
  }
  return "";
}

TargetGroup NodeGroup(const Json& node) {
  TargetGroup group;
  std::map<std::string, std::string> addresses;  // The first of each type.
  for (const Json& address : Member(node, {"status", "addresses"})) {
    addresses.emplace(Text(address, {"type"}), Text(address, {"address"}));
  }
  const std::string host = NodeAddress(addresses);
  if (host.empty()) return group;
  LabelList labels;
  AddObject(&labels, "node", node);
  Add(&labels, "node_provider_id", Text(node, {"spec", "providerID"}));
  for (const Json& condition : Member(node, {"status", "conditions"})) {
    Add(&labels, "node_condition_" + LabelKey(base::ToLower(Text(condition, {"type"}))),
        base::ToLower(Text(condition, {"status"})));
  }
  group.labels = Finish(std::move(labels));
  LabelList target;
  for (const auto& [type, address] : addresses) Add(&target, "node_address_" + LabelKey(type), address);
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

// The container port that an endpoint port leads to: the last container that declares the number wins.
void AddServingContainer(LabelList* labels, const Json& pod, int64_t number) {
  LabelList found;
  for (const Container& container : ContainersOf(pod)) {
    for (const Json& port : Member(*container.spec, {"ports"})) {
      if (base::FindInt(port, {"containerPort"}, 0) != number) continue;
      found.clear();
      AddContainer(&found, container);
      AddContainerPort(&found, port);
      break;
    }
  }
  labels->insert(labels->end(), found.begin(), found.end());
}

tsdb::Labels EndpointTarget(const Json& address, const Json& port, bool ready, const KubernetesLookup& lookup,
                            const std::string& ns, std::map<std::string, SeenPod>* pods) {
  LabelList labels;
  const int64_t number = base::FindInt(port, {"port"}, 0);
  const std::string kind = Text(address, {"targetRef", "kind"}), name = Text(address, {"targetRef", "name"});
  labels.push_back({"__address__", JoinHostPort(Text(address, {"ip"}), std::to_string(number))});
  Add(&labels, "endpoint_port_name", Text(port, {"name"}));
  Add(&labels, "endpoint_port_protocol", Text(port, {"protocol"}));
  Add(&labels, "endpoint_ready", ready ? "true" : "false");
  Add(&labels, "endpoint_address_target_kind", kind);
  Add(&labels, "endpoint_address_target_name", name);
  Add(&labels, "endpoint_node_name", Text(address, {"nodeName"}));
  Add(&labels, "endpoint_hostname", Text(address, {"hostname"}));
  AddNode(&labels, lookup, kind == "Node" ? name : Text(address, {"nodeName"}));
  if (kind != "Pod" || !lookup.pod) return Finish(std::move(labels));
  std::string pod_ns = Text(address, {"targetRef", "namespace"});
  if (pod_ns.empty()) pod_ns = ns;
  auto pod = lookup.pod(pod_ns, name);
  if (pod == nullptr) return Finish(std::move(labels));
  AddPod(&labels, *pod);
  AddServingContainer(&labels, *pod, number);
  SeenPod& seen = (*pods)[pod_ns + "/" + name];
  seen.pod = std::move(pod);
  seen.ports.insert(number);
  return Finish(std::move(labels));
}

// Container ports that no endpoint port covers are targets of their own.
void AddUncoveredPorts(const SeenPod& seen, TargetGroup* group) {
  const std::string ip = Text(*seen.pod, {"status", "podIP"});
  if (ip.empty()) return;
  for (const Container& container : ContainersOf(*seen.pod)) {
    for (const Json& port : Member(*container.spec, {"ports"})) {
      if (seen.ports.count(base::FindInt(port, {"containerPort"}, 0)) > 0) continue;
      LabelList labels;
      labels.push_back({"__address__", JoinHostPort(ip, PortNumber(port, "containerPort"))});
      AddPod(&labels, *seen.pod);
      AddContainer(&labels, container);
      AddContainerPort(&labels, port);
      group->targets.push_back(Finish(std::move(labels)));
    }
  }
}

TargetGroup EndpointsGroup(const Json& endpoints, const KubernetesLookup& lookup) {
  TargetGroup group;
  const std::string ns = kube::NamespaceOf(endpoints);
  LabelList labels;
  AddObject(&labels, "endpoints", endpoints);
  AddNamespace(&labels, lookup, ns);
  auto service = lookup.service ? lookup.service(ns, kube::NameOf(endpoints)) : nullptr;
  if (service != nullptr) AddObject(&labels, "service", *service);
  group.labels = Finish(std::move(labels));
  std::map<std::string, SeenPod> pods;
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
  for (const auto& [key, seen] : pods) AddUncoveredPorts(seen, &group);
  return group;
}

}  // namespace

std::string KubernetesSource(const std::string& role, const std::string& ns, const std::string& name) {
  if (role == "node") return "node/" + name;
  return (role == "service" ? "svc" : role) + "/" + ns + "/" + name;
}

TargetGroup KubernetesGroup(const std::string& role, const Json& object, const KubernetesLookup& lookup) {
  TargetGroup group;
  if (role == "pod") group = PodGroup(object, lookup);
  if (role == "node") group = NodeGroup(object);
  if (role == "service") group = ServiceGroup(object, lookup);
  if (role == "endpoints") group = EndpointsGroup(object, lookup);
  group.source = KubernetesSource(role, kube::NamespaceOf(object), kube::NameOf(object));
  return group;
}

}  // namespace tidewright::scrape
