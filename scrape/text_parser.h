// Streaming parsers for the two text exposition formats: Prometheus text 0.0.4 and OpenMetrics 1.0.
//
// A parser walks a response body line by line and allocates nothing per line: series text, family names and comments
// are views into the body. Labels are taken apart only when asked for, because a scrape loop that has seen a series
// before needs only its value:
//
//   TextParser parser(body, TextFormat::kPrometheus);
//   for (;;) {
//     switch (parser.Next()) {
//       case Entry::kSeries: Use(parser.series(), parser.value()); break;
//       case Entry::kError: return parser.status();
//       case Entry::kEnd: return base::Status::Ok();
//       default: break;
//     }
//   }
//
// What is accepted follows Prometheus 3.14, with one deliberate difference: blanks before a metric name are skipped.
// Exemplars of OpenMetrics are checked and passed over.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/labels.h"

namespace tidewright::scrape {

enum class TextFormat { kPrometheus, kOpenMetrics };

// What Next() found.
enum class Entry { kSeries, kType, kHelp, kUnit, kComment, kEnd, kError };

// Not thread-safe. Borrows the body.
class TextParser {
 public:
  TextParser(std::string_view body, TextFormat format) : body_(body), format_(format) {}

  // Moves to the next entry. After kEnd and kError it repeats them.
  Entry Next();

  // What series() will be if the next line is a sample written in the usual way: a guess from the line's braces alone,
  // which NextIfSeries() turns into certainty for a text that series() gave before. "" when the line is none.
  std::string_view GuessSeries() const;

  // The fast path of repeated scrapes: if the next line is a sample of exactly the series `text` (as series() gave it
  // before), moves to it and returns true; otherwise stays and returns false. A line that begins so but is malformed
  // afterwards returns false too, and Next() then reports it.
  bool NextIfSeries(std::string_view text);

  // kSeries: the exact source text of the series, without blanks around it.
  std::string_view series() const { return series_; }
  double value() const { return value_; }
  bool has_timestamp() const { return has_timestamp_; }
  int64_t timestamp_ms() const { return timestamp_ms_; }
  // kSeries: appends the labels in source order, metric name first, duplicates and empty values included.
  void AppendLabels(std::vector<tsdb::Label>* labels) const;
  // kSeries: the type of the family at hand, which decides how labels are spelled.
  tsdb::MetricType series_type() const { return family_type_; }
  // As AppendLabels(), for a text that series() gave when series_type() was `type`.
  static void AppendLabelsOf(std::string_view series, TextFormat format, tsdb::MetricType type,
                             std::vector<tsdb::Label>* labels);

  // kType, kHelp, kUnit: the metric family. Valid until the next call.
  std::string_view family() const { return family_; }
  tsdb::MetricType type() const { return type_; }  // kType.
  // kHelp: the unescaped text; kUnit: the unit; kComment: the line. Valid until the next call.
  std::string_view text() const { return text_; }

  // Why kError was returned, with the line number.
  const base::Status& status() const { return status_; }

 private:
  struct LabelSpan {
    std::string_view name;   // Without quotes, still escaped.
    std::string_view value;  // Without quotes, still escaped.
  };

  bool open_metrics() const { return format_ == TextFormat::kOpenMetrics; }
  bool AtEnd() const { return pos_ >= body_.size(); }
  char Peek() const { return AtEnd() ? '\n' : body_[pos_]; }
  bool Consume(char c);
  void SkipBlanks();
  std::string_view TakeName(bool colons);
  bool TakeQuoted(bool newlines, std::string_view* raw);
  std::string_view RestOfLine() const;
  Entry Fail(std::string message);

  Entry ParsePrometheusComment();
  Entry ParseOpenMetricsComment();
  Entry ParseMetadata(Entry kind);
  bool TakeFamily();
  Entry SetType(std::string_view name);
  Entry SetUnit(std::string_view unit);
  Entry SetHelp(std::string_view raw);

  Entry ParseSeries();
  bool ParseLabels(bool exemplar);
  bool ParseLabel(bool exemplar);
  bool ParseLabelValue(std::string_view name);
  bool ParseLabelSeparator();
  Entry ParsePrometheusSuffix();
  Entry ParseOpenMetricsSuffix();
  bool TakeOpenMetricsNumber(double* value);
  bool ParseExemplar();
  bool SetTimestampSeconds(double seconds);

  const std::string_view body_;
  const TextFormat format_;
  size_t pos_ = 0;
  bool done_ = false;
  tsdb::MetricType family_type_ = tsdb::MetricType::kUnknown;  // Of the latest TYPE line; sticks.

  std::string_view series_;
  std::string_view name_;  // Still escaped; its data() is null until a name was seen.
  std::vector<LabelSpan> labels_;
  double value_ = 0;
  bool has_timestamp_ = false;
  int64_t timestamp_ms_ = 0;

  std::string_view family_;
  std::string_view text_;
  tsdb::MetricType type_ = tsdb::MetricType::kUnknown;
  std::string family_buffer_;  // Unescaped forms, where the source has escapes.
  std::string text_buffer_;
  base::Status status_;
};

// Which parser a response needs.
enum class ExpositionFormat { kPrometheusText, kOpenMetricsText, kProtobuf };

// Chooses by the Content-Type header; a missing, malformed or foreign one falls to `fallback_media_type` ("" for none:
// then it is an error that says what to configure).
base::Result<ExpositionFormat> ChooseFormat(std::string_view content_type, std::string_view fallback_media_type);

}  // namespace tidewright::scrape
