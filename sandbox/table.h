// Server-side printing: the meta.k8s.io/v1 Table that `kubectl get` asks for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "sandbox/resource_type.h"
#include "sandbox/store.h"

namespace tidewright::sandbox {

// What of each object accompanies its row (the includeObject parameter).
enum class IncludeObject { kNone, kMetadata, kObject };

// The Table of `objects`, already in the version of `type`. Columns are those of the real server for the common kinds,
// the additionalPrinterColumns of a CRD, NAME and AGE otherwise.
base::Json RenderTable(const ResourceType& type, const std::vector<const base::Json*>& objects, IncludeObject include,
                       int64_t now_ms);

// An age as kubectl prints it: "95s", "3m20s", "5h", "12d".
std::string HumanDuration(int64_t ms);

}  // namespace tidewright::sandbox
