// Appender: the only way samples enter the store.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "tsdb/exemplar.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

// A series of the store, valid for as long as the store knows the series; 0 is none. Append() says when it is not.
using SeriesRef = uint64_t;

// What kind of metric a family is (TYPE lines).
enum class MetricType { kUnknown, kCounter, kGauge, kHistogram, kGaugeHistogram, kSummary, kInfo, kStateset };

struct Metadata {
  MetricType type = MetricType::kUnknown;
  std::string unit;
  std::string help;
};

// A sample of AppendBatch() that was not taken: its place in the batch, and why, as Append() says it.
struct BatchRejection {
  size_t index = 0;
  base::Code code = base::Code::kOk;
};

// Collects the samples of one batch (one scrape, one rule evaluation) and commits them together: a query sees all of a
// batch or none. Not thread-safe; one user at a time. Destroying it without Commit() rolls back.
class Appender {
 public:
  virtual ~Appender() = default;

  // Appends (t in ms, value) to a series. With a `ref` from an earlier call the labels are only looked at when the
  // store has forgotten that series; with 0 the series is found or created. Returns the ref to use next time. Errors
  // concern this sample alone and leave the batch usable: kOutOfRange (older than the series' newest sample or than
  // what the store still takes), kAlreadyExists (same time, other value), kInvalidArgument (empty labels),
  // kResourceExhausted (series limit).
  virtual base::Result<SeriesRef> Append(SeriesRef ref, const Labels& labels, int64_t t, double value) = 0;

  // The same for native histograms, which Validate() must accept. A series may have floats and histograms.
  virtual base::Result<SeriesRef> AppendHistogram(SeriesRef ref, const Labels& labels, int64_t t,
                                                  const Histogram& histogram);
  virtual base::Result<SeriesRef> AppendFloatHistogram(SeriesRef ref, const Labels& labels, int64_t t,
                                                       const FloatHistogram& histogram);

  // Appends one sample at `t` to each of `refs`, which earlier calls returned; `values` are as many. What is not taken
  // is added to `rejected`: kInvalidArgument means that the store has forgotten the series, which is then to be
  // appended to by its labels. Several times as fast as Append() for the series of a scrape in their usual order.
  virtual void AppendBatch(std::span<const SeriesRef> refs, std::span<const double> values, int64_t t,
                           std::vector<BatchRejection>* rejected);

  // Adds an exemplar to a series, `ref` being what Append() returned. What repeats the series' newest exemplar is
  // passed over, as is everything while the store keeps no exemplars. kOutOfRange (less than the newest in time, value
  // or labels), kInvalidArgument (more than kMaxExemplarCharacters), kNotFound (series unknown).
  virtual base::Status AppendExemplar(SeriesRef ref, const Exemplar& exemplar);

  // Remembers type, unit and help of a metric family.
  virtual void UpdateMetadata(const std::string& family, const Metadata& metadata) = 0;

  // Writes the log, then makes the batch visible. On failure nothing of it is visible.
  virtual base::Status Commit() = 0;
  virtual void Rollback() = 0;
};

// Where Appenders come from. Thread-safe.
class Appendable {
 public:
  virtual ~Appendable() = default;
  virtual std::unique_ptr<Appender> NewAppender() = 0;
};

}  // namespace tidewright::tsdb
