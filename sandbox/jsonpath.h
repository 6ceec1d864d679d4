// The part of Kubernetes' JSONPath that CRD printer columns and scale paths use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"

namespace tidewright::sandbox {

// The values that `path` selects, in document order: ".spec.replicas", ".metadata.annotations['a/b']", "\." for a dot
// in a name, ".spec.items[0]", "[*]", "[?(@.type=="Ready")]". A path without match gives an empty list; a malformed one
// is kInvalidArgument. The pointers live as long as `object`. At most 1000 values.
base::Result<std::vector<const base::Json*>> EvaluateJsonPath(const base::Json& object, std::string_view path);

// Sets the member that a path of plain names (".spec.replicas") leads to, making objects on the way.
base::Status SetAtSimplePath(base::Json& object, std::string_view path, const base::Json& value);

}  // namespace tidewright::sandbox
