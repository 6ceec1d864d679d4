// A store in memory for acceptance scripts, tests and benchmarks.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "promql/value.h"
#include "tsdb/querier.h"

namespace tidewright::promqltest {

// One stored sample.
struct StoredSample {
  int64_t t = 0;
  double v = 0;                    // Of a histogram its sum.
  promql::HistogramPtr histogram;  // Null: a float.
  int64_t start = 0;               // Start timestamp; 0: unknown.
};

// Samples of one series in time order.
class StoredSeries {
 public:
  // Keeps the counter reset hints that a store of chunks would: in a chunk of counter histograms the first is unknown
  // and the later ones are no resets; a chunk of gauges is all gauges. A chunk ends at resets, staleness markers and
  // changes of type or layout. kOutOfRange unless the sample is newer than the last; the same again is accepted.
  base::Status Append(StoredSample sample);
  const std::vector<StoredSample>& samples() const { return samples_; }

 private:
  bool BeginsChunk(const StoredSample& sample) const;
  std::vector<StoredSample> samples_;
};

// Series by their labels. Not thread-safe; queriers look at the store as it is.
class MemoryStorage : public tsdb::Queryable {
 public:
  // Adds a sample to the series with these labels.
  base::Status Append(const tsdb::Labels& labels, StoredSample sample);
  base::Result<std::unique_ptr<tsdb::Querier>> NewQuerier(int64_t mint, int64_t maxt) override;

 private:
  std::map<tsdb::Labels, StoredSeries> series_;
};

}  // namespace tidewright::promqltest
