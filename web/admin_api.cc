#include "web/admin_api.h"

#include <cstdint>
#include <cstdio>
#include <random>

#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "web/api_error.h"
#include "web/params.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

constexpr std::string_view kPrefix = "/api/v1/admin/tsdb/";

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

}  // namespace

bool AdminApi::Handles(const std::string& path) { return path.rfind(kPrefix, 0) == 0; }

http::Response AdminApi::Handle(const http::ServerRequest& request) {
  const std::string name = request.path.substr(kPrefix.size());
  const bool known = name == "snapshot" || name == "delete_series" || name == "clean_tombstones";
  if (!known) return ErrorReply(base::NotFoundError("there is nothing at " + request.path), ErrorSource::kRequest);
  if (request.method != "POST" && request.method != "PUT") return MethodNotAllowed("POST, PUT");
  if (db_ == nullptr) {
    return ErrorReply(base::UnavailableError("admin APIs disabled; start with --web.enable-admin-api to allow them"),
                      ErrorSource::kRequest);
  }
  base::Result<http::QueryParams> params = AllParams(request);
  if (!params.ok()) return ErrorReply(params.status(), ErrorSource::kRequest);
  if (name == "snapshot") return Snapshot(*params);
  if (name == "delete_series") return DeleteSeries(*params);
  base::Status cleaned = db_->CleanTombstones();
  return cleaned.ok() ? NoContent() : ErrorReply(cleaned, ErrorSource::kEvaluation);
}

http::Response AdminApi::Snapshot(const http::QueryParams& params) {
  base::Result<bool> skip_head = FlagParam(params, "skip_head");
  if (!skip_head.ok()) return ErrorReply(skip_head.status(), ErrorSource::kRequest);
  const std::string name = SnapshotName(clock_.NowMs());
  base::Status written = db_->Snapshot(data_directory_ + "/snapshots/" + name, *skip_head);
  if (!written.ok()) return ErrorReply(written, ErrorSource::kEvaluation);
  base::LogInfo("web", "made a snapshot", {{"name", name}});
  return JsonSuccess({{"name", name}});
}

http::Response AdminApi::DeleteSeries(const http::QueryParams& params) {
  const auto refuse = [](const base::Status& status) { return ErrorReply(status, ErrorSource::kRequest); };
  base::Result<int64_t> start = TimeParam(params, "start", INT64_MIN), end = TimeParam(params, "end", INT64_MAX);
  if (!start.ok()) return refuse(start.status());
  if (!end.ok()) return refuse(end.status());
  auto selectors = SelectorParams(params, SelectorRule::kNarrow);
  if (!selectors.ok()) return refuse(selectors.status());
  if (selectors->empty()) return refuse(base::InvalidArgumentError("no match[] parameter provided"));
  for (const promql::Matchers& matchers : *selectors) {
    base::Result<uint64_t> deleted = db_->Delete(*start, *end, matchers);
    if (!deleted.ok()) return ErrorReply(deleted.status(), ErrorSource::kEvaluation);
  }
  return NoContent();
}

}  // namespace tidewright::web
