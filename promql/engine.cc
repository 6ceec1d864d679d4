#include "promql/engine.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"
#include "promql/evaluator.h"
#include "promql/lexer.h"
#include "promql/parser.h"
#include "promql/plan_cache.h"
#include "promql/printer.h"
#include "promql/query_log.h"
#include "promql/query_slots.h"
#include "promql/tree_json.h"

namespace tidewright::promql {
namespace {

const char kSameLabels[] = "vector cannot contain metrics with the same labelset";

ParserOptions ParserOptionsOf(const EngineOptions& options) {
  return {options.experimental_functions, options.fill_modifiers, options.extended_selectors};
}

// Takes off the names whose removal was delayed. Without any, `matrix` stays as it is.
base::Status RemoveNames(EvalMatrix& matrix) {
  bool any = false;
  for (auto& series : matrix) {
    any = any || series.drop_name;
    if (series.drop_name) series.labels = series.labels.WithoutMetric();
    series.drop_name = false;
  }
  return any ? MergeDuplicates(matrix, kSameLabels) : base::Status::Ok();
}

// Who takes the elements of an instant vector instead of the result.
struct Taker {
  const std::string& label;
  const ElementSink& sink;
  bool took = false;
};

void HandOut(const EvalMatrix& matrix, Taker& taker) {
  taker.took = true;
  for (const auto& series : matrix) {
    if (!series.PresentAt(0)) continue;
    const bool histogram = series.HistogramAt(0) != nullptr;
    taker.sink(series.labels.Get(taker.label), histogram ? std::numeric_limits<double>::quiet_NaN() : series.values[0],
               std::max<int64_t>(0, series.sampled_ms));
  }
}

Vector ToVector(EvalMatrix matrix, int64_t time_ms) {
  Vector vector;
  vector.reserve(matrix.size());
  for (auto& series : matrix) {
    if (!series.PresentAt(0)) continue;
    bool histogram = series.HistogramAt(0) != nullptr;
    vector.push_back({series.labels.Copy(),
                      {time_ms, histogram ? std::numeric_limits<double>::quiet_NaN() : series.values[0]},
                      histogram ? std::move(series.histograms[0]) : nullptr,
                      std::max<int64_t>(0, series.sampled_ms)});
  }
  return vector;
}

MatrixSeries ToSeries(EvalSeries& series, const Steps& steps) {
  MatrixSeries result{series.labels.Copy(), {}, {}};
  auto absent = std::count_if(series.values.begin(), series.values.end(), IsAbsent);
  result.points.reserve(series.values.size() - static_cast<size_t>(absent));
  for (size_t i = 0; i < series.values.size(); ++i) {
    if (!IsAbsent(series.values[i])) result.points.push_back({steps.At(i), series.values[i]});
    if (series.HistogramAt(i) != nullptr) result.histograms.push_back({steps.At(i), std::move(series.histograms[i])});
  }
  series.values = {};
  return result;
}

void SortByLabels(Matrix& matrix) {
  std::sort(matrix.begin(), matrix.end(),
            [](const MatrixSeries& a, const MatrixSeries& b) { return a.labels < b.labels; });
}

Matrix ToMatrix(EvalMatrix matrix, const Steps& steps) {
  Matrix sorted;
  sorted.reserve(matrix.size());
  for (auto& series : matrix) {
    if (!series.IsEmpty()) sorted.push_back(ToSeries(series, steps));
  }
  SortByLabels(sorted);
  return sorted;
}

QueryResult WithAnnotations(Value value, const QueryState& state) {
  return {std::move(value), state.warnings(), state.infos(), {}};
}

// Plans that are kept, and the memory they may take.
constexpr size_t kMostPlans = 1000;
constexpr size_t kMostPlanBytes = 16 << 20;

class EmbeddedEngine : public QueryEngine {
 public:
  EmbeddedEngine(tsdb::Queryable& storage, const EngineOptions& options, base::MetricRegistry* metrics)
      : storage_(storage),
        options_(options),
        slots_(options.max_concurrency),
        plans_(kMostPlans, kMostPlanBytes),
        log_(options.clock != nullptr ? *options.clock : base::SystemClock::Get(), metrics) {
    if (metrics == nullptr) return;
    queries_ = &metrics->GetCounter("tidewright_promql_queries_total", "PromQL queries that were evaluated.");
    current_ = &metrics->GetGauge("prometheus_engine_queries", "Queries that are evaluated or wait at the moment.");
    samples_ = &metrics->GetCounter("prometheus_engine_query_samples_total", "Samples that queries have read.");
    metrics->GetGauge("prometheus_engine_queries_concurrent_max", "Queries that are evaluated at a time.")
        .Set(static_cast<double>(options.max_concurrency));
    auto slice = [&](const char* name) {
      return &metrics->GetHistogram("prometheus_engine_query_duration_histogram_seconds", "How long queries took.",
                                    {0.0001, 0.001, 0.01, 0.1, 1, 10, 60}, {{"slice", name}});
    };
    queue_time_ = slice("queue_time");
    prepare_time_ = slice("prepare_time");
    inner_eval_ = slice("inner_eval");
    failures_ = &metrics->GetCounter("tidewright_promql_query_failures_total", "PromQL queries that failed.");
    seconds_ = &metrics->GetHistogram("tidewright_promql_query_duration_seconds", "How long PromQL queries took.",
                                      {0.0001, 0.001, 0.01, 0.1, 1, 10, 60});
  }

