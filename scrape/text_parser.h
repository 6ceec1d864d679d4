// The text formats: Prometheus text 0.0.4 and OpenMetrics 1.0. One pass, no copies; a series seen before needs only its
// value.
//
// What is accepted follows Prometheus 3.14, with one deliberate difference: blanks before a metric name are skipped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scrape/exposition.h"

namespace tidewright::scrape {

enum class TextFormat { kPrometheus, kOpenMetrics };

// Not thread-safe. Borrows the body.
class TextParser final : public ExpositionParser {
 public:
  TextParser(std::string_view body, TextFormat format, const ExpositionOptions& options = {})
      : body_(body), format_(format), options_(options), skip_created_(options.created_lines) {}

  Entry Next() override;
  std::string_view GuessSeries() const override;
  bool NextIfSeries(std::string_view text) override;
  bool NextIfPlain(uint64_t hash, size_t size) override;
  void AppendLabels(std::vector<tsdb::Label>* labels) const override;
  SeriesLine series_line() const override { return {series_, family_type_, family_unit_}; }
  void AppendLabelsOf(const SeriesLine& line, std::vector<tsdb::Label>* labels) const override;
  int64_t StartTimestampMs() override;
  void AppendExemplars(std::vector<Exemplar>* exemplars) const override;

 private:
  struct LabelSpan {
    std::string_view name;   // Without quotes, still escaped.
    std::string_view value;  // Without quotes, still escaped.
  };
  // The `_created` line that follows a place of the body within its family, remembered so that a family is searched
  // once and not for each of its series.
  struct Created {
    size_t from = 0, to = 0;  // Where it is the next one; the same for none.
    std::string key;          // Of the series that it is about; "" when there is no such line.
    int64_t ms = 0;
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
  bool CountsFromStart() const;
  bool IsCreatedLine() const;
  std::string CreatedKey() const;
  void FindCreated();
  bool SetTimestampSeconds(double seconds);

  const std::string_view body_;
  const TextFormat format_;
  const ExpositionOptions options_;
  size_t pos_ = 0;
  bool done_ = false;
  tsdb::MetricType family_type_ = tsdb::MetricType::kUnknown;  // Of the latest TYPE line; sticks.
  std::string_view family_unit_;                               // Of the latest UNIT line; sticks.

  std::string_view name_;  // Still escaped; its data() is null until a name was seen.
  std::vector<LabelSpan> labels_;
  bool skip_created_;
  std::string_view exemplar_;  // From its opening brace to the end of the line; empty for none.
  Created created_;
  std::string family_buffer_;  // Unescaped forms, where the source has escapes.
  std::string text_buffer_;
};

}  // namespace tidewright::scrape
