// The labels by which the series of the two sides of a binary operator belong together.
#pragma once

#include <string>
#include <vector>

#include "promql/ast.h"
#include "promql/matrix.h"

namespace tidewright::promql {

class Signature {
 public:
  explicit Signature(const VectorMatching& matching);
  // A text that is equal for equal signatures.
  void AppendKey(const LabelsView& labels, std::string* key) const;
  Labels LabelsOf(const LabelsView& labels) const;

 private:
  bool Uses(std::string_view name) const;
  const bool on_;
  std::vector<std::string> labels_;  // Sorted.
};

// The series of both sides that share a signature, by index.
struct MatchGroup {
  std::vector<size_t> left;
  std::vector<size_t> right;
};

// In the order in which their first series appear, left before right.
std::vector<MatchGroup> GroupBySignature(const Signature& signature, const EvalMatrix& left, const EvalMatrix& right);

}  // namespace tidewright::promql
