// Versions of one resource that share their storage, and the conversions between them.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "sandbox/resource_type.h"

namespace tidewright::sandbox {

// Where objects of `type` are stored: its qualified name, except that events.k8s.io events are core events.
std::string StorageOf(const ResourceType& type);

// Whether the stored form of `object` is already in the version of `type`.
bool IsInVersion(const ResourceType& type, const base::Json& object);

// Converts between the version of `type` and the stored one (HPAs: autoscaling/v2, events: v1, custom resources: the
// CRD's storage version). HPA v1 keeps only a CPU utilization metric: others are dropped on reading as v1.
base::Json ToStorage(const ResourceType& type, base::Json object);
base::Json FromStorage(const ResourceType& type, base::Json object);

}  // namespace tidewright::sandbox
