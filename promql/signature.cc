#include "promql/signature.h"

#include <algorithm>
#include <unordered_map>

namespace tidewright::promql {

Signature::Signature(const VectorMatching& matching) : on_(matching.on), labels_(matching.labels) {
  std::sort(labels_.begin(), labels_.end());
}

bool Signature::Uses(std::string_view name) const {
  bool listed = std::binary_search(labels_.begin(), labels_.end(), name);
  return on_ ? listed : !listed && name != tsdb::kMetricName;
}

void Signature::AppendKey(const LabelsView& labels, std::string* key) const {
  if (on_) {
    for (const std::string& name : labels_) key->append(labels.Get(name)).push_back('\xff');
    return;
  }
  labels.ForEach([&](const auto& label) {
    if (!Uses(label.name)) return;
    key->append(label.name).push_back('\xff');
    key->append(label.value).push_back('\xff');
  });
}

Labels Signature::LabelsOf(const LabelsView& labels) const {
  std::vector<tsdb::Label> kept;
  labels.ForEach([&](const auto& label) {
    if (Uses(label.name)) kept.push_back(label);
  });
  return Labels::FromPairs(std::move(kept));
}

std::vector<MatchGroup> GroupBySignature(const Signature& signature, const EvalMatrix& left, const EvalMatrix& right) {
  std::vector<MatchGroup> groups;
  std::unordered_map<std::string, size_t> index;
  index.reserve(std::max(left.size(), right.size()));
  std::string key;
  auto add = [&](const EvalMatrix& side, std::vector<size_t> MatchGroup::*members) {
    for (size_t i = 0; i < side.size(); ++i) {
      key.clear();
      signature.AppendKey(side[i].labels, &key);
      auto [entry, added] = index.emplace(key, groups.size());
      if (added) groups.emplace_back();
      (groups[entry->second].*members).push_back(i);
    }
  };
  add(left, &MatchGroup::left);
  add(right, &MatchGroup::right);
  return groups;
}

}  // namespace tidewright::promql
