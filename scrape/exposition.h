// What the body of a scrape says, entry by entry, whatever its format.
//
//   auto parser = NewExpositionParser(body, format, options);
//   for (;;) {
//     switch (parser->Next()) {
//       case Entry::kSeries: Use(parser->series(), parser->value()); break;
//       case Entry::kError: return parser->status();
//       case Entry::kEnd: return base::Status::Ok();
//       default: break;
//     }
//   }
//
// Formats: Prometheus text 0.0.4 and 1.0.0, OpenMetrics text 1.0 (scrape/text_parser.h), Prometheus protobuf
// (scrape/protobuf_parser.h). What is accepted follows Prometheus 3.14.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::scrape {

// What Next() found.
enum class Entry { kSeries, kHistogram, kType, kHelp, kUnit, kComment, kEnd, kError };

// An example of what a sample counted, such as the trace of one request.
struct Exemplar {
  std::vector<tsdb::Label> labels;  // In source order.
  double value = 0;
  bool has_timestamp = false;
  int64_t timestamp_ms = 0;
};

// A line of a text format that is a sample: all that its labels follow from. Valid as long as the body.
struct SeriesLine {
  std::string_view text;                               // As series() gave it.
  tsdb::MetricType type = tsdb::MetricType::kUnknown;  // Of the family at that place.
  std::string_view unit;                               // Likewise.
};

// How a body is to be read. Everything is off by default, as in Prometheus.
struct ExpositionOptions {
  // Native histograms of the protobuf format; otherwise their classic buckets are read, where they have any.
  bool native_histograms = false;
  // Classic series also of histograms that are read as native ones.
  bool keep_classic_histograms = false;
  // Classic histograms become native ones with custom buckets.
  bool convert_classic_histograms = false;
  // OpenMetrics: `_created` lines are not series, because StartTimestampMs() is going to be asked; from when it is
  // asked they are not anyway.
  bool created_lines = false;
  // The labels __type__ and __unit__ from the family's metadata, in place of scraped labels of these names.
  bool type_and_unit_labels = false;
};

// Not thread-safe. Borrows the body.
class ExpositionParser {
 public:
  virtual ~ExpositionParser() = default;

  // Moves to the next entry. After kEnd and kError it repeats them.
  virtual Entry Next() = 0;

  // What series() will be if the next entry is a kSeries written in the usual way: a guess from the line's braces
  // alone, which NextIfSeries() turns into certainty for a text that series() gave before. "" when there is none.
  virtual std::string_view GuessSeries() const { return {}; }

  // The fast path of repeated scrapes: if the next entry is a kSeries of exactly the series `text` (as series() gave it
  // before), moves to it and returns true; otherwise stays and returns false. An entry that begins so but is malformed
  // afterwards returns false too, and Next() then reports it.
  virtual bool NextIfSeries(std::string_view /*text*/) { return false; }

  // The same for the commonest lines, in one step: if the next entry is a kSeries of `size` bytes of which `hash` is
  // the base::SecretHash(), without a timestamp or an exemplar, moves to it and returns true; otherwise stays and
  // returns false.
  virtual bool NextIfPlain(uint64_t /*hash*/, size_t /*size*/) { return false; }

  // kSeries, kHistogram: names the series within the body; in text formats its exact source text.
  std::string_view series() const { return series_; }
  double value() const { return value_; }  // kSeries.
  bool has_timestamp() const { return has_timestamp_; }
  int64_t timestamp_ms() const { return timestamp_ms_; }
  // kHistogram: one of the two; the other is null. Valid until the next call.
  const tsdb::Histogram* histogram() const { return histogram_; }
  const tsdb::FloatHistogram* float_histogram() const { return float_histogram_; }
  // Appends the labels of the series, metric name first, duplicates and empty values included.
  virtual void AppendLabels(std::vector<tsdb::Label>* labels) const = 0;
  // kSeries in a text format: its line, from which AppendLabelsOf() gives the labels when other entries were read
  // since. Elsewhere the line's text is "".
  virtual SeriesLine series_line() const { return {}; }
  virtual void AppendLabelsOf(const SeriesLine& /*line*/, std::vector<tsdb::Label>* /*labels*/) const {}
  // When the counter at hand began to count; 0 when that is not known.
  virtual int64_t StartTimestampMs() { return 0; }
  // Appends the exemplars of the series at hand.
  virtual void AppendExemplars(std::vector<Exemplar>* /*exemplars*/) const {}

  // kType, kHelp, kUnit: the metric family. Valid until the next call.
  std::string_view family() const { return family_; }
  tsdb::MetricType type() const { return type_; }  // kType.
  // kHelp: the unescaped text; kUnit: the unit; kComment: the line. Valid until the next call.
  std::string_view text() const { return text_; }

  // Why kError was returned, with the place.
  const base::Status& status() const { return status_; }

 protected:
  std::string_view series_;
  double value_ = 0;
  bool has_timestamp_ = false;
  int64_t timestamp_ms_ = 0;
  const tsdb::Histogram* histogram_ = nullptr;
  const tsdb::FloatHistogram* float_histogram_ = nullptr;
  std::string_view family_;
  std::string_view text_;
  tsdb::MetricType type_ = tsdb::MetricType::kUnknown;
  base::Status status_;
};

// Which parser a response needs.
enum class ExpositionFormat { kPrometheusText, kOpenMetricsText, kProtobuf };

// Chooses by the Content-Type header; a missing, malformed or foreign one falls to `fallback_media_type` ("" for none:
// then it is an error that says what to configure).
base::Result<ExpositionFormat> ChooseFormat(std::string_view content_type, std::string_view fallback_media_type);

std::unique_ptr<ExpositionParser> NewExpositionParser(std::string_view body, ExpositionFormat format,
                                                      const ExpositionOptions& options);

// The lower-case name of a type as metadata spells it: "counter", ..., "unknown".
std::string_view MetricTypeName(tsdb::MetricType type);

}  // namespace tidewright::scrape
