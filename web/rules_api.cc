#include "web/rules_api.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <set>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "promql/engine.h"
#include "web/api_error.h"
#include "web/params.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

using base::Json;

constexpr std::string_view kRules = "/api/v1/rules";
constexpr std::string_view kAlerts = "/api/v1/alerts";
constexpr std::string_view kAlertmanagers = "/api/v1/alertmanagers";
constexpr const char* kNever = "0001-01-01T00:00:00Z";  // As Go prints no time.

std::string TimeText(int64_t ms) { return ms == 0 ? kNever : base::FormatTime(ms, /*millis=*/true); }

double Seconds(int64_t ms) { return static_cast<double>(ms) / 1000; }

// "1.5e+00": the shortest digits with an exponent, as Go's format 'e'.
std::string ExponentText(double value) {
  if (!std::isfinite(value)) return base::FormatDouble(value);
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific).ptr};
}

Json LabelsJson(const tsdb::Labels& labels) {
  Json json = Json::object();
  for (const tsdb::Label& label : labels) json[label.name] = label.value;
  return json;
}

Json AlertJson(const rules::Alert& alert) {
  Json json = {{"labels", LabelsJson(alert.labels)},
               {"annotations", alert.annotations},
               {"state", rules::AlertStateName(alert.state)},
               {"activeAt", TimeText(alert.active_at_ms)},
               {"value", ExponentText(alert.value)}};
  if (alert.keep_firing_since_ms != 0) json["keepFiringSince"] = TimeText(alert.keep_firing_since_ms);
  return json;
}

Json ActiveAlertsJson(const rules::RuleStatus& rule) {
  Json alerts = Json::array();
  for (const rules::Alert& alert : rule.alerts) {
    if (alert.state != rules::AlertState::kInactive) alerts.push_back(AlertJson(alert));
  }
  return alerts;
}

bool IsAlerting(const rules::RuleStatus& rule) { return rule.spec.kind != rules::RuleKind::kRecording; }

const char* HealthOf(const rules::RuleStatus& rule) {
  if (rule.last_evaluation_ms == 0) return "unknown";
  return rule.last_error.ok() ? "ok" : "err";
}

Json RuleJson(const rules::RuleStatus& rule, bool with_alerts) {
  auto query = promql::FormatExpression(rule.spec.expr, /*pretty=*/false);
  Json json = {{"name", rule.spec.name},
               {"query", query.ok() ? *query : rule.spec.expr},
               {"labels", rule.spec.labels},
               {"health", HealthOf(rule)},
               {"lastEvaluation", TimeText(rule.last_evaluation_ms)},
               {"evaluationTime", rule.evaluation_seconds},
               {"type", "recording"}};
  if (!rule.last_error.ok()) json["lastError"] = rule.last_error.message();
  if (!IsAlerting(rule)) return json;
  json["type"] = "alerting";
  json["state"] = rules::AlertStateName(rule.state());
  json["duration"] = Seconds(rule.spec.for_ms);
  json["keepFiringFor"] = Seconds(rule.spec.keep_firing_for_ms);
  json["annotations"] = rule.spec.annotations;
  json["alerts"] = with_alerts ? ActiveAlertsJson(rule) : Json();
  return json;
}

base::Status Invalid(const std::string& name, const std::string& why) {
  return base::InvalidArgumentError("invalid parameter \"" + name + "\": " + why);
}

std::set<std::string> Values(const http::QueryParams& params, std::string_view name) {
  std::set<std::string> values;
  for (const auto& [key, value] : params) {
    if (key == name) values.insert(value);
  }
  return values;
}

// Which groups and rules are asked for. An empty set lets everything through.
struct Filter {
  std::string type;
  std::set<std::string> names, groups, files;
  std::vector<promql::Matchers> selectors;
  bool with_alerts = true;
  size_t group_limit = 0;  // 0: all.
  std::string next_token;  // Of the first group to show.

  bool Takes(const rules::GroupStatus& group) const {
    return (groups.empty() || groups.count(group.name) > 0) && (files.empty() || files.count(group.file) > 0);
  }
  bool Takes(const rules::RuleStatus& rule) const {
    if (!type.empty() && IsAlerting(rule) != (type == "alert")) return false;
    if (!names.empty() && names.count(rule.spec.name) == 0) return false;
    if (selectors.empty()) return true;
    return std::any_of(selectors.begin(), selectors.end(), [&](const promql::Matchers& matchers) {
      return std::all_of(matchers.begin(), matchers.end(), [&](const tsdb::Matcher& matcher) {
        auto label = rule.spec.labels.find(matcher.name());
        return matcher.Matches(label == rule.spec.labels.end() ? "" : label->second);
      });
    });
  }
};