  base::Result<QueryResult> Instant(const std::string& expr, int64_t time_ms) override {
    return Evaluate({expr, time_ms, time_ms});
  }
  base::Result<QueryResult> Range(const std::string& expr, int64_t start_ms, int64_t end_ms, int64_t step_ms) override {
    if (step_ms <= 0) return base::InvalidArgumentError("the step of a range query must be greater than 0");
    return Evaluate({expr, start_ms, end_ms, step_ms});
  }
  base::Result<QueryResult> Evaluate(const QueryRequest& request) override;
  base::Result<std::unique_ptr<PreparedQuery>> Prepare(const std::string& expr) override;
  // `plan` is that of the request's expression, or null. With a `taker` the result of an instant vector has no
  // elements.
  base::Result<QueryResult> Run(const QueryRequest& request, Plan* plan, Taker* taker = nullptr);
  base::Result<std::vector<Labels>> Series(const std::vector<Matchers>& selectors, int64_t start_ms,
                                           int64_t end_ms) override;
  base::Status SetQueryLog(const std::string& path) override { return log_.Open(path); }
  base::Result<std::vector<std::string>> LabelNames(const Matchers& matchers, int64_t start_ms,
                                                    int64_t end_ms) override;
  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers& matchers,
                                                     int64_t start_ms, int64_t end_ms) override;

 private:
  base::Result<QueryResult> RunInSlot(const QueryRequest& request, const EngineOptions& options, Plan* plan,
                                      Taker* taker, QueryStatistics* statistics);
  base::Result<QueryResult> RunPlan(const QueryRequest& request, const EngineOptions& options, int64_t deadline,
                                    Plan& plan, Taker* taker, QueryStatistics* statistics);
  void Note(const QueryStatistics& statistics);
  void CountRunning(int64_t change) {
    int64_t running = running_ += change;
    if (current_ != nullptr) current_->Set(static_cast<double>(running));
  }
  base::Result<std::unique_ptr<Plan>> Parse(const std::string& expr) const;

