#include "scaler/external_metrics.h"

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "kube/meta.h"
#include "scaler/hpa_keeper.h"
#include "scaler/proposal.h"
#include "scaler/scaled_object.h"
#include "scaler/target.h"
#include "scaler/trigger_reader.h"

namespace tidewright::scaler {

namespace {

constexpr int64_t kLookMs = 2'000;
constexpr int64_t kReadAgainMs = 1'000;
constexpr size_t kMaxReaders = 10'000;

// The ScaledObject that a request is about, or "".
std::string ObjectOf(const kube::LabelSelector& selector) {
  for (const kube::Requirement& requirement : selector.requirements()) {
    const bool one = requirement.op == kube::Requirement::Op::kEquals || requirement.op == kube::Requirement::Op::kIn;
    if (requirement.key == kScaledObjectLabel && one && requirement.values.size() == 1) return requirement.values[0];
  }
  return "";
}

bool KeepsHpa(const base::Json& object) { return base::FindString(object, {"spec", "scalingMode"}) == "hpa"; }

}  // namespace

// The triggers of one object, read for requests only.
class ScaledObjectMetrics::Reader {
 public:
  explicit Reader(const ScaledObjectMetricsContext& context)
      : context_(context), triggers_(context.cluster, context.triggers, *context.board) {}

  base::Result<int64_t> Read(const std::shared_ptr<const base::Json>& object, const std::string& group,
                             const std::string& metric) {
    base::MutexLock lock(mu_);
    TW_RETURN_IF_ERROR(Adopt(object, group));
    TW_ASSIGN_OR_RETURN(kube::Resource resource,
                        kube::ResolveResource(*context_.cluster.client, spec_.target_api_version, spec_.target_kind));
    TW_ASSIGN_OR_RETURN(Target target, ReadTarget(context_.cluster, resource, spec_.ns, spec_.target_name));
    if (spec_.scale.composite && metric == kCompositeMetric) {
      std::vector<Signal> signals;
      for (size_t i = 0; i < triggers_.size(); ++i) signals.push_back(triggers_.Read(i, target));
      for (const Signal& signal : signals) {
        if (!signal.error.empty()) return base::UnavailableError(signal.name + ": " + signal.error);
      }
      Signal composite = EvaluateFormula(*spec_.scale.composite, signals);
      if (!composite.error.empty()) return base::UnavailableError(composite.error);
      return composite.value_milli;
    }
    for (size_t i = 0; i < triggers_.size(); ++i) {
      if (!metric.starts_with("s" + std::to_string(i) + "-")) continue;
      Signal signal = triggers_.Read(i, target);
      if (!signal.error.empty()) return base::UnavailableError(signal.name + ": " + signal.error);
      if (triggers_.info(i).metric_name == metric) return signal.value_milli;
    }
    return base::NotFoundError("ScaledObject " + spec_.ns + "/" + spec_.name + " has no trigger with the metric " +
                               metric);
  }

 private:
  base::Status Adopt(const std::shared_ptr<const base::Json>& object, const std::string& group) REQUIRES_LOCK(mu_) {
    if (object == object_) return base::Status::Ok();
    TW_ASSIGN_OR_RETURN(spec_, DecodeScaledObject(*object));
    triggers_.Follow({spec_.ns, spec_.name, group, spec_.env_container, spec_.polling_interval_ms / 2}, spec_.triggers);
    object_ = object;
    return base::Status::Ok();
  }

