// HistogramStore: the native histograms of the head. They are rare, so that they are kept beside the series, by
// reference: the newest few as they are, others in chunks of Prometheus' encoding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/chunk.h"
#include "tsdb/histogram.h"
#include "tsdb/timeline.h"

namespace tidewright::tsdb {

using HistogramValue = std::variant<Histogram, FloatHistogram>;

struct HistogramSample {
  int64_t t = 0;
  HistogramValue value;
};

// One sample as bytes, for the log. Decoding any bytes is safe; kDataLoss for what is none.
std::string EncodeHistogramSample(const HistogramSample& sample);
base::Result<HistogramSample> DecodeHistogramSample(std::string_view bytes);

// Thread-safe. The lock is taken last.
class HistogramStore {
 public:
  // Appends a sample that is newer than what the series has.
  void Append(SeriesRef ref, CommitSequence commit, HistogramSample sample);
  // The newest sample's time, if there is one; and whether it is this one.
  std::optional<int64_t> LastTime(SeriesRef ref) const;
  bool IsLast(SeriesRef ref, const HistogramSample& sample) const;
  // The samples between mint and maxt (inclusive) that the reader sees.
  std::vector<HistogramSample> Read(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader) const;
  bool MayHave(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader) const;
  // The time of the first sample at or after `t`; INT64_MAX without one.
  int64_t NextTime(SeriesRef ref, int64_t t) const;
  // Drops what ends before `mint` (all with INT64_MAX).
  void Truncate(SeriesRef ref, int64_t mint);
  bool Empty(SeriesRef ref) const { return NextTime(ref, INT64_MIN) == INT64_MAX; }
  void Forget(SeriesRef ref);

 private:
  static constexpr size_t kRawSamples = 16;

  struct Entry {
    int64_t t;
    CommitSequence commit;
  };
  struct Run {
    std::vector<EncodedChunk> chunks;
    std::vector<Entry> entries;  // One for each sample of the chunks.
  };
  struct Series {
    std::vector<Run> runs;
    std::vector<HistogramSample> raw;
    std::vector<Entry> raw_entries;
  };

  const Series* Find(SeriesRef ref) const REQUIRES_LOCK(mu_);

  mutable base::Mutex mu_;
  std::unordered_map<SeriesRef, Series> series_ GUARDED_BY(mu_);
};

}  // namespace tidewright::tsdb
