// Rule: one rule of a group and what it remembers from one evaluation to the next. Private to rules.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "promql/engine.h"
#include "rules/alert_template.h"
#include "rules/manager.h"
#include "rules/rule_file.h"
#include "tsdb/labels.h"

namespace tidewright::rules {

// A series that an evaluation produced, and its value.
struct RuleSample {
  tsdb::Labels labels;
  double value = 0;
  promql::HistogramPtr histogram = nullptr;  // Instead of the value; null: there is none.
};

// Not thread-safe.
class Rule {
 public:
  // `origin` is what the query log says of its queries.
  Rule(const RuleSpec& spec, promql::QueryOrigin origin) : spec_(spec), origin_(std::move(origin)) {}
  virtual ~Rule() = default;

  const RuleSpec& spec() const { return spec_; }
  const promql::QueryOrigin& origin() const { return origin_; }

  // Evaluates at `t`, querying the past as of `t - offset_ms`. More than `limit` (> 0) results are an error. An error
  // of the query leaves the state as it was.
  virtual base::Result<std::vector<RuleSample>> Evaluate(promql::QueryEngine& engine, int64_t t, int64_t offset_ms,
                                                         int64_t limit) = 0;
  virtual std::vector<Alert> Alerts() const { return {}; }
  // Takes over the state of the rule that this one replaces: one of the same kind, name and labels.
  virtual void CopyState(const Rule& old) { series_ = old.series_; }

  // The series of the last evaluation that succeeded; those that are missing from the next one have ended.
  std::set<tsdb::Labels>& series() { return series_; }

 private:
  const RuleSpec spec_;
  const promql::QueryOrigin origin_;
  std::set<tsdb::Labels> series_;
};

class RecordingRule : public Rule {
 public:
  using Rule::Rule;
  base::Result<std::vector<RuleSample>> Evaluate(promql::QueryEngine& engine, int64_t t, int64_t offset_ms,
                                                 int64_t limit) override;
};

// The life of an alert: pending while the expression holds for less than `for`, firing, firing for keep_firing_for
// after it ended, then inactive and remembered for 15 minutes.
class AlertingRule : public Rule {
 public:
  // Of the options, those about alerts count. A template that does not parse expands to its error.
  AlertingRule(const RuleSpec& spec, promql::QueryOrigin origin, const ManagerOptions& options);
  // The samples are those of ALERTS and ALERTS_FOR_STATE, which begin once Restore() was called.
  base::Result<std::vector<RuleSample>> Evaluate(promql::QueryEngine& engine, int64_t t, int64_t offset_ms,
                                                 int64_t limit) override;
  std::vector<Alert> Alerts() const override;
  void CopyState(const Rule& old) override;

  // The alerts that are to be sent at `t`: firing ones that have not been sent for the resend delay, and resolved ones
  // until they are forgotten. Notes that they were sent.
  std::vector<AlertNotice> TakeDue(int64_t t, int64_t interval_ms);

  bool restored() const { return restored_; }
  // After a restart: gives pending alerts the age that ALERTS_FOR_STATE recorded, less the outage. Alerts with a `for`
  // below the grace period start anew. Those that keep_firing_for kept go on.
  base::Status Restore(promql::QueryEngine& engine, int64_t t, const ManagerOptions& options);

 private:
  using Templates = std::vector<std::pair<std::string, base::Result<AlertTemplate>>>;
  static Templates ParseTemplates(const std::map<std::string, std::string>& texts);
  base::Result<std::map<tsdb::Labels, Alert>> Query(promql::QueryEngine& engine, int64_t t, int64_t offset_ms) const;
  Alert NewAlert(const promql::VectorSample& sample, int64_t t, const TemplateEnvironment& environment) const;
  void Advance(const std::map<tsdb::Labels, Alert>& found, int64_t t);
  bool KeepsFiring(Alert* alert, int64_t t) const;
  base::Result<std::map<tsdb::Labels, promql::Point>> Recorded(promql::QueryEngine& engine, int64_t t,
                                                               int64_t window_ms) const;
  base::Status RestoreKept(promql::QueryEngine& engine, const tsdb::Labels& labels, const promql::Point& recorded,
                           int64_t t);
  void RestoreOne(Alert* alert, const promql::Point& recorded, int64_t t, int64_t grace_ms) const;

  const Templates label_templates_;
  const Templates annotation_templates_;
  const std::map<std::string, std::string> external_labels_;
  const std::string external_url_;
  const int64_t resend_delay_ms_;
  std::map<tsdb::Labels, Alert> alerts_;
  bool restored_ = false;
};

std::unique_ptr<Rule> NewRule(const RuleSpec& spec, promql::QueryOrigin origin, const ManagerOptions& options);

}  // namespace tidewright::rules
