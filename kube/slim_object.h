// What the caches leave out of the objects that a cluster has most of. Private to kube.
#pragma once

#include <functional>

#include "base/json_fwd.h"
#include "kube/client.h"

namespace tidewright::kube {

// Drops what no part of this program reads, in place: of pods what only a kubelet needs, of nodes the list of their
// images. Null for resources whose objects are kept whole.
std::function<void(base::Json& object)> SlimmingOf(const Resource& resource);

}  // namespace tidewright::kube
