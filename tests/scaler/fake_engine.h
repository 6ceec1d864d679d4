// FakeEngine: answers every instant query with one prepared result.
#pragma once

#include <functional>
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
  std::string last_query() {
    base::MutexLock lock(mu_);
    return last_query_;
  }

  base::Result<promql::QueryResult> Instant(const std::string& expr, int64_t) override {
    base::MutexLock lock(mu_);
    last_query_ = expr;
    return result_;
  }
  base::Result<promql::QueryResult> Range(const std::string&, int64_t, int64_t, int64_t) override { return Unused(); }
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
};

}  // namespace tidewright::scaler