  tsdb::Queryable& storage_;
  const EngineOptions options_;
  QuerySlots slots_;
  PlanCache plans_;
  QueryLog log_;
  std::atomic<int64_t> running_{0};  // Or waiting.
  base::Gauge* current_ = nullptr;
  base::Counter* samples_ = nullptr;
  base::Histogram* queue_time_ = nullptr;
  base::Histogram* prepare_time_ = nullptr;
  base::Histogram* inner_eval_ = nullptr;
  base::Counter* queries_ = nullptr;
  base::Counter* failures_ = nullptr;
  base::Histogram* seconds_ = nullptr;
};

class EmbeddedPreparedQuery : public PreparedQuery {
 public:
  EmbeddedPreparedQuery(EmbeddedEngine& engine, std::unique_ptr<Plan> plan) : engine_(engine), plan_(std::move(plan)) {}
  const std::string& expr() const override { return plan_->expr; }
  base::Result<QueryResult> Instant(int64_t time_ms) override {
    base::MutexLock lock(mu_);
    return engine_.Run({plan_->expr, time_ms, time_ms}, plan_.get());
  }
  base::Result<bool> Visit(int64_t time_ms, const std::string& label, const ElementSink& sink) override {
    base::MutexLock lock(mu_);
    Taker taker{label, sink};
    TW_RETURN_IF_ERROR(engine_.Run({plan_->expr, time_ms, time_ms}, plan_.get(), &taker).status());
    return taker.took;
  }

