#include "web/admin_api.h"

#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "promql/engine.h"
#include "web/api_error.h"
#include "web/prometheus_api.h"

namespace tidewright::web {

namespace {

constexpr std::string_view kPrefix = "/api/v1/admin/tsdb/";

http::Response Refusal(int status, const char* type, const std::string& text) {
  http::Response response;
  response.status = status;
  response.headers.Set("Content-Type", "application/json");
  response.body = base::DumpJson({{"status", "error"}, {"errorType", type}, {"error", text}});
  return response;
}

http::Response NoContent() {
  http::Response response;
  response.status = 204;
  return response;
}

// When, and something that tells snapshots of the same millisecond apart: 20261121T090000.123Z-1f2e3d4c5b6a7988.
std::string SnapshotName(int64_t now_ms) {
  std::string name;
  for (char c : base::FormatTime(now_ms, /*millis=*/true)) {
    if (c != '-' && c != ':') name += c;
  }
  std::random_device random;
  char suffix[17];
  std::snprintf(suffix, sizeof suffix, "%08x%08x", random(), random());
  return name + "-" + suffix;
}

base::Result<bool> Flag(const http::QueryParams& params, const char* name) {
  const std::string text = http::QueryValue(params, name);
  if (text.empty() || text == "false" || text == "0") return false;
  if (text == "true" || text == "1") return true;
  return base::InvalidArgumentError(std::string("invalid parameter \"") + name + "\": " + base::Quoted(text) +
                                    " is neither true nor false");
}

base::Result<int64_t> TimeOr(const http::QueryParams& params, const char* name, int64_t otherwise) {
  const std::string text = http::QueryValue(params, name);
  return text.empty() ? base::Result<int64_t>(otherwise) : ParseApiTime(name, text);
}

}  // namespace

bool AdminApi::Handles(const std::string& path) { return path.rfind(kPrefix, 0) == 0; }

http::Response AdminApi::Handle(const http::ServerRequest& request) {
  const std::string name = request.path.substr(kPrefix.size());
  const bool known = name == "snapshot" || name == "delete_series" || name == "clean_tombstones";
  if (!known) return ErrorReply(base::NotFoundError("there is nothing at " + request.path), ErrorSource::kRequest);
  if (request.method != "POST" && request.method != "PUT") return Refusal(405, "bad_data", "use POST or PUT");
  if (db_ == nullptr) {
    return Refusal(503, "unavailable", "admin APIs disabled; start with --web.enable-admin-api to allow them");
  }
  base::Result<http::QueryParams> params = AllParams(request);
  if (!params.ok()) return ErrorReply(params.status(), ErrorSource::kRequest);
  if (name == "snapshot") return Snapshot(*params);
  if (name == "delete_series") return DeleteSeries(*params);
  base::Status cleaned = db_->CleanTombstones();
  return cleaned.ok() ? NoContent() : ErrorReply(cleaned, ErrorSource::kEvaluation);
}

http::Response AdminApi::Snapshot(const http::QueryParams& params) {
  base::Result<bool> skip_head = Flag(params, "skip_head");
  if (!skip_head.ok()) return ErrorReply(skip_head.status(), ErrorSource::kRequest);
  const std::string name = SnapshotName(clock_.NowMs());
  base::Status written = db_->Snapshot(data_directory_ + "/snapshots/" + name, *skip_head);
  if (!written.ok()) return ErrorReply(written, ErrorSource::kEvaluation);
  base::LogInfo("web", "made a snapshot", {{"name", name}});
  http::Response response;
  response.headers.Set("Content-Type", "application/json");
  response.body = base::DumpJson({{"status", "success"}, {"data", {{"name", name}}}});
  return response;
}

http::Response AdminApi::DeleteSeries(const http::QueryParams& params) {
  const auto refuse = [](const base::Status& status) { return ErrorReply(status, ErrorSource::kRequest); };
  base::Result<int64_t> start = TimeOr(params, "start", INT64_MIN);
  if (!start.ok()) return refuse(start.status());
  base::Result<int64_t> end = TimeOr(params, "end", INT64_MAX);
  if (!end.ok()) return refuse(end.status());
  std::vector<promql::Matchers> selectors;
  for (const auto& [name, value] : params) {
    if (name != "match[]") continue;
    auto matchers = promql::ParseSelector(value);
    if (!matchers.ok()) return refuse(matchers.status().Annotate("invalid parameter \"match[]\""));
    selectors.push_back(*std::move(matchers));
  }
  if (selectors.empty()) return refuse(base::InvalidArgumentError("no match[] parameter provided"));
  for (const promql::Matchers& matchers : selectors) {
    base::Result<uint64_t> deleted = db_->Delete(*start, *end, matchers);
    if (!deleted.ok()) return ErrorReply(deleted.status(), ErrorSource::kEvaluation);
  }
  return NoContent();
}

}  // namespace tidewright::web
