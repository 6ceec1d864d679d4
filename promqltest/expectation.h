// The eval command of acceptance scripts: what is asked, and what is expected.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "promql/engine.h"
#include "promqltest/notation.h"

namespace tidewright::promqltest {

// How a text must read: exactly, or where a regular expression (RE2) is found. Neither: any text.
struct TextCheck {
  std::optional<std::string> exact;
  std::optional<std::string> pattern;
  bool Accepts(const std::string& text) const;
};

// What warnings, or infos, are expected. Neither: they are not looked at.
struct AnnotationCheck {
  bool none = false;
  std::vector<TextCheck> wanted;
};

struct Eval {
  int line = 0;
  bool range = false;
  int64_t start = 0, end = 0, step = 0;  // ms; an instant query has start == end.
  std::string expr;

  bool fail = false;
  bool expects_fail = false;  // In a line of its own.
  TextCheck failure;
  AnnotationCheck warn, info;
  bool ordered = false;
  std::optional<std::string> string;
  std::optional<double> scalar;
  bool range_vector = false;  // The result of an instant query is a range vector over these times.
  int64_t vector_start = 0, vector_end = 0, vector_step = 0;
  std::vector<SeriesLine> series;
};

// Parses an eval command: its first line and its body. kInvalidArgument when the script is wrong.
base::Result<Eval> ParseEval(const std::string& head, const std::vector<std::string>& body, int line);

// What is wrong with the answer; "" when it is as expected.
std::string CheckAnswer(const Eval& eval, const base::Result<promql::QueryResult>& answer);

// As CheckAnswer, where the answer is that of a range query around the time of an instant one: looks at `at_ms` only.
std::string CheckWithinRange(const Eval& eval, const base::Result<promql::QueryResult>& answer, int64_t at_ms);

// As the reference compares: relative to a millionth, exact for the special values.
bool SameFloat(double expected, double got);
// The same for all numbers of a histogram, empty buckets aside; the hint only when `with_hint`.
bool SameAsExpected(const promql::Histogram& expected, const promql::Histogram& got, bool with_hint);

}  // namespace tidewright::promqltest
