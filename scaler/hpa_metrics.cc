#include "scaler/hpa_metrics.h"

#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/quantity.h"
#include "http/message.h"
#include "kube/meta.h"

namespace tidewright::scaler {

namespace {

// A custom metric without windowSeconds is taken to cover a minute.
constexpr int64_t kDefaultWindowMs = 60'000;
constexpr char kCustom[] = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/";

std::string Query(const std::vector<std::pair<std::string, std::string>>& params) {
  std::string text;
  for (const auto& [name, value] : params) {
    if (value.empty()) continue;
    text += (text.empty() ? "?" : "&") + name + "=" + http::PercentEncode(value);
  }
  return text;
}

const base::Json& ItemsOf(const base::Json& list) {
  static const base::Json kNone = base::Json::array();
  const base::Json* items = base::Find(list, {"items"});
  return items != nullptr && items->is_array() ? *items : kNone;
}

base::Result<int64_t> MilliOf(const base::Json& object, std::initializer_list<std::string_view> path) {
  const base::Json* found = base::Find(object, path);
  std::string text = found == nullptr ? "" : (found->is_string() ? found->get<std::string>() : base::DumpJson(*found));
  auto quantity = base::Quantity::Parse(text);
  if (!quantity.ok()) return quantity.status();
  return quantity->MilliValue();
}

int64_t TimeOf(const base::Json& object, std::initializer_list<std::string_view> path, int64_t fallback) {
  auto time = base::ParseTime(base::FindString(object, path));
  return time.ok() ? *time : fallback;
}

// The sum over a pod's containers (or the one asked for); none if any of them lacks the resource.
std::optional<int64_t> ContainerSum(const base::Json& pod, const HpaMetric& metric) {
  const base::Json* containers = base::Find(pod, {"containers"});
  if (containers == nullptr || !containers->is_array()) return std::nullopt;
  bool one = metric.source == HpaMetric::Source::kContainerResource;
  std::optional<int64_t> sum;
  for (const base::Json& container : *containers) {
    if (one && base::FindString(container, {"name"}) != metric.container) continue;
    auto usage = MilliOf(container, {"usage", metric.name});
    if (!usage.ok()) return std::nullopt;
    sum = sum.value_or(0) + *usage;
  }
  return sum;
}

base::Result<int64_t> RequestOf(const base::Json& pod, const base::Json& container, const std::string& resource) {
  auto request = MilliOf(container, {"resources", "requests", resource});
  if (request.ok()) return *request;
  return base::FailedPreconditionError("missing request for " + resource + " in container " +
                                       base::FindString(container, {"name"}) + " of Pod " + kube::NameOf(pod));
}

// The requests of a pod: its own, or the sum over containers and restartable init containers.
base::Result<int64_t> PodRequest(const base::Json& pod, const HpaMetric& metric) {
  bool one = metric.source == HpaMetric::Source::kContainerResource;
  auto own = MilliOf(pod, {"spec", "resources", "requests", metric.name});
  if (own.ok() && !one) return *own;
  int64_t sum = 0;
  for (const char* list : {"containers", "initContainers"}) {
    const base::Json* containers = base::Find(pod, {"spec", list});
    if (containers == nullptr || !containers->is_array()) continue;
    for (const base::Json& container : *containers) {
      bool once =
          std::string_view(list) == "initContainers" && base::FindString(container, {"restartPolicy"}) != "Always";
      if (once || (one && base::FindString(container, {"name"}) != metric.container)) continue;
      TW_ASSIGN_OR_RETURN(int64_t request, RequestOf(pod, container, metric.name));
      sum += request;
    }
  }
  return sum;
}

const base::Json* ReadyCondition(const base::Json& pod) {
  const base::Json* conditions = base::Find(pod, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return nullptr;
  for (const base::Json& condition : *conditions) {
    if (base::FindString(condition, {"type"}) == "Ready") return &condition;
  }
  return nullptr;
}

std::string GroupResource(const kube::Resource& resource) {
  return resource.group.empty() ? resource.plural : resource.plural + "." + resource.group;
}

}  // namespace

HpaMetricReader::HpaMetricReader(kube::Client& client, const std::string& ns, const std::string& selector,
                                 const Pods& pods, int64_t now_ms, const HpaReadOptions& options)
    : client_(client), ns_(ns), selector_(selector), pods_(pods), now_ms_(now_ms), options_(options) {}

Signal HpaMetricReader::Read(const HpaMetric& metric) {
  Signal signal;
  signal.name = metric.Title();
  signal.type = metric.type;
  signal.target_milli = metric.target_milli;
  base::Status status = Fill(metric, &signal);
  if (!status.ok()) signal.error = status.message();
  return signal;
}

base::Status HpaMetricReader::Fill(const HpaMetric& metric, Signal* signal) {
  bool total = metric.source == HpaMetric::Source::kObject || metric.source == HpaMetric::Source::kExternal;
  if (total) {
    auto value = metric.source == HpaMetric::Source::kObject ? ReadObject(metric) : ReadExternal(metric);
    if (!value.ok()) return value.status();
    // A sum below zero would be taken for an overflow by one formula and for no load by the other.
    if (*value < 0) return base::FailedPreconditionError("the metric is negative: " + FormatMilli(*value));
    signal->value_milli = *value;
    return base::Status::Ok();
  }
  auto metrics = metric.source == HpaMetric::Source::kPods ? ReadPods(metric) : ReadResource(metric);
  if (!metrics.ok()) return metrics.status();
  return Classify(metric, *metrics, signal);
}

base::Result<HpaMetricReader::PodMetrics> HpaMetricReader::ReadProvider(const HpaMetric& metric) {
  TW_ASSIGN_OR_RETURN(kube::LabelSelector selector, kube::LabelSelector::Parse(selector_));
  TW_ASSIGN_OR_RETURN(std::vector<apiservice::PodMetrics> pods, options_.provider->Pods(ns_, "", selector));
  if (pods.empty()) return base::UnavailableError("no metrics of its pods are stored");
  PodMetrics metrics;
  for (const apiservice::PodMetrics& pod : pods) {
    std::optional<int64_t> sum;
    for (const auto& [container, usage] : pod.containers) {
      if (metric.source == HpaMetric::Source::kContainerResource && container != metric.container) continue;
      sum = sum.value_or(0) + (metric.name == "cpu" ? usage.cpu : usage.memory).MilliValue();
    }
    if (sum) metrics[pod.name] = {*sum, pod.timestamp_ms, pod.window_ms};
  }
  return metrics;
}

base::Result<HpaMetricReader::PodMetrics> HpaMetricReader::ReadResource(const HpaMetric& metric) {
  if (options_.provider != nullptr) return ReadProvider(metric);
  TW_ASSIGN_OR_RETURN(base::Json list,
                      client_.GetRaw("/apis/metrics.k8s.io/v1beta1/namespaces/" + http::PercentEncode(ns_) + "/pods" +
                                     Query({{"labelSelector", selector_}})));
  if (ItemsOf(list).empty()) return base::UnavailableError("no metrics returned from resource metrics API");
  PodMetrics metrics;
  for (const base::Json& pod : ItemsOf(list)) {
    std::optional<int64_t> sum = ContainerSum(pod, metric);
    if (!sum) continue;
    auto window = base::ParseGoDuration(base::FindString(pod, {"window"}));
    metrics[kube::NameOf(pod)] = {*sum, TimeOf(pod, {"timestamp"}, now_ms_), window.ok() ? window->ms : 0};
  }
  return metrics;
}

base::Result<HpaMetricReader::PodMetrics> HpaMetricReader::ReadPods(const HpaMetric& metric) {
  std::string query = Query({{"labelSelector", selector_}, {"metricLabelSelector", metric.selector.ToString()}});
  TW_ASSIGN_OR_RETURN(base::Json list, client_.GetRaw(kCustom + http::PercentEncode(ns_) + "/pods/%2A/" +
                                                      http::PercentEncode(metric.name) + query));
  if (ItemsOf(list).empty()) return base::UnavailableError("no metrics returned from custom metrics API");
  PodMetrics metrics;
  for (const base::Json& item : ItemsOf(list)) {
    TW_ASSIGN_OR_RETURN(int64_t value, MilliOf(item, {"value"}));
    int64_t window_s = base::FindInt(item, {"windowSeconds"}, kDefaultWindowMs / 1000);
    metrics[base::FindString(item, {"describedObject", "name"})] = {value, TimeOf(item, {"timestamp"}, now_ms_),
                                                                    window_s * 1000};
  }
  return metrics;
}

base::Result<int64_t> HpaMetricReader::ReadObject(const HpaMetric& metric) {
  std::string api_version = metric.object_api_version.empty() ? "v1" : metric.object_api_version;
  std::string path = kCustom;
  if (metric.object_kind == "Namespace") {
    path += http::PercentEncode(ns_) + "/metrics/";
  } else {
    TW_ASSIGN_OR_RETURN(kube::Resource resource, kube::ResolveResource(client_, api_version, metric.object_kind));
    path +=
        http::PercentEncode(ns_) + "/" + GroupResource(resource) + "/" + http::PercentEncode(metric.object_name) + "/";
  }
  path += http::PercentEncode(metric.name) + Query({{"metricLabelSelector", metric.selector.ToString()}});
  TW_ASSIGN_OR_RETURN(base::Json list, client_.GetRaw(path));
  if (ItemsOf(list).size() != 1) {
    return base::UnavailableError("the custom metrics API returned " + std::to_string(ItemsOf(list).size()) +
                                  " values for one object");
  }
  return MilliOf(ItemsOf(list)[0], {"value"});
}

base::Result<int64_t> HpaMetricReader::ReadExternal(const HpaMetric& metric) {
  TW_ASSIGN_OR_RETURN(
      base::Json list,
      client_.GetRaw("/apis/external.metrics.k8s.io/v1beta1/namespaces/" + http::PercentEncode(ns_) + "/" +
                     http::PercentEncode(metric.name) + Query({{"labelSelector", metric.selector.ToString()}})));
  if (ItemsOf(list).empty()) return base::UnavailableError("no metrics returned from external metrics API");
  int64_t sum = 0;
  for (const base::Json& item : ItemsOf(list)) {
    TW_ASSIGN_OR_RETURN(int64_t value, MilliOf(item, {"value"}));
    if (__builtin_add_overflow(sum, value, &sum)) sum = value > 0 ? INT64_MAX : INT64_MIN;
  }
  return sum;
}

base::Status HpaMetricReader::Classify(const HpaMetric& metric, const PodMetrics& metrics, Signal* signal) {
  if (pods_.empty()) {
    return base::UnavailableError("no pods returned by selector while calculating replica count");
  }
  bool cpu = metric.source != HpaMetric::Source::kPods && metric.name == "cpu";
  for (const auto& found_pod : pods_) {
    const base::Json& pod = *found_pod;
    PodSample sample;
    sample.name = kube::NameOf(pod);
    if (metric.type == TargetType::kUtilization) {
      TW_ASSIGN_OR_RETURN(sample.request_milli, PodRequest(pod, metric));
    }
    std::string phase = base::FindString(pod, {"status", "phase"});
    if (kube::IsBeingDeleted(pod) || phase == "Failed") continue;
    auto found = metrics.find(sample.name);
    if (phase == "Pending") {
      sample.state = PodSample::State::kUnready;
    } else if (found == metrics.end()) {
      sample.state = PodSample::State::kMissing;
    } else {
      sample.value_milli = found->second.value_milli;
      if (cpu && CpuUnready(pod, found->second)) sample.state = PodSample::State::kUnready;
    }
    signal->pods.push_back(std::move(sample));
  }
  return base::Status::Ok();
}

// A pod that starts burns CPU that says nothing about the load.
bool HpaMetricReader::CpuUnready(const base::Json& pod, const PodMetric& metric) const {
  const base::Json* ready = ReadyCondition(pod);
  auto started = base::ParseTime(base::FindString(pod, {"status", "startTime"}));
  if (ready == nullptr || !started.ok()) return true;
  bool not_ready = base::FindString(*ready, {"status"}) == "False";
  int64_t changed = TimeOf(*ready, {"lastTransitionTime"}, 0);
  if (*started + options_.cpu_initialization_ms > now_ms_) {
    return not_ready || metric.timestamp_ms < changed + metric.window_ms;
  }
  return not_ready && *started + options_.initial_readiness_delay_ms > changed;
}

}  // namespace tidewright::scaler
