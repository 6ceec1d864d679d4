// The patch formats of the Kubernetes API, as pure functions on JSON values.
#pragma once

#include <string_view>

#include "base/json_fwd.h"
#include "base/status.h"

namespace tidewright::sandbox {

// Applies an RFC 7386 merge patch: null deletes a member, objects merge, everything else replaces. Never fails; depth
// is bounded by the JSON parser's limit.
void ApplyMergePatch(base::Json& target, const base::Json& patch);

// Applies an RFC 6902 patch: add, remove, replace, move, copy, test. kInvalidArgument names the operation's index and
// what is wrong; `target` is then in an unspecified state, so work on a copy. A patch of more than 10,000 operations,
// or one whose copies grow the document beyond `kMaxPatchedNodes` values, is kResourceExhausted.
base::Status ApplyJsonPatch(base::Json& target, const base::Json& patch);

inline constexpr size_t kMaxPatchedNodes = 2'000'000;

// Applies a strategic merge patch as kubectl sends it: as a merge patch, but lists whose elements have a merge key
// (containers and env by name, container ports by containerPort, service ports by port, volumes and conditions, ...)
// merge element by element. Understands $patch: delete | replace | merge, $retainKeys, $setElementOrder/<list> and
// $deleteFromPrimitiveList/<list>. Source: Kubernetes' strategic-merge-patch contributor document and the patchMergeKey
// tags of the core/v1, apps/v1 and autoscaling/v2 types.
base::Status ApplyStrategicMergePatch(base::Json& target, const base::Json& patch);

// Server-side apply, simplified: the configuration is laid over the object like a strategic merge patch whose nulls are
// ignored. Field ownership is not tracked, so a field that a later configuration leaves out stays, and two managers
// never conflict.
base::Status ApplyConfiguration(base::Json& target, const base::Json& configuration);

}  // namespace tidewright::sandbox
