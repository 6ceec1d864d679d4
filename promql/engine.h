// QueryEngine: evaluates PromQL. Everything above (adapter, rules, scaler, web) sees only this interface.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "promql/value.h"
#include "tsdb/querier.h"

namespace tidewright::promql {

struct EngineOptions {
  int64_t lookback_ms = 5 * 60 * 1000;
  int64_t default_subquery_step_ms = 60 * 1000;
  size_t max_samples = 50'000'000;  // Points held in memory by one query.
  int64_t timeout_ms = 120'000;
  size_t max_concurrency = 20;         // Queries that run at a time; others wait in the order of their arrival.
  const base::Clock* clock = nullptr;  // Dates the lines of the query log; null: the system's.

  // Parts of the language that are experimental in Prometheus too, off as there.
  bool experimental_functions = false;  // limitk, limit_ratio, sort_by_label, mad_over_time, info, ...
  bool fill_modifiers = false;          // a + fill(0) b
  bool extended_selectors = false;      // rate(x[5m] anchored), x smoothed
  bool delayed_name_removal = false;    // Metric names are dropped from the final result only.
  bool use_start_timestamps = false;    // rate() and its kin look at when counters began.
};

// Who asks, for the query log: an HTTP request or a group of rules.
struct QueryOrigin {
  std::string client_ip, method, path;
  std::string rule_file, rule_group;
};

// One evaluation of an expression.
struct QueryRequest {
  std::string expr;
  int64_t start_ms = 0;  // The time of an instant query.
  int64_t end_ms = 0;
  int64_t step_ms = 0;                           // 0: an instant query.
  int64_t timeout_ms = 0;                        // Shortens that of the engine; 0: that of the engine.
  int64_t lookback_ms = 0;                       // Instead of that of the engine; 0: that of the engine.
  const std::atomic<bool>* cancelled = nullptr;  // Set by the caller to end the query soon. Borrowed.
  const QueryOrigin* origin = nullptr;           // Null: unknown. Borrowed.
};

// Takes an element of an instant vector: the value of one of its labels ("" without it; the text ends with the call),
// its float (NaN where there is a histogram) and when the newest sample behind it was taken, as of VectorSample.
using ElementSink = std::function<void(std::string_view label, double value, int64_t sampled_ms)>;

// An expression that is evaluated again and again: parsed and planned once. Thread-safe; evaluations take turns.
class PreparedQuery {
 public:
  virtual ~PreparedQuery() = default;
  virtual const std::string& expr() const = 0;
  // As QueryEngine::Instant().
  virtual base::Result<QueryResult> Instant(int64_t time_ms) = 0;
  // Hands out the elements of the vector that Instant() gives, in its order, each with the value of `label`, for those
  // who need no more of the label sets. `sink` must not use the query. False: the value is no instant vector.
  virtual base::Result<bool> Visit(int64_t time_ms, const std::string& label, const ElementSink& sink);
};

// Thread-safe. Errors: kInvalidArgument (parse error with "line:column: what was expected", or an evaluation error such
// as a many-to-many match), kResourceExhausted (max_samples), kDeadlineExceeded, kCancelled, kUnavailable (storage or
// remote).
class QueryEngine {
 public:
  virtual ~QueryEngine() = default;

  // Evaluates at one time (ms since the epoch).
  virtual base::Result<QueryResult> Instant(const std::string& expr, int64_t time_ms) = 0;
  // Evaluates at start, start + step, ... <= end. The value is a Matrix. step_ms > 0.
  virtual base::Result<QueryResult> Range(const std::string& expr, int64_t start_ms, int64_t end_ms,
                                          int64_t step_ms) = 0;
  // Either, with what Instant() and Range() take from the engine's options. Engines that know no such limits ignore
  // them.
  virtual base::Result<QueryResult> Evaluate(const QueryRequest& request);
  // kInvalidArgument when the expression cannot be parsed. The query must not outlive the engine.
  virtual base::Result<std::unique_ptr<PreparedQuery>> Prepare(const std::string& expr);
  // Writes a line of JSON for each query to a file from now on, as Prometheus' query_log_file; "" for none. The file is
  // opened anew at each call. An engine without a log accepts only "".
  virtual base::Status SetQueryLog(const std::string& path);
  // Label sets of the series that match any of the selectors and have samples in the time range.
  virtual base::Result<std::vector<Labels>> Series(const std::vector<Matchers>& selectors, int64_t start_ms,
                                                   int64_t end_ms) = 0;
  virtual base::Result<std::vector<std::string>> LabelNames(const Matchers& matchers, int64_t start_ms,
                                                            int64_t end_ms) = 0;
  virtual base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers& matchers,
                                                             int64_t start_ms, int64_t end_ms) = 0;
};

// The embedded engine. Borrows `storage` and `metrics` (may be null), which must outlive it.
std::unique_ptr<QueryEngine> NewEmbeddedEngine(tsdb::Queryable& storage, const EngineOptions& options,
                                               base::MetricRegistry* metrics);

// The canonical form of an expression on one line, or, with `pretty`, broken into lines where it is long.
base::Result<std::string> FormatExpression(const std::string& expr, bool pretty);

// The syntax tree of an expression as the JSON of Prometheus' /api/v1/parse_query.
base::Result<std::string> ExpressionTree(const std::string& expr);

// Checks an expression without evaluating it, for configuration: kInvalidArgument with position and reason.
base::Status CheckExpression(const std::string& expr);
// Parses a selector such as up{job=~"a|b"}; kInvalidArgument with position and reason.
base::Result<Matchers> ParseSelector(const std::string& selector);

}  // namespace tidewright::promql
