// Querier: the only way samples leave the store.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/exemplar.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

// Walks the samples of one series in time order. Not thread-safe; valid while its Querier lives.
class SampleIterator {
 public:
  virtual ~SampleIterator() = default;
  // Moves to the next sample (the first one initially). False at the end.
  virtual bool Next() = 0;
  // Moves to the first sample at or after `t`, never backwards. False if there is none.
  virtual bool Seek(int64_t t) = 0;
  // The sample's value when type() is kFloat; otherwise its time and the histogram's sum, which carries the staleness
  // marker too.
  virtual Sample At() const = 0;
  // kFloat or kFloatHistogram: integer histograms are handed out as float histograms, which is what PromQL computes
  // with.
  virtual ValueType type() const { return ValueType::kFloat; }
  // When the counter behind the sample began to count, 0 when unknown (experimental start timestamps).
  virtual int64_t AtStart() const { return 0; }
  // The histogram when type() is kFloatHistogram, nullptr otherwise. Valid until the iterator moves.
  virtual const FloatHistogram* AtHistogram() const { return nullptr; }
};

// The float samples of one series in the Querier's range, as columns in time order. Staleness markers are samples like
// any other. Views into the ColumnBuffer that they were read with, valid until it is used again or destroyed.
struct SampleColumns {
  std::span<const int64_t> t;
  std::span<const double> v;
  // Two series whose timeline is equal and not 0 have identical `t`, so that a caller works out windows once for all
  // series of a scrape. Comparable within one Querier.
  uint64_t timeline = 0;
};

// The memory behind SampleColumns, reused from series to series. Not thread-safe.
struct ColumnBuffer {
  std::vector<int64_t> t;
  std::vector<double> v;
  uint64_t timeline = 0;  // Which timeline `t` holds at the moment, so that it need not be filled again; 0: unknown.
};

// One selected series. Valid while its Querier lives.
class Series {
 public:
  virtual ~Series() = default;
  virtual const Labels& labels() const = 0;
  // May be called several times; each iterator starts at the Querier's mint.
  virtual std::unique_ptr<SampleIterator> Iterator() const = 0;

  // Decodes all samples at once, several times faster than the iterator. False when the series has histograms in the
  // range: those take the iterator.
  virtual bool Columns(ColumnBuffer* buffer, SampleColumns* columns) const;
};

// Reads the samples that are left into columns. False when there are histograms among them.
bool ReadColumns(SampleIterator& iterator, ColumnBuffer* buffer, SampleColumns* columns);

// What the caller is going to do with the samples; a hint, never a contract. Times in ms.
struct SelectHints {
  int64_t start = 0;
  int64_t end = 0;
  int64_t step = 0;
  bool no_samples = false;  // Only labels are wanted.
};

// The series that some matchers select, apart from any Querier: found once, they are read through many Queriers, one
// after the other or at the same time. Immutable and thread-safe. Labels may be asked for while a Querier lives that
// holds the set.
class SeriesSet {
 public:
  virtual ~SeriesSet() = default;
  virtual size_t size() const = 0;  // Sorted by labels.
  // Made anew at each call: sets are kept in memory, labels are not.
  virtual Labels labels(size_t i) const = 0;
  // The value of one label, "" when absent, without making all of them.
  virtual std::string_view Value(size_t i, std::string_view name) const = 0;
  virtual size_t bytes() const = 0;  // About the memory that it takes.
};
using SeriesSetPtr = std::shared_ptr<const SeriesSet>;

// A consistent view of the store between mint and maxt (inclusive, ms). Not thread-safe; must not outlive the store.
class Querier {
 public:
  virtual ~Querier() = default;
  // The series that match every matcher, sorted by labels, that have samples in the time range (best effort).
  virtual base::Result<std::vector<std::unique_ptr<Series>>> Select(const SelectHints& hints,
                                                                    const Matchers& matchers) = 0;
  // The series that match every matcher, whether they have samples in the time range or not. Without an own
  // implementation the set is made of what Select() returns, and serves this Querier only.
  virtual base::Result<SeriesSetPtr> Find(const SelectHints& hints, const Matchers& matchers);
  // Whether a set that an earlier Querier of the same store found is what Find() would return for its matchers now.
  // Only then may it be read through this Querier.
  virtual bool Holds(const SeriesSet& set) const;
  // Series i of a set: as the methods of Series, with kDataLoss where the store is damaged.
  virtual base::Result<std::unique_ptr<SampleIterator>> Iterator(const SeriesSet& set, size_t i);
  virtual base::Result<bool> Columns(const SeriesSet& set, size_t i, ColumnBuffer* buffer, SampleColumns* columns);
  // Sorted; restricted to series that match.
  virtual base::Result<std::vector<std::string>> LabelNames(const Matchers& matchers) = 0;
  virtual base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers& matchers) = 0;
};

// Where Queriers come from. Thread-safe.
class Queryable {
 public:
  virtual ~Queryable() = default;
  virtual base::Result<std::unique_ptr<Querier>> NewQuerier(int64_t mint, int64_t maxt) = 0;
  virtual std::map<std::string, Metadata> AllMetadata() const { return {}; }
  // The exemplars between start and end (ms, inclusive) of the series that satisfy all matchers of any of the lists,
  // sorted by series.
  virtual base::Result<std::vector<SeriesExemplars>> SelectExemplars(int64_t start, int64_t end,
                                                                     std::span<const Matchers> any) const;
  // Changes whenever a series appears or goes, so that a caller may keep what an earlier Select() found: as long as the
  // epoch is the same, the same matchers select the same series of the head. 0: never cache.
  virtual uint64_t SeriesEpoch() const { return 0; }
};

}  // namespace tidewright::tsdb
