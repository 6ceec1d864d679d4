#include "tests/conformance/promqltest_runner.h"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/duration.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "promql/lexer.h"
#include "promql/parser.h"
#include "promql/printer.h"
#include "tests/conformance/promqltest_series.h"
#include "tsdb/db.h"

namespace tidewright::promqltest {
namespace {

using promql::Matrix;
using promql::QueryResult;
using promql::Vector;

// As the reference compares: relative to a millionth, exact for the special values.
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

// One kind of annotation, as an eval expects it.
struct AnnotationCheck {
  bool none = false;
  bool any = false;
  std::vector<std::string> messages;
  std::vector<std::string> patterns;
};

struct Eval {
  int line = 0;
  bool range = false;
  int64_t start = 0, end = 0, step = 60'000;
  std::string expr;
  bool fail = false;
  std::string fail_message, fail_pattern;
  AnnotationCheck warn, info;
  bool ordered = false;
  std::optional<std::string> string;
  std::optional<double> scalar;
  bool range_vector = false;
  int64_t vector_start = 0, vector_end = 0, vector_step = 0;
  std::vector<SeriesLine> series;
  bool expects_histogram = false;
};

std::string WithoutPosition(const std::string& annotation) {
  size_t at = annotation.rfind(" (");
  return annotation.ends_with(")") && at != std::string::npos ? annotation.substr(0, at) : annotation;
}

std::string CheckAnnotations(const char* kind, const AnnotationCheck& check, const std::vector<std::string>& got) {
  if (check.none) return got.empty() ? "" : std::string("unexpected ") + kind + ": " + got[0];
  if (!check.any) return "";
  if (got.empty()) return std::string("expected a ") + kind + ", got none";
  for (const std::string& message : check.messages) {
    bool found = std::any_of(got.begin(), got.end(), [&](const auto& one) { return WithoutPosition(one) == message; });
    if (!found) return std::string("expected ") + kind + " \"" + message + "\", got \"" + got[0] + "\"";
  }
  for (const std::string& pattern : check.patterns) {
    bool found = std::any_of(got.begin(), got.end(),
                             [&](const auto& one) { return re2::RE2::PartialMatch(WithoutPosition(one), pattern); });
    if (!found) return std::string("expected ") + kind + " matching \"" + pattern + "\", got \"" + got[0] + "\"";
  }
  return "";
}

std::string Describe(const tsdb::Labels& labels, double value) {
  return labels.ToString() + " " + base::FormatDouble(value);
}

std::string CompareVector(const Eval& eval, const Vector& got) {
  for (const auto& sample : got) {
    auto same = [&](const SeriesLine& series) { return series.labels == sample.labels; };
    if (std::none_of(eval.series.begin(), eval.series.end(), same)) {
      return "unexpected " + Describe(sample.labels, sample.point.v);
    }
  }
  for (size_t i = 0; i < eval.series.size(); ++i) {
    const SeriesLine& series = eval.series[i];
    double value = series.items.empty() ? 0 : series.items[0].value;
    size_t at = 0;
    while (at < got.size() && !(got[at].labels == series.labels)) ++at;
    if (at == got.size()) return "missing " + Describe(series.labels, value);
    if (!SameFloat(value, got[at].point.v)) {
      return "expected " + Describe(series.labels, value) + ", got " + base::FormatDouble(got[at].point.v);
    }
    if (eval.ordered && at != i) return "out of order: " + Describe(series.labels, value);
  }
  return got.size() == eval.series.size() ? "" : "the result has a label set twice";
}

std::string ComparePoints(const SeriesLine& expected, const std::vector<promql::Point>& got, int64_t start,
                          int64_t step) {
  size_t next = 0;
  for (size_t i = 0; i < expected.items.size(); ++i) {
    if (expected.items[i].kind == Item::Kind::kNone) continue;
    int64_t t = start + static_cast<int64_t>(i) * step;
    double value = expected.items[i].value;
    std::string place = Describe(expected.labels, value) + " at " + std::to_string(t) + " ms";
    if (next == got.size() || got[next].t > t) return "missing " + place;
    if (got[next].t < t) return "unexpected point at " + std::to_string(got[next].t) + " ms before " + place;
    if (!SameFloat(value, got[next].v)) return "expected " + place + ", got " + base::FormatDouble(got[next].v);
    ++next;
  }
  if (next == got.size()) return "";
  return "unexpected point of " + expected.labels.ToString() + " at " + std::to_string(got[next].t) + " ms";
}

std::string CompareMatrix(const Eval& eval, const Matrix& got, int64_t start, int64_t step) {
  for (size_t i = 0; i < got.size(); ++i) {
    if (i > 0 && !(got[i - 1].labels < got[i].labels)) return "the matrix is not sorted by labels";
    auto same = [&](const SeriesLine& series) { return series.labels == got[i].labels; };
    if (std::none_of(eval.series.begin(), eval.series.end(), same)) return "unexpected " + got[i].labels.ToString();
  }
  for (const SeriesLine& series : eval.series) {
    auto same = [&](const auto& one) { return one.labels == series.labels; };
    auto found = std::find_if(got.begin(), got.end(), same);
    std::vector<promql::Point> none;
    std::string error = ComparePoints(series, found == got.end() ? none : found->points, start, step);
    if (!error.empty()) return error;
  }
  return "";
}

std::string CompareValue(const Eval& eval, const promql::Value& value) {
  if (const auto* vector = std::get_if<Vector>(&value)) {
    if (eval.scalar || eval.string) return "expected a scalar or string, got an instant vector";
    return CompareVector(eval, *vector);
  }
  if (const auto* matrix = std::get_if<Matrix>(&value)) {
    if (eval.range) return CompareMatrix(eval, *matrix, eval.start, eval.step);
    if (!eval.range_vector) return "got a range vector without \"expect range vector\"";
    return CompareMatrix(eval, *matrix, eval.vector_start, eval.vector_step);
  }
  if (const auto* scalar = std::get_if<promql::Scalar>(&value)) {
    if (!eval.scalar) return "unexpected scalar " + base::FormatDouble(scalar->point.v);
    return SameFloat(*eval.scalar, scalar->point.v) ? "" : "got the scalar " + base::FormatDouble(scalar->point.v);
  }
  const auto& text = std::get<promql::StringValue>(value).text;
  return eval.string && *eval.string == text ? "" : "unexpected string \"" + text + "\"";
}

// The text of an error without the position that it may begin with.
std::string WithoutLeadingPosition(const std::string& message) {
  static const re2::RE2 kPosition("^\\d+:\\d+: (parse error: )?");
  std::string text = message;
  re2::RE2::Replace(&text, kPosition, "");
  return text;
}

std::string CheckResult(const Eval& eval, const base::Result<QueryResult>& result) {
  if (!result.ok()) {
    if (!eval.fail) return "failed: " + result.status().message();
    std::string message = WithoutLeadingPosition(result.status().message());
    if (!eval.fail_message.empty() && message != eval.fail_message) return "failed with another message: " + message;
    bool matches = eval.fail_pattern.empty() || re2::RE2::PartialMatch(message, eval.fail_pattern);
    return matches ? "" : "failed with another message: " + message;
  }
  if (eval.fail) return "expected the query to fail";
  if (auto error = CheckAnnotations("warning", eval.warn, result->warnings); !error.empty()) return error;
  if (auto error = CheckAnnotations("info", eval.info, result->infos); !error.empty()) return error;
  return CompareValue(eval, result->value);
}

// Puts "@ t" on every selector and subquery that has none and does not stand below one that has.
void PinSelectors(promql::Expr& expr, int64_t at_ms) {
  auto pin = [&](promql::TimeShift& shift) {
    if (shift.at != promql::TimeShift::At::kNone) return false;
    shift.at = promql::TimeShift::At::kTime;
    shift.at_ms = at_ms;
    return true;
  };
  if (expr.kind == promql::NodeKind::kVectorSelector) {
    if (!promql::As<promql::VectorSelector>(expr).labels_only) pin(promql::As<promql::VectorSelector>(expr).shift);
    return;
  }
  if (expr.kind == promql::NodeKind::kSubquery) {
    pin(promql::As<promql::Subquery>(expr).shift);
    return;
  }
  promql::ForEachChild(expr, [&](promql::Expr& child) { PinSelectors(child, at_ms); });
}

// Functions whose result depends on the evaluation time itself.
bool DependsOnTime(const std::string& expr) {
  static const re2::RE2 kCalls(
      "\\b(days_in_month|day_of_month|day_of_week|day_of_year|end|hour|minute|month|predict_linear|range|start|step|"
      "time|"
      "timestamp|year)\\s*\\(");
  return re2::RE2::PartialMatch(expr, kCalls);
}

void CollectSelectors(promql::Expr& expr, std::vector<const promql::Matchers*>* selectors) {
  if (expr.kind == promql::NodeKind::kVectorSelector) {
    selectors->push_back(&promql::As<promql::VectorSelector>(expr).matchers);
  }
  promql::ForEachChild(expr, [&](promql::Expr& child) { CollectSelectors(child, selectors); });
}

bool Matches(const promql::Matchers& matchers, const tsdb::Labels& labels) {
  return std::all_of(matchers.begin(), matchers.end(),
                     [&](const auto& matcher) { return matcher.Matches(labels.Get(matcher.name())); });
}

class Runner {
 public:
  explicit Runner(const RunnerOptions& options) : options_(options) { Clear(); }
  ScriptResult Run(const std::string& text);

