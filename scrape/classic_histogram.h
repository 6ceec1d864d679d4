// Classic histograms (series _bucket, _sum, _count) to native ones with custom buckets, as
// convert_classic_histograms_to_nhcb asks for. Cases: conformance/text-formats/nhcb-conversion.json.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "scrape/exposition.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::scrape {

// A bucket of a sparse histogram: its index and how many observations it holds by itself.
template <typename Count>
struct IndexedBucket {
  int32_t index = 0;
  Count count = 0;
};

// Spans and counts for buckets in ascending order. Empty buckets are left out, but for runs of at most `max_gap`
// between others, which cost less than a span. Integer counts come out as tsdb::Histogram wants them: differences.
void BuildBuckets(const std::vector<IndexedBucket<int64_t>>& buckets, int32_t max_gap, tsdb::BucketSpans* spans,
                  std::vector<int64_t>* deltas);
void BuildBuckets(const std::vector<IndexedBucket<double>>& buckets, int32_t max_gap, tsdb::BucketSpans* spans,
                  std::vector<double>* counts);

// Collects one classic histogram. Not thread-safe.
class ClassicHistogram {
 public:
  // At most this many; more make the histogram unconvertible.
  static constexpr size_t kMaxBuckets = 10'000;

  // `count` is cumulative: observations of at most `le`. Of a repeated bound the first counts.
  void SetBucket(double le, double count);
  void SetCount(double count);
  void SetSum(double sum) { sum_ = sum; }
  void SetHint(tsdb::CounterResetHint hint) { histogram_.hint = float_histogram_.hint = hint; }
  void Reset() { *this = ClassicHistogram(); }

  // Whether what was collected makes sense. Then one of the two is the histogram: integer counts wherever they are
  // whole numbers. A missing bucket for +Inf is the count, a missing count the highest bucket.
  bool Convert();
  const tsdb::Histogram* histogram() const { return is_float_ ? nullptr : &histogram_; }
  const tsdb::FloatHistogram* float_histogram() const { return is_float_ ? &float_histogram_ : nullptr; }

 private:
  struct Bucket {
    double le = 0;
    double count = 0;
  };

  void Complete();
  bool ConvertWhole();
  bool ConvertFractions();
  std::vector<double> Bounds() const;

  std::vector<Bucket> buckets_;  // Ascending by le, counts not descending.
  double sum_ = 0;
  double count_ = 0;
  bool has_count_ = false;
  bool valid_ = true;
  bool is_float_ = false;
  tsdb::Histogram histogram_;
  tsdb::FloatHistogram float_histogram_;
};

// Wraps a parser of a text format: the series of classic histograms are withheld (unless
// options.keep_classic_histograms) and come out, with their exemplars, as one kHistogram entry at their end. What does
// not convert is left out.
class ClassicHistogramParser final : public ExpositionParser {
 public:
  ClassicHistogramParser(std::unique_ptr<ExpositionParser> inner, bool keep_classic)
      : inner_(std::move(inner)), keep_classic_(keep_classic) {}

  Entry Next() override;
  std::string_view GuessSeries() const override;
  bool NextIfSeries(std::string_view text) override;
  void AppendLabels(std::vector<tsdb::Label>* labels) const override;
  SeriesLine series_line() const override;
  void AppendLabelsOf(const SeriesLine& line, std::vector<tsdb::Label>* labels) const override;
  int64_t StartTimestampMs() override;
  void AppendExemplars(std::vector<Exemplar>* exemplars) const override;

 private:
  Entry Adopt(Entry entry);
  // Whether the inner parser's next entry is handed out as it is.
  bool PassesOn() const { return !has_pending_ && !collecting_ && family_type_ != tsdb::MetricType::kHistogram; }
  bool EndsGroup(Entry entry);
  bool Collect();
  bool Emit();

  const std::unique_ptr<ExpositionParser> inner_;
  const bool keep_classic_;
  Entry pending_ = Entry::kComment;
  bool has_pending_ = false;  // pending_ was read and is still to be handed out.
  bool emitting_ = false;     // The entry handed out is a converted histogram.

  tsdb::MetricType family_type_ = tsdb::MetricType::kUnknown;
  std::string family_name_;  // Of the latest TYPE line.

  // The group of series that is being collected.
  bool collecting_ = false;
  tsdb::Labels group_;  // With the base name, without le.
  ClassicHistogram classic_;
  std::vector<Exemplar> exemplars_;
  int64_t group_start_ms_ = 0;
  bool group_has_timestamp_ = false;
  int64_t group_timestamp_ms_ = 0;

  // The histogram that is handed out.
  ClassicHistogram converted_;
  tsdb::Labels converted_labels_;
  std::string converted_text_;
  std::vector<Exemplar> converted_exemplars_;
  int64_t converted_start_ms_ = 0;
};

}  // namespace tidewright::scrape
