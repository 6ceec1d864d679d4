// NameList: the names of the objects that match a selector, shared by all who ask for them again and again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tidewright::kube {

struct NameList {
  std::vector<std::string> names;  // Sorted.
  uint64_t version = 0;            // Tells the cache that made the list whether it still holds.
};

// Null: there is none.
using NameListPtr = std::shared_ptr<const NameList>;

}  // namespace tidewright::kube
