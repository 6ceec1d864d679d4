#include "remote/outgoing_labels.h"

#include <utility>

namespace tidewright::remote {

namespace {

bool OnlyChooses(scrape::RelabelAction action) {
  using enum scrape::RelabelAction;
  return action == kKeep || action == kDrop || action == kKeepEqual || action == kDropEqual;
}

}  // namespace

OutgoingLabels::OutgoingLabels(const std::vector<scrape::RelabelRule>& rules, tsdb::Labels external)
    : rules_(rules), external_(std::move(external)) {
  for (const scrape::RelabelRule& rule : rules_) rewrites_ = rewrites_ || !OnlyChooses(rule.action);
}

// The labels with the external ones; false when the series is not known.
bool OutgoingLabels::Load(tsdb::SeriesRef ref, const tsdb::LogTail& tail) {
  merged_.clear();
  if (!tail.LabelsOf(ref, &own_)) return false;
  auto own = own_.begin();
  for (const tsdb::Label& label : external_) {
    while (own != own_.end() && own->first < label.name) merged_.push_back(*own++);
    if (own == own_.end() || own->first != label.name) merged_.emplace_back(label.name, label.value);
  }
  merged_.insert(merged_.end(), own, own_.end());
  return true;
}

// Applies the rules to the labels at hand; false when they drop them.
bool OutgoingLabels::Rewrite() {
  std::vector<tsdb::Label> labels;
  labels.reserve(merged_.size());
  for (const auto& [name, value] : merged_) labels.push_back({std::string(name), std::string(value)});
  tsdb::LabelsBuilder builder(tsdb::Labels::FromSorted(std::move(labels)));
  if (!scrape::Relabel(rules_, &builder)) return false;
  if (!rewrites_) return true;
  rewritten_ = builder.Build();
  merged_.clear();
  for (const tsdb::Label& label : rewritten_) merged_.emplace_back(label.name, label.value);
  return !merged_.empty();
}

Fate OutgoingLabels::FateOf(tsdb::SeriesRef ref, const tsdb::LogTail& tail) {
  if (judged_.Test(ref)) return sent_.Test(ref) ? Fate::kSent : Fate::kDropped;
  // A series that is not known yet may be explained later.
  if (!Load(ref, tail)) return Fate::kUnknown;
  judged_.TestAndSet(ref);
  if (!rules_.empty() && !Rewrite()) return Fate::kDropped;
  sent_.TestAndSet(ref);
  return Fate::kSent;
}

const tsdb::LabelViews& OutgoingLabels::Of(tsdb::SeriesRef ref, const tsdb::LogTail& tail) {
  if (Load(ref, tail) && rewrites_ && !Rewrite()) merged_.clear();
  return merged_;
}

}  // namespace tidewright::remote
