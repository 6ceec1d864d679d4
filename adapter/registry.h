// Registry: which metrics exist, found by running the rules' series selectors against the query engine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "adapter/resource_mapper.h"
#include "adapter/rule.h"
#include "apiservice/provider.h"
#include "base/clock.h"
#include "base/gate.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "promql/engine.h"

namespace tidewright::adapter {

struct RegistryOptions {
  int64_t relist_interval_ms = 30'000;
  int64_t max_age_ms = 10 * 60'000;  // Series without a sample for this long are not listed.
  // Which rule keeps a metric that two rules define. prometheus-adapter silently lets the later one win.
  bool last_rule_wins = false;
  // A number that changes whenever a series appears or goes (tsdb::Queryable::SeriesEpoch). Without it, or when it is
  // 0, a metric that is not listed is looked for at most every few seconds.
  std::function<uint64_t()> series_epoch;
};

// How a custom metric is to be queried.
struct CustomMetric {
  std::shared_ptr<const Rule> rule;
  std::string series;           // Name in the store; "" for a rule with its own PromQL.
  ResourceType type;            // Of the described objects.
  std::string resource_label;   // Holds the object's name.
  std::string namespace_label;  // "" when the rule maps no label to namespaces.
};

struct ExternalMetric {
  std::shared_ptr<const Rule> rule;
  std::string series;
  std::string namespace_label;
};

// One rule and what came of it, for people.
struct RuleStatus {
  std::string section;  // "rules" or "externalRules".
  size_t index = 0;
  int line = 0;
  std::string object;  // As Rule::object.
  std::string series_query;
  std::string metrics_query;         // The template, or the rule's own PromQL.
  int64_t listed_at_ms = 0;          // Of the last success; 0: never.
  base::Status error;                // Of the last attempt.
  size_t series = 0;                 // Series names that the selector gave.
  std::vector<std::string> metrics;  // "pods/http_requests", sorted; the metrics that this rule provides.
  std::vector<std::string> notes;    // Series left out and collisions, with the reason.
};

// Lists every `relist_interval_ms` on the scheduler. Rules fail one by one: a failing rule keeps what it had. Readers
// get the last complete listing and never wait for the engine, except the Find methods for a metric that is not listed:
// those ask the rules directly. Thread-safe. Borrows everything it is given.
class Registry {
 public:
  Registry(promql::QueryEngine& engine, ResourceMapper& mapper, base::Clock& clock, base::Scheduler& scheduler,
           base::MetricRegistry& metrics, const RegistryOptions& options);
  ~Registry();  // Stop().

  // Replaces the rules of the configuration, or those of objects. The old listing stays until the new rules have been
  // listed. The configuration's rules come before those of objects, except that within a namespace its own rules win.
  void SetRules(std::vector<std::shared_ptr<const Rule>> rules,
                std::vector<std::shared_ptr<const Rule>> external_rules);
  void SetObjectRules(std::vector<std::shared_ptr<const Rule>> rules);

  void Start();
  void Stop();  // Idempotent.
  // Lists now, on the calling thread.
  void Relist();

  std::vector<apiservice::CustomMetricInfo> ListCustom() const;
  std::vector<std::string> ListExternal() const;
  // Changes whenever a list does.
  uint64_t version() const;
  std::vector<RuleStatus> Status() const;

  // How to query a metric for a request about the namespace `scope` ("": about none). kNotFound says of each rule why
  // it does not give the metric; kUnavailable when the engine could not be asked.
  base::Result<CustomMetric> FindCustom(const GroupResource& resource, const std::string& metric,
                                        const std::string& scope);
  base::Result<ExternalMetric> FindExternal(const std::string& metric, const std::string& scope);
  // The listed metric of the resource whose name is nearest to `metric`; "" when none is near.
  std::string NearestCustom(const GroupResource& resource, const std::string& metric);
  std::string NearestExternal(const std::string& metric) const;

