// Parses PromQL text into a checked syntax tree.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "promql/ast.h"

namespace tidewright::promql {

// Parts of the language that are off unless asked for. They may change, as their originals in Prometheus may.
struct ParserOptions {
  bool experimental_functions = false;  // limitk, limit_ratio, sort_by_label, mad_over_time, info, ...
  bool fill_modifiers = false;          // fill(0), fill_left(0), fill_right(0).
  bool extended_selectors = false;      // anchored, smoothed.
  static ParserOptions All() { return {true, true, true}; }
};

// An expression may nest this deep; chains of binary operators count one level per operator.
inline constexpr int kMaxNesting = 1000;
// And its text have so many bytes.
inline constexpr size_t kMaxQueryBytes = 1 << 20;

// Errors are kInvalidArgument: "line:column: parse error: what was found, what was expected".
base::Result<ExprPtr> ParseExpression(std::string_view text, const ParserOptions& options = {});

// Parses a bare selector such as up{job="a"}, without modifiers, into its matchers.
base::Result<Matchers> ParseMatchers(std::string_view text);

// Sets Expr::type throughout the tree and reports the first misuse of a type. Part of ParseExpression.
base::Status CheckTypes(Expr& expr, std::string_view text);

}  // namespace tidewright::promql
