// FakeEngine: answers every instant query with one prepared result, and range queries with what was said of the past.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "promql/engine.h"

namespace tidewright::scaler {

class FakeEngine : public promql::QueryEngine {
 public:
  void SetVector(std::vector<double> values) {
    promql::Vector vector;
    for (double value : values) vector.push_back({{}, {0, value}});
    base::MutexLock lock(mu_);
    result_ = promql::QueryResult{vector, {}, {}};
  }
  void SetError(base::Status status) {
    base::MutexLock lock(mu_);
    result_ = std::move(status);
  }
  // When the query had a result for the last time, and since when targets have been scraped.
  void SetPast(std::optional<int64_t> last_result_ms, std::optional<int64_t> scraped_since_ms) {
    base::MutexLock lock(mu_);
    last_result_ms_ = last_result_ms;
    scraped_since_ms_ = scraped_since_ms;
  }
  int range_queries() {
    base::MutexLock lock(mu_);
    return range_queries_;
  }
  std::string last_query() {
    base::MutexLock lock(mu_);
    return last_query_;
  }

  base::Result<promql::QueryResult> Instant(const std::string& expr, int64_t) override {
    base::MutexLock lock(mu_);
    last_query_ = expr;
    return result_;
  }
  base::Result<promql::QueryResult> Range(const std::string& expr, int64_t start_ms, int64_t end_ms,
                                          int64_t step_ms) override {
    base::MutexLock lock(mu_);
    ++range_queries_;
    if (!result_.ok()) return result_.status();
    promql::MatrixSeries series;
    for (int64_t t = start_ms; t <= end_ms; t += step_ms) {
      bool scraped = expr == "count(up)" && scraped_since_ms_ && t >= *scraped_since_ms_;
      bool counted = expr != "count(up)" && last_result_ms_ && t <= *last_result_ms_;
      if (scraped || counted) series.points.push_back({t, 1});
    }
    promql::Matrix matrix;
    if (!series.points.empty()) matrix.push_back(std::move(series));
    return promql::QueryResult{std::move(matrix), {}, {}};
  }
  base::Result<std::vector<promql::Labels>> Series(const std::vector<promql::Matchers>&, int64_t, int64_t) override {
    return Unused();
  }
  base::Result<std::vector<std::string>> LabelNames(const promql::Matchers&, int64_t, int64_t) override {
    return Unused();
  }
  base::Result<std::vector<std::string>> LabelValues(const std::string&, const promql::Matchers&, int64_t,
                                                     int64_t) override {
    return Unused();
  }

 private:
  static base::Status Unused() { return base::UnimplementedError("not modelled"); }
  base::Mutex mu_;
  base::Result<promql::QueryResult> result_ GUARDED_BY(mu_) = promql::QueryResult{};
  std::string last_query_ GUARDED_BY(mu_);
  std::optional<int64_t> last_result_ms_ GUARDED_BY(mu_);
  std::optional<int64_t> scraped_since_ms_ GUARDED_BY(mu_) = 0;
  int range_queries_ GUARDED_BY(mu_) = 0;
};

}  // namespace tidewright::scaler
