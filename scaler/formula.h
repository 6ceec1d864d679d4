// Formula: the expressions of scalingModifiers, one number from the values of several triggers.
//
//   (orders + payments) / 2        max([orders, payments]) > 10 ? orders : 0        orders ?? 5
//   count([orders, payments, mails], {# > 1}) > 1 ? 5 : 0
//
// Numbers are float64. Operators, weakest first: `? :`, `??` (the right side where the left one is absent), `||` `or`,
// `&&` `and`, `== != < <= > >=`, `+ -`, `* / %`, unary `- + ! not`, `**` and `^`. Functions: abs, ceil, floor, round,
// int, float of one number; min, max, sum, avg (mean), median of numbers or lists; count of a list, or of its elements
// for which a predicate in braces holds, with # for the element. This is the part of the expr language that
// ScaledObjects are written with; whatever else it knows is an error that says so.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tidewright::scaler {

// Immutable once parsed; thread-safe for reading.
class Formula {
 public:
  // Absent: the trigger could not be read.
  using Variables = std::map<std::string, std::optional<double>>;
  struct Node;  // Private to the implementation.

  // kInvalidArgument names the place and the remedy. At most 4,096 bytes and 64 levels.
  static base::Result<std::shared_ptr<const Formula>> Parse(std::string_view text);
  ~Formula();

  const std::string& text() const { return text_; }
  // The names that it reads, sorted.
  const std::vector<std::string>& variables() const { return variables_; }

  // A finite number; a truth value counts as 1 or 0. kFailedPrecondition: a name without value that no `??` replaces, a
  // list where a number is due, a result that is no number.
  base::Result<double> Evaluate(const Variables& variables) const;

 private:
  Formula() = default;
  std::string text_;
  std::vector<std::string> variables_;
  std::unique_ptr<const Node> root_;
};

}  // namespace tidewright::scaler
