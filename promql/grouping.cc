#include "promql/grouping.h"

#include <algorithm>

namespace tidewright::promql {

Grouper::Grouper(QueryState& state, const Aggregate& node)
    : state_(state), without_(node.without), names_(node.grouping), memory_(state.memory().groups(node)) {
  std::sort(names_.begin(), names_.end());
}

bool Grouper::Counts(std::string_view name) const {
  bool listed = std::binary_search(names_.begin(), names_.end(), name);
  return without_ ? !listed && !IsMetricLabel(name) : listed;
}

size_t Grouper::GroupOf(const LabelsView& labels, bool* added) {
  uint32_t group = Remembered(labels);
  if (group >= numbers_.size()) numbers_.resize(memory_.labels.size(), kNone);
  uint32_t& number = numbers_[group];
  *added = number == kNone;
  if (*added) {
    number = static_cast<uint32_t>(remembered_.size());
    remembered_.push_back(group);
  }
  return number;
}

uint32_t Grouper::Remembered(const LabelsView& labels) {
  uint32_t* place = Place(labels);
  if (place == nullptr) return Make(labels);
  if (*place == GroupMemory::kUnknown) *place = Make(labels);
  return *place;
}

uint32_t* Grouper::Place(const LabelsView& labels) {
  const tsdb::SeriesSet* set = labels.set();
  if (memory_.set == nullptr && set != nullptr && state_.memory().Has(set)) {
    memory_.set = set;
    memory_.nameless = labels.nameless();
    memory_.group_of.assign(set->size(), GroupMemory::kUnknown);
  }
  if (set != nullptr && set == memory_.set && labels.nameless() == memory_.nameless) {
    return &memory_.group_of[labels.index()];
  }
  memory_.others = true;
  return nullptr;
}

uint32_t Grouper::Make(const LabelsView& labels) {
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
  auto [entry, added] = memory_.groups.emplace(key_, static_cast<uint32_t>(memory_.labels.size()));
  if (!added) return entry->second;
  std::vector<tsdb::Label> kept;
  labels.ForEach([&](const auto& label) {
    if (Counts(label.name)) kept.push_back(label);
  });
  memory_.labels.push_back(Labels::FromPairs(std::move(kept)));
  return entry->second;
}

}  // namespace tidewright::promql
