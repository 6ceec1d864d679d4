#include "promql/engine.h"

#include <algorithm>
#include <set>

#include "base/clock.h"
#include "promql/evaluator.h"
#include "promql/lexer.h"
#include "promql/parser.h"
#include "promql/printer.h"

namespace tidewright::promql {
namespace {

const char kSameLabels[] = "vector cannot contain metrics with the same labelset";

ParserOptions ParserOptionsOf(const EngineOptions& options) {
  return {options.experimental_functions, options.fill_modifiers, options.extended_selectors};
}

// Takes off the names whose removal was delayed. Without any, `matrix` stays as it is.
base::Status RemoveNames(EvalMatrix& matrix) {
  for (auto& series : matrix) {
    if (series.drop_name) series.labels = WithoutMetricLabels(series.labels);
    series.drop_name = false;
  }
  return MergeDuplicates(matrix, kSameLabels);
}

Vector ToVector(EvalMatrix matrix) {
  Vector vector;
  vector.reserve(matrix.size());
  for (auto& series : matrix) {
    if (!series.points.empty()) vector.push_back({std::move(series.labels), series.points.front()});
  }
  return vector;
}

Matrix ToMatrix(EvalMatrix matrix) {
  Matrix sorted;
  sorted.reserve(matrix.size());
  for (auto& series : matrix) {
    if (!series.points.empty()) sorted.push_back({std::move(series.labels), std::move(series.points)});
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const MatrixSeries& a, const MatrixSeries& b) { return a.labels < b.labels; });
  return sorted;
}

class EmbeddedEngine : public QueryEngine {
 public:
  EmbeddedEngine(tsdb::Queryable& storage, const EngineOptions& options, base::MetricRegistry* metrics)
      : storage_(storage), options_(options) {
    if (metrics == nullptr) return;
    queries_ = &metrics->GetCounter("tidewright_promql_queries_total", "PromQL queries that were evaluated.");
    failures_ = &metrics->GetCounter("tidewright_promql_query_failures_total", "PromQL queries that failed.");
    seconds_ = &metrics->GetHistogram("tidewright_promql_query_duration_seconds", "How long PromQL queries took.",
                                      {0.0001, 0.001, 0.01, 0.1, 1, 10, 60});
  }

  base::Result<QueryResult> Instant(const std::string& expr, int64_t time_ms) override {
    return Measured([&] { return EvaluateInstant(expr, time_ms); });
  }
  base::Result<QueryResult> Range(const std::string& expr, int64_t start_ms, int64_t end_ms, int64_t step_ms) override {
    return Measured([&] { return EvaluateRange(expr, start_ms, end_ms, step_ms); });
  }
  base::Result<std::vector<Labels>> Series(const std::vector<Matchers>& selectors, int64_t start_ms,
                                           int64_t end_ms) override;
  base::Result<std::vector<std::string>> LabelNames(const Matchers& matchers, int64_t start_ms,
                                                    int64_t end_ms) override;
  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers& matchers,
                                                     int64_t start_ms, int64_t end_ms) override;

 private:
  template <typename Evaluate>
  base::Result<QueryResult> Measured(Evaluate evaluate);
  base::Result<QueryResult> EvaluateInstant(const std::string& expr, int64_t time_ms);
  base::Result<QueryResult> EvaluateRange(const std::string& expr, int64_t start_ms, int64_t end_ms, int64_t step_ms);
  base::Result<Value> InstantValue(QueryState& state, const Expr& expr, int64_t time_ms);

  tsdb::Queryable& storage_;
  const EngineOptions options_;
  base::Counter* queries_ = nullptr;
  base::Counter* failures_ = nullptr;
  base::Histogram* seconds_ = nullptr;
};

template <typename Evaluate>
base::Result<QueryResult> EmbeddedEngine::Measured(Evaluate evaluate) {
  int64_t begin = base::MonotonicNanos();
  auto result = evaluate();
  if (queries_ != nullptr) {
    queries_->Add();
    if (!result.ok()) failures_->Add();
    seconds_->Observe(static_cast<double>(base::MonotonicNanos() - begin) / 1e9);
  }
  return result;
}

QueryResult WithAnnotations(Value value, const QueryState& state) {
  return {std::move(value),
          {state.warnings().begin(), state.warnings().end()},
          {state.infos().begin(), state.infos().end()}};
}

