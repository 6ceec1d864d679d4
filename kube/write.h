// Read, change, write back, and again if someone else was faster.
#pragma once

#include <functional>
#include <string_view>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/status.h"
#include "kube/client.h"

namespace tidewright::kube {

// Changes an object in place. Called once per attempt with a fresh object, so it must depend on nothing but its
// argument and what it captured. An error ends the write and is returned.
using Mutate = std::function<base::Status(base::Json& object)>;

// Five attempts, 10 ms to 1 s apart with jitter, as long as the answer is kAborted (409 Conflict); then that is the
// error. When `mutate` changes nothing, nothing is written. Both return the object as the server has it afterwards.
// The written object carries the resourceVersion that was read, so no one's change is lost.

// PUT of the whole object: for objects that we alone write.
base::Result<base::Json> UpdateWithRetry(Client& client, base::Clock& clock, const Resource& resource,
                                         std::string_view ns, std::string_view name, const Mutate& mutate,
                                         std::string_view subresource = "");
// Merge patch of what differs: for objects that others write, too. With `subresource` "status" only status may differ.
base::Result<base::Json> PatchWithRetry(Client& client, base::Clock& clock, const Resource& resource,
                                        std::string_view ns, std::string_view name, const Mutate& mutate,
                                        std::string_view subresource = "");

// The merge patch (RFC 7386) that makes `to` of `from`; an empty object when they are equal. Both must be objects.
base::Json MergePatch(const base::Json& from, const base::Json& to);

}  // namespace tidewright::kube
