#include "web/status_api.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/duration.h"
#include "base/file.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "web/api_error.h"
#include "web/head_statistics.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

using base::Json;

constexpr std::string_view kStatusPrefix = "/api/v1/status/";
constexpr int64_t kMaxLimit = 10'000;
constexpr int64_t kHeadMs = 2 * 3600 * 1000;

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = "";
  return gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::string WorkingDirectory() {
  std::error_code error;
  return std::filesystem::current_path(error).string();
}

http::Response BadLimit(const std::string& why) {
  return ErrorReply(base::InvalidArgumentError(why), ErrorSource::kRequest);
}

Json CountsJson(const HeadStatistics::Counts& counts) {
  Json json = Json::array();
  for (const auto& [name, value] : counts) json.push_back({{"name", name}, {"value", value}});
  return json;
}

}  // namespace

bool StatusApi::Handles(const std::string& path) const {
  if (path == "/api/v1/features" || path.rfind("/api/v1/notifications", 0) == 0) return true;
  if (path.rfind(kStatusPrefix, 0) != 0) return false;
  const std::string name = path.substr(kStatusPrefix.size());
  if (name == "config") return sources_.config != nullptr;
  if (name == "runtimeinfo") return sources_.runtime != nullptr;
  if (name == "tsdb" || name == "tsdb/blocks") return sources_.db != nullptr;
  return name == "buildinfo" || name == "flags" || name == "walreplay";
}

http::Response StatusApi::Handle(const http::ServerRequest& request) const {
  if (request.method != "GET") return MethodNotAllowed("GET");
  if (request.path == "/api/v1/features") return Features();
  if (request.path == "/api/v1/notifications") return Notifications();
  if (request.path.rfind(kStatusPrefix, 0) != 0) return NoContent();
  const std::string name = request.path.substr(kStatusPrefix.size());
  if (name == "buildinfo") return JsonSuccess(BuildInfoJson());
  if (name == "config") return JsonSuccess({{"yaml", sources_.config()}});
  if (name == "flags") return JsonSuccess(sources_.flags);
  if (name == "runtimeinfo") return RuntimeInfo();
  if (name == "tsdb") return Head(request.query);
  if (name == "tsdb/blocks") return Blocks();
  return JsonSuccess({{"min", 0}, {"max", 0}, {"current", 0}});  // The log is replayed before the port opens.
}

http::Response StatusApi::RuntimeInfo() const {
  const RuntimeStatus now = sources_.runtime();
  const uint64_t corruptions = sources_.db != nullptr ? sources_.db->Stats().wal_corruptions : 0;
  // Members that speak of Go's run time are what they are for a program without one.
  return JsonSuccess({{"startTime", base::FormatTime(now.started_ms, /*millis=*/true)},
                      {"CWD", WorkingDirectory()},
                      {"hostname", HostName()},
                      {"serverTime", base::FormatTime(sources_.clock->NowMs(), /*millis=*/true)},
                      {"reloadConfigSuccess", now.reload_successful},
                      {"lastConfigTime", base::FormatTime(now.last_config_ms)},
                      {"corruptionCount", corruptions},
                      {"goroutineCount", 0},
                      {"GOMAXPROCS", std::thread::hardware_concurrency()},
                      {"GOMEMLIMIT", 0},
                      {"GOGC", ""},
                      {"GODEBUG", ""},
                      {"storageRetention", now.retention}});
}

http::Response StatusApi::Head(const http::QueryParams& params) const {
  int64_t limit = 10;
  if (const std::string text = http::QueryValue(params, "limit"); !text.empty()) {
    if (!base::ParseInt64(text, &limit) || limit < 1) return BadLimit("limit must be a positive number");
    if (limit > kMaxLimit) return BadLimit("limit must not exceed 10000");
  }
  const tsdb::DbStats stats = sources_.db->Stats();
  auto querier = sources_.db->NewQuerier(stats.max_time - kHeadMs, stats.max_time);
  if (!querier.ok()) return ErrorReply(querier.status(), ErrorSource::kEvaluation);
  auto counted = CountHead(**querier, static_cast<size_t>(limit));
  if (!counted.ok()) return ErrorReply(counted.status(), ErrorSource::kEvaluation);
  Json head = {{"numSeries", stats.series},
               {"numLabelPairs", counted->label_pairs},
               {"chunkCount", 0},
               {"minTime", stats.min_time},
               {"maxTime", stats.max_time}};
  return JsonSuccess({{"headStats", std::move(head)},
                      {"seriesCountByMetricName", CountsJson(counted->series_by_metric)},
                      {"labelValueCountByLabelName", CountsJson(counted->values_by_label)},
                      {"memoryInBytesByLabelName", CountsJson(counted->bytes_by_label)},
                      {"seriesCountByLabelValuePair", CountsJson(counted->series_by_pair)}});
}

http::Response StatusApi::Blocks() const {
  std::vector<Json> blocks;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(sources_.data_directory, error)) {
    auto text = base::ReadFile(entry.path().string() + "/meta.json");
    if (!text.ok()) continue;  // Not a block, or one that has just gone.
    auto meta = base::ParseJson(*text);
    if (meta.ok() && meta->is_object() && meta->contains("ulid")) blocks.push_back(*std::move(meta));
  }
  std::sort(blocks.begin(), blocks.end(),
            [](const Json& a, const Json& b) { return base::FindInt(a, {"minTime"}) < base::FindInt(b, {"minTime"}); });
  return JsonSuccess({{"blocks", blocks}});
}

http::Response StatusApi::Notifications() const {
  return JsonSuccess(sources_.notifications ? sources_.notifications() : Json::array());
}

http::Response StatusApi::Features() const {
  return JsonSuccess(
      {{"api", sources_.api_features},
       {"prometheus", {{"agent_mode", false}, {"auto_reload_config", true}, {"server_mode", true}}},
       {"promql",
        {{"at_modifier", true}, {"negative_offset", true}, {"subqueries", true}, {"per_query_lookback_delta", true}}},
       {"rules", {{"keep_firing_for", true}, {"query_offset", true}}},
       {"tsdb", {{"exemplar_storage", true}, {"isolation", true}, {"native_histograms", true}}}});
}

Json MetricRulesJson(const std::vector<adapter::RuleStatus>& rules) {
  Json json = Json::array();
  for (const auto& rule : rules) {
    json.push_back({{"section", rule.section},
                    {"index", rule.index},
                    {"line", rule.line},
                    {"object", rule.object},
                    {"seriesQuery", rule.series_query},
                    {"metricsQuery", rule.metrics_query},
                    {"error", rule.error.message()},
                    {"series", rule.series},
                    {"metrics", rule.metrics},
                    {"notes", rule.notes}});
    if (rule.listed_at_ms != 0) json.back()["listedAt"] = base::FormatTime(rule.listed_at_ms);
  }
  return json;
}

Json BuildInfoJson() {
  // Clients choose features by this version: the Prometheus release whose API and language are served.
  return {{"version", "3.14.0"}, {"revision", "tidewright"}, {"branch", ""},
          {"buildUser", ""},     {"buildDate", ""},          {"goVersion", ""}};
}

}  // namespace tidewright::web
