#include "rules/rule.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "promql/histogram.h"
#include "rules/template_text.h"

namespace tidewright::rules {

namespace {

using tsdb::Labels;
using tsdb::LabelsBuilder;

constexpr int64_t kResolvedRetentionMs = 15 * 60 * 1000;
// Below the engine's usual lookback of five minutes.
constexpr int64_t kMarkerWindowMs = 4 * 60 * 1000;
// Lets two sendings fail before the receiver takes a firing alert for resolved.
constexpr int64_t kIntervalsOfValidity = 4;
constexpr std::string_view kAlertName = "alertname";
constexpr std::string_view kAlertState = "alertstate";
constexpr std::string_view kAlerts = "ALERTS";
constexpr std::string_view kAlertsForState = "ALERTS_FOR_STATE";

// A scalar counts as one element without labels.
base::Result<promql::Vector> QueryVector(promql::QueryEngine& engine, const std::string& expr, int64_t t,
                                         const promql::QueryOrigin& origin) {
  TW_ASSIGN_OR_RETURN(promql::QueryResult result,
                      engine.Evaluate({.expr = expr, .start_ms = t, .end_ms = t, .origin = &origin}));
  if (auto* vector = std::get_if<promql::Vector>(&result.value)) return std::move(*vector);
  if (auto* scalar = std::get_if<promql::Scalar>(&result.value)) {
    return promql::Vector{{Labels(), {t, scalar->point.v}}};
  }
  return base::InvalidArgumentError("the result of the expression is neither a vector nor a scalar");
}

base::Status CheckLimit(int64_t limit, size_t count, std::string_view what) {
  if (limit <= 0 || count <= static_cast<size_t>(limit)) return base::Status::Ok();
  return base::ResourceExhaustedError("exceeded limit of " + std::to_string(limit) + " with " + std::to_string(count) +
                                      " " + std::string(what) + "; raise the group's limit or narrow the expression");
}

base::Status RepeatedLabels(const Labels& labels) {
  return base::InvalidArgumentError("vector contains metrics with the same labelset after applying rule labels: " +
                                    labels.ToString());
}

void Override(LabelsBuilder* builder, const std::map<std::string, std::string>& labels) {
  for (const auto& [name, value] : labels) builder->Set(name, value);
}

}  // namespace

std::unique_ptr<Rule> NewRule(const RuleSpec& spec, promql::QueryOrigin origin, const ManagerOptions& options) {
  if (spec.kind == RuleKind::kRecording) return std::make_unique<RecordingRule>(spec, std::move(origin));
  return std::make_unique<AlertingRule>(spec, std::move(origin), options);
}

base::Result<std::vector<RuleSample>> RecordingRule::Evaluate(promql::QueryEngine& engine, int64_t t, int64_t offset_ms,
                                                              int64_t limit) {
  TW_ASSIGN_OR_RETURN(promql::Vector vector, QueryVector(engine, spec().expr, t - offset_ms, origin()));
  std::vector<RuleSample> samples;
  std::set<Labels> seen;
  for (const promql::VectorSample& sample : vector) {
    LabelsBuilder builder(sample.labels);
    builder.Set(tsdb::kMetricName, spec().name);
    Override(&builder, spec().labels);
    samples.push_back({builder.Build(), sample.point.v, sample.histogram});
    if (!seen.insert(samples.back().labels).second) return RepeatedLabels(samples.back().labels);
  }
  TW_RETURN_IF_ERROR(CheckLimit(limit, samples.size(), "series"));
  return samples;
}

AlertingRule::AlertingRule(const RuleSpec& spec, promql::QueryOrigin origin, const ManagerOptions& options)
    : Rule(spec, std::move(origin)),
      label_templates_(ParseTemplates(spec.labels)),
      annotation_templates_(ParseTemplates(spec.annotations)),
      external_labels_(options.external_labels),
      external_url_(options.external_url),
      resend_delay_ms_(options.resend_delay_ms) {}

AlertingRule::Templates AlertingRule::ParseTemplates(const std::map<std::string, std::string>& texts) {
  Templates templates;
  for (const auto& [name, text] : texts) templates.emplace_back(name, AlertTemplate::Parse(text));
  return templates;
}

// The alert of one element of the result, as if it had just begun.
Alert AlertingRule::NewAlert(const promql::VectorSample& sample, int64_t t,
                             const TemplateEnvironment& environment) const {
  std::map<std::string, std::string> labels;
  for (const tsdb::Label& label : sample.labels) labels.emplace(label.name, label.value);
  const bool histogram = sample.histogram != nullptr;
  const auto value = histogram ? base::TemplateValue::String(promql::ToText(*sample.histogram))
                               : base::TemplateValue::Float(sample.point.v);
  auto expand = [&](const base::Result<AlertTemplate>& text) {
    auto expanded = text.ok() ? text->Expand(labels, value, environment) : base::Result<std::string>(text.status());
    return expanded.ok() ? *expanded : "<error expanding template: " + expanded.status().message() + ">";
  };
  Alert alert;
  LabelsBuilder builder(sample.labels);
  builder.Remove(tsdb::kMetricName);
  for (const auto& [name, text] : label_templates_) builder.Set(name, expand(text));
  builder.Set(kAlertName, spec().name);
  alert.labels = builder.Build();
  for (const auto& [name, text] : annotation_templates_) alert.annotations[name] = expand(text);
  alert.state = AlertState::kPending;
  alert.value = histogram ? 0 : sample.point.v;  // What Prometheus shows of a histogram.
  alert.active_at_ms = t;
  return alert;
}

base::Result<std::map<Labels, Alert>> AlertingRule::Query(promql::QueryEngine& engine, int64_t t,
                                                          int64_t offset_ms) const {
  TW_ASSIGN_OR_RETURN(promql::Vector vector, QueryVector(engine, spec().expr, t - offset_ms, origin()));
  const TemplateEnvironment environment{
      .query = [&](const std::string& expr) { return QueryVector(engine, expr, t, origin()); },
      .external_labels = external_labels_,
      .external_url = external_url_,
      .now_ms = t};
  std::map<Labels, Alert> found;
  for (const promql::VectorSample& sample : vector) {
    Alert alert = NewAlert(sample, t, environment);
    Labels labels = alert.labels;
    if (!found.emplace(labels, std::move(alert)).second) return RepeatedLabels(labels);
  }
  return found;
}

// Whether an alert that is no longer in the result goes on firing.
bool AlertingRule::KeepsFiring(Alert* alert, int64_t t) const {
  if (alert->state != AlertState::kFiring || spec().keep_firing_for_ms == 0) return false;
  if (alert->keep_firing_since_ms == 0) alert->keep_firing_since_ms = t;
  return t - alert->keep_firing_since_ms < spec().keep_firing_for_ms;
}

void AlertingRule::Advance(const std::map<Labels, Alert>& found, int64_t t) {
  for (const auto& [labels, alert] : found) {
    auto [known, inserted] = alerts_.emplace(labels, alert);
    if (inserted) continue;
    if (known->second.state == AlertState::kInactive) {
      known->second = alert;  // It came back: a new alert.
    } else {
      known->second.value = alert.value;
      known->second.annotations = alert.annotations;
    }
  }
  for (auto it = alerts_.begin(); it != alerts_.end();) {
    Alert& alert = it->second;
    if (found.count(it->first) > 0) {
      alert.keep_firing_since_ms = 0;
    } else if (!KeepsFiring(&alert, t)) {
      bool over = alert.resolved_at_ms != 0 && t - alert.resolved_at_ms > kResolvedRetentionMs;
      if (alert.state == AlertState::kPending || over) {
        it = alerts_.erase(it);
        continue;
      }
      if (alert.state == AlertState::kFiring) alert.resolved_at_ms = t;
      alert.state = AlertState::kInactive;
      ++it;
      continue;
    }
    bool long_enough = t - alert.active_at_ms >= spec().for_ms;
    if (alert.state == AlertState::kPending && long_enough) {
      alert.state = AlertState::kFiring;
      alert.fired_at_ms = t;
    } else if (alert.state == AlertState::kFiring && !long_enough) {
      alert.state = AlertState::kPending;  // A reload has raised `for`.
      alert.fired_at_ms = 0;
    }
    ++it;
  }
}

base::Result<std::vector<RuleSample>> AlertingRule::Evaluate(promql::QueryEngine& engine, int64_t t, int64_t offset_ms,
                                                             int64_t limit) {
  TW_ASSIGN_OR_RETURN(auto found, Query(engine, t, offset_ms));
  Advance(found, t);
  std::vector<RuleSample> samples;
  size_t active = 0;
  for (const auto& [labels, alert] : alerts_) {
    if (alert.state == AlertState::kInactive) continue;
    ++active;
    if (!restored_) continue;
    LabelsBuilder builder(labels);
    builder.Set(tsdb::kMetricName, kAlertsForState);
    samples.push_back({builder.Build(), static_cast<double>(alert.active_at_ms / 1000)});
    builder.Set(tsdb::kMetricName, kAlerts).Set(kAlertState, AlertStateName(alert.state));
    samples.push_back({builder.Build(), 1});
  }
  base::Status within = CheckLimit(limit, active, "alerts");
  if (!within.ok()) {
    alerts_.clear();
    return within;
  }
  return samples;
}

std::vector<AlertNotice> AlertingRule::TakeDue(int64_t t, int64_t interval_ms) {
  std::vector<AlertNotice> due;
  for (auto& [labels, alert] : alerts_) {
    const bool resolved = alert.resolved_at_ms != 0;
    if (!resolved && alert.state != AlertState::kFiring) continue;
    const bool news = alert.last_sent_at_ms < 0 || (resolved && alert.resolved_at_ms > alert.last_sent_at_ms);
    if (!news && alert.last_sent_at_ms + resend_delay_ms_ >= t) continue;
    alert.last_sent_at_ms = t;
    alert.valid_until_ms = t + kIntervalsOfValidity * std::max(resend_delay_ms_, interval_ms);
    due.push_back({.labels = labels,
                   .annotations = alert.annotations,
                   .starts_at_ms = alert.fired_at_ms,
                   .ends_at_ms = resolved ? alert.resolved_at_ms : alert.valid_until_ms,
                   .generator_url = external_url_ + TableLink(spec().expr)});
  }
  return due;
}

std::vector<Alert> AlertingRule::Alerts() const {
  std::vector<Alert> alerts;
  for (const auto& [labels, alert] : alerts_) alerts.push_back(alert);
  return alerts;
}

void AlertingRule::CopyState(const Rule& old) {
  Rule::CopyState(old);
  if (const auto* alerting = dynamic_cast<const AlertingRule*>(&old)) {
    alerts_ = alerting->alerts_;
    restored_ = alerting->restored_;
  }
}

void AlertingRule::RestoreOne(Alert* alert, const promql::Point& recorded, int64_t t, int64_t grace_ms) const {
  const int64_t down_at = recorded.t;
  const int64_t active_at = static_cast<int64_t>(recorded.v) * 1000;
  const int64_t remaining = spec().for_ms - (down_at - active_at);
  if (remaining <= 0) {
    alert->active_at_ms = active_at;  // It was firing, and is again at the next evaluation.
  } else if (remaining < grace_ms) {
    alert->active_at_ms = t + grace_ms - spec().for_ms;  // Time to look at what the outage did.
  } else {
    alert->active_at_ms = active_at + (t - down_at);  // The outage does not count.
  }
}

// What ALERTS_FOR_STATE last said of each alert that was active when recording stopped. A range selector does not show
// the marker of a series that ended, but an instant selector a while after the last sample finds nothing then.
base::Result<std::map<Labels, promql::Point>> AlertingRule::Recorded(promql::QueryEngine& engine, int64_t t,
                                                                     int64_t window_ms) const {
  const std::string selector =
      std::string(kAlertsForState) + "{" + tsdb::Matcher::Equal(std::string(kAlertName), spec().name).ToString() + "}";
  TW_ASSIGN_OR_RETURN(promql::QueryResult result,
                      engine.Instant(selector + "[" + std::to_string(window_ms) + "ms]", t));
  std::map<Labels, promql::Point> recorded;
  std::set<int64_t> times;
  if (const auto* matrix = std::get_if<promql::Matrix>(&result.value)) {
    for (const promql::MatrixSeries& series : *matrix) {
      if (series.points.empty()) continue;
      recorded[LabelsBuilder(series.labels).Remove(tsdb::kMetricName).Build()] = series.points.back();
      times.insert(series.points.back().t);
    }
  }
  std::map<Labels, promql::Point> active;
  for (int64_t last : times) {
    TW_ASSIGN_OR_RETURN(promql::Vector alive,
                        QueryVector(engine, selector, std::min(t, last + kMarkerWindowMs), origin()));
    for (const promql::VectorSample& sample : alive) {
      auto it = recorded.find(LabelsBuilder(sample.labels).Remove(tsdb::kMetricName).Build());
      if (it != recorded.end() && it->second.t == last) active.insert(*it);
    }
  }
  return active;
}

// An alert that no longer held and was kept firing when recording stopped is kept on: it may have ended just then. What
// its value was is not known any more.
base::Status AlertingRule::RestoreKept(promql::QueryEngine& engine, const Labels& labels, const promql::Point& recorded,
                                       int64_t t) {
  if (t - recorded.t >= spec().keep_firing_for_ms) return base::Status::Ok();
  LabelsBuilder state(labels);
  state.Set(tsdb::kMetricName, kAlerts).Set(kAlertState, AlertStateName(AlertState::kFiring));
  TW_ASSIGN_OR_RETURN(promql::Vector fired, QueryVector(engine, state.Build().ToString(), recorded.t, origin()));
  if (fired.empty()) return base::Status::Ok();
  const TemplateEnvironment environment{
      .query = [&](const std::string& expr) { return QueryVector(engine, expr, t, origin()); },
      .external_labels = external_labels_,
      .external_url = external_url_,
      .now_ms = t};
  const promql::VectorSample unknown{labels, {t, std::numeric_limits<double>::quiet_NaN()}};
  Alert alert = NewAlert(unknown, static_cast<int64_t>(recorded.v) * 1000, environment);
  alert.labels = labels;
  alert.state = AlertState::kFiring;
  alert.fired_at_ms = alert.active_at_ms + spec().for_ms;
  alert.keep_firing_since_ms = recorded.t;
  alerts_.emplace(labels, std::move(alert));
  return base::Status::Ok();
}

base::Status AlertingRule::Restore(promql::QueryEngine& engine, int64_t t, const ManagerOptions& options) {
  if (restored_) return base::Status::Ok();
  const bool pending = spec().for_ms >= options.for_grace_period_ms && !alerts_.empty();
  const bool kept = spec().keep_firing_for_ms > 0;
  if (pending || kept) {
    TW_ASSIGN_OR_RETURN(auto recorded, Recorded(engine, t, options.outage_tolerance_ms));
    for (const auto& [labels, point] : recorded) {
      if (!(point.v >= 0 && point.v <= static_cast<double>(t) / 1000)) continue;
      auto alert = alerts_.find(labels);
      if (alert == alerts_.end()) {
        if (kept) TW_RETURN_IF_ERROR(RestoreKept(engine, labels, point, t));
      } else if (pending && alert->second.state != AlertState::kInactive) {
        RestoreOne(&alert->second, point, t, options.for_grace_period_ms);
      }
    }
  }
  restored_ = true;
  return base::Status::Ok();
}

}  // namespace tidewright::rules
