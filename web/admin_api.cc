#include "web/admin_api.h"

#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "base/duration.h"
#include "base/json.h"
#include "promql/engine.h"
#include "web/api_error.h"
#include "web/prometheus_api.h"

namespace tidewright::web {

namespace {

constexpr std::string_view kPrefix = "/api/v1/admin/tsdb/";

// 20060102T150405Z-0123456789abcdef: when, and what tells apart two of one second.
std::string SnapshotName(int64_t now_ms) {
  std::string name;
  for (char c : base::FormatTime(now_ms)) {
    if (c != '-' && c != ':') name += c;
  }
  std::random_device random;
  char suffix[18];
  std::snprintf(suffix, sizeof(suffix), "-%08x%08x", random(), random());
  return name + suffix;
}

http::Response Empty() { return {204, {}, ""}; }

base::Result<int64_t> TimeOr(const http::QueryParams& params, const std::string& name, int64_t fallback) {
  std::string text = http::QueryValue(params, name);
  if (text.empty()) return fallback;
  return ParseApiTime(name, text);
}

}  // namespace

bool AdminApi::Handles(const std::string& path) { return path.rfind(kPrefix, 0) == 0; }

http::Response AdminApi::Handle(const http::ServerRequest& request) {
  if (request.method != "POST" && request.method != "PUT") {
    return {405, {{"Content-Type", "text/plain; charset=utf-8"}}, "use POST or PUT\n"};
  }
  const std::string action = request.path.substr(kPrefix.size());
  if (action == "snapshot") return Snapshot(request.query);
  if (action == "delete_series") return DeleteSeries(request.query);
  if (action == "clean_tombstones") {
    base::Status cleaned = db_.CleanTombstones();
    return cleaned.ok() ? Empty() : ErrorReply(cleaned, ErrorSource::kEvaluation);
  }
  return ErrorReply(base::NotFoundError("there is nothing at " + request.path), ErrorSource::kRequest);
}

http::Response AdminApi::Snapshot(const http::QueryParams& params) {
  std::string skip = http::QueryValue(params, "skip_head");
  if (!skip.empty() && skip != "true" && skip != "1" && skip != "false" && skip != "0") {
    return ErrorReply(base::InvalidArgumentError("invalid parameter \"skip_head\": " + skip + "; want true or false"),
                      ErrorSource::kRequest);
  }
  std::string name = SnapshotName(clock_.NowMs());
  base::Status made = db_.Snapshot(directory_ + "/snapshots/" + name, skip == "true" || skip == "1");
  if (!made.ok()) return ErrorReply(made.Annotate("create snapshot"), ErrorSource::kEvaluation);
  base::Json answer = {{"status", "success"}, {"data", {{"name", name}}}};
  return {200, {{"Content-Type", "application/json"}}, base::DumpJson(answer)};
}

http::Response AdminApi::DeleteSeries(const http::QueryParams& params) {
  auto start = TimeOr(params, "start", std::numeric_limits<int64_t>::min());
  if (!start.ok()) return ErrorReply(start.status(), ErrorSource::kRequest);
  auto end = TimeOr(params, "end", std::numeric_limits<int64_t>::max());
  if (!end.ok()) return ErrorReply(end.status(), ErrorSource::kRequest);
  std::vector<promql::Matchers> selectors;
  for (const auto& [name, value] : params) {
    if (name != "match[]") continue;
    auto matchers = promql::ParseSelector(value);
    if (!matchers.ok()) {
      return ErrorReply(matchers.status().Annotate("invalid parameter \"match[]\""), ErrorSource::kRequest);
    }
    selectors.push_back(*std::move(matchers));
  }
  if (selectors.empty()) {
    return ErrorReply(base::InvalidArgumentError("no match[] parameter provided"), ErrorSource::kRequest);
  }
  for (const promql::Matchers& matchers : selectors) {
    auto deleted = db_.Delete(*start, *end, matchers);
    if (!deleted.ok()) return ErrorReply(deleted.status(), ErrorSource::kEvaluation);
  }
  return Empty();
}

}  // namespace tidewright::web
