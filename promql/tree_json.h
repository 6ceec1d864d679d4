// Syntax trees as the JSON of Prometheus' /api/v1/parse_query.
#pragma once

#include <string>

#include "promql/ast.h"

namespace tidewright::promql {

// {"type":"call","func":"rate","args":[...]} and its like. Times are in ms.
std::string TreeJson(const Expr& expr);

}  // namespace tidewright::promql
