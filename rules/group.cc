#include "rules/group.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "rules/dependencies.h"

namespace tidewright::rules {

namespace {

using tsdb::Labels;

constexpr const char* kEvaluations = "prometheus_rule_evaluations_total";
constexpr const char* kFailures = "prometheus_rule_evaluation_failures_total";
constexpr const char* kIterations = "prometheus_rule_group_iterations_total";
constexpr const char* kMissed = "prometheus_rule_group_iterations_missed_total";
constexpr const char* kInterval = "prometheus_rule_group_interval_seconds";
constexpr const char* kRules = "prometheus_rule_group_rules";
constexpr const char* kLastDuration = "prometheus_rule_group_last_duration_seconds";
constexpr const char* kLastEvaluation = "prometheus_rule_group_last_evaluation_timestamp_seconds";
constexpr const char* kLastSamples = "prometheus_rule_group_last_evaluation_samples";
const std::vector<double> kDurationBounds = {0.01, 0.1, 1, 10};

base::MetricLabels LabelOf(const GroupSpec& spec) { return {{"rule_group", spec.file + ";" + spec.name}}; }

// One rule a step.
std::vector<std::vector<size_t>> InOrder(size_t rules) {
  std::vector<std::vector<size_t>> steps;
  for (size_t i = 0; i < rules; ++i) steps.push_back({i});
  return steps;
}

double SecondsSince(int64_t start_nanos) { return static_cast<double>(base::MonotonicNanos() - start_nanos) / 1e9; }

}  // namespace

Instruments::Instruments(base::MetricRegistry& r)
    : registry(r),
      rejected(r.GetCounter("tidewright_rule_samples_rejected_total",
                            "Samples of rules that the store refused, mostly because another rule writes the same "
                            "series.")),
      rule_duration(r.GetHistogram("prometheus_rule_evaluation_duration_histogram_seconds",
                                   "How long evaluations of rules took.", kDurationBounds)),
      group_duration(r.GetHistogram("prometheus_rule_group_duration_histogram_seconds",
                                    "How long evaluations of groups took.", kDurationBounds)) {}

GroupInstruments::GroupInstruments(base::MetricRegistry& r, const GroupSpec& spec)
    : evaluations(r.GetCounter(kEvaluations, "Evaluations of rules.", LabelOf(spec))),
      failures(r.GetCounter(kFailures, "Evaluations of rules that failed.", LabelOf(spec))),
      iterations(r.GetCounter(kIterations, "Evaluations of groups, due or missed.", LabelOf(spec))),
      missed(r.GetCounter(kMissed, "Evaluations of groups that were skipped because the one before took too long.",
                          LabelOf(spec))),
      interval(r.GetGauge(kInterval, "Between two evaluations of a group.", LabelOf(spec))),
      rules(r.GetGauge(kRules, "Rules of a group.", LabelOf(spec))),
      last_duration(r.GetGauge(kLastDuration, "How long the last evaluation of a group took.", LabelOf(spec))),
      last_evaluation(r.GetGauge(kLastEvaluation, "When a group was evaluated last.", LabelOf(spec))),
      last_samples(r.GetGauge(kLastSamples, "Samples that the last evaluation of a group gave.", LabelOf(spec))) {}

void RemoveGroupInstruments(base::MetricRegistry& registry, const GroupSpec& spec) {
  for (const char* name : {kEvaluations, kFailures, kIterations, kMissed, kInterval, kRules, kLastDuration,
                           kLastEvaluation, kLastSamples}) {
    registry.Remove(name, LabelOf(spec));
  }
}

Group::Group(const GroupSpec& spec, const ManagerOptions& options, promql::QueryEngine& engine,
             tsdb::Appendable& storage, Instruments& instruments, Workers* workers)
    : spec_(spec),
      options_(options),
      engine_(engine),
      storage_(storage),
      instruments_(instruments),
      own_(instruments.registry, spec),
      workers_(workers),
      steps_(workers != nullptr ? StepsOf(spec.rules) : InOrder(spec.rules.size())) {
  base::MutexLock lock(mu_);
  own_.interval.Set(static_cast<double>(interval_ms()) / 1000);
  own_.rules.Set(static_cast<double>(spec.rules.size()));
  status_.name = spec.name;
  status_.file = spec.file;
  status_.interval_ms = interval_ms();
  status_.limit = spec.limit;
  status_.query_offset_ms = QueryOffsetMs();
  for (const RuleSpec& rule : spec.rules) {
    rules_.push_back(NewRule(rule, {.rule_file = spec.file, .rule_group = spec.name}, options_));
    RuleStatus status;
    status.spec = rule;
    status_.rules.push_back(std::move(status));
  }
}

int64_t Group::OffsetMs() const {
  uint64_t hash = Labels::Of({{"file", spec_.file}, {"name", spec_.name}}).Hash();
  return static_cast<int64_t>(hash % static_cast<uint64_t>(interval_ms()));
}

void Group::Evaluate(int64_t t) {
  const int64_t start = base::MonotonicNanos();
  samples_ = 0;
  for (const std::vector<size_t>& step : steps_) {
    if (step.size() == 1) {
      EvaluateRule(step.front(), t);
    } else {
      workers_->ForEach(step.size(), [&](size_t i) { EvaluateRule(step[i], t); });
    }
  }
  base::Status marked = MarkStale(ended_, t);
  if (marked.ok()) ended_.clear();  // Else the next evaluation tries again.
  ++evaluations_;
  const double seconds = SecondsSince(start);
  own_.iterations.Add();
  own_.last_duration.Set(seconds);
  own_.last_evaluation.Set(static_cast<double>(t) / 1000);
  own_.last_samples.Set(static_cast<double>(samples_.load()));
  instruments_.group_duration.Observe(seconds);
  base::MutexLock lock(mu_);
  status_.last_evaluation_ms = t;
  status_.evaluation_seconds = seconds;
}

void Group::EvaluateRule(size_t index, int64_t t) {
  const int64_t start = base::MonotonicNanos();
  Rule& rule = *rules_[index];
  own_.evaluations.Add();
  auto samples = rule.Evaluate(engine_, t, QueryOffsetMs(), spec_.limit);
  if (samples.ok()) Notify(rule, t);
  base::Status error = samples.ok() ? Store(rule, *samples, t) : samples.status();
  if (!error.ok()) {
    own_.failures.Add();
    base::LogWarn(
        "rules", "rule failed",
        {{"file", spec_.file}, {"group", spec_.name}, {"rule", rule.spec().name}, {"error", error.ToString()}});
  }
  base::MutexLock lock(mu_);
  RuleStatus& status = status_.rules[index];
  status.last_error = error;
  status.last_evaluation_ms = t;
  status.evaluation_seconds = SecondsSince(start);
  instruments_.rule_duration.Observe(status.evaluation_seconds);
  status.alerts = rule.Alerts();
}

void Group::Notify(Rule& rule, int64_t t) {
  auto* alerting = dynamic_cast<AlertingRule*>(&rule);
  if (alerting == nullptr || options_.notify == nullptr) return;
  std::vector<AlertNotice> due = alerting->TakeDue(t, interval_ms());
  if (!due.empty()) options_.notify(std::move(due));
}

bool Group::Append(tsdb::Appender& appender, int64_t t, const RuleSample& sample) {
  auto ref = sample.histogram == nullptr ? appender.Append(0, sample.labels, t, sample.value)
                                         : appender.AppendFloatHistogram(0, sample.labels, t, *sample.histogram);
  if (ref.ok()) return true;
  instruments_.rejected.Add();
  base::Log(base::LogLevel::kDebug, "rules", "sample rejected",
            {{"group", spec_.name}, {"error", ref.status().ToString()}});
  return false;
}

base::Status Group::Store(Rule& rule, const std::vector<RuleSample>& samples, int64_t t) {
  const int64_t at = t - QueryOffsetMs();
  auto appender = storage_.NewAppender();
  std::set<Labels> written;
  for (const RuleSample& sample : samples) {
    if (Append(*appender, at, sample)) written.insert(sample.labels);
  }
  for (const Labels& labels : rule.series()) {
    if (written.count(labels) == 0) Append(*appender, at, {labels, tsdb::StaleNan()});
  }
  TW_RETURN_IF_ERROR(appender->Commit());
  samples_ += written.size();
  rule.series() = std::move(written);
  return base::Status::Ok();
}

base::Status Group::MarkStale(const std::vector<Labels>& series, int64_t t) {
  if (series.empty()) return base::Status::Ok();
  auto appender = storage_.NewAppender();
  for (const Labels& labels : series) Append(*appender, t - QueryOffsetMs(), {labels, tsdb::StaleNan()});
  return appender->Commit();
}

void Group::Restore(int64_t t) {
  restored_ = true;
  for (size_t i = 0; i < rules_.size(); ++i) {
    auto* alerting = dynamic_cast<AlertingRule*>(rules_[i].get());
    if (alerting == nullptr || alerting->restored()) continue;
    base::Status status = alerting->Restore(engine_, t, options_);
    if (!status.ok()) {
      base::LogWarn("rules", "the age of alerts could not be restored; it is tried again at the next evaluation",
                    {{"group", spec_.name}, {"rule", alerting->spec().name}, {"error", status.ToString()}});
      restored_ = false;
    }
    base::MutexLock lock(mu_);
    status_.rules[i].alerts = alerting->Alerts();
  }
}

void Group::CopyState(Group& old) {
  std::vector<bool> taken(old.rules_.size(), false);
  GroupStatus before = old.Status();
  for (size_t i = 0; i < rules_.size(); ++i) {
    const RuleSpec& spec = rules_[i]->spec();
    for (size_t j = 0; j < old.rules_.size(); ++j) {
      const RuleSpec& other = old.rules_[j]->spec();
      bool same = !taken[j] && spec.kind == other.kind && spec.name == other.name && spec.labels == other.labels;
      if (!same) continue;
      taken[j] = true;
      rules_[i]->CopyState(*old.rules_[j]);
      base::MutexLock lock(mu_);
      status_.rules[i] = before.rules[j];
      status_.rules[i].spec = spec;
      break;
    }
  }
  ended_ = old.ended_;
  for (size_t j = 0; j < old.rules_.size(); ++j) {
    if (!taken[j]) ended_.insert(ended_.end(), old.rules_[j]->series().begin(), old.rules_[j]->series().end());
  }
  base::MutexLock lock(mu_);
  status_.last_evaluation_ms = before.last_evaluation_ms;
  status_.evaluation_seconds = before.evaluation_seconds;
}

void Group::EndSeries(int64_t t) {
  std::vector<Labels> all = std::move(ended_);
  for (auto& rule : rules_) all.insert(all.end(), rule->series().begin(), rule->series().end());
  // An evaluation at this very time would be contradicted.
  base::Status marked = MarkStale(all, std::max(t, Status().last_evaluation_ms + 1));
  if (marked.ok()) return;
  base::LogWarn("rules", "the series of a removed group could not be marked as ended",
                {{"group", spec_.name}, {"error", marked.ToString()}});
}

void Group::CountMissed(int64_t slots) {
  own_.iterations.Add(static_cast<double>(slots));
  own_.missed.Add(static_cast<double>(slots));
}

GroupStatus Group::Status() const {
  base::MutexLock lock(mu_);
  return status_;
}

}  // namespace tidewright::rules
