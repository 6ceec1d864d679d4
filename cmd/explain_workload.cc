#include "cmd/explain_workload.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/client.h"

namespace tidewright::cmd {

namespace {

constexpr std::pair<const char*, const char*> kKinds[] = {{"scaledobject", "ScaledObject"},
                                                          {"scaledobjects", "ScaledObject"},
                                                          {"so", "ScaledObject"},
                                                          {"scaledjob", "ScaledJob"},
                                                          {"scaledjobs", "ScaledJob"},
                                                          {"sj", "ScaledJob"},
                                                          {"horizontalpodautoscaler", "HorizontalPodAutoscaler"},
                                                          {"horizontalpodautoscalers", "HorizontalPodAutoscaler"},
                                                          {"hpa", "HorizontalPodAutoscaler"}};

struct ObjectName {
  std::string kind;
  std::string name;
};

base::Result<ObjectName> ParseObject(const std::string& text) {
  size_t slash = text.find('/');
  std::string kind = base::ToLower(text.substr(0, slash));
  for (const auto& [word, meaning] : kKinds) {
    if (slash != std::string::npos && slash + 1 < text.size() && kind == word)
      return ObjectName{meaning, text.substr(slash + 1)};
  }
  return base::InvalidArgumentError(base::Quoted(text) + " is not an object to explain; write for example " +
                                    "scaledobject/orders, scaledjob/import or hpa/web");
}

const base::Json* FindObject(const base::Json* list, const ObjectName& object, const std::string& ns) {
  if (list == nullptr || !list->is_array()) return nullptr;
  for (const base::Json& entry : *list) {
    if (base::FindString(entry, {"controller"}) == object.kind && base::FindString(entry, {"name"}) == object.name &&
        base::FindString(entry, {"namespace"}) == ns) {
      return &entry;
    }
  }
  return nullptr;
}

std::string Number(const base::Json& entry, const char* key) { return std::to_string(base::FindInt(entry, {key})); }

std::string StepLines(const base::Json& entry) {
  std::string text;
  const base::Json* steps = base::Find(entry, {"steps"});
  for (const base::Json& step : steps != nullptr && steps->is_array() ? *steps : base::Json::array()) {
    std::string stage = base::FindString(step, {"stage"});
    stage.resize(std::max<size_t>(stage.size(), 10), ' ');
    std::string replicas = Number(step, "replicas");
    text += "  " + stage + std::string(replicas.size() < 6 ? 6 - replicas.size() : 0, ' ') + replicas + "  " +
            base::FindString(step, {"text"}) + "\n";
  }
  return text;
}

std::string HistoryLines(const base::Json& history, const ObjectName& object, int most) {
  std::string text;
  const base::Json* list = base::Find(history, {"data"});
  for (const base::Json& entry : list != nullptr && list->is_array() ? *list : base::Json::array()) {
    if (base::FindString(entry, {"controller"}) != object.kind || most-- <= 0) continue;
    text += "  " + base::FindString(entry, {"time"}) + "  " + Number(entry, "from") + " -> " + Number(entry, "to") +
            "  " + base::FindString(entry, {"why"}) + "\n";
  }
  return text.empty() ? text : "before:\n" + text;
}

base::Result<base::Json> Ask(http::Client& client, const std::string& url) {
  http::ClientRequest request;
  request.url = url;
  request.total_timeout_ms = 10'000;
  TW_ASSIGN_OR_RETURN(http::Response response, client.Send(request));
  if (response.status != 200) return base::UnavailableError(url + " answered " + std::to_string(response.status));
  return base::ParseJson(response.body);
}

base::Result<std::string> AskAndExplain(const ExplainWorkloadFlags& flags) {
  TW_ASSIGN_OR_RETURN(ObjectName object, ParseObject(flags.object));
  TW_ASSIGN_OR_RETURN(std::unique_ptr<http::Client> client, http::NewCurlClient({}));
  const std::string api = flags.server + "/api/v1/autoscaling/";
  TW_ASSIGN_OR_RETURN(base::Json workloads, Ask(*client, api + "workloads"));
  TW_ASSIGN_OR_RETURN(base::Json history, Ask(*client, api + "decisions?limit=" + std::to_string(flags.history) +
                                                           "&namespace=" + http::PercentEncode(flags.ns) +
                                                           "&name=" + http::PercentEncode(object.name)));
  return ExplainWorkload(flags, workloads, history);
}

int RunExplain(const ExplainWorkloadFlags& flags) {
  auto text = AskAndExplain(flags);
  if (!text.ok()) {
    std::fprintf(stderr, "tidewright: explain: %s\n", text.status().message().c_str());
    return 1;
  }
  std::fputs(text->c_str(), stdout);
  return 0;
}

}  // namespace

void AddExplainWorkload(CLI::App& explain, std::function<int()>* command) {
  auto flags = std::make_shared<ExplainWorkloadFlags>();
  explain.add_option("OBJECT", flags->object,
                     "scaledobject/NAME, scaledjob/NAME or hpa/NAME: why it scales as it does");
  explain.add_option("-n,--namespace", flags->ns, "Its namespace")->capture_default_str();
  explain.add_option("--server", flags->server, "Web port of the Tidewright that scales")->capture_default_str();
  explain.add_option("--history", flags->history, "How many earlier decisions to show")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  explain.callback([=, &explain] {
    if (!explain.get_subcommands().empty()) return;
    if (flags->object.empty()) throw CLI::RequiredError("OBJECT or a subcommand");
    *command = [=] { return RunExplain(*flags); };
  });
}

base::Result<std::string> ExplainWorkload(const ExplainWorkloadFlags& flags, const base::Json& workloads,
                                          const base::Json& history) {
  TW_ASSIGN_OR_RETURN(ObjectName object, ParseObject(flags.object));
  const base::Json* entry = FindObject(base::Find(workloads, {"workloads"}), object, flags.ns);
  if (entry == nullptr) {
    return base::NotFoundError("there is no " + object.kind + " " + flags.ns + "/" + object.name + " at " +
                               flags.server + "; look at its namespace, and ask the replica that leads");
  }
  std::string text = object.kind + " " + flags.ns + "/" + object.name + " scales " +
                     base::FindString(*entry, {"target"}) + " between " + Number(*entry, "minReplicas") + " and " +
                     Number(*entry, "maxReplicas") + "\n";
  text += "replicas: " + Number(*entry, "currentReplicas") + " set, " + Number(*entry, "readyReplicas") + " ready, " +
          Number(*entry, "desiredReplicas") + " decided\n";
  text += "why: " + base::FindString(*entry, {"why"}) + "\n";
  std::string steps = StepLines(*entry);
  if (!steps.empty()) text += "steps:\n" + steps;
  return text + HistoryLines(history, object, flags.history);
}

}  // namespace tidewright::cmd
