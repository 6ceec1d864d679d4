#include "web/prometheus_api.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/document.h"
#include "promql/value_json.h"
#include "web/api_error.h"
#include "web/params.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

constexpr int64_t kMaxPointsPerSeries = 11'000;  // Prometheus' limit for query_range.
constexpr size_t kMaxAnnotations = 10;           // Warnings, and infos, that one reply shows.
constexpr std::string_view kPrefix = "/api/v1/";

// At most ten of a kind are shown, then how many there are besides.
std::vector<std::string> Shortened(std::vector<std::string> annotations, const std::string& kind) {
  if (annotations.size() <= kMaxAnnotations) return annotations;
  size_t more = annotations.size() - kMaxAnnotations;
  annotations.resize(kMaxAnnotations);
  annotations.push_back(std::to_string(more) + " more " + kind + " annotations omitted");
  return annotations;
}

// Cuts a vector or matrix to `limit` elements; false when there are no more.
bool CutTo(size_t limit, promql::Value* value) {
  auto cut = [&](auto& elements) {
    if (limit == 0 || elements.size() <= limit) return false;
    elements.resize(limit);
    return true;
  };
  if (auto* vector = std::get_if<promql::Vector>(value)) return cut(*vector);
  auto* matrix = std::get_if<promql::Matrix>(value);
  return matrix != nullptr && cut(*matrix);
}

// How a result is to be shown.
struct Presentation {
  size_t limit = 0;   // 0: all of it.
  std::string stats;  // "": without statistics.
};

base::Result<Presentation> PresentationOf(const http::QueryParams& params) {
  Presentation presentation;
  presentation.stats = http::QueryValue(params, "stats");
  TW_ASSIGN_OR_RETURN(presentation.limit, LimitParam(params));
  return presentation;
}

// What query and query_range have in common.
base::Status ReadCommon(const http::QueryParams& params, promql::QueryRequest* request) {
  request->expr = http::QueryValue(params, "query");
  if (std::string text = http::QueryValue(params, "timeout"); !text.empty()) {
    TW_ASSIGN_OR_RETURN(request->timeout_ms, ParseApiDuration("timeout", text));
  }
  if (std::string text = http::QueryValue(params, "lookback_delta"); !text.empty()) {
    TW_ASSIGN_OR_RETURN(request->lookback_ms, ParseApiDuration("lookback_delta", text));
  }
  return base::Status::Ok();
}

http::Response RenderResult(base::Result<promql::QueryResult> result, const Presentation& presentation) {
  if (!result.ok()) {
    // The engine reports wrong expressions and failed evaluations with the same code; positions tell them apart.
    bool parse_error = result.status().message().find("parse error") != std::string::npos;
    return ErrorReply(result.status(), parse_error ? ErrorSource::kRequest : ErrorSource::kEvaluation);
  }
  bool cut = CutTo(presentation.limit, &result->value);
  std::string data = RenderValue(result->value);
  if (!presentation.stats.empty()) {
    data.pop_back();  // The brace that ends the data.
    data += ",\"stats\":";
    promql::AppendJson(result->statistics, &data);
    data += '}';
  }
  std::vector<std::string> warnings = Shortened(std::move(result->warnings), "warning");
  if (cut) warnings.push_back(kTruncated);
  if (!presentation.stats.empty() && presentation.stats != "true" && presentation.stats != "all") {
    warnings.push_back("value " + base::Quoted(presentation.stats) +
                       " for parameter \"stats\" is deprecated, use \"true\" or \"all\"");
  }
  return RawSuccess(data, warnings, Shortened(std::move(result->infos), "info"));
}

http::Response RenderText(const base::Result<std::string>& text) {
  if (text.ok()) return RawSuccess(*text);
  return ErrorReply(text.status().Annotate("invalid parameter \"query\""), ErrorSource::kRequest);
}

}  // namespace

std::string RenderValue(const promql::Value& value) {
  std::string out;
  promql::AppendJson(value, &out);
  return out;
}

