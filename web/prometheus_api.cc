#include "web/prometheus_api.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "promql/value_json.h"
#include "web/api_error.h"

namespace tidewright::web {

namespace {

constexpr int64_t kMaxPointsPerSeries = 11'000;  // Prometheus' limit for query_range.
constexpr size_t kMaxAnnotations = 10;           // Warnings, and infos, that one reply shows.
constexpr std::string_view kPrefix = "/api/v1/";
constexpr std::string_view kLabelPrefix = "/api/v1/label/";
constexpr std::string_view kLabelSuffix = "/values";

void AppendStrings(std::string& out, std::string_view member, const std::vector<std::string>& texts) {
  if (texts.empty()) return;
  out += ",\"";
  out += member;
  out += "\":[";
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += ',';
    promql::AppendJsonString(texts[i], &out);
  }
  out += ']';
}

http::Response Success(std::string data, const std::vector<std::string>& warnings = {},
                       const std::vector<std::string>& infos = {}) {
  http::Response response;
  response.headers.Set("Content-Type", "application/json");
  data.insert(0, "{\"status\":\"success\",\"data\":");
  response.body = std::move(data);
  AppendStrings(response.body, "warnings", warnings);
  AppendStrings(response.body, "infos", infos);
  response.body += '}';
  return response;
}

std::string RenderStrings(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += ',';
    promql::AppendJsonString(texts[i], &out);
  }
  return out + "]";
}

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
  int64_t limit = 0;  // 0: all of it.
  std::string stats;  // "": without statistics.
};

base::Result<Presentation> PresentationOf(const http::QueryParams& params) {
  Presentation presentation;
  presentation.stats = http::QueryValue(params, "stats");
  std::string limit = http::QueryValue(params, "limit");
  bool valid = limit.empty() || (base::ParseInt64(limit, &presentation.limit) && presentation.limit >= 0);
  if (valid) return presentation;
  return base::InvalidArgumentError("invalid parameter \"limit\": " + base::Quoted(limit) +
                                    " is not a number of elements; 0 is no limit");
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
  bool cut = CutTo(static_cast<size_t>(presentation.limit), &result->value);
  std::string data = RenderValue(result->value);
  if (!presentation.stats.empty()) {
    data.pop_back();  // The brace that ends the data.
    data += ",\"stats\":";
    promql::AppendJson(result->statistics, &data);
    data += '}';
  }
  std::vector<std::string> warnings = Shortened(std::move(result->warnings), "warning");
  if (cut) warnings.push_back("results truncated due to limit");
  if (!presentation.stats.empty() && presentation.stats != "true" && presentation.stats != "all") {
    warnings.push_back("value " + base::Quoted(presentation.stats) +
                       " for parameter \"stats\" is deprecated, use \"true\" or \"all\"");
  }
  return Success(data, warnings, Shortened(std::move(result->infos), "info"));
}

http::Response RenderText(const base::Result<std::string>& text) {
  if (text.ok()) return Success(*text);
  return ErrorReply(text.status().Annotate("invalid parameter \"query\""), ErrorSource::kRequest);
}

// start and end of a metadata request: everything unless given.
struct TimeRange {
  int64_t start = 0;
  int64_t end = 0;
};

base::Result<TimeRange> MetadataRange(const http::QueryParams& params, int64_t now_ms) {
  TimeRange range{0, now_ms + 3'600'000};
  if (std::string text = http::QueryValue(params, "start"); !text.empty()) {
    TW_ASSIGN_OR_RETURN(range.start, ParseApiTime("start", text));
  }
  if (std::string text = http::QueryValue(params, "end"); !text.empty()) {
    TW_ASSIGN_OR_RETURN(range.end, ParseApiTime("end", text));
  }
  if (range.end < range.start) {
    return base::InvalidArgumentError("invalid parameter \"end\": end timestamp must not be before start time");
  }
  return range;
}

base::Result<std::vector<promql::Matchers>> Selectors(const http::QueryParams& params) {
  std::vector<promql::Matchers> selectors;
  for (const auto& [name, value] : params) {
    if (name != "match[]") continue;
    auto matchers = promql::ParseSelector(value);
    if (!matchers.ok()) return matchers.status().Annotate("invalid parameter \"match[]\"");
    selectors.push_back(*std::move(matchers));
  }
  return selectors;
}

