#include "scaler/trigger/embedded_query.h"

#include <algorithm>
#include <limits>
#include <variant>

namespace tidewright::scaler::trigger {

namespace {

constexpr char kScrapes[] = "count(up)";

// The first and the last time of any series; none of an empty result.
struct Extent {
  std::optional<int64_t> first_ms, last_ms;

  void Add(int64_t t_ms) {
    first_ms = std::min(first_ms.value_or(t_ms), t_ms);
    last_ms = std::max(last_ms.value_or(t_ms), t_ms);
  }
};

base::Result<Extent> ExtentOf(promql::QueryEngine& engine, const std::string& expr, int64_t start_ms, int64_t end_ms) {
  TW_ASSIGN_OR_RETURN(promql::QueryResult result, engine.Range(expr, start_ms, end_ms, EmptyResult::kStepMs));
  Extent extent;
  const auto* matrix = std::get_if<promql::Matrix>(&result.value);
  if (matrix == nullptr) return extent;
  for (const promql::MatrixSeries& series : *matrix) {
    if (!series.points.empty()) extent.Add(series.points.front().t), extent.Add(series.points.back().t);
    if (!series.histograms.empty()) extent.Add(series.histograms.front().t), extent.Add(series.histograms.back().t);
  }
  return extent;
}

}  // namespace

base::Status TooManySeries(size_t count) {
  return base::FailedPreconditionError("the query gives " + std::to_string(count) +
                                       " series; aggregate them, for example with sum()");
}

base::Result<std::optional<double>> OneValue(const promql::Value& value) {
  if (const auto* scalar = std::get_if<promql::Scalar>(&value)) return std::optional(scalar->point.v);
  const auto* vector = std::get_if<promql::Vector>(&value);
  if (vector == nullptr) return base::FailedPreconditionError("the query gives no number; end it in an instant vector");
  if (vector->size() > 1) return TooManySeries(vector->size());
  return vector->empty() ? std::optional<double>() : std::optional((*vector)[0].point.v);
}

base::Status EmbeddedQuery::Prepare() {
  if (context_.engine == nullptr) return base::FailedPreconditionError("no serverAddress, and no embedded store");
  if (prepared_ != nullptr) return base::Status::Ok();
  TW_ASSIGN_OR_RETURN(prepared_, context_.engine->Prepare(expr_));
  return base::Status::Ok();
}

base::Result<std::optional<double>> EmbeddedQuery::Read() {
  TW_RETURN_IF_ERROR(Prepare());
  TW_ASSIGN_OR_RETURN(promql::QueryResult result, prepared_->Instant(context_.control->NowMs()));
  return OneValue(result.value);
}

base::Result<PastResults> EmbeddedQuery::Past(int64_t start_ms, int64_t end_ms) {
  TW_RETURN_IF_ERROR(Prepare());
  TW_ASSIGN_OR_RETURN(Extent results, ExtentOf(*context_.engine, expr_, start_ms, end_ms));
  PastResults past;
  past.last_ms = results.last_ms;
  if (past.last_ms) return past;
  TW_ASSIGN_OR_RETURN(Extent scrapes, ExtentOf(*context_.engine, kScrapes, start_ms, end_ms));
  past.since_ms = scrapes.first_ms;
  return past;
}

}  // namespace tidewright::scaler::trigger