 private:
  void Clear();
  base::Status Load(const std::string& head, const std::vector<std::string>& body);
  base::Status Store(std::vector<SeriesLine> lines, int64_t interval);
  void NoteConverted(const SeriesLine& line);
  base::Result<Eval> ParseEval(const std::string& head, const std::vector<std::string>& body, int line);
  base::Status ParseExpectation(std::string_view text, Eval& eval);
  EvalResult Judge(const Eval& eval);
  std::string SkipReason(const Eval& eval) const;
  std::string JudgeStrictly(const Eval& eval);
  std::string JudgeAsRange(const Eval& eval, const std::string& expr, int64_t at);

  const RunnerOptions& options_;
  base::FakeClock clock_;
  std::unique_ptr<tsdb::Db> db_;
  std::unique_ptr<promql::QueryEngine> engine_;
  std::vector<tsdb::Labels> histograms_;  // Series with samples that are not floats.
};

void Runner::Clear() {
  histograms_.clear();
  engine_.reset();
  tsdb::DbOptions db_options;
  db_options.retention_ms = 100LL * 365 * 86400 * 1000;
  auto db = tsdb::Db::Open("", db_options, clock_, nullptr);
  db_ = db.ok() ? *std::move(db) : nullptr;
  if (db_ != nullptr) engine_ = promql::NewEmbeddedEngine(*db_, options_.engine, nullptr);
}

// "load 5m", "load_with_nhcb 5m".
base::Status Runner::Load(const std::string& head, const std::vector<std::string>& body) {
  std::string_view rest = head;
  rest.remove_prefix(std::min(rest.size(), rest.find_first_of(" \t")));
  auto interval = base::ParseDuration(base::TrimSpace(rest));
  if (!interval.ok()) return interval.status().Annotate(head);
  bool convert = head.starts_with("load_with_nhcb");
  std::vector<SeriesLine> lines;
  for (const std::string& text : body) {
    // Start timestamps concern the line that follows; the store keeps none.
    if (std::string_view(text).substr(0, text.find_first_of(" \t")).ends_with("@st")) continue;
    auto line = ParseSeriesLine(text);
    if (!line.ok()) return line.status().Annotate(text);
    if (line->has_histogram) histograms_.push_back(line->labels);
    if (convert) NoteConverted(*line);
    std::erase_if(lines, [&](const SeriesLine& earlier) { return earlier.labels == line->labels; });
    lines.push_back(*std::move(line));
  }
  return Store(std::move(lines), interval->ms);
}

// Classic histograms are also stored as native ones under the name without suffix.
void Runner::NoteConverted(const SeriesLine& line) {
  std::string name(line.labels.MetricName());
  for (std::string_view suffix : {"_bucket", "_sum", "_count"}) {
    if (!name.ends_with(suffix)) continue;
    tsdb::LabelsBuilder builder(line.labels);
    builder.Remove("le").Set(tsdb::kMetricName, name.substr(0, name.size() - suffix.size()));
    histograms_.push_back(builder.Build());
  }
}

base::Status Runner::Store(std::vector<SeriesLine> lines, int64_t interval) {
  auto appender = db_->NewAppender();
  for (const SeriesLine& line : lines) {
    int64_t t = 0;
    tsdb::SeriesRef ref = 0;
    for (const Item& item : line.items) {
      if (item.kind == Item::Kind::kFloat) {
        auto appended = appender->Append(ref, line.labels, t, item.value);
        if (!appended.ok()) return appended.status().Annotate(line.labels.ToString());
        ref = *appended;
      }
      t += interval;
    }
  }
  return appender->Commit();
}

base::Result<Eval> Runner::ParseEval(const std::string& head, const std::vector<std::string>& body, int line) {
  Eval eval;
  eval.line = line;
  std::string kind, type, at, from, to, step;
  static const re2::RE2 kInstant("(?s)(eval(?:_\\w+)?)\\s+instant\\s+at\\s+(\\S+)\\s+(.+)");
  static const re2::RE2 kRange(
      "(?s)(eval(?:_\\w+)?)\\s+range\\s+from\\s+(\\S+)\\s+to\\s+(\\S+)\\s+step\\s+(\\S+)\\s+(.+)");
  if (re2::RE2::FullMatch(head, kInstant, &kind, &at, &eval.expr)) {
    TW_ASSIGN_OR_RETURN(base::Duration time, base::ParseDuration(at));
    eval.start = eval.end = time.ms;
  } else if (re2::RE2::FullMatch(head, kRange, &kind, &from, &to, &step, &eval.expr)) {
    TW_ASSIGN_OR_RETURN(base::Duration start, base::ParseDuration(from));
    TW_ASSIGN_OR_RETURN(base::Duration end, base::ParseDuration(to));
    TW_ASSIGN_OR_RETURN(base::Duration width, base::ParseDuration(step));
    eval.range = true;
    eval.start = start.ms;
    eval.end = end.ms;
    eval.step = width.ms;
    if (eval.end < eval.start) return base::InvalidArgumentError("the end lies before the start: " + head);
  } else {
    return base::InvalidArgumentError("cannot read " + head);
  }
  eval.fail = kind == "eval_fail";
  eval.warn.any = kind == "eval_warn";
  eval.info.any = kind == "eval_info";
  eval.ordered = kind == "eval_ordered";
  for (const std::string& text : body) TW_RETURN_IF_ERROR(ParseExpectation(text, eval));
  return eval;
}

// Reads the "msg: x" or "regex: x" behind an expectation.
void ReadText(std::string_view rest, AnnotationCheck& check) {
  check.any = true;
  if (rest.starts_with("msg:")) check.messages.emplace_back(base::TrimSpace(rest.substr(4)));
  if (rest.starts_with("regex:")) check.patterns.emplace_back(base::TrimSpace(rest.substr(6)));
}

base::Status ParseRangeVector(const std::string& text, Eval& eval) {
  static const re2::RE2 kForm("expect\\s+range\\s+vector\\s+from\\s+(\\S+)\\s+to\\s+(\\S+)\\s+step\\s+(\\S+)");
  std::string from, to, step;
  if (!re2::RE2::FullMatch(text, kForm, &from, &to, &step)) return base::InvalidArgumentError("cannot read " + text);
  TW_ASSIGN_OR_RETURN(base::Duration start, base::ParseDuration(from));
  TW_ASSIGN_OR_RETURN(base::Duration end, base::ParseDuration(to));
  TW_ASSIGN_OR_RETURN(base::Duration width, base::ParseDuration(step));
  eval.range_vector = true;
  eval.vector_start = start.ms;
  eval.vector_end = end.ms;
  eval.vector_step = width.ms;
  return base::Status::Ok();
}

base::Status Runner::ParseExpectation(std::string_view text, Eval& eval) {
  std::string word, what, rest;
  static const re2::RE2 kExpect("(?s)expect[ \\t]+(\\w+)[ \\t]*(.*)");
  static const re2::RE2 kOld("(expected_fail_message|expected_fail_regexp)\\s+(.*)");
  if (re2::RE2::FullMatch(std::string(text), kOld, &what, &rest)) {
    (what == "expected_fail_message" ? eval.fail_message : eval.fail_pattern) = rest;
    return base::Status::Ok();
  }
  if (re2::RE2::FullMatch(std::string(text), kExpect, &what, &rest)) {
    AnnotationCheck failure;
    if (what == "fail") {
      eval.fail = true;
      ReadText(rest, failure);
      if (!failure.messages.empty()) eval.fail_message = failure.messages[0];
      if (!failure.patterns.empty()) eval.fail_pattern = failure.patterns[0];
    } else if (what == "warn" || what == "info") {
      ReadText(rest, what == "warn" ? eval.warn : eval.info);
    } else if (what == "no_warn" || what == "no_info") {
      (what == "no_warn" ? eval.warn : eval.info).none = true;
    } else if (what == "ordered") {
      eval.ordered = true;
    } else if (what == "string") {
      std::string value, error;
      if (rest.size() < 2 || !promql::Unquote(rest, &value, &error)) return base::InvalidArgumentError("bad " + rest);
      eval.string = value;
    } else if (what == "range") {
      return ParseRangeVector(std::string(text), eval);
    } else {
      return base::InvalidArgumentError("unknown expectation " + std::string(text));
    }
    return base::Status::Ok();
  }
  double number = 0;
  if (promql::ParseNumber(text, &number) || ParseScriptNumber(text, &number)) {
    eval.scalar = number;
    return base::Status::Ok();
  }
  TW_ASSIGN_OR_RETURN(SeriesLine series, ParseSeriesLine(text));
  eval.expects_histogram = eval.expects_histogram || series.has_histogram;
  eval.series.push_back(std::move(series));
  return base::Status::Ok();
}

std::string Runner::SkipReason(const Eval& eval) const {
  if (auto line = options_.skip_lines.find(eval.line); line != options_.skip_lines.end()) return line->second;
  if (eval.expects_histogram) return "native histograms";
  auto tree = promql::ParseExpression(eval.expr, promql::ParserOptions::All());
  if (!tree.ok()) return "";
  std::vector<const promql::Matchers*> selectors;
  CollectSelectors(**tree, &selectors);
  for (const auto* matchers : selectors) {
    for (const auto& labels : histograms_) {
      if (Matches(*matchers, labels)) return "native histograms";
    }
  }
  return "";
}

std::string Runner::JudgeAsRange(const Eval& eval, const std::string& expr, int64_t at) {
  static const re2::RE2 kBounds("\\b(start|end|range|step)\\s*\\(\\s*\\)");
  if (eval.string || eval.range_vector || re2::RE2::PartialMatch(eval.expr, kBounds)) return "";
  auto result = engine_->Range(expr, at - 60'000, at + 60'000, 60'000);
  if (!result.ok() || eval.fail || eval.ordered) {
    return result.ok() == !eval.fail ? "" : "as a range query: " + result.status().ToString();
  }
  const auto* matrix = std::get_if<Matrix>(&result->value);
  if (matrix == nullptr) return "a range query returned no matrix";
  Vector middle;
  for (const auto& series : *matrix) {
    for (const auto& point : series.points) {
      if (point.t == at) middle.push_back({series.labels, point});
    }
  }
  if (!eval.scalar) {
    std::string error = CompareVector(eval, middle);
    return error.empty() ? "" : "as a range query: " + error;
  }
  if (middle.size() == 1 && SameFloat(*eval.scalar, middle[0].point.v)) return "";
  return "as a range query: another scalar";
}

// The same expectation in other forms: pinned by @ and asked at other times, and inside of a range query.
std::string Runner::JudgeStrictly(const Eval& eval) {
  if (std::string error = JudgeAsRange(eval, eval.expr, eval.start); !error.empty()) return error;
  if (DependsOnTime(eval.expr)) return "";
  auto tree = promql::ParseExpression(eval.expr, promql::ParserOptions::All());
  if (!tree.ok()) return "";
  PinSelectors(**tree, eval.start);
  std::string pinned = promql::Print(**tree);
  std::vector<int64_t> times = {-10 * eval.start, 0, eval.start / 5, eval.start, 10 * eval.start};
  if (eval.start == 0) times = {-1000, 0, 1000};
  for (int64_t time : times) {
    std::string error = CheckResult(eval, engine_->Instant(pinned, time));
    if (error.empty()) error = JudgeAsRange(eval, pinned, time);
    if (!error.empty()) return pinned + " at " + std::to_string(time) + " ms: " + error;
  }
  return "";
}

EvalResult Runner::Judge(const Eval& eval) {
  EvalResult result{eval.line, eval.expr, Outcome::kSkipped, SkipReason(eval)};
  if (!result.reason.empty()) return result;
  auto answer = eval.range ? engine_->Range(eval.expr, eval.start, eval.end, eval.step)
                           : engine_->Instant(eval.expr, eval.range_vector ? eval.vector_end : eval.start);
  result.reason = CheckResult(eval, answer);
  if (result.reason.empty() && options_.strict && !eval.range) result.reason = JudgeStrictly(eval);
  result.outcome = result.reason.empty() ? Outcome::kPassed : Outcome::kFailed;
  return result;
}

ScriptResult Runner::Run(const std::string& text) {
  ScriptResult result;
  std::vector<std::string> lines;
  for (const std::string& raw : base::Split(text, '\n')) {
    std::string line(base::TrimSpace(raw));
    lines.push_back(line.starts_with("#") ? "" : line);
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    int number = static_cast<int>(i) + 1;
    std::string head = lines[i];
    std::vector<std::string> body;
    std::string word = base::ToLower(head.substr(0, head.find_first_of(" \t")));
    if (word == "clear") {
      Clear();
      continue;
    }
    while (i + 1 < lines.size() && !lines[i + 1].empty()) body.push_back(lines[++i]);
    base::Status status;
    if (word.starts_with("load")) {
      status = Load(head, body);
    } else if (word.starts_with("eval")) {
      auto eval = ParseEval(head, body, number);
      status = eval.status();
      if (eval.ok()) result.evals.push_back(Judge(*eval));
    } else {
      status = base::InvalidArgumentError("unknown command " + head);
    }
    if (status.ok()) continue;
    result.error = "line " + std::to_string(number) + ": " + status.message();
    return result;
  }
  return result;
}

}  // namespace

int ScriptResult::Count(Outcome outcome) const {
  return static_cast<int>(
      std::count_if(evals.begin(), evals.end(), [&](const auto& e) { return e.outcome == outcome; }));
}

std::map<std::string, int> ScriptResult::SkipReasons() const {
  std::map<std::string, int> reasons;
  for (const EvalResult& eval : evals) {
    if (eval.outcome == Outcome::kSkipped) ++reasons[eval.reason];
  }
  return reasons;
}

ScriptResult RunScript(const std::string& text, const RunnerOptions& options) { return Runner(options).Run(text); }

}  // namespace tidewright::promqltest