// The union over several selectors, sorted.
template <typename Ask>
base::Result<std::vector<std::string>> UnionOf(const std::vector<promql::Matchers>& selectors, const Ask& ask) {
  if (selectors.empty()) return ask(promql::Matchers());
  std::vector<std::string> all;
  for (const promql::Matchers& matchers : selectors) {
    TW_ASSIGN_OR_RETURN(std::vector<std::string> some, ask(matchers));
    all.insert(all.end(), some.begin(), some.end());
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

}  // namespace

base::Result<http::QueryParams> AllParams(const http::ServerRequest& request) {
  http::QueryParams params = request.query;
  bool form = request.headers.Get("Content-Type").find("application/x-www-form-urlencoded") == 0;
  if (request.method != "POST" || !form) return params;
  TW_ASSIGN_OR_RETURN(http::QueryParams body, http::ParseQuery(request.body));
  params.insert(params.end(), body.begin(), body.end());
  return params;
}

base::Result<int64_t> ParseApiTime(const std::string& name, const std::string& text) {
  double seconds = 0;
  if (base::ParseDouble(text, &seconds) && std::isfinite(seconds) && std::fabs(seconds) < 9e15) {
    return static_cast<int64_t>(std::llround(seconds * 1000));
  }
  auto time = base::ParseTime(text);
  if (time.ok()) return time;
  return base::InvalidArgumentError("invalid parameter \"" + name + "\": cannot parse " + base::Quoted(text) +
                                    " to a valid timestamp; use seconds since the epoch or RFC 3339");
}

base::Result<int64_t> ParseApiDuration(const std::string& name, const std::string& text) {
  double seconds = 0;
  int64_t ms = 0;
  if (base::ParseDouble(text, &seconds) && std::isfinite(seconds) && std::fabs(seconds) < 9e15) {
    ms = static_cast<int64_t>(seconds * 1000);
  } else if (auto duration = base::ParseDuration(text); duration.ok()) {
    ms = duration->ms;
  } else {
    return base::InvalidArgumentError("invalid parameter \"" + name + "\": cannot parse " + base::Quoted(text) +
                                      " to a valid duration; use seconds or for example 30s");
  }
  if (ms <= 0) {
    return base::InvalidArgumentError("invalid parameter \"" + name + "\": " + base::Quoted(text) +
                                      " is not at least 1 ms");
  }
  return ms;
}

std::string RenderValue(const promql::Value& value) {
  std::string out;
  promql::AppendJson(value, &out);
  return out;
}

bool PrometheusApi::Handles(const std::string& path) {
  static constexpr std::array kNames = {"query", "query_range", "series", "labels", "format_query", "parse_query"};
  if (path.rfind(kLabelPrefix, 0) == 0) return true;
  if (path.rfind(kPrefix, 0) != 0) return false;
  std::string name = path.substr(kPrefix.size());
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

http::Response PrometheusApi::Handle(const http::ServerRequest& request) {
  if (request.method != "GET" && request.method != "POST") {
    http::Response response;
    response.status = 405;
    response.headers.Set("Allow", "GET, POST");
    return response;
  }
  auto params = AllParams(request);
  if (!params.ok()) return ErrorReply(params.status(), ErrorSource::kRequest);
  if (request.path.rfind(kLabelPrefix, 0) == 0) {
    std::string name = request.path.substr(kLabelPrefix.size());
    size_t end = name.rfind(kLabelSuffix);
    if (end == std::string::npos || end + kLabelSuffix.size() != name.size()) {
      return ErrorReply(base::NotFoundError("use /api/v1/label/<name>/values"), ErrorSource::kRequest);
    }
    return LabelValues(name.substr(0, end), *params);
  }
  std::string name = request.path.substr(kPrefix.size());
  std::string client = request.peer.address.substr(0, request.peer.address.rfind(':'));
  promql::QueryOrigin origin{std::move(client), request.method, request.path, "", ""};
  if (name == "query") return Query(*params, origin, request.client_gone.get());
  if (name == "query_range") return QueryRange(*params, origin, request.client_gone.get());
  if (name == "format_query") return FormatQuery(*params);
  if (name == "parse_query") return RenderText(promql::ExpressionTree(http::QueryValue(*params, "query")));
  if (name == "series") return Series(*params);
  return Labels(*params);
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

http::Response PrometheusApi::Series(const http::QueryParams& params) {
  auto selectors = Selectors(params);
  if (!selectors.ok()) return ErrorReply(selectors.status(), ErrorSource::kRequest);
  if (selectors->empty()) {
    return ErrorReply(base::InvalidArgumentError("no match[] parameter provided"), ErrorSource::kRequest);
  }
  auto range = MetadataRange(params, clock_.NowMs());
  if (!range.ok()) return ErrorReply(range.status(), ErrorSource::kRequest);
  auto series = engine_.Series(*selectors, range->start, range->end);
  if (!series.ok()) return ErrorReply(series.status(), ErrorSource::kEvaluation);
  std::string out = "[";
  for (const promql::Labels& labels : *series) {
    if (out.size() > 1) out += ',';
    promql::AppendJson(labels, &out);
  }
  return Success(out + "]");
}

http::Response PrometheusApi::Labels(const http::QueryParams& params) {
  auto selectors = Selectors(params);
  if (!selectors.ok()) return ErrorReply(selectors.status(), ErrorSource::kRequest);
  auto range = MetadataRange(params, clock_.NowMs());
  if (!range.ok()) return ErrorReply(range.status(), ErrorSource::kRequest);
  auto names = UnionOf(*selectors, [&](const promql::Matchers& matchers) {
    return engine_.LabelNames(matchers, range->start, range->end);
  });
  if (!names.ok()) return ErrorReply(names.status(), ErrorSource::kEvaluation);
  return Success(RenderStrings(*names));
}

http::Response PrometheusApi::LabelValues(const std::string& name, const http::QueryParams& params) {
  auto selectors = Selectors(params);
  if (!selectors.ok()) return ErrorReply(selectors.status(), ErrorSource::kRequest);
  auto range = MetadataRange(params, clock_.NowMs());
  if (!range.ok()) return ErrorReply(range.status(), ErrorSource::kRequest);
  auto values = UnionOf(*selectors, [&](const promql::Matchers& matchers) {
    return engine_.LabelValues(name, matchers, range->start, range->end);
  });
  if (!values.ok()) return ErrorReply(values.status(), ErrorSource::kEvaluation);
  return Success(RenderStrings(*values));
}

}  // namespace tidewright::web
