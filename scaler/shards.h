// Shards: how ScaledObjects and ScaledJobs are divided among several replicas.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace tidewright::scaler {

// The shard of an object, from 0 to `shards` - 1. Objects that name the same target are in the same one, so that two of
// them still notice each other. The number depends on nothing but namespace, kind and name of the target (of a
// ScaledJob: its own).
int ShardOf(const base::Json& object, int shards);

// Who should follow each shard: consistent (rendezvous) hashing in which everybody gets the average, rounded up or
// down. When a member goes, hardly any shards move but its own. Empty texts without members. Pure: everybody who sees
// the same members gets the same answer, whatever their order.
std::vector<std::string> AssignShards(const std::vector<std::string>& members, int shards);

}  // namespace tidewright::scaler
