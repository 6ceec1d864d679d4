// What the series of the head are made of: which names, labels and values they have most of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tsdb/querier.h"

namespace tidewright::web {

struct HeadStatistics {
  using Counts = std::vector<std::pair<std::string, uint64_t>>;  // The largest first.
  uint64_t label_pairs = 0;                                      // Different ones.
  Counts series_by_metric;
  Counts values_by_label;
  Counts bytes_by_label;  // Of the values, each counted once.
  Counts series_by_pair;  // "job=node"
};

// Walks over all series; `limit` is how many entries a list has at most. While it runs it holds some forty bytes for
// each pair of name and value.
base::Result<HeadStatistics> CountHead(tsdb::Querier& querier, size_t limit);

}  // namespace tidewright::web