 private:
  // A series name and the label names that go with it.
  struct Shape {
    std::string series;
    std::vector<std::string> labels;
  };
  using Shapes = std::vector<Shape>;
  // What is described, the metric, and the namespace that the rule is limited to.
  using CustomKey = std::tuple<GroupResource, std::string, std::string>;
  using ExternalKey = std::pair<std::string, std::string>;  // The metric, and that namespace.
  // What one rule gives by itself.
  struct RuleListing {
    std::map<CustomKey, CustomMetric> custom;
    std::map<ExternalKey, ExternalMetric> external;
    RuleStatus status;
  };
  // What all rules give together. Immutable once published.
  struct Listing {
    std::map<CustomKey, CustomMetric> custom;
    std::map<ExternalKey, ExternalMetric> external;
    std::vector<RuleStatus> statuses;
    std::vector<apiservice::CustomMetricInfo> custom_list;
    std::vector<std::string> external_list;
    uint64_t version = 0;
  };
  struct Names {
    int64_t at_ms = 0;
    uint64_t epoch = 0;
    int64_t keep_ms = 0;
    base::Result<std::vector<std::string>> names = base::UnavailableError("not read yet");
  };
  class LabelResolver;
  using RuleList = std::vector<std::shared_ptr<const Rule>>;

  void Schedule(int64_t when_ms);
  void Kick();
  base::Result<Shapes> ReadShapes(const Rule& rule, int64_t now_ms);
  void ListRule(const std::shared_ptr<const Rule>& rule, const base::Result<Shapes>& shapes, int64_t now_ms,
                RuleListing* listing);
  void ListPromql(const std::shared_ptr<const Rule>& rule, RuleListing* listing);
  void AddCustom(const std::shared_ptr<const Rule>& rule, const Shape& shape, const std::string& metric,
                 LabelResolver& resolver, RuleListing* listing);
  std::shared_ptr<const Listing> Merge(const RuleList& rules) REQUIRES_LOCK(relist_mu_);
  std::shared_ptr<const Listing> listing() const;
  RuleList RulesOf(bool external) const;
  // Those that a request about `scope` may use, in the order in which they are tried.
  RuleList RulesFor(bool external, const std::string& scope) const;

  base::Result<std::vector<std::string>> SeriesNames(const Rule& rule, int64_t max_age_ms);
  base::Result<std::vector<std::string>> SeriesFor(const Rule& rule, const std::string& metric);
  base::Result<CustomMetric> TryRule(const std::shared_ptr<const Rule>& rule, const ResourceType& type,
                                     const std::string& metric);
  base::Result<CustomMetric> TryPromql(const std::shared_ptr<const Rule>& rule, const ResourceType& type,
                                       const std::string& metric) const;
  // The first rule's success, or the reasons of all.
  template <typename T, typename Try>
  base::Result<T> TryRules(const RuleList& rules, Try attempt);

  promql::QueryEngine& engine_;
  ResourceMapper& mapper_;
  base::Clock& clock_;
  base::Scheduler& scheduler_;
  const RegistryOptions options_;
  base::Counter& failures_;
  base::Histogram& duration_;
  base::Gauge& custom_count_;
  base::Gauge& external_count_;

  base::Mutex relist_mu_;  // One listing at a time.
  std::map<std::shared_ptr<const Rule>, RuleListing> by_rule_ GUARDED_BY(relist_mu_);

  base::Gate gate_;
  mutable base::Mutex mu_;
  std::vector<std::shared_ptr<const Rule>> rules_ GUARDED_BY(mu_);
  std::vector<std::shared_ptr<const Rule>> external_rules_ GUARDED_BY(mu_);
  std::vector<std::shared_ptr<const Rule>> object_rules_ GUARDED_BY(mu_);
  std::shared_ptr<const Listing> listing_ GUARDED_BY(mu_);
  std::map<std::string, Names> names_ GUARDED_BY(mu_);  // By age, namespace and selector text.
  bool started_ GUARDED_BY(mu_) = false;
  base::Scheduler::TaskId task_ GUARDED_BY(mu_) = 0;  // The next periodic listing.
  base::Scheduler::TaskId kick_ GUARDED_BY(mu_) = 0;  // The listing that new rules asked for.
};

// The label that `rule` gives objects of `type`: the first override by name, else the template's; "" for none.
std::string LabelOf(const LabelMapping& mapping, const ResourceType& type, const ResourceMapper& mapper);
// LabelOf for namespaces.
std::string NamespaceLabelOf(const LabelMapping& mapping, const ResourceMapper& mapper);

}  // namespace tidewright::adapter
