#include "scaler/shards.h"

#include <algorithm>
#include <cstdint>
#include <map>

#include "base/json.h"
#include "kube/meta.h"

namespace tidewright::scaler {

namespace {

uint64_t HashOf(const std::string& text) {
  uint64_t hash =
      14695981039346656037u;  // FNV-1a, and the last steps of MurmurHash3, without which near texts are near.
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53u;
  return hash ^ (hash >> 33);
}

}  // namespace

int ShardOf(const base::Json& object, int shards) {
  std::string what = kube::NamespaceOf(object) + "/";
  if (base::FindString(object, {"kind"}) == "ScaledJob") {
    what += "Job/" + kube::NameOf(object);
  } else {
    what += base::FindString(object, {"spec", "scaleTargetRef", "kind"}, "Deployment") + "/" +
            base::FindString(object, {"spec", "scaleTargetRef", "name"});
  }
  return static_cast<int>(HashOf(what) % static_cast<uint64_t>(shards));
}

std::vector<std::string> AssignShards(const std::vector<std::string>& members, int shards) {
  std::vector<std::string> owners(static_cast<size_t>(shards));
  if (members.empty()) return owners;
  const size_t least = owners.size() / members.size();
  size_t with_more = owners.size() % members.size();  // So many members may get one more.
  std::map<std::string, size_t> load;
  for (size_t shard = 0; shard < owners.size(); ++shard) {
    uint64_t best = 0;
    for (const std::string& member : members) {
      const uint64_t score = HashOf(member + "/" + std::to_string(shard));
      const bool better = owners[shard].empty() || score > best || (score == best && member < owners[shard]);
      const bool room = load[member] < least || (load[member] == least && with_more > 0);
      if (!room || !better) continue;
      best = score;
      owners[shard] = member;
    }
    if (load[owners[shard]]++ == least) --with_more;
  }
  return owners;
}

}  // namespace tidewright::scaler
