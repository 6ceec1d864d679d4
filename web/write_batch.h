// WriteBatch: the samples of one remote write request on their way into the store, whatever version of the protocol
// brought them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/exemplar.h"
#include "tsdb/labels.h"

namespace tidewright::web {

// A series of the request.
struct WrittenSeries {
  tsdb::SeriesRef ref = 0;  // 0: not known yet.
  bool learned = false;     // The reference was found out here.
  bool unnamed = false;     // The labels name no series.
  uint32_t commit = 0;      // The latest that has a sample of it.
};

// What became of the samples. What the store refused does not keep it from taking the others.
struct WriteOutcome {
  uint64_t stored = 0;      // Histograms included.
  uint64_t histograms = 0;  // Of what was stored.
  uint64_t exemplars = 0;   // Taken.
  uint64_t refused = 0;
  uint64_t unnamed = 0;         // Samples of series whose labels name no series.
  base::Status unnamed_reason;  // Of the first one.
  base::Status refusal;         // Why the first one was refused.
  base::Status failure;         // Of the store as a whole: not everything was written, and to write it again may help.
};

// Appends samples in order of time, those of one time together, as the store likes it best. A request with several
// samples of a series is committed in parts, so that each is as a scrape: mostly one sample a series. One use, one
// thread. Borrows everything.
class WriteBatch {
 public:
  // The labels of the series with this index, asked for only when the store does not know the reference; an error when
  // they name no series.
  using LabelsOf = std::function<base::Result<tsdb::Labels>(size_t series)>;
  struct Sample {
    int64_t t = 0;
    double v = 0;
    uint32_t series = 0;  // Index.
  };

  // Samples after `latest_ms` are refused.
  WriteBatch(tsdb::Appendable& appendable, std::span<WrittenSeries> series, LabelsOf labels_of, int64_t latest_ms)
      : appender_(appendable.NewAppender()), series_(series), labels_of_(std::move(labels_of)), latest_ms_(latest_ms) {}

  // Sorts the samples by time, appends and commits them.
  void Write(std::vector<Sample>* samples);
  // Histograms of a series in order of time; Finish() commits them.
  void Write(size_t series, int64_t t, const tsdb::Histogram& histogram);
  void Write(size_t series, int64_t t, const tsdb::FloatHistogram& histogram);
  // After the samples of its series; what the store refuses is nobody's fault.
  void Write(size_t series, const tsdb::Exemplar& exemplar);
  void Write(const std::string& family, const tsdb::Metadata& metadata) { appender_->UpdateMetadata(family, metadata); }
  // Counts a sample that is not even to be offered to the store.
  void Refuse(const base::Status& why);

  WriteOutcome Finish();

 private:
  // Smaller parts are not worth a commit of their own.
  static constexpr uint64_t kSmallestCommit = 64;

  void WriteRun(std::span<const Sample> run);
  void FlushRun(int64_t t);
  void WriteOne(const Sample& sample);
  // Appends with add(ref, labels), and once more with labels if the store has forgotten the reference.
  template <typename Add>
  bool Append(size_t index, int64_t t, Add add);
  void RefuseAt(size_t series, int64_t t, std::string_view why);
  void Commit();

  const std::unique_ptr<tsdb::Appender> appender_;
  const std::span<WrittenSeries> series_;
  const LabelsOf labels_of_;
  const int64_t latest_ms_;
  uint32_t commit_ = 1;
  uint64_t pending_ = 0;  // Appended since the last commit.
  uint64_t pending_histograms_ = 0;
  // Of the run under way, those whose references are known.
  std::vector<tsdb::SeriesRef> refs_;
  std::vector<double> values_;
  std::vector<uint32_t> indexes_;
  std::vector<tsdb::BatchRejection> rejected_;
  WriteOutcome outcome_;
};

}  // namespace tidewright::web
