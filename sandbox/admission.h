// What the API server adds to objects before it stores them, and what it demands of them.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "sandbox/resource_type.h"
#include "sandbox/schema.h"

namespace tidewright::sandbox {

// Fills in the defaults of built-in kinds as the real server does (workload strategies, pod fields, port protocols,
// HPA metrics, CRD names) and of custom objects from their schema.
void ApplyDefaults(const ResourceType& type, base::Json& object);

// What is wrong with an object. `previous` is null on creation, else the stored one (for immutable fields). Built-in
// kinds: names, replica counts, selectors, containers, HPA limits, immutable fields; custom ones: their schema.
std::vector<FieldError> ValidateObject(const ResourceType& type, const base::Json& object, const base::Json* previous);

}  // namespace tidewright::sandbox
