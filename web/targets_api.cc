#include "web/targets_api.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"
#include "promql/engine.h"
#include "scrape/exposition.h"
#include "scrape/relabel.h"
#include "web/api_error.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

using base::Json;

constexpr std::string_view kPaths[] = {"/api/v1/targets", "/api/v1/targets/metadata", "/api/v1/targets/relabel_steps",
                                       "/api/v1/scrape_pools", "/api/v1/metadata"};

constexpr const char* kNever = "0001-01-01T00:00:00Z";  // As Go prints no time.

http::Response BadRequest(const std::string& message) {
  return ErrorReply(base::InvalidArgumentError(message), ErrorSource::kRequest);
}

Json LabelsJson(const tsdb::Labels& labels) {
  Json json = Json::object();
  for (const tsdb::Label& label : labels) json[label.name] = label.value;
  return json;
}

const char* HealthName(scrape::Health health) {
  switch (health) {
    case scrape::Health::kUnknown: return "unknown";
    case scrape::Health::kUp: return "up";
    case scrape::Health::kDown: return "down";
  }
  return "";
}

Json TargetJson(const scrape::TargetStatus& target) {
  const int64_t last = target.state.last_scrape_ms;
  return {{"discoveredLabels", LabelsJson(target.discovered)},
          {"labels", LabelsJson(target.labels)},
          {"scrapePool", target.job},
          {"scrapeUrl", target.url},
          {"globalUrl", target.url},
          {"lastError", target.state.last_error},
          {"lastScrape", last == 0 ? kNever : base::FormatTime(last, /*millis=*/true)},
          {"lastScrapeDuration", target.state.last_duration_seconds},
          {"health", HealthName(target.state.health)},
          {"scrapeInterval", base::FormatDuration(target.interval)},
          {"scrapeTimeout", base::FormatDuration(target.timeout)}};
}

Json MetadataJson(const tsdb::Metadata& metadata) {
  return {{"type", scrape::MetricTypeName(metadata.type)}, {"help", metadata.help}, {"unit", metadata.unit}};
}

// A whole number; -1 when it is not given. Nothing when it is none.
std::optional<int64_t> Limit(const http::QueryParams& params, const std::string& name) {
  std::string text = http::QueryValue(params, name);
  int64_t limit = -1;
  if (!text.empty() && !base::ParseInt64(text, &limit)) return std::nullopt;
  return limit;
}

bool Below(size_t size, int64_t limit) { return limit < 0 || size < static_cast<size_t>(limit); }

bool MatchesAll(const tsdb::Matchers& matchers, const tsdb::Labels& labels) {
  for (const tsdb::Matcher& matcher : matchers) {
    if (!matcher.Matches(labels.Get(matcher.name()))) return false;
  }
  return true;
}

// A rule as /api/v1/status/config would show it.
Json RuleJson(const scrape::RelabelRule& rule) {
  Json json = {{"separator", rule.separator},
               {"regex", rule.regex},
               {"replacement", rule.replacement},
               {"action", scrape::RelabelActionName(rule.action)}};
  if (!rule.source_labels.empty()) json["source_labels"] = rule.source_labels;
  if (!rule.target_label.empty()) json["target_label"] = rule.target_label;
  if (rule.modulus != 0) json["modulus"] = rule.modulus;
  return json;
}

}  // namespace

bool TargetsApi::Handles(const std::string& path) {
  for (std::string_view known : kPaths) {
    if (path == known) return true;
  }
  return false;
}

http::Response TargetsApi::Handle(const http::ServerRequest& request) const {
  if (request.path == kPaths[0]) return Targets(request.query);
  if (request.path == kPaths[1]) return TargetMetadata(request.query);
  if (request.path == kPaths[2]) return RelabelSteps(request.query);
  if (request.path == kPaths[3]) return ScrapePools();
  return Metadata(request.query);
}

http::Response TargetsApi::Targets(const http::QueryParams& params) const {
  std::string state = base::ToLower(http::QueryValue(params, "state"));
  const std::string job = http::QueryValue(params, "scrapePool");
  const bool any = state.empty() || state == "any", dropped = any || state == "dropped";
  scrape::TargetsSnapshot snapshot = manager_.Targets();
  Json active = Json::array(), gone = Json::array(), counts;
  for (const scrape::TargetStatus& target : snapshot.active) {
    if ((any || state == "active") && (job.empty() || target.job == job)) active.push_back(TargetJson(target));
  }
  for (const scrape::DroppedTarget& target : snapshot.dropped) {
    if (!dropped || (!job.empty() && target.job != job)) continue;
    gone.push_back(
        {{"discoveredLabels", LabelsJson(target.discovered)}, {"scrapePool", target.job}, {"reason", target.reason}});
  }
  if (dropped) {
    counts = Json::object();
    for (const auto& [name, count] : snapshot.dropped_counts) counts[name] = count;
  }
  return JsonSuccess({{"activeTargets", std::move(active)},
                      {"droppedTargets", std::move(gone)},
                      {"droppedTargetCounts", std::move(counts)}});
}

