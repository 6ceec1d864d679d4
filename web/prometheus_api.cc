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

http::Response RenderResult(const base::Result<promql::QueryResult>& result, bool with_statistics) {
  if (!result.ok()) {
    // The engine reports wrong expressions and failed evaluations with the same code; positions tell them apart.
    bool parse_error = result.status().message().find("parse error") != std::string::npos;
    return ErrorReply(result.status(), parse_error ? ErrorSource::kRequest : ErrorSource::kEvaluation);
  }
  std::string data = RenderValue(result->value);
  if (with_statistics) {
    data.pop_back();
    data += ",\"stats\":";
    promql::AppendJson(result->statistics, &data);
    data += '}';
  }
  return Success(std::move(data), result->warnings, result->infos);
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
  static constexpr std::array kNames = {"query", "query_range", "series", "labels"};
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
  if (name == "query") return Query(*params, origin);
  if (name == "query_range") return QueryRange(*params, origin);
  if (name == "series") return Series(*params);
  return Labels(*params);
}

// `timeout`, `lookback_delta` and `stats` are common to both kinds of queries.
http::Response PrometheusApi::Answer(const http::QueryParams& params, promql::QueryRequest request) {
  for (auto [name, ms] :
       {std::pair("timeout", &request.timeout_ms), std::pair("lookback_delta", &request.lookback_ms)}) {
    std::string text = http::QueryValue(params, name);
    if (text.empty()) continue;
    auto duration = ParseApiDuration(name, text);
    if (!duration.ok()) return ErrorReply(duration.status(), ErrorSource::kRequest);
    *ms = *duration;
  }
  request.expr = http::QueryValue(params, "query");
  return RenderResult(engine_.Evaluate(request), !http::QueryValue(params, "stats").empty());
}

http::Response PrometheusApi::Query(const http::QueryParams& params, const promql::QueryOrigin& origin) {
  int64_t time_ms = clock_.NowMs();
  if (std::string text = http::QueryValue(params, "time"); !text.empty()) {
    auto time = ParseApiTime("time", text);
    if (!time.ok()) return ErrorReply(time.status(), ErrorSource::kRequest);
    time_ms = *time;
  }
  return Answer(params, {.start_ms = time_ms, .end_ms = time_ms, .origin = &origin});
}

http::Response PrometheusApi::QueryRange(const http::QueryParams& params, const promql::QueryOrigin& origin) {
  auto start = ParseApiTime("start", http::QueryValue(params, "start"));
  if (!start.ok()) return ErrorReply(start.status(), ErrorSource::kRequest);
  auto end = ParseApiTime("end", http::QueryValue(params, "end"));
  if (!end.ok()) return ErrorReply(end.status(), ErrorSource::kRequest);
  auto step = ParseApiDuration("step", http::QueryValue(params, "step"));
  if (!step.ok()) return ErrorReply(step.status(), ErrorSource::kRequest);
  if (*end < *start) {
    return ErrorReply(base::InvalidArgumentError("invalid parameter \"end\": it must not be before start"),
                      ErrorSource::kRequest);
  }
  if ((*end - *start) / *step > kMaxPointsPerSeries) {
    return ErrorReply(base::InvalidArgumentError("exceeded maximum resolution of 11,000 points per timeseries; use a "
                                                 "larger step or a shorter range"),
                      ErrorSource::kRequest);
  }
  return Answer(params, {.start_ms = *start, .end_ms = *end, .step_ms = *step, .origin = &origin});
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
