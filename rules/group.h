// Group: the rules of one group, evaluated in order, or as if they were: by the Manager on schedule, by unit tests of
// rules step by step.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "promql/engine.h"
#include "rules/manager.h"
#include "rules/rule.h"
#include "rules/workers.h"
#include "tsdb/appender.h"

namespace tidewright::rules {

// Of all groups; those of one group are GroupInstruments.
struct Instruments {
  explicit Instruments(base::MetricRegistry& registry);
  base::MetricRegistry& registry;
  base::Counter& rejected;
  base::Histogram& rule_duration;
  base::Histogram& group_duration;
};

// The metrics of one group, by Prometheus' names and with its label rule_group="FILE;NAME".
struct GroupInstruments {
  GroupInstruments(base::MetricRegistry& registry, const GroupSpec& spec);
  base::Counter& evaluations;
  base::Counter& failures;
  base::Counter& iterations;
  base::Counter& missed;
  base::Gauge& interval;
  base::Gauge& rules;
  base::Gauge& last_duration;
  base::Gauge& last_evaluation;
  base::Gauge& last_samples;
};
// Forgets the metrics of a group that is gone. No Group of this name may be in use any more.
void RemoveGroupInstruments(base::MetricRegistry& registry, const GroupSpec& spec);

// Status() may be called at any time; everything else by one thread at a time.
class Group {
 public:
  // Borrows the engine, storage and instruments, and the workers, with which independent rules are evaluated side by
  // side; without them (null) all are evaluated in order.
  Group(const GroupSpec& spec, const ManagerOptions& options, promql::QueryEngine& engine, tsdb::Appendable& storage,
        Instruments& instruments, Workers* workers = nullptr);

  const GroupSpec& spec() const { return spec_; }
  // Whether a group made of these would do the same.
  bool Is(const GroupSpec& spec, const std::map<std::string, std::string>& external_labels) const {
    return spec_ == spec && options_.external_labels == external_labels;
  }
  int64_t interval_ms() const { return spec_.interval_ms > 0 ? spec_.interval_ms : options_.default_interval_ms; }
  // Where in each interval the group is evaluated: 0 <= offset < interval.
  int64_t OffsetMs() const;

  // Evaluates every rule at `t` and commits what each gives.
  void Evaluate(int64_t t);
  // Restores the age of alerts, as of `t`; rules that have been restored are left alone.
  void Restore(int64_t t);
  // Whether Restore() is due: after the second evaluation, and again while it fails.
  bool RestoreDue() const { return evaluations_ >= kEvaluationsBeforeRestore && !restored_; }
  // Takes over the state of the rules that the old group has by the same name and labels. The series of its other rules
  // end at the next evaluation.
  void CopyState(Group& old);
  // Marks every series as ended: for a group that was removed.
  void EndSeries(int64_t t);

  // Slots that passed while an evaluation ran.
  void CountMissed(int64_t slots);

  GroupStatus Status() const;

 private:
  void EvaluateRule(size_t index, int64_t t);
  void Notify(Rule& rule, int64_t t);
  base::Status Store(Rule& rule, const std::vector<RuleSample>& samples, int64_t t);
  base::Status MarkStale(const std::vector<tsdb::Labels>& series, int64_t t);
  bool Append(tsdb::Appender& appender, int64_t t, const RuleSample& sample);
  int64_t QueryOffsetMs() const { return spec_.query_offset_ms.value_or(options_.default_query_offset_ms); }

  const GroupSpec spec_;
  const ManagerOptions options_;
  promql::QueryEngine& engine_;
  tsdb::Appendable& storage_;
  Instruments& instruments_;
  GroupInstruments own_;
  Workers* const workers_;
  const std::vector<std::vector<size_t>> steps_;  // The rules by index; those of one step are independent.
  std::atomic<size_t> samples_ = 0;               // Of the evaluation that is under way.

  std::vector<std::unique_ptr<Rule>> rules_;
  std::vector<tsdb::Labels> ended_;  // Series of rules that a reload removed.
  // The first evaluation may come before the first scrape, which would find no alerts to restore.
  static constexpr int kEvaluationsBeforeRestore = 2;
  int evaluations_ = 0;
  bool restored_ = false;

  mutable base::Mutex mu_;
  GroupStatus status_ GUARDED_BY(mu_);
};

}  // namespace tidewright::rules
