#include "cmd/query_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"
#include "cmd/go_text.h"
#include "http/client.h"
#include "tsdb/labels.h"

namespace tidewright::cmd {
namespace {

using base::Json;

constexpr int64_t kTimeoutMs = 5 * 60 * 1000;
constexpr int64_t kDefaultRangeMs = 5 * 60 * 1000;
constexpr int64_t kDefaultSteps = 250;

struct QueryFlags {
  std::string server, expr, name, time, start, end, step;
  std::string format = "promql";
  std::vector<std::string> matches, headers;
};

using Form = std::vector<std::pair<std::string, std::string>>;

tsdb::Labels LabelsOf(const Json& metric) {
  tsdb::LabelsBuilder labels;
  if (!metric.is_object()) return {};
  for (const auto& [name, value] : metric.items()) {
    if (value.is_string()) labels.Set(name, value.get<std::string>());
  }
  return labels.Build();
}

// {__name__="up", job="node"}: a series, whose name is a label like others.
std::string SeriesText(const Json& series) {
  std::string text;
  for (const tsdb::Label& label : LabelsOf(series)) {
    text += (text.empty() ? "" : ", ") + label.name + "=" + GoQuote(label.value);
  }
  return "{" + text + "}";
}

std::string Number(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

// Without an exponent, whichever way the server writes it.
std::string ValueText(const Json& value) {
  const std::string text = Number(value);
  double number = 0;
  return base::ParseDouble(text, &number) ? base::FormatFixed(number) : text;
}

std::string HistogramText(const Json& histogram) {
  static constexpr std::pair<char, char> kBrackets[] = {{'(', ']'}, {'[', ')'}, {'(', ')'}, {'[', ']'}};
  std::string buckets;
  for (const Json& bucket : histogram.value("buckets", Json::array())) {
    if (!bucket.is_array() || bucket.size() != 4 || !bucket[0].is_number_integer()) continue;
    const auto& [open, close] = kBrackets[bucket[0].get<uint64_t>() % 4];
    buckets += (buckets.empty() ? "" : " ") + std::string(1, open) + Number(bucket[1]) + "," + Number(bucket[2]) +
               close + ":" + Number(bucket[3]);
  }
  return "Count: " + base::FindString(histogram, {"count"}) + ", Sum: " + base::FindString(histogram, {"sum"}) +
         ", Buckets: [" + buckets + "]";
}

// value @[seconds], of [seconds, value].
std::string PointText(const Json& point, bool histogram = false) {
  if (!point.is_array() || point.size() != 2 || !point[0].is_number()) return "";
  return (histogram ? HistogramText(point[1]) : ValueText(point[1])) + " @[" +
         base::FormatFixed(point[0].get<double>()) + "]";
}

std::vector<std::string> PointTexts(const Json& series) {
  std::vector<std::string> texts;
  for (auto [key, histograms] : {std::pair("values", false), std::pair("histograms", true)}) {
    for (const Json& point : series.value(key, Json::array())) texts.push_back(PointText(point, histograms));
  }
  return texts;
}

base::Result<std::string> ToSeconds(const std::string& flag, const std::string& text, int64_t otherwise_ms) {
  double seconds = static_cast<double>(otherwise_ms) / 1000;
  if (text.empty() || base::ParseDouble(text, &seconds)) return base::FormatFixed(seconds);
  auto time = base::ParseTime(text);
  if (!time.ok()) return base::InvalidArgumentError(flag + ": " + text + " is neither RFC 3339 nor seconds since 1970");
  return base::FormatFixed(static_cast<double>(*time) / 1000);
}

// The member `data` of the reply; warnings are printed.
base::Result<Json> Ask(const QueryFlags& flags, const std::string& path, const Form& form, bool post) {
  TW_ASSIGN_OR_RETURN(std::unique_ptr<http::Client> client, http::NewCurlClient({}));
  std::string server = flags.server, query;
  if (server.find("://") == std::string::npos) server = "http://" + server;
  while (server.ends_with('/')) server.pop_back();
  for (const auto& [name, value] : form) {
    query += (query.empty() ? "" : "&") + http::PercentEncode(name) + "=" + http::PercentEncode(value);
  }
  http::ClientRequest request;
  TW_ASSIGN_OR_RETURN(http::Url url, http::Url::Parse(server));
  if (!url.user_info.empty()) {
    TW_ASSIGN_OR_RETURN(std::string user, http::PercentDecode(url.user_info));
    request.headers.Set("Authorization", "Basic " + base::Base64Encode(user));
  }
  for (const std::string& header : flags.headers) {
    const size_t equals = header.find('=');
    if (equals == std::string::npos) return base::InvalidArgumentError("--header: write it as name=value");
    request.headers.Set(header.substr(0, equals), header.substr(equals + 1));
  }
  request.url = url.ToString();
  while (request.url.ends_with('/')) request.url.pop_back();
  request.url += "/api/v1/" + path + (post || query.empty() ? "" : "?" + query);
  request.total_timeout_ms = kTimeoutMs;
  if (post) {
    request.method = "POST";
    request.body = query;
    request.headers.Set("Content-Type", "application/x-www-form-urlencoded");
  }
  TW_ASSIGN_OR_RETURN(http::Response reply, client->Send(request));
  auto json = base::ParseJson(reply.body);
  if (!json.ok() || !json->is_object()) {
    return base::UnavailableError("the server answered with status " + std::to_string(reply.status) + " and no JSON");
  }
  if (base::FindString(*json, {"status"}) != "success") {
    return base::InvalidArgumentError(base::FindString(*json, {"errorType"}) + ": " +
                                      base::FindString(*json, {"error"}));
  }
  for (const Json& warning : json->value("warnings", Json::array())) {
    std::fprintf(stderr, "query warning: %s\n", Number(warning).c_str());
  }
  return json->value("data", Json());
}

// As JSON when that is asked for, else as `text` makes it.
int Print(const QueryFlags& flags, const base::Result<Json>& data,
          const std::function<std::string(const Json&)>& text) {
  if (!data.ok()) {
    std::fprintf(stderr, "query error: %s\n", data.status().message().c_str());
    return 1;
  }
  const Json& shown = data->is_object() && data->contains("result") ? (*data)["result"] : *data;
  const std::string out = flags.format == "json" ? base::DumpJson(shown) : text(*data);
  const bool list = data->is_array();  // Of series or names: nothing is no line.
  if (!out.empty() || !list) std::printf("%s\n", out.c_str());
  return 0;
}

int Instant(const QueryFlags& flags) {
  const int64_t now = base::SystemClock::Get().NowMs();
  auto time = ToSeconds("--time", flags.time, now);
  if (!time.ok()) return Print(flags, time.status(), nullptr);
  return Print(flags, Ask(flags, "query", {{"query", flags.expr}, {"time", *time}}, true), QueryText);
}

base::Result<Json> AskRange(const QueryFlags& flags) {
  const int64_t now = base::SystemClock::Get().NowMs();
  TW_ASSIGN_OR_RETURN(std::string end, ToSeconds("--end", flags.end, now));
  double end_seconds = 0, start_seconds = 0;
  base::ParseDouble(end, &end_seconds);
  TW_ASSIGN_OR_RETURN(std::string start,
                      ToSeconds("--start", flags.start, static_cast<int64_t>(end_seconds * 1000) - kDefaultRangeMs));
  base::ParseDouble(start, &start_seconds);
  if (start_seconds > end_seconds) return base::InvalidArgumentError("--start is after --end");
  const int64_t seconds = static_cast<int64_t>(end_seconds - start_seconds);
  std::string step = std::to_string(std::max<int64_t>(1, seconds / kDefaultSteps));
  if (!flags.step.empty()) {
    auto duration = base::ParseGoDuration(flags.step);
    if (!duration.ok()) duration = base::ParseDuration(flags.step);
    if (!duration.ok()) return duration.status().Annotate("--step");
    step = base::FormatFixed(static_cast<double>(duration->ms) / 1000);
  }
  return Ask(flags, "query_range", {{"query", flags.expr}, {"start", start}, {"end", end}, {"step", step}}, true);
}

// The selectors and, where they are given, the times.
base::Result<Form> Selection(const QueryFlags& flags) {
  Form form;
  for (const std::string& match : flags.matches) form.emplace_back("match[]", match);
  for (auto [name, text] : {std::pair("start", &flags.start), std::pair("end", &flags.end)}) {
    if (text->empty()) continue;
    TW_ASSIGN_OR_RETURN(std::string seconds, ToSeconds(std::string("--") + name, *text, 0));
    form.emplace_back(name, seconds);
  }
  return form;
}

std::string Lines(const Json& data, const std::function<std::string(const Json&)>& text) {
  std::vector<std::string> lines;
  for (const Json& item : data) lines.push_back(text(item));
  return base::Join(lines, "\n");
}

int Series(const QueryFlags& flags) {
  auto form = Selection(flags);
  if (!form.ok()) return Print(flags, form.status(), nullptr);
  return Print(flags, Ask(flags, "series", *form, true), [](const Json& data) { return Lines(data, SeriesText); });
}

int LabelValues(const QueryFlags& flags) {
  auto form = Selection(flags);
  if (!form.ok()) return Print(flags, form.status(), nullptr);
  return Print(flags, Ask(flags, "label/" + http::PercentEncode(flags.name) + "/values", *form, false),
               [](const Json& data) { return Lines(data, Number); });
}

// A subcommand with the flags that all have.
CLI::App* Add(CLI::App& query, const char* name, const char* description, std::shared_ptr<QueryFlags> flags,
              int (*run)(const QueryFlags&), std::function<int()>* command) {
  CLI::App* added = query.add_subcommand(name, description);
  added->add_option("SERVER", flags->server, "The web port of Tidewright, or another server with Prometheus' API")
      ->required();
  added->add_option("-o,--format", flags->format, "promql or json")->check(CLI::IsMember({"promql", "json"}));
  added->add_option("--header", flags->headers, "name=value: sent along; repeatable")->allow_extra_args(false);
  added->callback([flags, run, command] { *command = [flags, run] { return run(*flags); }; });
  return added;
}

void AddTimes(CLI::App* command, QueryFlags& flags) {
  command->add_option("--start", flags.start, "RFC 3339, or seconds since 1970");
  command->add_option("--end", flags.end, "Likewise");
}

}  // namespace

std::string QueryText(const Json& data) {
  const std::string type = base::FindString(data, {"resultType"});
  const Json result = data.value("result", Json::array());
  if (type == "scalar") return "scalar: " + PointText(result);
  if (type == "string") return result.size() == 2 ? Number(result[1]) : "";
  return Lines(result, [&type](const Json& series) {
    const std::string name = LabelsOf(series.value("metric", Json())).ToString();
    if (type == "matrix") return name + " =>\n" + base::Join(PointTexts(series), "\n");
    const bool histogram = series.contains("histogram");
    return name + " => " + PointText(series.value(histogram ? "histogram" : "value", Json()), histogram);
  });
}

void AddQueryCommands(CLI::App& app, std::function<int()>* command) {
  CLI::App* query = app.add_subcommand("query", "Ask a running server")->require_subcommand(1);
  auto flags = std::make_shared<QueryFlags>();
  CLI::App* instant = Add(*query, "instant", "Evaluate an expression at one time", flags, Instant, command);
  instant->add_option("EXPR", flags->expr, "The expression")->required();
  instant->add_option("--time", flags->time, "RFC 3339, or seconds since 1970; default: now");
  auto range_flags = std::make_shared<QueryFlags>();
  CLI::App* range = Add(
      *query, "range", "Evaluate an expression over a time", range_flags,
      [](const QueryFlags& f) { return Print(f, AskRange(f), QueryText); }, command);
  range->add_option("EXPR", range_flags->expr, "The expression")->required();
  AddTimes(range, *range_flags);
  range->add_option("--step", range_flags->step, "Between two evaluations, for instance 15s");
  auto series_flags = std::make_shared<QueryFlags>();
  CLI::App* series = Add(*query, "series", "List series", series_flags, Series, command);
  series->add_option("--match", series_flags->matches, "Selector; repeatable")->required()->allow_extra_args(false);
  AddTimes(series, *series_flags);
  auto labels_flags = std::make_shared<QueryFlags>();
  CLI::App* labels = Add(*query, "labels", "List the values of a label", labels_flags, LabelValues, command);
  labels->add_option("NAME", labels_flags->name, "The label")->required();
  labels->add_option("--match", labels_flags->matches, "Of these series only; repeatable")->allow_extra_args(false);
  AddTimes(labels, *labels_flags);
}

}  // namespace tidewright::cmd
