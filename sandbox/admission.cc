#include "sandbox/admission.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"

namespace tidewright::sandbox {

namespace {

using base::Find;
using base::FindInt;
using base::FindString;
using base::Json;

// The member, made an object if it is missing; null when it is something else that must not be touched.
Json* ObjectAt(Json& parent, const char* key) {
  if (!parent.is_object()) return nullptr;
  Json& member = parent[key];
  if (member.is_null()) member = Json::object();
  return member.is_object() ? &member : nullptr;
}

Json* ExistingArray(Json& parent, const char* key) {
  if (!parent.is_object()) return nullptr;
  auto it = parent.find(key);
  return it != parent.end() && it->is_array() ? &*it : nullptr;
}

void Default(Json& parent, const char* key, Json value) {
  if (parent.is_object() && (!parent.contains(key) || parent[key].is_null())) parent[key] = std::move(value);
}

// ---- Defaults ----

void DefaultProbe(Json& container, const char* key) {
  auto it = container.find(key);
  if (it == container.end() || !it->is_object()) return;
  Default(*it, "timeoutSeconds", 1);
  Default(*it, "periodSeconds", 10);
  Default(*it, "successThreshold", 1);
  Default(*it, "failureThreshold", 3);
}

void DefaultContainer(Json& container) {
  if (!container.is_object()) return;
  std::string image = FindString(container, {"image"});
  bool latest = image.find(':') == std::string::npos || image.ends_with(":latest");
  Default(container, "imagePullPolicy", latest ? "Always" : "IfNotPresent");
  Default(container, "terminationMessagePath", "/dev/termination-log");
  Default(container, "terminationMessagePolicy", "File");
  Default(container, "resources", Json::object());
  for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"}) DefaultProbe(container, probe);
  if (Json* ports = ExistingArray(container, "ports")) {
    for (Json& port : *ports) Default(port, "protocol", "TCP");
  }
}

void DefaultPodSpec(Json& spec) {
  Default(spec, "restartPolicy", "Always");
  Default(spec, "dnsPolicy", "ClusterFirst");
  Default(spec, "schedulerName", "default-scheduler");
  Default(spec, "terminationGracePeriodSeconds", 30);
  Default(spec, "securityContext", Json::object());
  for (const char* list : {"containers", "initContainers"}) {
    if (Json* containers = ExistingArray(spec, list)) {
      for (Json& container : *containers) DefaultContainer(container);
    }
  }
}

void DefaultTemplate(Json& spec) {
  Json* pod_template = ObjectAt(spec, "template");
  if (pod_template == nullptr) return;
  if (Json* pod_spec = ObjectAt(*pod_template, "spec")) DefaultPodSpec(*pod_spec);
}

void DefaultDeployment(Json& spec) {
  Default(spec, "replicas", 1);
  Default(spec, "revisionHistoryLimit", 10);
  Default(spec, "progressDeadlineSeconds", 600);
  Json* strategy = ObjectAt(spec, "strategy");
  if (strategy != nullptr) {
    Default(*strategy, "type", "RollingUpdate");
    Json* rolling = FindString(*strategy, {"type"}) == "RollingUpdate" ? ObjectAt(*strategy, "rollingUpdate") : nullptr;
    if (rolling != nullptr) {
      Default(*rolling, "maxSurge", "25%");
      Default(*rolling, "maxUnavailable", "25%");
    }
  }
  DefaultTemplate(spec);
}

void DefaultService(Json& spec) {
  Default(spec, "type", "ClusterIP");
  Default(spec, "sessionAffinity", "None");
  Default(spec, "internalTrafficPolicy", "Cluster");
  Default(spec, "ipFamilies", Json::array({"IPv4"}));
  Default(spec, "ipFamilyPolicy", "SingleStack");
  const Json* address = Find(spec, {"clusterIP"});
  if (address != nullptr) Default(spec, "clusterIPs", Json::array({*address}));
  if (Json* ports = ExistingArray(spec, "ports")) {
    for (Json& port : *ports) {
      Default(port, "protocol", "TCP");
      if (const Json* number = Find(port, {"port"})) Default(port, "targetPort", *number);
    }
  }
}

void DefaultHpa(Json& spec) {
  Default(spec, "minReplicas", 1);
  Default(spec, "metrics",
          Json::array(
              {{{"type", "Resource"},
                {"resource", {{"name", "cpu"}, {"target", {{"type", "Utilization"}, {"averageUtilization", 80}}}}}}}));
}

void DefaultCrd(Json& crd) {
  Json* names = crd["spec"].is_object() ? ObjectAt(crd["spec"], "names") : nullptr;
  if (names == nullptr) return;
  std::string kind = FindString(*names, {"kind"});
  Default(*names, "singular", base::ToLower(kind));
  Default(*names, "listKind", kind + "List");
  if (ObjectAt(crd["spec"], "conversion") != nullptr) Default(crd["spec"]["conversion"], "strategy", "None");
}

void DefaultNamespace(Json& object) {
  Json* spec = ObjectAt(object, "spec");
  if (spec != nullptr && Find(object, {"metadata", "deletionTimestamp"}) == nullptr) {
    Default(*spec, "finalizers", Json::array({"kubernetes"}));
  }
  Json* status = ObjectAt(object, "status");
  if (status != nullptr) Default(*status, "phase", "Active");
  Json* labels = object["metadata"].is_object() ? ObjectAt(object["metadata"], "labels") : nullptr;
  if (labels != nullptr) Default(*labels, "kubernetes.io/metadata.name", FindString(object, {"metadata", "name"}));
}

void DefaultSecret(Json& object) {
  Default(object, "type", "Opaque");
  auto plain = object.find("stringData");
  if (plain == object.end() || !plain->is_object()) return;
  Json* data = ObjectAt(object, "data");
  if (data == nullptr) return;
  for (const auto& [key, value] : plain->items()) {
    if (value.is_string()) (*data)[key] = base::Base64Encode(value.get<std::string>());
  }
  object.erase("stringData");
}

void DefaultBuiltin(const ResourceType& type, Json& object) {
  const std::string name = type.QualifiedName();
  if (name == "namespaces") return DefaultNamespace(object);
  if (name == "secrets") return DefaultSecret(object);
  if (name == "customresourcedefinitions.apiextensions.k8s.io") return DefaultCrd(object);
  Json* spec = object.contains("spec") ? ObjectAt(object, "spec") : nullptr;
  if (spec == nullptr) return;
  if (name == "pods") {
    Json* status = ObjectAt(object, "status");
    DefaultPodSpec(*spec);
    if (status != nullptr) Default(*status, "phase", "Pending");
  } else if (name == "deployments.apps") {
    DefaultDeployment(*spec);
  } else if (name == "replicasets.apps" || name == "replicationcontrollers" || name == "statefulsets.apps") {
    Default(*spec, "replicas", 1);
    DefaultTemplate(*spec);
  } else if (name == "services") {
    DefaultService(*spec);
  } else if (name == "horizontalpodautoscalers.autoscaling") {
    DefaultHpa(*spec);
  }
}

// ---- Validation ----

using Errors = std::vector<FieldError>;

bool IsNameCharacter(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; }

bool IsDnsSubdomain(const std::string& name) {
  auto alphanumeric = [](char c) { return c != '-' && c != '.'; };
  return !name.empty() && name.size() <= 253 && std::all_of(name.begin(), name.end(), IsNameCharacter) &&
         alphanumeric(name.front()) && alphanumeric(name.back());
}

void ValidateMetadata(const ResourceType& type, const Json& object, Errors& errors) {
  std::string name = FindString(object, {"metadata", "name"});
  if (name.empty()) {
    errors.push_back(Required("metadata.name", "name or generateName is required"));
    return;
  }
  // RBAC names are path segments, everything else is a DNS name.
  bool ok = type.group == "rbac.authorization.k8s.io" ? name.find('/') == std::string::npos : IsDnsSubdomain(name);
  if (!ok) {
    errors.push_back(
        Invalid("metadata.name", name,
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
                "'.', and must start and end with an alphanumeric character"));
  }
  for (const char* map : {"labels", "annotations"}) {
    const Json* entries = Find(object, {"metadata", map});
    if (entries == nullptr || entries->is_null()) continue;
    if (!entries->is_object()) {
      errors.push_back(Invalid(std::string("metadata.") + map, *entries, "must be an object"));
      continue;
    }
    for (const auto& [key, value] : entries->items()) {
      if (!value.is_string()) {
        errors.push_back(Invalid(std::string("metadata.") + map + "." + key, value, "must be of type string"));
      }
    }
  }
}

void ValidateCount(const Json& object, const char* field, Errors& errors) {
  const Json* value = Find(object, {"spec", field});
  if (value == nullptr) return;
  std::string path = std::string("spec.") + field;
  if (!value->is_number_integer()) {
    errors.push_back(Invalid(path, *value, "must be an integer"));
  } else if (value->get<int64_t>() < 0 || value->get<int64_t>() > INT32_MAX) {
    errors.push_back(Invalid(path, *value, "must be greater than or equal to 0"));
  }
}

void ValidateContainers(const Json& pod_spec, const std::string& path, Errors& errors) {
  const Json* containers = Find(pod_spec, {"containers"});
  if (containers == nullptr || !containers->is_array() || containers->empty()) {
    errors.push_back(Required(path + ".containers"));
    return;
  }
  for (size_t i = 0; i < containers->size(); ++i) {
    std::string at = path + ".containers[" + std::to_string(i) + "]";
    for (const char* field : {"name", "image"}) {
      if (FindString((*containers)[i], {field}).empty()) errors.push_back(Required(at + "." + field));
    }
  }
}

void ValidateWorkload(const ResourceType& type, const Json& object, const Json* previous, Errors& errors) {
  ValidateCount(object, "replicas", errors);
  const Json* selector = Find(object, {"spec", "selector"});
  if (type.group == "apps") {
    auto parsed = selector == nullptr ? kube::LabelSelector() : kube::LabelSelector::FromJson(*selector);
    if (selector == nullptr) {
      errors.push_back(Required("spec.selector"));
    } else if (!parsed.ok()) {
      errors.push_back(Invalid("spec.selector", *selector, parsed.status().message()));
    } else if (const Json* pod_template = Find(object, {"spec", "template"});
               pod_template == nullptr || !parsed->Matches(kube::LabelsOf(*pod_template))) {
      const Json* labels = Find(object, {"spec", "template", "metadata", "labels"});
      errors.push_back(Invalid("spec.template.metadata.labels", labels == nullptr ? Json::object() : *labels,
                               "`selector` does not match template `labels`"));
    }
    const Json* old = previous == nullptr ? nullptr : Find(*previous, {"spec", "selector"});
    if (old != nullptr && selector != nullptr && *old != *selector) {
      errors.push_back(Invalid("spec.selector", *selector, "field is immutable"));
    }
  }
  const Json* pod_spec = Find(object, {"spec", "template", "spec"});
  ValidateContainers(pod_spec == nullptr ? Json::object() : *pod_spec, "spec.template.spec", errors);
}

void ValidateHpa(const Json& object, Errors& errors) {
  ValidateCount(object, "minReplicas", errors);
  const int64_t least = FindInt(object, {"spec", "minReplicas"}, 1);
  const Json* most = Find(object, {"spec", "maxReplicas"});
  if (most == nullptr) {
    errors.push_back(Required("spec.maxReplicas"));
  } else if (!most->is_number_integer() || most->get<int64_t>() < 1) {
    errors.push_back(Invalid("spec.maxReplicas", *most, "must be greater than 0"));
  } else if (most->get<int64_t>() < least) {
    errors.push_back(Invalid("spec.maxReplicas", *most, "must be greater than or equal to `minReplicas`"));
  }
  for (const char* field : {"kind", "name"}) {
    if (FindString(object, {"spec", "scaleTargetRef", field}).empty()) {
      errors.push_back(Required(std::string("spec.scaleTargetRef.") + field));
    }
  }
}

void ValidateCrd(const Json& crd, Errors& errors) {
  std::string group = FindString(crd, {"spec", "group"});
  std::string wanted = FindString(crd, {"spec", "names", "plural"}) + "." + group;
  if (group.empty()) errors.push_back(Required("spec.group"));
  if (FindString(crd, {"metadata", "name"}) != wanted) {
    errors.push_back(
        Invalid("metadata.name", FindString(crd, {"metadata", "name"}), "must be spec.names.plural+\".\"+spec.group"));
  }
  std::string scope = FindString(crd, {"spec", "scope"});
  if (scope != "Namespaced" && scope != "Cluster") {
    errors.push_back(NotSupported("spec.scope", scope, {"Cluster", "Namespaced"}));
  }
  auto types = TypesOfCrd(crd);
  if (!types.ok()) {
    const std::string& text = types.status().message();
    size_t colon = text.find(": ");
    errors.push_back({"FieldValueInvalid", text.substr(0, colon), text.substr(colon + 2)});
    return;
  }
  for (const ResourceTypePtr& type : *types) {
    if (type->schema == nullptr)
      errors.push_back(Required("spec.versions[" + type->version + "].schema.openAPIV3Schema"));
  }
}

void ValidateApiService(const Json& object, Errors& errors) {
  std::string wanted = FindString(object, {"spec", "version"}) + "." + FindString(object, {"spec", "group"});
  if (FindString(object, {"metadata", "name"}) != wanted) {
    errors.push_back(Invalid("metadata.name", FindString(object, {"metadata", "name"}),
                             "must be `spec.version+\".\"+spec.group`: \"" + wanted + "\""));
  }
  if (FindInt(object, {"spec", "groupPriorityMinimum"}) <= 0) {
    errors.push_back(Invalid("spec.groupPriorityMinimum", FindInt(object, {"spec", "groupPriorityMinimum"}),
                             "must be positive and less than 20000"));
  }
  if (base::FindBool(object, {"spec", "insecureSkipTLSVerify"}) && !FindString(object, {"spec", "caBundle"}).empty()) {
    errors.push_back(Invalid("spec.insecureSkipTLSVerify", true, "may not be true if caBundle is present"));
  }
}

void ValidateService(const Json& object, const Json* previous, Errors& errors) {
  std::string now = FindString(object, {"spec", "clusterIP"});
  std::string before = previous == nullptr ? "" : FindString(*previous, {"spec", "clusterIP"});
  if (!before.empty() && now != before) errors.push_back(Invalid("spec.clusterIP", now, "field is immutable"));
  const Json* ports = Find(object, {"spec", "ports"});
  const bool headless = now == "None" || FindString(object, {"spec", "type"}) == "ExternalName";
  if ((ports == nullptr || ports->empty()) && !headless) errors.push_back(Required("spec.ports"));
  if (ports == nullptr || !ports->is_array()) return;
  for (size_t i = 0; i < ports->size(); ++i) {
    const int64_t number = FindInt((*ports)[i], {"port"});
    if (number < 1 || number > 65535) {
      errors.push_back(
          Invalid("spec.ports[" + std::to_string(i) + "].port", number, "must be between 1 and 65535, inclusive"));
    }
  }
}

void ValidateBuiltin(const ResourceType& type, const Json& object, const Json* previous, Errors& errors) {
  const std::string name = type.QualifiedName();
  if (name == "deployments.apps" || name == "replicasets.apps" || name == "statefulsets.apps") {
    ValidateWorkload(type, object, previous, errors);
  } else if (name == "pods") {
    const Json* spec = Find(object, {"spec"});
    ValidateContainers(spec == nullptr ? Json::object() : *spec, "spec", errors);
  } else if (name == "horizontalpodautoscalers.autoscaling") {
    ValidateHpa(object, errors);
  } else if (name == "customresourcedefinitions.apiextensions.k8s.io") {
    ValidateCrd(object, errors);
  } else if (name == "apiservices.apiregistration.k8s.io") {
    ValidateApiService(object, errors);
  } else if (name == "services") {
    ValidateService(object, previous, errors);
  }
}

}  // namespace

void ApplyDefaults(const ResourceType& type, Json& object) {
  if (type.custom) {
    if (type.schema != nullptr) ApplySchemaDefaults(*type.schema, object);
  } else {
    DefaultBuiltin(type, object);
  }
}

std::vector<FieldError> ValidateObject(const ResourceType& type, const Json& object, const Json* previous) {
  std::vector<FieldError> errors;
  ValidateMetadata(type, object, errors);
  if (!type.custom) {
    ValidateBuiltin(type, object, previous, errors);
  } else if (type.schema != nullptr) {
    ValidateSchema(*type.schema, object, "", &errors);
  }
  return errors;
}

}  // namespace tidewright::sandbox
