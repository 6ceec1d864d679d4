// A promql::QueryEngine that knows some series and remembers what it was asked.
#pragma once

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "promql/engine.h"

namespace tidewright::testing {

// Thread-safe as long as the public members are not changed meanwhile.
class FakeEngine : public promql::QueryEngine {
 public:
  std::vector<promql::Labels> series;
  base::Status series_error;
  base::Status instant_error;
  std::function<promql::Value(const std::string&)> answer = [](const std::string&) { return promql::Vector(); };

  std::vector<std::string> asked() {
    base::MutexLock lock(mu_);
    return asked_;
  }

  base::Result<promql::QueryResult> Instant(const std::string& expr, int64_t) override {
    {
      base::MutexLock lock(mu_);
      asked_.push_back(expr);
    }
    if (!instant_error.ok()) return instant_error;
    return promql::QueryResult{answer(expr), {}, {}};
  }
  base::Result<promql::QueryResult> Range(const std::string&, int64_t, int64_t, int64_t) override {
    return base::UnimplementedError("range");
  }
  base::Result<std::vector<promql::Labels>> Series(const std::vector<promql::Matchers>& selectors, int64_t,
                                                   int64_t) override {
    if (!series_error.ok()) return series_error;
    std::vector<promql::Labels> result;
    for (const promql::Labels& labels : series) {
      bool any = std::any_of(selectors.begin(), selectors.end(),
                             [&](const promql::Matchers& matchers) { return Matches(labels, matchers); });
      if (any) result.push_back(labels);
    }
    return result;
  }
  base::Result<std::vector<std::string>> LabelNames(const promql::Matchers& matchers, int64_t, int64_t) override {
    if (!series_error.ok()) return series_error;
    std::set<std::string> names;
    for (const promql::Labels& labels : series) {
      if (!Matches(labels, matchers)) continue;
      for (const auto& label : labels) names.insert(label.name);
    }
    return std::vector<std::string>(names.begin(), names.end());
  }
  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const promql::Matchers& matchers, int64_t,
                                                     int64_t) override {
    if (!series_error.ok()) return series_error;
    std::set<std::string> values;
    for (const promql::Labels& labels : series) {
      if (Matches(labels, matchers) && labels.Has(name)) values.insert(std::string(labels.Get(name)));
    }
    return std::vector<std::string>(values.begin(), values.end());
  }

 private:
  static bool Matches(const promql::Labels& labels, const promql::Matchers& matchers) {
    return std::all_of(matchers.begin(), matchers.end(),
                       [&](const promql::Matcher& m) { return m.Matches(labels.Get(m.name())); });
  }
  base::Mutex mu_;
  std::vector<std::string> asked_ GUARDED_BY(mu_);
};

}  // namespace tidewright::testing
