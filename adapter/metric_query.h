// Builds the PromQL of one request: matchers in their order, and the variables that a metricsQuery sees.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/go_template.h"
#include "base/status.h"
#include "kube/meta.h"
#include "promql/engine.h"

namespace tidewright::adapter {

// Collects the matchers and variables of one query. Not thread-safe.
class MetricQuery {
 public:
  explicit MetricQuery(std::string series) : series_(std::move(series)) {}

  // Adds one matcher per requirement, sorted by key. kInvalidArgument for > and <, which PromQL matchers cannot
  // express.
  base::Status AddSelector(const kube::LabelSelector& selector);
  // label="value", quoted as Go's %q does.
  void AddEqual(const std::string& label, const std::string& value);
  // label="name" for one name; label=~"a|b" for more, with the names' dots and other metacharacters escaped.
  void AddNames(const std::string& label, const std::vector<std::string>& names);
  void GroupBy(std::vector<std::string> labels) { group_by_ = std::move(labels); }

  // What was added, one matcher each, in that order. Compiles expressions, so this is for explanations.
  promql::Matchers Conditions() const;

  // The rendered query. kInvalidArgument when the template fails or gives nothing.
  base::Result<std::string> Render(const base::GoTemplate& query) const;

 private:
  struct Condition {
    promql::Matcher::Type type;
    std::string label, value;
  };
  void Add(const std::string& label, promql::Matcher::Type type, const std::string& value, const std::string& raw);

  std::string series_;
  std::vector<Condition> conditions_;
  std::vector<std::string> matchers_;
  std::map<std::string, std::string> values_by_name_;  // Unescaped, as prometheus-adapter gives them.
  std::vector<std::string> group_by_;
};

// `query` in double quotes, for messages; the middle of a long one, which names hundreds of pods, is left out.
std::string ShownQuery(const std::string& query);

// The longest range that `query` selects, in seconds: the 300 of rate(x[5m]). nullopt without a range.
std::optional<int64_t> WindowSeconds(const std::string& query);

// When the value of an answer was measured: `sampled_ms`, the time of the newest sample behind it, or that of the
// evaluation, `now_ms`, where the engine does not know (0: another server's) or there is none (a constant).
int64_t TimeOf(int64_t sampled_ms, int64_t now_ms);

// Why the query of the rule called `title` could not be evaluated. What is the rule's fault and not the requester's
// becomes kInternal.
base::Status QueryFailure(const std::string& title, const std::string& query, const base::Status& status);

// Evaluates `query` at `now_ms` for the rule called `title`; an error is a QueryFailure.
base::Result<promql::Value> EvaluateQuery(promql::QueryEngine& engine, const std::string& title,
                                          const std::string& query, int64_t now_ms);

}  // namespace tidewright::adapter
