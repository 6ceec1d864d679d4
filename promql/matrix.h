// What the evaluator computes with: series of points over the steps of a query.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/status.h"
#include "promql/value.h"

namespace tidewright::promql {

// The evaluation times start, start + step, ... (count of them), in ms. An instant query has one.
struct Steps {
  int64_t start = 0;
  int64_t step = 1;
  size_t count = 1;
  int64_t At(size_t i) const { return start + static_cast<int64_t>(i) * step; }
  // The step at which an evaluation time lies; `t` must be one.
  size_t IndexOf(int64_t t) const { return static_cast<size_t>((t - start) / step); }
  int64_t end() const { return At(count - 1); }
};

// Points at evaluation times, in time order; a step without a value has no point.
struct EvalSeries {
  Labels labels;
  std::vector<Point> points;
  // The metric name is to be removed when the query ends (delayed name removal): until then labels hold it.
  bool drop_name = false;
};
using EvalMatrix = std::vector<EvalSeries>;

// Sums without losing the low bits (Kahan, as improved by Neumaier).
class KahanSum {
 public:
  void Add(double value);
  double Value() const;
  double sum() const { return sum_; }
  double compensation() const { return compensation_; }
  void Set(double sum, double compensation) {
    sum_ = sum;
    compensation_ = compensation;
  }

 private:
  double sum_ = 0;
  double compensation_ = 0;
};

// The mean of values added one by one: sum over count while the sum is finite, then an incremental mean.
class KahanMean {
 public:
  void Add(double value);
  double Value() const;
  size_t count() const { return count_; }

 private:
  void AddIncrementally(double value);
  KahanSum sum_;   // Of the values.
  KahanSum mean_;  // Once the sum has overflowed.
  bool incremental_ = false;
  size_t count_ = 0;
};

// Population variance of values added one by one (Welford, compensated).
class Variance {
 public:
  void Add(double value);
  double Value() const;

 private:
  double count_ = 0;
  KahanSum mean_;
  KahanSum squares_;
};

// The q-quantile by linear interpolation of `values`, which it sorts. NaN for no values.
double QuantileOf(double q, std::vector<double>& values);

// True for the labels that say what a metric is rather than where it comes from: __name__, __type__, __unit__.
bool IsMetricLabel(std::string_view name);
// `labels` without these.
Labels WithoutMetricLabels(const Labels& labels);

// Joins series with equal labels into one. Two points of one time are an error.
base::Status MergeDuplicates(EvalMatrix& matrix, const char* error);

}  // namespace tidewright::promql