 private:
  EmbeddedEngine& engine_;
  base::Mutex mu_;
  const std::unique_ptr<Plan> plan_;  // Guarded by mu_, but for the text, which never changes.
};

base::Result<std::unique_ptr<Plan>> EmbeddedEngine::Parse(const std::string& expr) const {
  TW_ASSIGN_OR_RETURN(ExprPtr tree, ParseExpression(expr, ParserOptionsOf(options_)));
  return std::make_unique<Plan>(Plan{expr, std::move(tree), {}});
}

base::Result<std::unique_ptr<PreparedQuery>> EmbeddedEngine::Prepare(const std::string& expr) {
  TW_ASSIGN_OR_RETURN(std::unique_ptr<Plan> plan, Parse(expr));
  return std::unique_ptr<PreparedQuery>(std::make_unique<EmbeddedPreparedQuery>(*this, std::move(plan)));
}

base::Result<QueryResult> EmbeddedEngine::Evaluate(const QueryRequest& request) { return Run(request, nullptr); }

base::Result<QueryResult> EmbeddedEngine::Run(const QueryRequest& request, Plan* plan, Taker* taker) {
  int64_t begin = base::MonotonicNanos();
  EngineOptions options = options_;
  if (request.lookback_ms > 0) options.lookback_ms = request.lookback_ms;
  if (request.timeout_ms > 0) options.timeout_ms = std::min(options.timeout_ms, request.timeout_ms);
  CountRunning(1);
  QueryStatistics statistics;
  auto result = RunInSlot(request, options, plan, taker, &statistics);
  CountRunning(-1);
  if (queries_ != nullptr) {
    queries_->Add();
    if (!result.ok()) failures_->Add();
    seconds_->Observe(static_cast<double>(base::MonotonicNanos() - begin) / 1e9);
    Note(statistics);
  }
  if (log_.enabled()) log_.Write(request, result.status(), statistics);
  if (result.ok()) result->statistics = statistics;
  return result;
}

void EmbeddedEngine::Note(const QueryStatistics& statistics) {
  samples_->Add(static_cast<double>(statistics.samples));
  queue_time_->Observe(static_cast<double>(statistics.queue_nanos) / 1e9);
  prepare_time_->Observe(static_cast<double>(statistics.prepare_nanos) / 1e9);
  inner_eval_->Observe(static_cast<double>(statistics.eval_nanos) / 1e9);
}

// What kinds of expressions and how many steps a request may have.
base::Status CheckRequest(const QueryRequest& request, const EngineOptions& options, const Expr& tree) {
  if (request.step_ms == 0) return base::Status::Ok();
  if (request.end_ms < request.start_ms) {
    return base::InvalidArgumentError("the end of a range query lies before its start");
  }
  if (tree.type != ValueType::kVector && tree.type != ValueType::kScalar) {
    return ErrorAt(
        request.expr, tree.span.begin,
        "a range query needs an expression of type scalar or instant vector, got " + std::string(TypeName(tree.type)));
  }
  int64_t count = SaturatingSub(request.end_ms, request.start_ms) / request.step_ms + 1;
  if (static_cast<uint64_t>(count) <= options.max_samples) return base::Status::Ok();
  return base::ResourceExhaustedError("the range query has " + std::to_string(count) + " steps, more than " +
                                      std::to_string(options.max_samples) + "; widen its step");
}

base::Result<Value> InstantValue(QueryState& state, const Expr& expr, int64_t time_ms, Taker* taker) {
  Steps steps{time_ms, 1, 1};
  Evaluator evaluator(state, steps);
  switch (expr.type) {
    case ValueType::kString: return Value(StringValue{time_ms, Evaluator::StringOf(expr)});
    case ValueType::kScalar: {
      TW_ASSIGN_OR_RETURN(std::vector<double> values, evaluator.EvalScalar(expr));
      return Value(Scalar{{time_ms, values.front()}});
    }
    case ValueType::kMatrix: {
      TW_ASSIGN_OR_RETURN(Matrix matrix, evaluator.EvalRangeVector(expr));
      SortByLabels(matrix);
      return Value(std::move(matrix));
    }
    default: break;
  }
  TW_ASSIGN_OR_RETURN(EvalMatrix matrix, evaluator.Eval(expr));
  TW_RETURN_IF_ERROR(RemoveNames(matrix));
  if (taker == nullptr) return Value(ToVector(std::move(matrix), time_ms));
  HandOut(matrix, *taker);
  return Value(Vector());
}

base::Result<Value> RangeValue(QueryState& state, const QueryRequest& request, const Expr& expr) {
  int64_t count = SaturatingSub(request.end_ms, request.start_ms) / request.step_ms + 1;
  Evaluator evaluator(
      state, Steps{request.start_ms, request.step_ms, static_cast<size_t>(count), request.start_ms < request.end_ms});
  TW_ASSIGN_OR_RETURN(EvalMatrix matrix, evaluator.Eval(expr));
  TW_RETURN_IF_ERROR(RemoveNames(matrix));
  return Value(ToMatrix(std::move(matrix), evaluator.steps()));
}

base::Result<QueryResult> EmbeddedEngine::RunInSlot(const QueryRequest& request, const EngineOptions& options,
                                                    Plan* plan, Taker* taker, QueryStatistics* statistics) {
  int64_t begin = base::MonotonicNanos();
  int64_t deadline = SaturatingAdd(begin, options.timeout_ms * 1'000'000);
  TW_ASSIGN_OR_RETURN(QuerySlots::Held slot, slots_.Acquire(deadline, request.cancelled));
  int64_t started = base::MonotonicNanos();
  statistics->queue_nanos = started - begin;
  std::unique_ptr<Plan> own = plan == nullptr ? plans_.Take(request.expr) : nullptr;
  if (plan == nullptr && own == nullptr) {
    TW_ASSIGN_OR_RETURN(own, Parse(request.expr));
  }
  auto result = RunPlan(request, options, deadline, plan != nullptr ? *plan : *own, taker, statistics);
  statistics->prepare_nanos = base::MonotonicNanos() - started - statistics->eval_nanos;
  (plan != nullptr ? plan : own.get())->memory.Trim();
  if (own != nullptr) plans_.Put(std::move(own));
  return result;
}

base::Result<QueryResult> EmbeddedEngine::RunPlan(const QueryRequest& request, const EngineOptions& options,
                                                  int64_t deadline, Plan& plan, Taker* taker,
                                                  QueryStatistics* statistics) {
  Expr& tree = *plan.tree;
  TW_RETURN_IF_ERROR(CheckRequest(request, options, tree));
  bool instant = request.step_ms == 0;
  int64_t end_ms = instant ? request.start_ms : request.end_ms;
  QueryState state(plan.expr, options, request.start_ms, end_ms, instant ? 1 : request.step_ms, deadline,
                   request.cancelled, plan.memory);
  TW_RETURN_IF_ERROR(state.Prepare(tree));
  TW_RETURN_IF_ERROR(state.Select(tree, storage_));
  int64_t prepared = base::MonotonicNanos();
  auto value = instant ? InstantValue(state, tree, request.start_ms, taker) : RangeValue(state, request, tree);
  state.Report(statistics);
  statistics->eval_nanos = base::MonotonicNanos() - prepared;
  if (!value.ok()) return value.status();
  return WithAnnotations(*std::move(value), state);
}

base::Result<std::vector<Labels>> EmbeddedEngine::Series(const std::vector<Matchers>& selectors, int64_t start_ms,
                                                         int64_t end_ms) {
  TW_ASSIGN_OR_RETURN(auto querier, storage_.NewQuerier(start_ms, end_ms));
  tsdb::SelectHints hints{start_ms, end_ms, 0, true};
  std::vector<Labels> found;
  for (const Matchers& matchers : selectors) {
    TW_ASSIGN_OR_RETURN(const tsdb::SeriesSetPtr series, querier->Find(hints, matchers));
    found.reserve(found.size() + series->size());
    for (size_t i = 0; i < series->size(); ++i) found.push_back(series->labels(i));
  }
  // The series of one selector are sorted already, and comparing labels is dear.
  if (!std::is_sorted(found.begin(), found.end())) std::sort(found.begin(), found.end());
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

namespace {

// Parses at each evaluation.
class PlainPreparedQuery : public PreparedQuery {
 public:
  PlainPreparedQuery(QueryEngine& engine, std::string expr) : engine_(engine), expr_(std::move(expr)) {}
  const std::string& expr() const override { return expr_; }
  base::Result<QueryResult> Instant(int64_t time_ms) override { return engine_.Instant(expr_, time_ms); }

 private:
  QueryEngine& engine_;
  const std::string expr_;
};

}  // namespace

base::Result<bool> PreparedQuery::Visit(int64_t time_ms, const std::string& label, const ElementSink& sink) {
  TW_ASSIGN_OR_RETURN(QueryResult result, Instant(time_ms));
  const auto* vector = std::get_if<Vector>(&result.value);
  if (vector == nullptr) return false;
  for (const VectorSample& sample : *vector) sink(sample.labels.Get(label), sample.point.v, sample.sampled_ms);
  return true;
}

base::Result<QueryResult> QueryEngine::Evaluate(const QueryRequest& request) {
  if (request.step_ms == 0) return Instant(request.expr, request.start_ms);
  return Range(request.expr, request.start_ms, request.end_ms, request.step_ms);
}

base::Result<std::unique_ptr<PreparedQuery>> QueryEngine::Prepare(const std::string& expr) {
  return std::unique_ptr<PreparedQuery>(std::make_unique<PlainPreparedQuery>(*this, expr));
}

std::unique_ptr<QueryEngine> NewEmbeddedEngine(tsdb::Queryable& storage, const EngineOptions& options,
                                               base::MetricRegistry* metrics) {
  return std::make_unique<EmbeddedEngine>(storage, options, metrics);
}

base::Status QueryEngine::SetQueryLog(const std::string& path) {
  return path.empty() ? base::Status::Ok() : base::UnimplementedError("this engine has no query log");
}

base::Status CheckExpression(const std::string& expr) { return ParseExpression(expr).status(); }

base::Result<Matchers> ParseSelector(const std::string& selector) { return ParseMatchers(selector); }

base::Result<std::string> ExpressionTree(const std::string& expr) {
  TW_ASSIGN_OR_RETURN(ExprPtr tree, ParseExpression(expr));
  return TreeJson(*tree);
}

base::Result<std::string> FormatExpression(const std::string& expr, bool pretty) {
  TW_ASSIGN_OR_RETURN(ExprPtr tree, ParseExpression(expr));
  return pretty ? PrintPretty(*tree) : Print(*tree);
}

}  // namespace tidewright::promql