  const ScaledObjectMetricsContext& context_;
  base::Mutex mu_;
  std::shared_ptr<const base::Json> object_ GUARDED_BY(mu_);
  ScaledObject spec_ GUARDED_BY(mu_);
  TriggerReader triggers_ GUARDED_BY(mu_);
};

ScaledObjectMetrics::ScaledObjectMetrics(ScaledObjectMetricsContext context) : context_(std::move(context)) {
  if (context_.triggers.http != nullptr) return;
  auto http = http::NewCurlClient({});
  if (!http.ok()) return;
  own_http_ = std::move(*http);
  context_.triggers.http = own_http_.get();
}

ScaledObjectMetrics::~ScaledObjectMetrics() = default;

bool ScaledObjectMetrics::AnyKeepsHpa(const kube::Resource& resource) {
  auto objects = context_.cluster.objects->List(resource, "", {});
  return objects.ok() &&
         std::any_of(objects->begin(), objects->end(), [](const auto& object) { return KeepsHpa(*object); });
}

bool ScaledObjectMetrics::InUse() {
  const int64_t now_ms = context_.triggers.control->NowMs();
  {
    base::MutexLock lock(mu_);
    if (looked_ms_ != 0 && now_ms - looked_ms_ < kLookMs) return in_use_;
    looked_ms_ = now_ms;
  }
  kube::Resource keda = kube::resources::kScaledObjects;
  keda.group = "keda.sh";
  const bool in_use = AnyKeepsHpa(kube::resources::kScaledObjects) || (context_.watch_keda && AnyKeepsHpa(keda));
  base::MutexLock lock(mu_);
  return in_use_ = in_use;
}

std::vector<std::string> ScaledObjectMetrics::ListMetrics() {
  apiservice::ExternalMetricsProvider* next = context_.next ? context_.next() : nullptr;
  return next == nullptr ? std::vector<std::string>() : next->ListMetrics();
}

uint64_t ScaledObjectMetrics::ListVersion() {
  apiservice::ExternalMetricsProvider* next = context_.next ? context_.next() : nullptr;
  return next == nullptr ? 0 : next->ListVersion();
}

base::Result<std::shared_ptr<const base::Json>> ScaledObjectMetrics::Find(const std::string& ns,
                                                                          const std::string& name, std::string* group) {
  kube::Resource resource = kube::resources::kScaledObjects;
  *group = resource.group;
  auto own = context_.cluster.objects->Get(resource, ns, name);
  if (own.ok() || !context_.watch_keda) return own;
  *group = resource.group = "keda.sh";
  return context_.cluster.objects->Get(resource, ns, name);
}

base::Result<SignalValue> ScaledObjectMetrics::ReadNow(const std::string& ns, const std::string& name,
                                                       const std::string& metric) {
  std::string group;
  TW_ASSIGN_OR_RETURN(std::shared_ptr<const base::Json> object, Find(ns, name, &group));
  if (!KeepsHpa(*object)) return base::NotFoundError("ScaledObject " + ns + "/" + name + " keeps no HPA");
  std::shared_ptr<Reader> reader;
  {
    base::MutexLock lock(mu_);
    if (readers_.size() > kMaxReaders) readers_.clear();  // Of objects that are gone, most of all.
    std::shared_ptr<Reader>& kept = readers_[{ns, name}];
    if (kept == nullptr) kept = std::make_shared<Reader>(context_);
    reader = kept;
  }
  const int64_t now_ms = context_.triggers.control->NowMs();
  return SignalValue{reader->Read(object, group, metric), now_ms, now_ms + kReadAgainMs};
}

base::Result<std::vector<apiservice::ExternalMetricValue>> ScaledObjectMetrics::Get(
    const std::string& ns, const std::string& metric, const kube::LabelSelector& selector) {
  const std::string name = ObjectOf(selector);
  if (name.empty()) {
    apiservice::ExternalMetricsProvider* next = context_.next ? context_.next() : nullptr;
    if (next == nullptr) return base::NotFoundError("no rule makes external metrics, and no ScaledObject is named");
    return next->Get(ns, metric, selector);
  }
  std::optional<SignalValue> value = context_.values->Get(ns, name, metric, context_.triggers.control->NowMs());
  if (!value) {
    TW_ASSIGN_OR_RETURN(value, ReadNow(ns, name, metric));
  }
  if (!value->value_milli.ok()) return value->value_milli.status();
  apiservice::ExternalMetricValue served;
  served.metric = metric;
  served.labels = {{kScaledObjectLabel, name}};
  served.timestamp_ms = value->t_ms;
  served.value = base::Quantity::FromMilli(*value->value_milli);
  return std::vector<apiservice::ExternalMetricValue>{std::move(served)};
}

}  // namespace tidewright::scaler