base::Result<Filter> FilterOf(const http::QueryParams& params) {
  Filter filter;
  filter.type = base::ToLower(http::QueryValue(params, "type"));
  if (!filter.type.empty() && filter.type != "alert" && filter.type != "record") {
    return Invalid("type", "not supported value " + base::Quoted(filter.type) + "; use alert or record");
  }
  filter.names = Values(params, "rule_name[]");
  filter.groups = Values(params, "rule_group[]");
  filter.files = Values(params, "file[]");
  TW_ASSIGN_OR_RETURN(filter.selectors, SelectorParams(params, SelectorRule::kAnySeries));
  TW_ASSIGN_OR_RETURN(const bool exclude, FlagParam(params, "exclude_alerts"));
  filter.with_alerts = !exclude;
  filter.next_token = http::QueryValue(params, "group_next_token");
  const std::string limit = http::QueryValue(params, "group_limit");
  int64_t groups = 0;
  if (limit.empty()) {
    if (filter.next_token.empty()) return filter;
    return Invalid("group_next_token", "group_limit needs to be present in order to paginate over the groups");
  }
  if (!base::ParseInt64(limit, &groups) || groups <= 0) {
    return Invalid("group_limit", "group_limit needs to be a number greater than 0");
  }
  filter.group_limit = static_cast<size_t>(groups);
  return filter;
}

// Names a group over requests.
std::string TokenOf(const rules::GroupStatus& group) {
  char token[17];
  std::snprintf(
      token, sizeof token, "%016llx",
      static_cast<unsigned long long>(tsdb::Labels::Of({{"file", group.file}, {"group", group.name}}).Hash()));
  return token;
}

Json GroupJson(const rules::GroupStatus& group, const Filter& filter) {
  Json list = Json::array();
  for (const rules::RuleStatus& rule : group.rules) {
    if (filter.Takes(rule)) list.push_back(RuleJson(rule, filter.with_alerts));
  }
  return {{"name", group.name},
          {"file", group.file},
          {"interval", Seconds(group.interval_ms)},
          {"limit", group.limit},
          {"lastEvaluation", TimeText(group.last_evaluation_ms)},
          {"evaluationTime", group.evaluation_seconds},
          {"rules", std::move(list)}};
}

Json UrlList(const std::vector<std::string>& urls) {
  Json list = Json::array();
  for (const std::string& url : urls) list.push_back({{"url", url}});
  return list;
}

}  // namespace

bool RulesApi::Handles(const std::string& path) { return path == kRules || path == kAlerts || path == kAlertmanagers; }

http::Response RulesApi::Handle(const http::ServerRequest& request) const {
  if (request.method != "GET") return MethodNotAllowed("GET");
  if (request.path == kAlertmanagers) return AlertmanagerList();
  if (request.path == kAlerts) return Alerts();
  return Rules(request.query);
}

http::Response RulesApi::Rules(const http::QueryParams& params) const {
  auto filter = FilterOf(params);
  if (!filter.ok()) return ErrorReply(filter.status(), ErrorSource::kRequest);
  std::vector<rules::GroupStatus> groups;
  if (manager_ != nullptr) groups = manager_->Groups();
  Json shown = Json::array(), data = Json::object();
  bool begun = filter->next_token.empty();
  for (const rules::GroupStatus& group : groups) {
    begun = begun || TokenOf(group) == filter->next_token;
    if (!begun || !filter->Takes(group)) continue;
    Json json = GroupJson(group, *filter);
    if (json["rules"].empty()) continue;
    if (filter->group_limit > 0 && shown.size() == filter->group_limit) {
      data["groupNextToken"] = TokenOf(group);
      break;
    }
    shown.push_back(std::move(json));
  }
  if (!begun) {
    return ErrorReply(Invalid("group_next_token", "invalid group_next_token " + base::Quoted(filter->next_token) +
                                                      "; were rule groups changed?"),
                      ErrorSource::kRequest);
  }
  data["groups"] = std::move(shown);
  return JsonSuccess(data);
}

http::Response RulesApi::Alerts() const {
  Json alerts = Json::array();
  std::vector<rules::GroupStatus> groups;
  if (manager_ != nullptr) groups = manager_->Groups();
  for (const rules::GroupStatus& group : groups) {
    for (const rules::RuleStatus& rule : group.rules) {
      for (Json& alert : ActiveAlertsJson(rule)) alerts.push_back(std::move(alert));
    }
  }
  return JsonSuccess({{"alerts", std::move(alerts)}});
}

http::Response RulesApi::AlertmanagerList() const {
  rules::Notifier::Urls urls;
  if (alertmanagers_) urls = alertmanagers_();
  return JsonSuccess({{"activeAlertmanagers", UrlList(urls.active)}, {"droppedAlertmanagers", UrlList(urls.dropped)}});
}

}  // namespace tidewright::web
