#include "sandbox/selector.h"

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::sandbox {

namespace {

bool StartsWith(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

bool IsSelectable(const ResourceType& type, std::string_view field) {
  if (field == "metadata.name") return true;
  if (field == "metadata.namespace") return type.namespaced;
  const std::string name = type.QualifiedName();
  if (name == "pods") {
    return field == "status.phase" || field == "status.podIP" || field == "spec.nodeName" ||
           field == "spec.restartPolicy" || field == "spec.schedulerName" || field == "spec.serviceAccountName";
  }
  if (name == "events" || name == "events.events.k8s.io") {
    return StartsWith(field, "involvedObject.") || StartsWith(field, "regarding.") || field == "reason" ||
           field == "type" || field == "reportingComponent" || field == "source";
  }
  if (name == "namespaces") return field == "status.phase";
  if (name == "nodes") return field == "spec.unschedulable";
  if (name == "secrets") return field == "type";
  if (name == "replicasets.apps" || name == "replicationcontrollers") return field == "status.replicas";
  return false;
}

std::string TextAt(const base::Json& object, const std::vector<std::string>& path) {
  const base::Json* at = &object;
  for (const std::string& name : path) {
    at = base::Find(*at, {name});
    if (at == nullptr) return "";
  }
  if (at->is_string()) return at->get<std::string>();
  return at->is_structured() || at->is_null() ? "" : base::DumpJson(*at);
}

}  // namespace

base::Result<ObjectFilter::FieldRequirement> ObjectFilter::ParseField(const ResourceType& type, std::string_view text) {
  FieldRequirement requirement;
  size_t at = text.find('=');
  if (at == std::string_view::npos || at == 0) {
    return base::InvalidArgumentError("invalid field selector " + base::Quoted(text) +
                                      "; use for example metadata.name=web");
  }
  requirement.equal = text[at - 1] != '!';
  std::string_view field = base::TrimSpace(text.substr(0, requirement.equal ? at : at - 1));
  std::string_view value = text.substr(at + 1);
  if (requirement.equal && !value.empty() && value.front() == '=') value.remove_prefix(1);
  if (!IsSelectable(type, field)) {
    return base::InvalidArgumentError(
        base::Quoted(field) + " is not a known field selector: field label not supported: " + std::string(field));
  }
  if (StartsWith(field, "regarding.")) {  // Events are stored in their core form.
    requirement.path = base::Split("involvedObject." + std::string(field.substr(10)), '.');
  } else {
    requirement.path = base::Split(field == "source" ? "source.component" : field, '.');
  }
  requirement.value = std::string(base::TrimSpace(value));
  return requirement;
}

base::Result<ObjectFilter> ObjectFilter::Parse(const ResourceType& type, std::string_view labels,
                                               std::string_view fields) {
  ObjectFilter filter;
  TW_ASSIGN_OR_RETURN(filter.labels_, kube::LabelSelector::Parse(labels));
  if (fields.empty()) return filter;
  for (const std::string& part : base::Split(fields, ',')) {
    if (part.empty()) continue;
    TW_ASSIGN_OR_RETURN(FieldRequirement requirement, ParseField(type, part));
    filter.fields_.push_back(std::move(requirement));
  }
  return filter;
}

bool ObjectFilter::Matches(const base::Json& object) const {
  for (const FieldRequirement& requirement : fields_) {
    if ((TextAt(object, requirement.path) == requirement.value) != requirement.equal) return false;
  }
  return labels_.empty() || labels_.Matches(kube::LabelsOf(object));
}

}  // namespace tidewright::sandbox
