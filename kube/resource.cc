#include "base/json.h"
#include "base/strings.h"
#include "http/message.h"
#include "kube/client.h"
#include "kube/meta.h"

namespace tidewright::kube {

std::string Resource::Path(std::string_view ns, std::string_view name, std::string_view subresource) const {
  std::string path = group.empty() ? "/api/" + version : "/apis/" + group + "/" + version;
  if (namespaced && !ns.empty()) path += "/namespaces/" + http::PercentEncode(ns);
  path += "/" + plural;
  if (!name.empty()) path += "/" + http::PercentEncode(name);
  if (!subresource.empty()) path += "/" + std::string(subresource);
  return path;
}

namespace resources {
const Resource kPods{"", "v1", "pods", "Pod", true};
const Resource kNodes{"", "v1", "nodes", "Node", false};
const Resource kServices{"", "v1", "services", "Service", true};
const Resource kEndpoints{"", "v1", "endpoints", "Endpoints", true};
const Resource kNamespaces{"", "v1", "namespaces", "Namespace", false};
const Resource kConfigMaps{"", "v1", "configmaps", "ConfigMap", true};
const Resource kSecrets{"", "v1", "secrets", "Secret", true};
const Resource kEvents{"", "v1", "events", "Event", true};
const Resource kDeployments{"apps", "v1", "deployments", "Deployment", true};
const Resource kStatefulSets{"apps", "v1", "statefulsets", "StatefulSet", true};
const Resource kReplicaSets{"apps", "v1", "replicasets", "ReplicaSet", true};
const Resource kHorizontalPodAutoscalers{"autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler",
                                         true};
const Resource kScaledObjects{"tidewright.dev", "v1alpha1", "scaledobjects", "ScaledObject", true};
const Resource kTriggerAuthentications{"tidewright.dev", "v1alpha1", "triggerauthentications", "TriggerAuthentication",
                                       true};
const Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease", true};
const Resource kApiServices{"apiregistration.k8s.io", "v1", "apiservices", "APIService", false};
const Resource kCustomResourceDefinitions{"apiextensions.k8s.io", "v1", "customresourcedefinitions",
                                          "CustomResourceDefinition", false};
const Resource kTokenReviews{"authentication.k8s.io", "v1", "tokenreviews", "TokenReview", false};
const Resource kSubjectAccessReviews{"authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview",
                                     false};
const Resource kIngresses{"networking.k8s.io", "v1", "ingresses", "Ingress", true};
const Resource kJobs{"batch", "v1", "jobs", "Job", true};
const Resource kEndpointSlices{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true};
}  // namespace resources

namespace {

const Resource* WellKnown(std::string_view api_version, std::string_view kind) {
  using namespace resources;  // NOLINT: a table of this file's own names.
  for (const Resource* resource :
       {&kDeployments, &kStatefulSets, &kReplicaSets, &kPods, &kNodes, &kServices, &kNamespaces, &kIngresses}) {
    if (resource->kind == kind && resource->ApiVersion() == api_version) return resource;
  }
  return nullptr;
}

}  // namespace

base::Result<Resource> ResolveResource(Client& client, std::string_view api_version, std::string_view kind) {
  if (const Resource* known = WellKnown(api_version, kind)) return *known;
  auto parts = base::Split(api_version, '/');
  if (parts.size() > 2 || api_version.empty()) {
    return base::InvalidArgumentError("apiVersion \"" + std::string(api_version) +
                                      "\" is not of the form group/version, for instance apps/v1");
  }
  std::string path = parts.size() == 1 ? "/api/" + parts[0] : "/apis/" + parts[0] + "/" + parts[1];
  std::string what = std::string(api_version) + " " + std::string(kind);
  auto list = client.GetRaw(path);
  if (!list.ok()) return list.status().Annotate("look up " + what);
  const base::Json* entries = base::Find(*list, {"resources"});
  for (const base::Json& entry : entries != nullptr && entries->is_array() ? *entries : base::Json::array()) {
    std::string plural = base::FindString(entry, {"name"});
    if (base::FindString(entry, {"kind"}) != kind || plural.find('/') != std::string::npos) continue;
    return Resource{parts.size() == 2 ? parts[0] : "", parts.back(), plural, std::string(kind),
                    base::FindBool(entry, {"namespaced"})};
  }
  return base::NotFoundError("the API server serves no kind " + what + "; check apiVersion and kind");
}

}  // namespace tidewright::kube
