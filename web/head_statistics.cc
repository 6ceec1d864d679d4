#include "web/head_statistics.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <unordered_map>

namespace tidewright::web {

namespace {

// A pair of name and value, known by the hash of both; the series where it was seen first spells it.
struct Pair {
  uint32_t count = 0;
  uint32_t series = 0;
};

size_t HashOf(const tsdb::Label& label) {
  const std::hash<std::string_view> hash;
  return hash(label.name) * 31 + hash(label.value);
}

struct LabelUse {
  uint64_t values = 0;
  uint64_t bytes = 0;
};

template <typename Key, typename Value>
std::vector<std::pair<Key, Value>> Largest(std::vector<std::pair<Key, Value>> all, size_t limit) {
  auto larger = [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  };
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min(limit, all.size()));
  std::partial_sort(all.begin(), end, all.end(), larger);
  all.erase(end, all.end());
  return all;
}

// The tally of one walk over the series.
class Tally {
 public:
  void Add(const tsdb::Labels& labels, uint32_t series) {
    ++metrics_[std::string(labels.MetricName())];
    for (const tsdb::Label& label : labels) {
      Pair& pair = pairs_.try_emplace(HashOf(label), Pair{0, series}).first->second;
      if (pair.count++ > 0) continue;
      LabelUse& use = labels_[label.name];
      ++use.values;
      use.bytes += label.value.size();
    }
  }

  HeadStatistics Finish(const tsdb::SeriesSet& set, size_t limit) const {
    HeadStatistics statistics;
    statistics.label_pairs = pairs_.size();
    statistics.series_by_metric = Largest(HeadStatistics::Counts(metrics_.begin(), metrics_.end()), limit);
    HeadStatistics::Counts values, bytes;
    for (const auto& [name, use] : labels_) {
      values.emplace_back(name, use.values);
      bytes.emplace_back(name, use.bytes);
    }
    statistics.values_by_label = Largest(std::move(values), limit);
    statistics.bytes_by_label = Largest(std::move(bytes), limit);
    std::vector<std::pair<size_t, uint64_t>> counts;
    for (const auto& [hash, pair] : pairs_) counts.emplace_back(hash, pair.count);
    for (const auto& [hash, count] : Largest(std::move(counts), limit)) {
      statistics.series_by_pair.emplace_back(Spelling(set, hash), count);
    }
    return statistics;
  }

 private:
  std::string Spelling(const tsdb::SeriesSet& set, size_t hash) const {
    for (const tsdb::Label& label : set.labels(pairs_.at(hash).series)) {
      if (HashOf(label) == hash) return label.name + "=" + label.value;
    }
    return "";
  }

  std::unordered_map<std::string, uint64_t> metrics_;
  std::unordered_map<std::string, LabelUse> labels_;
  std::unordered_map<size_t, Pair> pairs_;
};

}  // namespace

base::Result<HeadStatistics> CountHead(tsdb::Querier& querier, size_t limit) {
  tsdb::SelectHints hints;
  hints.no_samples = true;
  TW_ASSIGN_OR_RETURN(tsdb::SeriesSetPtr set, querier.Find(hints, {}));
  Tally tally;
  for (size_t i = 0; i < set->size(); ++i) tally.Add(set->labels(i), static_cast<uint32_t>(i));
  return tally.Finish(*set, limit);
}

}  // namespace tidewright::web