base::Result<Value> EmbeddedEngine::InstantValue(QueryState& state, const Expr& expr, int64_t time_ms) {
  Evaluator evaluator(state, Steps{time_ms, 1, 1});
  switch (expr.type) {
    case ValueType::kString: return Value(StringValue{time_ms, Evaluator::StringOf(expr)});
    case ValueType::kScalar: {
      TW_ASSIGN_OR_RETURN(std::vector<double> values, evaluator.EvalScalar(expr));
      return Value(Scalar{{time_ms, values.front()}});
    }
    case ValueType::kMatrix: {
      TW_ASSIGN_OR_RETURN(EvalMatrix matrix, evaluator.EvalRangeVector(expr));
      TW_RETURN_IF_ERROR(RemoveNames(matrix));
      return Value(ToMatrix(std::move(matrix)));
    }
    default: break;
  }
  TW_ASSIGN_OR_RETURN(EvalMatrix matrix, evaluator.Eval(expr));
  TW_RETURN_IF_ERROR(RemoveNames(matrix));
  return Value(ToVector(std::move(matrix)));
}

base::Result<QueryResult> EmbeddedEngine::EvaluateInstant(const std::string& expr, int64_t time_ms) {
  TW_ASSIGN_OR_RETURN(ExprPtr tree, ParseExpression(expr, ParserOptionsOf(options_)));
  QueryState state(expr, options_, time_ms, time_ms, 1);
  TW_RETURN_IF_ERROR(state.Prepare(*tree));
  TW_RETURN_IF_ERROR(state.Select(*tree, storage_));
  TW_ASSIGN_OR_RETURN(Value value, InstantValue(state, *tree, time_ms));
  return WithAnnotations(std::move(value), state);
}

base::Result<QueryResult> EmbeddedEngine::EvaluateRange(const std::string& expr, int64_t start_ms, int64_t end_ms,
                                                        int64_t step_ms) {
  if (step_ms <= 0) return base::InvalidArgumentError("the step of a range query must be greater than 0");
  if (end_ms < start_ms) return base::InvalidArgumentError("the end of a range query lies before its start");
  TW_ASSIGN_OR_RETURN(ExprPtr tree, ParseExpression(expr, ParserOptionsOf(options_)));
  if (tree->type != ValueType::kVector && tree->type != ValueType::kScalar) {
    return base::InvalidArgumentError("a range query needs an expression of type scalar or instant vector, got " +
                                      std::string(TypeName(tree->type)));
  }
  int64_t count = SaturatingSub(end_ms, start_ms) / step_ms + 1;
  if (static_cast<uint64_t>(count) > options_.max_samples) {
    return base::ResourceExhaustedError("the range query has " + std::to_string(count) + " steps, more than " +
                                        std::to_string(options_.max_samples) + "; widen its step");
  }
  QueryState state(expr, options_, start_ms, end_ms, step_ms);
  TW_RETURN_IF_ERROR(state.Prepare(*tree));
  TW_RETURN_IF_ERROR(state.Select(*tree, storage_));
  Evaluator evaluator(state, Steps{start_ms, step_ms, static_cast<size_t>(count)});
  TW_ASSIGN_OR_RETURN(EvalMatrix matrix, evaluator.Eval(*tree));
  TW_RETURN_IF_ERROR(RemoveNames(matrix));
  return WithAnnotations(ToMatrix(std::move(matrix)), state);
}

base::Result<std::vector<Labels>> EmbeddedEngine::Series(const std::vector<Matchers>& selectors, int64_t start_ms,
                                                         int64_t end_ms) {
  TW_ASSIGN_OR_RETURN(auto querier, storage_.NewQuerier(start_ms, end_ms));
  tsdb::SelectHints hints{start_ms, end_ms, 0, true};
  std::vector<Labels> found;
  for (const Matchers& matchers : selectors) {
    TW_ASSIGN_OR_RETURN(auto series, querier->Select(hints, matchers));
    for (const auto& one : series) found.push_back(one->labels());
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

base::Result<std::vector<std::string>> EmbeddedEngine::LabelNames(const Matchers& matchers, int64_t start_ms,
                                                                  int64_t end_ms) {
  TW_ASSIGN_OR_RETURN(auto querier, storage_.NewQuerier(start_ms, end_ms));
  return querier->LabelNames(matchers);
}

base::Result<std::vector<std::string>> EmbeddedEngine::LabelValues(const std::string& name, const Matchers& matchers,
                                                                   int64_t start_ms, int64_t end_ms) {
  TW_ASSIGN_OR_RETURN(auto querier, storage_.NewQuerier(start_ms, end_ms));
  return querier->LabelValues(name, matchers);
}

}  // namespace

std::unique_ptr<QueryEngine> NewEmbeddedEngine(tsdb::Queryable& storage, const EngineOptions& options,
                                               base::MetricRegistry* metrics) {
  return std::make_unique<EmbeddedEngine>(storage, options, metrics);
}

base::Status CheckExpression(const std::string& expr) { return ParseExpression(expr).status(); }

base::Result<Matchers> ParseSelector(const std::string& selector) { return ParseMatchers(selector); }

base::Result<std::string> FormatExpression(const std::string& expr, bool pretty) {
  TW_ASSIGN_OR_RETURN(ExprPtr tree, ParseExpression(expr));
  return pretty ? PrintPretty(*tree) : Print(*tree);
}

}  // namespace tidewright::promql
