// Why a query has no value: found by asking the store about ever fewer series.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "promql/engine.h"

namespace tidewright::adapter {

// A reason, and what to do about it. Both empty: no reason was found.
struct Diagnosis {
  std::string text;        // "no series http_requests_total has namespace=\"shop\"; there are \"default\", \"test\""
  std::string suggestion;  // A sentence.
};

// Takes the conditions of a query one after the other, as long as series are left, and says which condition leaves
// none: whether the label is missing or has other values. When all conditions are met it says how old the newest sample
// is. Looks back an hour. What the store said is kept for ten seconds, so that thousands of autoscalers that miss the
// same series cost no more than one. Thread-safe. Borrows engine and clock.
class Diagnoser {
 public:
  Diagnoser(promql::QueryEngine& engine, base::Clock& clock, int64_t lookback_ms);

  // `series`: the name in the store. `range_s`: the longest range of the query, 0 without one.
  Diagnosis WhyNoValue(const std::string& series, const promql::Matchers& conditions, int64_t range_s);

 private:
  using Names = base::Result<std::vector<std::string>>;
  struct Known {
    int64_t at_ms = 0;
    Names names = base::UnavailableError("not asked yet");
  };
  Names LabelNames(const promql::Matchers& matchers);
  Names LabelValues(const std::string& label, const promql::Matchers& matchers);
  Names Remembered(const std::string& key, const std::function<Names(int64_t now)>& ask);
  Diagnosis Missing(const promql::Matcher& condition, const promql::Matchers& found,
                    const std::vector<std::string>& labels);
  Diagnosis Age(const promql::Matchers& matchers, int64_t range_s);

  promql::QueryEngine& engine_;
  base::Clock& clock_;
  const int64_t lookback_ms_;
  base::Mutex mu_;
  std::map<std::string, Known> known_ GUARDED_BY(mu_);
};

}  // namespace tidewright::adapter
