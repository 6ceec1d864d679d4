// Taking over a data directory of Prometheus: what its write-ahead log (wal/, with checkpoint), its log of out-of-order
// samples (wbl/) and its head chunks (chunks_head/) hold. They are read, never written.
// The formats are described in tsdb/docs/wal.md and tsdb/docs/head_chunks.md.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"
#include "tsdb/tombstones.h"

namespace tidewright::tsdb {

// Receives the content. A failure ends the reading and is returned. Not called by several threads at once.
class PrometheusHeadSink {
 public:
  virtual ~PrometheusHeadSink() = default;
  // Finds or creates the series; the result names it in what follows. The same labels may come several times, since a
  // log can have several references for them. A series without samples is not mentioned.
  virtual base::Result<SeriesRef> AddSeries(const Labels& labels) = 0;
  // Ascending in time per series, all series mixed. With `out_of_order` in any order, after all others, and samples may
  // repeat.
  virtual base::Status AddFloat(SeriesRef ref, int64_t t, double value, bool out_of_order) = 0;
  virtual base::Status AddHistogram(SeriesRef ref, int64_t t, const Histogram& histogram, bool out_of_order) = 0;
  virtual base::Status AddFloatHistogram(SeriesRef ref, int64_t t, const FloatHistogram& histogram,
                                         bool out_of_order) = 0;
  virtual base::Status AddExemplar(SeriesRef ref, const Labels& labels, int64_t t, double value) = 0;
  // `family` is "" when it is the series' metric name.
  virtual base::Status SetMetadata(SeriesRef ref, const std::string& family, const Metadata& metadata) = 0;
  // After all samples: those in the interval are deleted.
  virtual base::Status Delete(SeriesRef ref, TimeInterval interval) = 0;
};

struct PrometheusHeadStats {
  uint64_t records = 0;
  uint64_t samples = 0;          // Given to the sink.
  uint64_t unknown_series = 0;   // Samples and others whose series the log does not define.
  uint64_t unknown_records = 0;  // Records of a type that this build does not know.
  uint64_t corruptions = 0;      // Damaged files: what is valid before the damage was used; logged.
};

// Whether `data_directory` has anything to take over: a wal/ or chunks_head/ of Prometheus.
bool HasPrometheusHead(const std::string& data_directory);

// Reads it all. Samples before `min_valid_time` (the end of the newest block; INT64_MIN without blocks) are left out,
// as Prometheus does. Changes nothing on disk. Damage ends what is read of that file, is counted, and never fails the
// whole; errors of the disk do.
base::Result<PrometheusHeadStats> ReadPrometheusHead(const std::string& data_directory, int64_t min_valid_time,
                                                     PrometheusHeadSink& sink);

// Removes wal/, wbl/, chunks_head/ and chunk snapshots.
base::Status RemovePrometheusHead(const std::string& data_directory);

}  // namespace tidewright::tsdb
