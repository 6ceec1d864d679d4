// Compares answers with expectations.
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/metrics.h"
#include "base/strings.h"
#include "promql/histogram.h"
#include "promqltest/expectation.h"

namespace tidewright::promqltest {

using promql::Histogram;
using promql::Matrix;
using promql::QueryResult;
using promql::Vector;

bool TextCheck::Accepts(const std::string& text) const {
  if (exact) return text == *exact;
  return !pattern || re2::RE2::PartialMatch(text, *pattern);
}

bool SameFloat(double expected, double got) {
  if (tsdb::IsStaleNan(expected) || tsdb::IsStaleNan(got)) return tsdb::IsStaleNan(expected) && tsdb::IsStaleNan(got);
  if (std::isnan(expected) || std::isnan(got)) return std::isnan(expected) && std::isnan(got);
  if (expected == got) return true;
  constexpr double kTolerance = 1e-6;
  double smallest = std::numeric_limits<double>::min();
  double sum = std::fabs(expected) + std::fabs(got);
  double difference = std::fabs(expected - got);
  if (expected == 0 || got == 0 || sum < smallest) return difference < kTolerance * smallest;
  return difference / std::min(sum, std::numeric_limits<double>::max()) < kTolerance;
}

bool SameAsExpected(const Histogram& expected, const Histogram& got, bool with_hint) {
  auto a = promql::Compacted(expected);
  auto b = promql::Compacted(got);
  auto same = [](double x, double y) { return SameFloat(x, y); };
  auto same_buckets = [&](const std::vector<double>& x, const std::vector<double>& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), same);
  };
  return a->schema == b->schema && SameFloat(a->count, b->count) && SameFloat(a->sum, b->sum) &&
         SameFloat(a->zero_count, b->zero_count) && a->zero_threshold == b->zero_threshold &&
         a->custom_values == b->custom_values && a->positive_spans == b->positive_spans &&
         a->negative_spans == b->negative_spans && same_buckets(a->positive_buckets, b->positive_buckets) &&
         same_buckets(a->negative_buckets, b->negative_buckets) && (!with_hint || a->hint == b->hint);
}

