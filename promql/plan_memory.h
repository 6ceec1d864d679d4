// What evaluations of one expression leave behind for the next: the series of its selectors, and how its aggregations
// group them. None of it depends on time.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "promql/ast.h"
#include "promql/matrix.h"
#include "tsdb/querier.h"

namespace tidewright::promql {

// The groups of one aggregation, numbered in the order in which they were first seen.
struct GroupMemory {
  static constexpr uint32_t kUnknown = UINT32_MAX;

  std::unordered_map<std::string, uint32_t> groups;  // By what makes them up.
  std::deque<Labels> labels;                         // Of each group; they stay where they are.
  // The groups of the series of one set, by their index in it.
  const tsdb::SeriesSet* set = nullptr;
  bool nameless = false;
  std::vector<uint32_t> group_of;
  bool others = false;  // Some groups were made by series that are not of the set.
};

// By nodes of one tree, which must live as long. Not thread-safe.
class PlanMemory {
 public:
  struct Selection {
    tsdb::SeriesSetPtr set;
    bool differ_without_name = false;  // Its series stay different without their metric labels.
  };

  // Null when nothing is known of the selector.
  const Selection* Find(const VectorSelector& node) const;
  // Makes void what was known of the groups of any series.
  const Selection& Set(const VectorSelector& node, Selection selection);
  bool Has(const tsdb::SeriesSet* set) const;
  GroupMemory& groups(const Aggregate& node) { return groups_[&node]; }

  // Call when an evaluation has ended: forgets what would only grow.
  void Trim();
  // About the memory in use.
  size_t bytes() const;

 private:
  std::unordered_map<const VectorSelector*, Selection> selections_;
  std::unordered_map<const Aggregate*, GroupMemory> groups_;
};

}  // namespace tidewright::promql