bool PrometheusApi::Handles(const std::string& path) {
  static constexpr std::array kNames = {"query", "query_range", "format_query", "parse_query"};
  if (path.rfind(kPrefix, 0) != 0) return false;
  std::string name = path.substr(kPrefix.size());
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

http::Response PrometheusApi::Handle(const http::ServerRequest& request) {
  if (request.method != "GET" && request.method != "POST") return MethodNotAllowed("GET, POST");
  auto params = AllParams(request);
  if (!params.ok()) return ErrorReply(params.status(), ErrorSource::kRequest);
  std::string name = request.path.substr(kPrefix.size());
  std::string client = request.peer.address.substr(0, request.peer.address.rfind(':'));
  promql::QueryOrigin origin{std::move(client), request.method, request.path, "", ""};
  if (name == "query") return Query(*params, origin, request.client_gone.get());
  if (name == "query_range") return QueryRange(*params, origin, request.client_gone.get());
  if (name == "format_query") return FormatQuery(*params);
  return RenderText(promql::ExpressionTree(http::QueryValue(*params, "query")));
}

http::Response PrometheusApi::Query(const http::QueryParams& params, const promql::QueryOrigin& origin,
                                    const std::atomic<bool>* client_gone) {
  promql::QueryRequest request;
  request.cancelled = client_gone;
  request.origin = &origin;
  request.start_ms = clock_.NowMs();
  if (std::string text = http::QueryValue(params, "time"); !text.empty()) {
    auto time = ParseApiTime("time", text);
    if (!time.ok()) return ErrorReply(time.status(), ErrorSource::kRequest);
    request.start_ms = *time;
  }
  request.end_ms = request.start_ms;
  base::Status common = ReadCommon(params, &request);
  if (!common.ok()) return ErrorReply(common, ErrorSource::kRequest);
  auto presentation = PresentationOf(params);
  if (!presentation.ok()) return ErrorReply(presentation.status(), ErrorSource::kRequest);
  return RenderResult(engine_.Evaluate(request), *presentation);
}

namespace {

base::Result<promql::QueryRequest> RangeRequest(const http::QueryParams& params) {
  promql::QueryRequest request;
  TW_ASSIGN_OR_RETURN(request.start_ms, ParseApiTime("start", http::QueryValue(params, "start")));
  TW_ASSIGN_OR_RETURN(request.end_ms, ParseApiTime("end", http::QueryValue(params, "end")));
  TW_ASSIGN_OR_RETURN(request.step_ms, ParseApiDuration("step", http::QueryValue(params, "step")));
  TW_RETURN_IF_ERROR(ReadCommon(params, &request));
  if (request.end_ms < request.start_ms) {
    return base::InvalidArgumentError("invalid parameter \"end\": it must not be before start");
  }
  int64_t span = 0;
  bool overflow = __builtin_sub_overflow(request.end_ms, request.start_ms, &span);
  if (!overflow && span / request.step_ms <= kMaxPointsPerSeries) return request;
  return base::InvalidArgumentError(
      "exceeded maximum resolution of 11,000 points per timeseries; use a larger step or a shorter range");
}

}  // namespace

http::Response PrometheusApi::QueryRange(const http::QueryParams& params, const promql::QueryOrigin& origin,
                                         const std::atomic<bool>* client_gone) {
  auto request = RangeRequest(params);
  if (!request.ok()) return ErrorReply(request.status(), ErrorSource::kRequest);
  auto presentation = PresentationOf(params);
  if (!presentation.ok()) return ErrorReply(presentation.status(), ErrorSource::kRequest);
  request->cancelled = client_gone;
  request->origin = &origin;
  return RenderResult(engine_.Evaluate(*request), *presentation);
}

http::Response PrometheusApi::FormatQuery(const http::QueryParams& params) {
  auto text = promql::FormatExpression(http::QueryValue(params, "query"), /*pretty=*/true);
  if (!text.ok()) return RenderText(text);
  std::string quoted;
  promql::AppendJsonString(*text, &quoted);
  return RenderText(quoted);
}

}  // namespace tidewright::web