http::Response TargetsApi::TargetMetadata(const http::QueryParams& params) const {
  auto limit = Limit(params, "limit");
  if (!limit) return BadRequest("limit must be a number");
  const std::string metric = http::QueryValue(params, "metric");
  tsdb::Matchers matchers;
  if (std::string text = http::QueryValue(params, "match_target"); !text.empty()) {
    auto parsed = promql::ParseSelector(text);
    if (!parsed.ok()) return BadRequest("invalid parameter \"match_target\": " + parsed.status().message());
    matchers = *std::move(parsed);
  }
  Json all = Json::array();
  for (const scrape::TargetFamilies& target : manager_.Metadata()) {
    if (!MatchesAll(matchers, target.labels)) continue;
    for (const auto& family : target.families) {
      if (!metric.empty() && family->family != metric) continue;
      if (!Below(all.size(), *limit)) return JsonSuccess(std::move(all));
      Json json = MetadataJson(family->metadata);
      json["target"] = LabelsJson(target.labels);
      if (metric.empty()) json["metric"] = family->family;
      all.push_back(std::move(json));
    }
  }
  return JsonSuccess(std::move(all));
}

// What each rule of a job makes of a label set, up to the one that drops it.
http::Response TargetsApi::RelabelSteps(const http::QueryParams& params) const {
  const std::string pool = http::QueryValue(params, "scrapePool");
  if (pool.empty()) return BadRequest("no scrapePool parameter provided");
  const std::string text = http::QueryValue(params, "labels");
  if (text.empty()) return BadRequest("no labels parameter provided");
  auto labels = base::ParseJson(text);
  if (!labels.ok()) return BadRequest("error parsing labels: " + labels.status().message());
  if (!labels->is_object()) return BadRequest("error parsing labels: not an object");
  tsdb::LabelsBuilder builder;
  for (const auto& [name, value] : labels->items()) {
    if (!value.is_string()) return BadRequest("error parsing labels: the value of " + name + " is not a string");
    builder.Set(name, value.get<std::string>());
  }
  for (const auto& job : manager_.Jobs()) {
    if (job->job_name != pool) continue;
    Json steps = Json::array();
    bool keep = true;
    for (const scrape::RelabelRule& rule : job->relabel_rules) {
      if (!keep) break;
      keep = scrape::Relabel({rule}, &builder);
      Json output = keep ? LabelsJson(builder.Build()) : Json::object();
      steps.push_back({{"rule", RuleJson(rule)}, {"output", std::move(output)}, {"keep", keep}});
    }
    return JsonSuccess({{"steps", std::move(steps)}});
  }
  return BadRequest("error retrieving scrape config: scrape pool " + base::Quoted(pool) + " not found");
}

http::Response TargetsApi::ScrapePools() const {
  Json names = Json::array();
  for (const auto& job : manager_.Jobs()) names.push_back(job->job_name);
  return JsonSuccess({{"scrapePools", std::move(names)}});
}

http::Response TargetsApi::Metadata(const http::QueryParams& params) const {
  auto limit = Limit(params, "limit"), per_metric = Limit(params, "limit_per_metric");
  if (!limit) return BadRequest("limit must be a number");
  if (!per_metric) return BadRequest("limit_per_metric must be a number");
  const std::string metric = http::QueryValue(params, "metric");
  std::map<std::string, Json> families;
  auto add = [&](const std::string& family, const tsdb::Metadata& metadata) {
    if (!metric.empty() && family != metric) return;
    Json& list = families.try_emplace(family, Json::array()).first->second;
    Json json = MetadataJson(metadata);
    if (std::find(list.begin(), list.end(), json) == list.end()) list.push_back(std::move(json));
  };
  for (const scrape::TargetFamilies& target : manager_.Metadata()) {
    for (const auto& family : target.families) add(family->family, family->metadata);
  }
  for (const auto& [family, metadata] : store_.AllMetadata()) {
    if (families.count(family) == 0) add(family, metadata);
  }
  Json all = Json::object();
  for (auto& [family, list] : families) {
    if (!Below(all.size(), *limit)) break;
    while (!list.empty() && *per_metric > 0 && list.size() > static_cast<size_t>(*per_metric))
      list.erase(list.size() - 1);
    all[family] = std::move(list);
  }
  return JsonSuccess(std::move(all));
}

}  // namespace tidewright::web
