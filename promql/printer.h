// Prints syntax trees in the canonical form.
#pragma once

#include <string>

#include "promql/ast.h"

namespace tidewright::promql {

// One line, for instance: sum by (job) (rate(http_requests_total{code="500"}[5m])). Parsing it gives the same tree.
std::string Print(const Expr& expr);

// As a duration expression is written in brackets and after offset.
std::string Print(const DurationExpr& expr);

// The same over several lines of at most about 100 columns, indented by two blanks per level.
std::string PrintPretty(const Expr& expr);

// All labels in braces, the name like any other: {__name__="up", job="a"}. For error texts.
std::string Braced(const Labels& labels);

}  // namespace tidewright::promql
