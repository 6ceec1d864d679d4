#include "cmd/explain_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "adapter/config.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "cmd/explain_workload.h"
#include "http/client.h"

namespace tidewright::cmd {
namespace {

constexpr int64_t kTimeoutMs = 60'000;
constexpr size_t kShownValues = 20;

struct ExplainFlags {
  std::string server = "http://localhost:9090";
  std::string metric, ns, name, selector, metric_selector;
};

struct CheckFlags {
  std::string server;
  std::vector<std::string> files;
};

int Fail(const base::Status& status) {
  std::fprintf(stderr, "tidewright: %s\n", status.message().c_str());
  return 1;
}

// The reply to a GET, or to a POST of `body`; an error of the API is a Status.
base::Result<std::string> AskServer(const std::string& server, const std::string& path_and_query,
                                    const std::string* body) {
  TW_ASSIGN_OR_RETURN(std::unique_ptr<http::Client> client, http::NewCurlClient({}));
  http::ClientRequest request;
  request.url = server;
  while (request.url.ends_with('/')) request.url.pop_back();
  request.url += path_and_query;
  request.total_timeout_ms = kTimeoutMs;
  if (body != nullptr) {
    request.method = "POST";
    request.body = *body;
    request.headers.Set("Content-Type", "application/yaml");
  }
  base::Result<http::Response> reply = client->Send(request);
  if (!reply.ok()) {
    return reply.status().Annotate("cannot ask " + server +
                                   "; name a running Tidewright's web port with --server, for instance by kubectl "
                                   "port-forward");
  }
  if (reply->status == 200) return reply->body;
  base::Result<base::Json> json = base::ParseJson(reply->body);
  std::string error = json.ok() ? base::FindString(*json, {"error"}) : "";
  if (error.empty()) error = server + " answered with status " + std::to_string(reply->status);
  return base::InvalidArgumentError(error);
}

int ExplainMetric(const ExplainFlags& flags) {
  std::string path = "/api/v1/autoscaling/explain?metric=" + http::PercentEncode(flags.metric);
  for (const auto& [key, value] :
       {std::pair("namespace", &flags.ns), std::pair("name", &flags.name), std::pair("labelSelector", &flags.selector),
        std::pair("metricLabelSelector", &flags.metric_selector)}) {
    if (!value->empty()) path += "&" + std::string(key) + "=" + http::PercentEncode(*value);
  }
  base::Result<std::string> reply = AskServer(flags.server, path, nullptr);
  if (!reply.ok()) return Fail(reply.status());
  std::fputs(ExplanationText(flags.metric, *reply).c_str(), stdout);
  return 0;
}

int CheckAdapterConfig(const CheckFlags& flags) {
  bool all_well = true;
  for (const std::string& file : flags.files) {
    base::Result<std::string> text = base::ReadFile(file);
    if (!text.ok()) return Fail(text.status());
    base::Status parsed = adapter::ParseConfig(*text, file).status();
    std::printf("%s: adapter rules: %s\n", file.c_str(), parsed.ok() ? "ok" : "NOT OK");
    if (!parsed.ok()) std::printf("%s\n", parsed.message().c_str());
    all_well = all_well && parsed.ok();
    if (!parsed.ok() || flags.server.empty()) continue;
    base::Result<std::string> reply = AskServer(flags.server, "/api/v1/autoscaling/check-adapter-config", &*text);
    if (!reply.ok()) return Fail(reply.status());
    bool well = true;
    std::fputs(RulesText(*reply, &well).c_str(), stdout);
    all_well = all_well && well;
  }
  return all_well ? 0 : 1;
}

const base::Json& DataOf(const base::Json& reply) {
  static const base::Json kNothing = base::Json::object();
  const base::Json* data = base::Find(reply, {"data"});
  return data != nullptr ? *data : kNothing;
}

void Line(std::string* text, const char* title, const std::string& value) {
  if (value.empty()) return;
  std::string padded = title;
  padded.resize(14, ' ');
  *text += padded + value + "\n";
}

std::vector<std::string> Strings(const base::Json& object, const char* key) {
  std::vector<std::string> result;
  const base::Json* list = base::Find(object, {key});
  if (list == nullptr || !list->is_array()) return result;
  for (const base::Json& item : *list) {
    if (item.is_string()) result.push_back(item.get<std::string>());
  }
  return result;
}

}  // namespace

std::string ExplanationText(const std::string& metric, const std::string& reply) {
  base::Result<base::Json> json = base::ParseJson(reply);
  if (!json.ok()) return "the server's answer is not JSON: " + json.status().message() + "\n";
  const base::Json& data = DataOf(*json);
  std::string text;
  Line(&text, "metric", metric);
  Line(&text, "rule", base::FindString(data, {"rule"}));
  Line(&text, "seriesQuery", base::FindString(data, {"seriesQuery"}));
  Line(&text, "metricsQuery", base::FindString(data, {"metricsQuery"}));
  Line(&text, "series", base::FindString(data, {"series"}));
  Line(&text, "query", base::FindString(data, {"query"}));
  const base::Json* values = base::Find(data, {"values"});
  size_t count = values != nullptr && values->is_array() ? values->size() : 0;
  for (size_t i = 0; i < std::min(count, kShownValues); ++i) {
    const base::Json& value = (*values)[i];
    Line(&text, i == 0 ? "values" : "", base::FindString(value, {"object"}) + " " + base::FindString(value, {"value"}));
  }
  if (count > kShownValues) Line(&text, "", "and " + std::to_string(count - kShownValues) + " more");
  Line(&text, "without", base::Join(Strings(data, "without"), ", "));
  Line(&text, "problem", base::FindString(data, {"problem"}));
  for (const std::string& suggestion : Strings(data, "suggestions")) Line(&text, "suggestion", suggestion);
  return text;
}

std::string RulesText(const std::string& reply, bool* well) {
  base::Result<base::Json> json = base::ParseJson(reply);
  if (!json.ok()) return "the server's answer is not JSON: " + json.status().message() + "\n";
  std::string text;
  for (const base::Json& rule : DataOf(*json)) {
    text += base::FindString(rule, {"section"}) + "[" + std::to_string(base::FindInt(rule, {"index"})) + "] (line " +
            std::to_string(base::FindInt(rule, {"line"})) + ")\n";
    std::vector<std::string> metrics = Strings(rule, "metrics");
    std::string error = base::FindString(rule, {"error"});
    std::string query = base::FindString(rule, {"seriesQuery"});
    *well = *well && error.empty() && !metrics.empty();
    Line(&text, "  series",
         query.empty() ? "" : std::to_string(base::FindInt(rule, {"series"})) + " names match " + query);
    Line(&text, "  query", base::FindString(rule, {"metricsQuery"}));
    Line(&text, "  metrics", metrics.empty() ? "none" : base::Join(metrics, ", "));
    Line(&text, "  error", error);
    for (const std::string& note : Strings(rule, "notes")) Line(&text, "  note", note);
  }
  return text;
}

void AddExplainCommands(CLI::App& app, CLI::App& check, std::function<int()>* command) {
  auto explain = std::make_shared<ExplainFlags>();
  CLI::App* group = app.add_subcommand("explain", "Ask a running Tidewright why")->require_subcommand(0, 1);
  AddExplainWorkload(*group, command);
  CLI::App* metric = group->add_subcommand("metric", "Why a metric has the value that it has, or none");
  metric->add_option("METRIC", explain->metric, "pods/http_requests, deployments.apps/lag, external/queue_depth")
      ->required();
  metric->add_option("-n,--namespace", explain->ns, "Namespace of the objects, or of the request");
  metric->add_option("--name", explain->name, "One object; default: all that match");
  metric->add_option("-l,--selector", explain->selector, "Labels of the objects, as in an HPA's request");
  metric->add_option("--metric-selector", explain->metric_selector, "Labels of the metric's series");
  metric->add_option("--server", explain->server, "Its web port")->capture_default_str();
  metric->callback([=] { *command = [=] { return ExplainMetric(*explain); }; });

  auto checked = std::make_shared<CheckFlags>();
  CLI::App* config =
      check.add_subcommand("adapter-config", "Say what is wrong with adapter rules, and what they match");
  config->add_option("FILE", checked->files, "Files to check")->required();
  config->add_option("--server", checked->server,
                     "Web port of a running Tidewright, whose data shows what each rule finds");
  config->callback([=] { *command = [=] { return CheckAdapterConfig(*checked); }; });
}

}  // namespace tidewright::cmd
