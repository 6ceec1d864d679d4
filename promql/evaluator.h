// Evaluates a prepared syntax tree over the steps of a query.
//
// Every expression becomes series of columns over all steps at once; an instant query is one step. Selectors, functions
// of one series and aggregations hand series on one by one, so that a query holds results rather than inputs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "promql/ast.h"
#include "promql/matrix.h"
#include "promql/query_state.h"

namespace tidewright::promql {

// Takes a series; may move its columns away.
using SeriesSink = std::function<base::Status(EvalSeries& series)>;

// What a selector of instant vectors gives for a sample.
enum class Take {
  kValue,
  kTime,   // The sample's own time in seconds.
  kStart,  // The start timestamp in seconds, 0 where it is unknown.
};

class Evaluator {
 public:
  Evaluator(QueryState& state, const Steps& steps) : state_(state), steps_(steps) {}

  // A scalar or instant vector expression. The values are counted as held until Release().
  base::Result<EvalMatrix> Eval(const Expr& expr);
  // The same series, one after the other.
  base::Status Stream(const Expr& expr, const SeriesSink& sink);
  // A scalar expression, one value per step.
  base::Result<std::vector<double>> EvalScalar(const Expr& expr);
  // A range vector at the last step, with the samples' own times. Names are as in the storage.
  base::Result<Matrix> EvalRangeVector(const Expr& expr);
  // The samples that a selector of instant vectors finds in `series`.
  base::Result<EvalMatrix> Follow(const VectorSelector& selector, const QueryState::SeriesList& series, Take take);

  // The text of a string argument.
  static const std::string& StringOf(const Expr& expr);

  const Steps& steps() const { return steps_; }
  QueryState& state() { return state_; }
  // Counts a series, or a whole matrix, as held or no longer held.
  base::Status Hold(const EvalSeries& series);
  void Release(const EvalMatrix& matrix);

  // Takes the metric's name off, now or, with delayed name removal, when the query ends.
  void DropName(EvalSeries& series) const;
  // Joins series that have become equal; an error if they have values at one step.
  base::Status JoinEqual(EvalMatrix& matrix) const;
  // For annotations: ' for metric name "x"' when the name is known.
  std::string ForMetric(const LabelsView& labels) const;
  // A series of the same float at every step, without labels.
  base::Result<EvalMatrix> ScalarMatrix(std::vector<double> values);

 private:
  base::Result<EvalMatrix> EvalOnce(const Expr& expr);
  base::Result<EvalMatrix> Collect(const Expr& expr);
  base::Result<EvalMatrix> EvalNode(const Expr& expr);
  base::Status StreamNode(const Expr& expr, const SeriesSink& sink);
  base::Status StreamUnary(const Unary& node, const SeriesSink& sink);
  base::Status StreamMath(const Call& node, const SeriesSink& sink);
  base::Status StreamRangeCall(const Call& node, const SeriesSink& sink);
  base::Status StreamSelector(const VectorSelector& selector, const QueryState::SeriesList& list, Take take,
                              const SeriesSink& sink);
  bool StaysUnique(const Expr& expr) const;
  bool NeedsJoin(const Expr& expr) const;

  QueryState& state_;
  Steps steps_;
};

// aggregation.cc, binary.cc, vector_matching.cc.
base::Result<EvalMatrix> EvalAggregate(Evaluator& evaluator, const Aggregate& node);
base::Result<EvalMatrix> EvalScalarBinary(Evaluator& evaluator, const Binary& node);
base::Status StreamVectorScalar(Evaluator& evaluator, const Binary& node, const SeriesSink& sink);
base::Result<EvalMatrix> EvalVectorBinary(Evaluator& evaluator, const Binary& node);

// Whether the result of a node has no metric name where its operand had one.
bool DropsName(const Binary& node);

}  // namespace tidewright::promql
