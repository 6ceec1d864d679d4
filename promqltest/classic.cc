#include "promqltest/classic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "promql/histogram.h"

namespace tidewright::promqltest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One classic histogram at one time.
struct Snapshot {
  std::map<double, double> buckets;  // Cumulative counts by upper bound.
  std::optional<double> count;
  double sum = 0;
};
using Snapshots = std::map<size_t, Snapshot>;  // By the index of the point.

// What a series is of a classic histogram.
struct Role {
  std::string_view suffix;
  double bound = 0;  // Of a bucket.

  void Note(double value, Snapshot& snapshot) const {
    if (suffix == "_sum") {
      snapshot.sum = value;
    } else if (suffix == "_count") {
      snapshot.count = value;
    } else {
      snapshot.buckets.emplace(bound, value);
    }
  }
};

std::optional<Role> RoleOf(const tsdb::Labels& labels) {
  for (std::string_view suffix : {"_bucket", "_sum", "_count"}) {
    if (!labels.MetricName().ends_with(suffix)) continue;
    Role role{suffix};
    bool number = suffix != "_bucket" || (ParseScriptNumber(labels.Get("le"), &role.bound) && !std::isnan(role.bound));
    return number ? std::optional(role) : std::nullopt;
  }
  return std::nullopt;
}

base::Result<Item> Convert(const Snapshot& snapshot) {
  auto buckets = snapshot.buckets;
  double count = snapshot.count.value_or(buckets.empty() ? 0 : buckets.rbegin()->second);
  buckets.emplace(kInfinity, count);
  if (count < 0 || buckets.rbegin()->second != count) {
    return base::InvalidArgumentError("the count of a classic histogram differs from its last bucket");
  }
  promql::Histogram h;
  h.schema = tsdb::kCustomBucketsSchema;
  h.count = count;
  h.sum = snapshot.sum;
  double below = 0;
  for (const auto& [bound, cumulative] : buckets) {
    if (cumulative < below) return base::InvalidArgumentError("the counts of a classic histogram decrease");
    if (bound != kInfinity) h.custom_values.push_back(bound);
    h.positive_buckets.push_back(cumulative - below);
    below = cumulative;
  }
  h.positive_spans = {{0, static_cast<uint32_t>(h.positive_buckets.size())}};
  return Item{Item::Kind::kHistogram, 0, promql::Compacted(h), false};
}

}  // namespace

base::Result<std::vector<SeriesLine>> ConvertClassic(const std::vector<SeriesLine>& lines) {
  std::map<tsdb::Labels, Snapshots> histograms;
  for (const SeriesLine& line : lines) {
    std::optional<Role> role = RoleOf(line.labels);
    if (!role) continue;
    std::string_view name = line.labels.MetricName();
    tsdb::LabelsBuilder builder(line.labels);
    builder.Remove("le").Set(tsdb::kMetricName, name.substr(0, name.size() - role->suffix.size()));
    Snapshots& snapshots = histograms[builder.Build()];
    for (size_t i = 0; i < line.items.size(); ++i) {
      const Item& item = line.items[i];
      bool counts = item.kind == Item::Kind::kFloat && !tsdb::IsStaleNan(item.value);
      if (counts) role->Note(item.value, snapshots[i]);
    }
  }
  std::vector<SeriesLine> converted;
  for (const auto& [labels, snapshots] : histograms) {
    SeriesLine line{labels, {}};
    for (const auto& [i, snapshot] : snapshots) {
      line.items.resize(i + 1);
      TW_ASSIGN_OR_RETURN(line.items[i], Convert(snapshot));
    }
    converted.push_back(std::move(line));
  }
  return converted;
}

}  // namespace tidewright::promqltest
