#include "promqltest/expectation.h"

#include <re2/re2.h>

#include "base/duration.h"
#include "base/strings.h"
#include "promql/lexer.h"
#include "promql/parser.h"

namespace tidewright::promqltest {
namespace {

base::Result<int64_t> ReadDuration(const std::string& text) {
  TW_ASSIGN_OR_RETURN(base::Duration duration, base::ParseDuration(text));
  return duration.ms;
}

base::Status ParseHead(const std::string& head, Eval& eval) {
  std::string kind, from, to, step;
  static const re2::RE2 kInstant("(?s)(?i:eval)(|_fail|_warn|_info|_ordered)\\s+instant\\s+at\\s+(\\S+)\\s+(.+)");
  static const re2::RE2 kRange(
      "(?s)(?i:eval)(|_fail|_warn|_info)\\s+range\\s+from\\s+(\\S+)\\s+to\\s+(\\S+)\\s+step\\s+(\\S+)\\s+(.+)");
  if (re2::RE2::FullMatch(head, kInstant, &kind, &from, &eval.expr)) {
    TW_ASSIGN_OR_RETURN(eval.start, ReadDuration(from));
    eval.end = eval.start;
  } else if (re2::RE2::FullMatch(head, kRange, &kind, &from, &to, &step, &eval.expr)) {
    eval.range = true;
    TW_ASSIGN_OR_RETURN(eval.start, ReadDuration(from));
    TW_ASSIGN_OR_RETURN(eval.end, ReadDuration(to));
    TW_ASSIGN_OR_RETURN(eval.step, ReadDuration(step));
    if (eval.end < eval.start) return base::InvalidArgumentError("the end lies before the start: " + head);
  } else {
    return base::InvalidArgumentError("cannot read " + head);
  }
  eval.fail = kind == "_fail";
  eval.ordered = kind == "_ordered";
  if (kind == "_warn") eval.warn.wanted.emplace_back();
  if (kind == "_info") eval.info.wanted.emplace_back();
  return promql::ParseExpression(eval.expr, promql::ParserOptions::All()).status();
}

// "msg: x", "regex: x" or nothing.
base::Result<TextCheck> ReadText(std::string_view rest) {
  TextCheck check;
  if (rest.empty()) return check;
  size_t colon = rest.find(':');
  std::string_view kind = rest.substr(0, colon);
  std::string text(base::TrimSpace(colon == std::string_view::npos ? "" : rest.substr(colon + 1)));
  if (text.empty() || (kind != "msg" && kind != "regex")) {
    return base::InvalidArgumentError("expected \"msg: text\" or \"regex: expression\", got " + std::string(rest));
  }
  (kind == "msg" ? check.exact : check.pattern) = text;
  re2::RE2::Options options;
  options.set_log_errors(false);
  if (kind == "regex" && !re2::RE2(text, options).ok()) {
    return base::InvalidArgumentError("invalid regular expression " + text);
  }
  return check;
}

base::Status ReadRangeVector(const std::string& rest, Eval& eval) {
  static const re2::RE2 kForm("vector\\s+from\\s+(\\S+)\\s+to\\s+(\\S+)\\s+step\\s+(\\S+)");
  std::string from, to, step;
  if (eval.range || !re2::RE2::FullMatch(rest, kForm, &from, &to, &step)) {
    return base::InvalidArgumentError("invalid range vector definition " + rest);
  }
  eval.range_vector = true;
  TW_ASSIGN_OR_RETURN(eval.vector_start, ReadDuration(from));
  TW_ASSIGN_OR_RETURN(eval.vector_end, ReadDuration(to));
  TW_ASSIGN_OR_RETURN(eval.vector_step, ReadDuration(step));
  return base::Status::Ok();
}

base::Status ReadString(const std::string& rest, Eval& eval) {
  std::string value, error;
  bool quoted = rest.size() >= 2 && (rest[0] == '"' || rest[0] == '`') && rest.back() == rest[0];
  if (eval.range || !quoted || !promql::Unquote(rest, &value, &error)) {
    return base::InvalidArgumentError("not a quoted string: " + rest);
  }
  eval.string = value;
  return base::Status::Ok();
}

base::Status ReadFailure(std::string_view rest, Eval& eval) {
  if (eval.expects_fail) return base::InvalidArgumentError("several expect fail lines");
  eval.fail = eval.expects_fail = true;
  TW_ASSIGN_OR_RETURN(eval.failure, ReadText(rest));
  return base::Status::Ok();
}

// One line that begins with "expect".
base::Status ReadExpectation(std::string_view text, Eval& eval) {
  size_t end = std::min(text.size(), text.find_first_of(" \t"));
  std::string what(text.substr(0, end));
  std::string rest(base::TrimSpace(text.substr(end)));
  if (what == "fail") return ReadFailure(rest, eval);
  if (what == "string") return ReadString(rest, eval);
  if (what == "range") return ReadRangeVector(rest, eval);
  if (what == "warn" || what == "info") {
    TW_ASSIGN_OR_RETURN(TextCheck check, ReadText(rest));
    (what == "warn" ? eval.warn : eval.info).wanted.push_back(std::move(check));
    return base::Status::Ok();
  }
  if (!rest.empty()) return base::InvalidArgumentError("unexpected " + rest + " after expect " + what);
  if (what == "no_warn") {
    eval.warn.none = true;
  } else if (what == "no_info") {
    eval.info.none = true;
  } else if (what == "ordered") {
    if (eval.range) return base::InvalidArgumentError("the result of a range query has no order");
    eval.ordered = true;
  } else {
    return base::InvalidArgumentError("unknown expectation " + what);
  }
  return base::Status::Ok();
}

// A number in the forms of Go's integers, else of floats.
bool ReadScalar(const std::string& text, double* value) {
  return promql::ParseNumber(text, value) || ParseScriptNumber(text, value);
}

base::Status ReadLine(const std::string& text, Eval& eval) {
  static const re2::RE2 kExpect("(?s)expect[ \\t]+(.*)");
  static const re2::RE2 kOld("(expected_fail_message|expected_fail_regexp)\\s+(.*)");
  std::string what, rest;
  if (re2::RE2::FullMatch(text, kExpect, &rest)) return ReadExpectation(rest, eval);
  if (re2::RE2::FullMatch(text, kOld, &what, &rest)) {
    eval.fail = true;
    std::string prefix = what == "expected_fail_message" ? "msg: " : "regex: ";
    TW_ASSIGN_OR_RETURN(eval.failure, ReadText(prefix + rest));
    return base::Status::Ok();
  }
  double number = 0;
  if (ReadScalar(text, &number)) {
    eval.scalar = number;
    return base::Status::Ok();
  }
  TW_ASSIGN_OR_RETURN(SeriesLine series, ParseSeriesLine(text));
  if (!eval.range && !eval.range_vector && series.items.size() > 1) {
    return base::InvalidArgumentError("an instant query has one value per series: " + text);
  }
  eval.series.push_back(std::move(series));
  return base::Status::Ok();
}

// The points that a line lists must fit into the query's times.
base::Status CheckPoints(const Eval& eval) {
  if (!eval.range && !eval.range_vector) return base::Status::Ok();
  int64_t start = eval.range ? eval.start : eval.vector_start;
  int64_t end = eval.range ? eval.end : eval.vector_end;
  int64_t step = eval.range ? eval.step : eval.vector_step;
  if (step <= 0) return base::InvalidArgumentError("the step must be greater than 0");
  for (const SeriesLine& series : eval.series) {
    if (series.items.empty()) continue;
    int64_t last = start + static_cast<int64_t>(series.items.size() - 1) * step;
    if (last > end)
      return base::InvalidArgumentError("more points than the query has steps: " + series.labels.ToString());
  }
  return base::Status::Ok();
}

}  // namespace

base::Result<Eval> ParseEval(const std::string& head, const std::vector<std::string>& body, int line) {
  Eval eval;
  eval.line = line;
  TW_RETURN_IF_ERROR(ParseHead(head, eval));
  for (const std::string& text : body) {
    if (eval.scalar) return base::InvalidArgumentError("nothing may follow a scalar: " + text);
    TW_RETURN_IF_ERROR(ReadLine(text, eval));
  }
  for (const AnnotationCheck* check : {&eval.warn, &eval.info}) {
    if (check->none && !check->wanted.empty()) {
      return base::InvalidArgumentError("annotations are expected and excluded at once");
    }
  }
  TW_RETURN_IF_ERROR(CheckPoints(eval));
  return eval;
}

}  // namespace tidewright::promqltest
