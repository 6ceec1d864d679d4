#include "promql/plan_memory.h"

#include <algorithm>

namespace tidewright::promql {
namespace {

constexpr size_t kGroupBytes = 400;  // A key, its entry, and labels.

}  // namespace

const PlanMemory::Selection* PlanMemory::Find(const VectorSelector& node) const {
  auto found = selections_.find(&node);
  return found == selections_.end() ? nullptr : &found->second;
}

// A set that goes may leave its address to another one.
const PlanMemory::Selection& PlanMemory::Set(const VectorSelector& node, Selection selection) {
  groups_.clear();
  Selection& kept = selections_[&node];
  kept = std::move(selection);
  return kept;
}

bool PlanMemory::Has(const tsdb::SeriesSet* set) const {
  return std::any_of(selections_.begin(), selections_.end(),
                     [&](const auto& entry) { return entry.second.set.get() == set; });
}

void PlanMemory::Trim() {
  std::erase_if(groups_, [](const auto& entry) { return entry.second.others; });
}

size_t PlanMemory::bytes() const {
  size_t bytes = 0;
  for (const auto& [node, selection] : selections_) bytes += selection.set->bytes();
  for (const auto& [node, memory] : groups_) {
    bytes += memory.group_of.size() * sizeof(uint32_t) + memory.labels.size() * kGroupBytes;
  }
  return bytes;
}

}  // namespace tidewright::promql