namespace {

std::string Text(const Histogram& h) {
  static const char* const kHints[] = {"unknown", "reset", "not_reset", "gauge"};
  return "{schema:" + std::to_string(h.schema) + ", hint:" + kHints[static_cast<int>(h.hint)] + ", " +
         promql::ToText(h).substr(1);
}

std::string Text(const Item& item) {
  return item.histogram != nullptr ? Text(*item.histogram) : base::FormatDouble(item.value);
}

// The message without the position at its end, and without the details of what was fixed.
std::string WithoutPosition(std::string annotation) {
  static const re2::RE2 kPosition("( \\(\\d+:\\d+\\))$");
  static const re2::RE2 kDetails(", from buckets [^,]+, with a max diff of [^,]+, over \\d+ samples from .*$");
  re2::RE2::Replace(&annotation, kPosition, "");
  re2::RE2::Replace(&annotation, kDetails, "");
  return annotation;
}

std::string CheckAnnotations(const std::string& kind, const AnnotationCheck& check, std::vector<std::string> got) {
  for (std::string& text : got) text = WithoutPosition(std::move(text));
  if (check.none && !got.empty()) return "unexpected " + kind + ": " + got[0];
  if (check.wanted.empty()) return "";
  if (got.empty()) return "expected a " + kind + ", got none";
  for (const TextCheck& wanted : check.wanted) {
    auto accepts = [&](const std::string& text) { return wanted.Accepts(text); };
    if (std::none_of(got.begin(), got.end(), accepts)) {
      return "expected " + kind + " \"" + wanted.exact.value_or(wanted.pattern.value_or("")) + "\", got \"" + got[0] +
             "\"";
    }
  }
  for (const std::string& text : got) {
    auto accepts = [&](const TextCheck& wanted) { return wanted.Accepts(text); };
    if (std::none_of(check.wanted.begin(), check.wanted.end(), accepts)) return "unexpected " + kind + ": " + text;
  }
  return "";
}

// "" when a value is as expected.
std::string CompareItem(const Item& expected, double v, const promql::HistogramPtr& h) {
  bool same = expected.histogram == nullptr
                  ? h == nullptr && SameFloat(expected.value, v)
                  : h != nullptr && SameAsExpected(*expected.histogram, *h, expected.hint_written);
  if (same) return "";
  return "expected " + Text(expected) + ", got " + (h != nullptr ? Text(*h) : base::FormatDouble(v));
}

std::string CompareVector(const Eval& eval, const Vector& got) {
  for (const auto& sample : got) {
    auto same = [&](const SeriesLine& series) { return series.labels == sample.labels; };
    if (std::none_of(eval.series.begin(), eval.series.end(), same)) return "unexpected " + sample.labels.ToString();
  }
  for (size_t i = 0; i < eval.series.size(); ++i) {
    const SeriesLine& series = eval.series[i];
    Item item = series.items.empty() ? Item() : series.items[0];
    size_t at = 0;
    while (at < got.size() && !(got[at].labels == series.labels)) ++at;
    if (at == got.size()) return "missing " + series.labels.ToString() + " " + Text(item);
    std::string error = CompareItem(item, got[at].point.v, got[at].histogram);
    if (!error.empty()) return series.labels.ToString() + ": " + error;
    if (eval.ordered && at != i) return "out of order: " + series.labels.ToString();
  }
  return got.size() == eval.series.size() ? "" : "the result has a label set twice";
}

std::string ComparePoints(const SeriesLine& expected, const promql::MatrixSeries& got, int64_t start, int64_t step) {
  size_t floats = 0, histograms = 0;
  for (size_t i = 0; i < expected.items.size(); ++i) {
    const Item& item = expected.items[i];
    if (item.kind == Item::Kind::kNone) continue;
    int64_t t = start + static_cast<int64_t>(i) * step;
    std::string place = expected.labels.ToString() + " at " + std::to_string(t) + " ms";
    bool histogram = item.kind == Item::Kind::kHistogram;
    bool missing = histogram ? histograms == got.histograms.size() || got.histograms[histograms].t != t
                             : floats == got.points.size() || got.points[floats].t != t;
    if (missing) return "missing " + place + ": " + Text(item);
    std::string error = histogram ? CompareItem(item, 0, got.histograms[histograms].h)
                                  : CompareItem(item, got.points[floats].v, nullptr);
    if (!error.empty()) return place + ": " + error;
    ++(histogram ? histograms : floats);
  }
  bool all = floats == got.points.size() && histograms == got.histograms.size();
  return all ? "" : "more points than expected of " + expected.labels.ToString();
}

std::string CompareMatrix(const Eval& eval, const Matrix& got, int64_t start, int64_t step) {
  for (size_t i = 0; i < got.size(); ++i) {
    if (i > 0 && !(got[i - 1].labels < got[i].labels)) return "the matrix is not sorted by labels";
    auto same = [&](const SeriesLine& series) { return series.labels == got[i].labels; };
    if (std::none_of(eval.series.begin(), eval.series.end(), same)) return "unexpected " + got[i].labels.ToString();
  }
  for (const SeriesLine& series : eval.series) {
    auto found = std::find_if(got.begin(), got.end(), [&](const auto& one) { return one.labels == series.labels; });
    if (found == got.end()) return "missing " + series.labels.ToString();
    std::string error = ComparePoints(series, *found, start, step);
    if (!error.empty()) return error;
  }
  return "";
}

std::string CompareValue(const Eval& eval, const promql::Value& value) {
  const auto* vector = std::get_if<Vector>(&value);
  const auto* matrix = std::get_if<Matrix>(&value);
  if ((eval.scalar || eval.string) && (vector != nullptr || matrix != nullptr)) {
    return std::string("expected a ") + (eval.scalar ? "scalar" : "string") + ", got a vector";
  }
  if (vector != nullptr) {
    return eval.range_vector ? "expected a range vector, got an instant vector" : CompareVector(eval, *vector);
  }
  if (matrix != nullptr) {
    if (eval.range) return CompareMatrix(eval, *matrix, eval.start, eval.step);
    if (!eval.range_vector) return "got a range vector without \"expect range vector\"";
    return CompareMatrix(eval, *matrix, eval.vector_start, eval.vector_step);
  }
  if (const auto* scalar = std::get_if<promql::Scalar>(&value)) {
    bool same = eval.scalar && SameFloat(*eval.scalar, scalar->point.v);
    return same ? "" : "got the scalar " + base::FormatDouble(scalar->point.v);
  }
  const auto& text = std::get<promql::StringValue>(value).text;
  return eval.string && *eval.string == text ? "" : "got the string \"" + text + "\"";
}

// The text of an error without the position that it may begin with.
std::string WithoutLeadingPosition(std::string message) {
  static const re2::RE2 kPosition("^\\d+:\\d+: (parse error: )?");
  re2::RE2::Replace(&message, kPosition, "");
  return message;
}

// Checks what does not depend on the form of the result; sets `done` when nothing else is to be checked.
std::string CheckOutcome(const Eval& eval, const base::Result<QueryResult>& answer, bool* done) {
  *done = true;
  if (!answer.ok()) {
    if (!eval.fail) return "failed: " + answer.status().message();
    std::string message = WithoutLeadingPosition(answer.status().message());
    return eval.failure.Accepts(message) ? "" : "failed with another message: " + message;
  }
  if (eval.fail) return "expected the query to fail";
  *done = false;
  return "";
}

}  // namespace

std::string CheckAnswer(const Eval& eval, const base::Result<QueryResult>& answer) {
  bool done = false;
  std::string error = CheckOutcome(eval, answer, &done);
  if (done) return error;
  error = CheckAnnotations("warning", eval.warn, answer->warnings);
  if (error.empty()) error = CheckAnnotations("info", eval.info, answer->infos);
  return error.empty() ? CompareValue(eval, answer->value) : error;
}

std::string CheckWithinRange(const Eval& eval, const base::Result<QueryResult>& answer, int64_t at_ms) {
  bool done = false;
  std::string error = CheckOutcome(eval, answer, &done);
  if (done || eval.ordered) return error;
  const auto* matrix = std::get_if<Matrix>(&answer->value);
  if (matrix == nullptr) return "a range query returned no matrix";
  Vector middle;
  for (const auto& series : *matrix) {
    for (const auto& point : series.points) {
      if (point.t == at_ms) middle.push_back({series.labels, point, nullptr});
    }
    for (const auto& point : series.histograms) {
      if (point.t == at_ms) middle.push_back({series.labels, {point.t, 0}, point.h});
    }
  }
  if (!eval.scalar) return CompareVector(eval, middle);
  return middle.size() == 1 && SameFloat(*eval.scalar, middle[0].point.v) ? "" : "another scalar";
}

}  // namespace tidewright::promqltest
