// The labelSelector and fieldSelector of a list, watch or deletecollection.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "kube/meta.h"
#include "sandbox/resource_type.h"

namespace tidewright::sandbox {

// A conjunction of label and field requirements. Value type.
class ObjectFilter {
 public:
  // kInvalidArgument for selectors that are malformed or, as in the real server, use a field that `type` cannot select
  // by: metadata.name and metadata.namespace always, and a fixed set per kind (status.phase, spec.nodeName,
  // involvedObject.*, ...).
  static base::Result<ObjectFilter> Parse(const ResourceType& type, std::string_view labels, std::string_view fields);

  bool Matches(const base::Json& object) const;

 private:
  struct FieldRequirement {
    std::vector<std::string> path;
    bool equal = true;
    std::string value;
  };
  static base::Result<FieldRequirement> ParseField(const ResourceType& type, std::string_view text);

  kube::LabelSelector labels_;
  std::vector<FieldRequirement> fields_;
};

}  // namespace tidewright::sandbox
