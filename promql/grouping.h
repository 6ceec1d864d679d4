// Which series an aggregation takes together.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "promql/ast.h"
#include "promql/matrix.h"
#include "promql/query_state.h"

namespace tidewright::promql {

// Numbers groups in the order of their first series. A series' group is found once, by the labels that count.
class Grouper {
 public:
  Grouper(QueryState& state, const Aggregate& node);
  // The group's number; `added` when it is new.
  size_t GroupOf(const LabelsView& labels, bool* added);
  // The labels of the group of a series with `labels`.
  LabelsView LabelsOf(const LabelsView& labels);

 private:
  bool Counts(std::string_view name) const;

  QueryState& state_;
  const bool without_;
  std::vector<std::string> names_;  // Sorted.
  std::unordered_map<std::string, size_t> groups_;
  std::string key_;
};

}  // namespace tidewright::promql
