// The cpu and memory triggers: what the target's pods use, by the arithmetic of HorizontalPodAutoscalers.
#include <utility>

#include "kube/meta.h"
#include "scaler/hpa_metrics.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct ResourceConfig {
  int64_t target_milli = 0;
  std::string container;
};

base::Status ParseTarget(const std::string& value, ResourceConfig& config) {
  auto quantity = base::Quantity::Parse(value);
  if (!quantity.ok() || quantity->MilliValue() <= 0) {
    return base::InvalidArgumentError(base::Quoted(value) +
                                      " is not a positive quantity; use for example 60 for 60 %, or 500m, 200Mi");
  }
  config.target_milli = quantity->MilliValue();
  return base::Status::Ok();
}

constexpr Field<ResourceConfig> kFields[] = {
    {"value", Need::kRequired, From::kMetadata, &ParseTarget,
     "With metricType Utilization: percent of the requests, on average over the pods. With AverageValue: a quantity "
     "for each pod, such as `500m` or `200Mi`."},
    {"containerName", Need::kOptional, From::kMetadata,
     [](const std::string& value, ResourceConfig& config) { return Keep(value, &config.container); },
     "Only this container of each pod counts. Default: all."},
    {"type", Need::kOptional, From::kMetadata, nullptr},
};

class ResourceTrigger : public Trigger {
 public:
  ResourceTrigger(TriggerInfo info, HpaMetric metric, const TriggerSpec& spec, const TriggerContext& context)
      : Trigger(std::move(info)),
        metric_(std::move(metric)),
        ns_(spec.ns),
        selector_(spec.pod_selector),
        context_(context) {}

  base::Result<Reading> Read() override {
    if (selector_.empty()) return base::FailedPreconditionError("the scale target does not say which pods are its own");
    TW_ASSIGN_OR_RETURN(kube::LabelSelector selector, kube::LabelSelector::Parse(selector_));
    TW_ASSIGN_OR_RETURN(Pods pods, context_.objects->List(kube::resources::kPods, ns_, selector));
    HpaReadOptions options;
    options.provider = context_.resource_metrics ? context_.resource_metrics() : nullptr;
    Signal signal =
        HpaMetricReader(*context_.client, ns_, selector_, pods, context_.control->NowMs(), options).Read(metric_);
    if (!signal.error.empty()) return base::UnavailableError(signal.error);
    Reading reading;
    reading.pods = std::move(signal.pods);
    return reading;
  }

 private:
  const HpaMetric metric_;
  const std::string ns_;
  const std::string selector_;
  const TriggerContext& context_;
};

std::unique_ptr<Trigger> MakeResource(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  ResourceConfig config = ReadMetadata(kFields, reader);
  const bool utilization = spec.target_type == TargetType::kUtilization;
  if (utilization && config.target_milli % 1000 != 0) {
    reader.Error("value", "is not a whole number of percent; use for example 60");
  }
  if (context == nullptr) return nullptr;
  HpaMetric metric;
  metric.source = config.container.empty() ? HpaMetric::Source::kResource : HpaMetric::Source::kContainerResource;
  metric.name = spec.type;
  metric.container = config.container;
  metric.type = utilization ? TargetType::kUtilization : TargetType::kPerPod;
  metric.target_milli = config.target_milli;
  TriggerInfo info;
  info.type = spec.type;
  info.name = spec.name.empty() ? metric.Title() : spec.name;
  info.target_type = metric.type;
  info.target_milli = config.target_milli;
  info.container = config.container;
  return std::make_unique<ResourceTrigger>(std::move(info), std::move(metric), spec, *context);
}

}  // namespace

std::unique_ptr<Trigger> MakeCpu(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  return MakeResource(spec, reader, context);
}

std::unique_ptr<Trigger> MakeMemory(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  return MakeResource(spec, reader, context);
}

}  // namespace tidewright::scaler::trigger
