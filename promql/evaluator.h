// Evaluates a prepared syntax tree over the steps of a query.
//
// Every expression becomes an EvalMatrix over all steps at once; an instant query is one step. Selectors and windows
// are walked forward through their series, so the cost is linear in samples and steps.
#pragma once

#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "promql/ast.h"
#include "promql/matrix.h"
#include "promql/query_state.h"

namespace tidewright::promql {

class Evaluator {
 public:
  Evaluator(QueryState& state, const Steps& steps) : state_(state), steps_(steps) {}

  // A scalar or instant vector expression. The points are counted as held until Release().
  base::Result<EvalMatrix> Eval(const Expr& expr);
  // A scalar expression, one value per step.
  base::Result<std::vector<double>> EvalScalar(const Expr& expr);
  // A range vector at the last step, with the samples' own times. Names are as in the storage.
  base::Result<EvalMatrix> EvalRangeVector(const Expr& expr);
  // The samples that a selector of instant vectors finds; with `own_times` their times in seconds instead of values.
  base::Result<EvalMatrix> EvalSelector(const VectorSelector& selector, bool own_times);
  base::Result<EvalMatrix> FollowAll(const VectorSelector& selector, const QueryState::SeriesList& series,
                                     bool own_times);

  // The text of a string argument.
  static const std::string& StringOf(const Expr& expr);

  const Steps& steps() const { return steps_; }
  QueryState& state() { return state_; }
  void Release(const EvalMatrix& matrix);

  // Takes the metric's name off, now or, with delayed name removal, when the query ends.
  void DropName(EvalSeries& series) const;
  void DropNames(EvalMatrix& matrix) const;
  // Joins series that have become equal; an error if they have points of one time.
  base::Status JoinEqual(EvalMatrix& matrix) const;
  // For annotations: ' for metric name "x"' when the name is known.
  std::string ForMetric(const Labels& labels) const;

 private:
  base::Result<EvalMatrix> EvalNode(const Expr& expr);
  base::Result<EvalMatrix> EvalOnce(const Expr& expr);
  base::Result<EvalMatrix> EvalUnary(const Unary& node);
  base::Result<EvalMatrix> EvalCall(const Call& node);
  base::Result<EvalMatrix> EvalMath(const Call& node);
  base::Result<EvalMatrix> EvalRangeCall(const Call& node);
  base::Result<EvalMatrix> Constant(double value);
  base::Status FollowSmoothed(const VectorSelector& selector, const tsdb::Series& series, std::vector<Point>* points);
  base::Status FollowSeries(const VectorSelector& selector, const tsdb::Series& series, bool own_times,
                            std::vector<Point>* points);

  QueryState& state_;
  Steps steps_;
};

// aggregation.cc, binary.cc.
base::Result<EvalMatrix> EvalAggregate(Evaluator& evaluator, const Aggregate& node);
base::Result<EvalMatrix> EvalBinary(Evaluator& evaluator, const Binary& node);

// The series of a range vector argument, each a sliding window of samples over the evaluator's steps.
class RangeInput {
 public:
  static base::Result<RangeInput> Open(Evaluator& evaluator, const Expr& expr);

  size_t size() const { return series_ != nullptr ? series_->size() : matrix_.size(); }
  const Labels& labels(size_t i) const;
  bool drop_name(size_t i) const { return series_ == nullptr && matrix_[i].drop_name; }
  Extension extension() const { return selector_ != nullptr ? selector_->extension : Extension::kNone; }
  int64_t range_ms() const { return range_ms_; }
  // The window of step time t is (End(t) - range, End(t)].
  int64_t End(int64_t t) const;
  // True when the window is the same at every step.
  bool pinned() const { return shift_->at != TimeShift::At::kNone; }
  void ReleaseTo(Evaluator& evaluator) const { evaluator.Release(matrix_); }

  // Walks the windows of series i, in the order of the steps.
  class Cursor {
   public:
    Cursor(const RangeInput& input, size_t i);
    Cursor(const Cursor&) = delete;
    Cursor& operator=(const Cursor&) = delete;
    // The samples in (after, until]; neither may move back between calls. Without stale markers.
    std::span<const Point> Window(int64_t after, int64_t until);
    // True when no later window holds a sample.
    bool exhausted() const;

   private:
    void Fill(int64_t until);
    const std::vector<Point>* points_;                // Of a subquery, or the buffer.
    std::unique_ptr<tsdb::SampleIterator> iterator_;  // Null for a subquery.
    bool more_ = false;
    std::vector<Point> buffer_;
    size_t begin_ = 0;
    size_t end_ = 0;
  };

 private:
  friend class Cursor;
  const QueryState::SeriesList* series_ = nullptr;  // Of a selector; null for a subquery.
  const VectorSelector* selector_ = nullptr;
  EvalMatrix matrix_;  // Of a subquery.
  const TimeShift* shift_ = nullptr;
  int64_t range_ms_ = 0;
  int64_t first_needed_ = 0;
};

// What a RangeFn works on.
struct RangeCall {
  std::span<const Point> window;
  int64_t start_ms = 0;  // The window is (start, end].
  int64_t end_ms = 0;
  Extension extension = Extension::kNone;
  int64_t time_ms = 0;          // Evaluation time.
  std::vector<double> scalars;  // The scalar arguments at this step, in order.
  const Labels* labels = nullptr;
  const Call* call = nullptr;
  Evaluator* evaluator = nullptr;
  std::vector<double> scratch;  // Kept between calls to save allocations.
  base::Status error;           // Set by a function to fail the query.
};

}  // namespace tidewright::promql
