#include "promql/grouping.h"

#include <algorithm>

namespace tidewright::promql {

Grouper::Grouper(QueryState& state, const Aggregate& node)
    : state_(state), without_(node.without), names_(node.grouping) {
  std::sort(names_.begin(), names_.end());
}

bool Grouper::Counts(std::string_view name) const {
  bool listed = std::binary_search(names_.begin(), names_.end(), name);
  return without_ ? !listed && !IsMetricLabel(name) : listed;
}

size_t Grouper::GroupOf(const LabelsView& labels, bool* added) {
  key_.clear();
  if (without_) {
    labels.ForEach([&](const auto& label) {
      if (!Counts(label.name)) return;
      key_.append(label.name).push_back('\xff');
      key_.append(label.value).push_back('\xff');
    });
  } else {
    for (const std::string& name : names_) key_.append(labels.Get(name)).push_back('\xff');
  }
  auto [entry, is_new] = groups_.emplace(key_, groups_.size());
  *added = is_new;
  return entry->second;
}

LabelsView Grouper::LabelsOf(const LabelsView& labels) {
  std::vector<tsdb::Label> kept;
  labels.ForEach([&](const auto& label) {
    if (Counts(label.name)) kept.push_back(label);
  });
  return state_.Own(Labels::FromPairs(std::move(kept)));
}

}  // namespace tidewright::promql
