#include "scaler/trigger_reader.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "base/json.h"
#include "base/secret_hash.h"
#include "base/strings.h"

namespace tidewright::scaler {

namespace {

// How long a changed Secret may stay unnoticed while the old one works.
constexpr int64_t kCompareMs = 60'000;

constexpr std::string_view kFromEnv = "FromEnv";

}  // namespace

// What a trigger's authenticationRef and <key>FromEnv mean at present.
struct TriggerReader::Secrets {
  base::Result<std::map<std::string, std::string>> parameters;
  std::map<std::string, base::Result<std::string>> env;

  bool empty() const { return parameters.ok() && parameters->empty() && env.empty(); }
  bool complete() const {
    return parameters.ok() && std::all_of(env.begin(), env.end(), [](const auto& one) { return one.second.ok(); });
  }
  uint64_t Hash() const {
    std::string all;
    auto add = [&all](const std::string& text) { all.append(std::to_string(text.size())).append(":").append(text); };
    for (const auto& [name, value] : *parameters) add(name), add(value);
    for (const auto& [name, value] : env) add(name), add(*value);
    return base::SecretHash(all);
  }
};

std::string CutText(const std::string& text) {
  constexpr size_t kMost = 1000;
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

void TriggerReader::Follow(TriggerOwner owner, std::vector<TriggerSpec> triggers) {
  owner_ = std::move(owner);
  triggers_ = std::move(triggers);
  for (TriggerSpec& trigger : triggers_) {
    trigger.object = owner_.name;
    trigger.max_age_ms = owner_.max_age_ms;
  }
  sources_.clear();
  sources_.resize(triggers_.size());
  reported_.clear();
}

TriggerReader::Secrets TriggerReader::LookUp(const TriggerSpec& trigger, const base::Json& workload) {
  Secrets secrets{std::map<std::string, std::string>(), {}};
  for (const auto& [key, variable] : trigger.metadata) {
    if (!key.ends_with(kFromEnv) || secrets.env.count(variable) > 0) continue;
    secrets.env.emplace(variable, LookUpEnv(*cluster_.client, owner_.ns, workload, owner_.env_container, variable));
  }
  if (trigger.authentication.empty()) return secrets;
  kube::Resource resource =
      trigger.cluster_authentication ? kClusterTriggerAuthentications : kube::resources::kTriggerAuthentications;
  resource.group = owner_.group;
  secrets.parameters =
      ReadAuthentication(cluster_, resource, owner_.ns, trigger.authentication, workload, owner_.env_container);
  return secrets;
}

void TriggerReader::Build(size_t index, const Target& target) {
  Source& source = sources_[index];
  TriggerSpec& trigger = triggers_[index];
  // Goes once the new one is there, which takes over what is remembered of the source.
  const std::unique_ptr<Trigger> old = std::move(source.trigger);
  if (old != nullptr) source.info = old->info();
  source.failed = false;
  if (MeasuresPods(trigger.type)) trigger.pod_selector = PodSelectorOf(target);
  const Secrets secrets = LookUp(trigger, *target.object);
  if (!secrets.parameters.ok()) {
    source.error = secrets.parameters.status().Annotate("authenticationRef").message();
    return;
  }
  auto env = [&secrets](const std::string& variable) -> base::Result<std::string> {
    auto found = secrets.env.find(variable);
    if (found == secrets.env.end()) return base::InternalError(variable + " was not looked up");
    return found->second;
  };
  auto built = NewTrigger(trigger, {env, *secrets.parameters}, context_);
  source.error = built.ok() ? "" : built.status().message();
  if (!built.ok()) return;
  source.secrets = secrets.empty() || !secrets.complete() ? 0 : secrets.Hash();
  source.compared_ms = context_.control->NowMs();
  source.trigger = std::move(*built);
  if (hasten_) source.trigger->Push(hasten_);
}

// What cannot be looked up now has not changed: the trigger goes on with what it has.
bool TriggerReader::SecretsChanged(size_t index, const Target& target) {
  Source& source = sources_[index];
  if (source.secrets == 0 || context_.control->NowMs() < source.compared_ms + kCompareMs) return false;
  source.compared_ms = context_.control->NowMs();
  const Secrets secrets = LookUp(triggers_[index], *target.object);
  return secrets.complete() && secrets.Hash() != source.secrets;
}

Signal TriggerReader::Read(size_t index, const Target& target) {
  Source& source = sources_[index];
  const TriggerSpec& trigger = triggers_[index];
  if (source.trigger == nullptr || source.failed || SecretsChanged(index, target)) Build(index, target);
  base::Result<Reading> reading =
      source.trigger == nullptr ? base::Result<Reading>(base::UnavailableError(source.error)) : source.trigger->Read();
  const TriggerInfo& info = this->info(index);
  Signal signal;
  signal.name = info.name.empty() ? (trigger.name.empty() ? trigger.type : trigger.name) : info.name;
  signal.id = trigger.name;
  signal.max_replicas = trigger.max_replicas;
  const bool of_pods = MeasuresPods(trigger.type);
  signal.type = of_pods ? info.target_type : trigger.target_type;
  signal.target_milli = info.target_milli;
  signal.counts_for_activity = !of_pods;
  signal.activation_milli = info.activation_milli;
  signal.exact = info.exact;
  if (reading.ok()) {
    source.failures = 0;
    signal.value_milli = reading->value_milli;
    signal.detail = reading->detail;
    signal.pods = std::move(reading->pods);
    signal.floor = reading->min_replicas;
    signal.ceiling = reading->max_replicas;
    // Active is what is above the activation: the source's word becomes one that its value is above, or never is.
    if (reading->active) signal.activation_milli = *reading->active ? -1 : std::numeric_limits<int64_t>::max();
    return signal;
  }
  signal.error = CutText(reading.status().message());
  if (source.trigger != nullptr && reading.status().code() == base::Code::kNotFound) return signal;
  source.failures = std::min(source.failures + 1, INT32_MAX - 1);
  source.failed = reading.status().code() != base::Code::kCancelled;
  board_.CountTriggerError(owner_.ns, owner_.name, {signal.name, trigger.type, {}, 0, {}, false, "", ""});
  return signal;
}

std::vector<std::string> TriggerReader::Types() const {
  std::vector<std::string> types;
  for (const TriggerSpec& trigger : triggers_) types.push_back(trigger.type);
  return types;
}

void TriggerReader::Report(const std::vector<Signal>& signals, int32_t most_failures, ObjectStatus* status) {
  std::string report;  // Documents are made only of what differs from the last time.
  for (size_t i = 0; i < sources_.size(); ++i) {
    const bool active = signals[i].error.empty() && signals[i].value_milli > signals[i].activation_milli;
    report += info(i).metric_name + (active ? "+" : "-") +
              std::to_string(std::min(sources_[i].failures, most_failures)) + ",";
  }
  if (report == reported_) return;
  reported_ = std::move(report);
  std::vector<std::string> types;
  base::Json names = base::Json::array();
  base::Json health = base::Json::object();
  base::Json activity = base::Json::object();
  for (size_t i = 0; i < sources_.size(); ++i) {
    const std::string& type = triggers_[i].type;
    if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
    const Source& source = sources_[i];
    if (info(i).metric_name.empty()) continue;
    names.push_back(info(i).metric_name);
    health[info(i).metric_name] = {{"numberOfFailures", std::min(source.failures, most_failures)},
                                   {"status", source.failures == 0 ? "Happy" : "Failing"}};
    const Signal& signal = signals[i];
    activity[info(i).metric_name] = {
        {"isActive", signal.error.empty() && signal.value_milli > signal.activation_milli}};
  }
  status->Set("triggersTypes", base::Join(types, ","));
  status->Set("externalMetricNames", std::move(names));
  status->Set("health", std::move(health));
  status->Set("triggersActivity", std::move(activity));
}

std::string ErrorsOf(const std::vector<Signal>& signals) {
  std::vector<std::string> errors;
  for (const Signal& signal : signals) {
    if (!signal.error.empty()) errors.push_back(signal.name + " cannot be read: " + signal.error);
  }
  return base::Join(errors, "; ");
}

}  // namespace tidewright::scaler
