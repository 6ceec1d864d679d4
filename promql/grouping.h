// Which series an aggregation takes together.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "promql/ast.h"
#include "promql/matrix.h"
#include "promql/plan_memory.h"
#include "promql/query_state.h"

namespace tidewright::promql {

// Numbers the groups of one evaluation in the order of their first series. A selected series' group is found once for
// all evaluations, by the labels that count.
class Grouper {
 public:
  Grouper(QueryState& state, const Aggregate& node);
  // The group's number; `added` when it is new.
  size_t GroupOf(const LabelsView& labels, bool* added);
  // The labels of a group.
  LabelsView LabelsOf(size_t group) const { return LabelsView(memory_.labels[remembered_[group]]); }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  bool Counts(std::string_view name) const;
  // The number that the group has in memory.
  uint32_t Remembered(const LabelsView& labels);
  // Where the memory keeps the group of a selected series; null for other series.
  uint32_t* Place(const LabelsView& labels);
  uint32_t Make(const LabelsView& labels);

  QueryState& state_;
  const bool without_;
  std::vector<std::string> names_;  // Sorted.
  GroupMemory& memory_;
  std::vector<uint32_t> numbers_;     // Of groups in memory; kNone: not in this evaluation so far.
  std::vector<uint32_t> remembered_;  // The other way.
  std::string key_;
};

}  // namespace tidewright::promql
