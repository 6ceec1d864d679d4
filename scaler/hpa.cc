#include "scaler/hpa.h"

#include <algorithm>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "scaler/scaling_rules.h"

namespace tidewright::scaler {

namespace {

constexpr std::pair<const char*, HpaMetric::Source> kSources[] = {
    {"Resource", HpaMetric::Source::kResource}, {"ContainerResource", HpaMetric::Source::kContainerResource},
    {"Pods", HpaMetric::Source::kPods},         {"Object", HpaMetric::Source::kObject},
    {"External", HpaMetric::Source::kExternal},
};
constexpr const char* kMembers[] = {"resource", "containerResource", "pods", "object", "external"};

class Decoder {
 public:
  Decoder(const base::Json& object, const HpaDefaults& defaults)
      : object_(object),
        defaults_(defaults),
        errors_("HorizontalPodAutoscaler " + kube::KeyOf(object)),
        tree_(base::NodeFromJson(object)) {}

  base::Result<Hpa> Run() {
    out_.ns = kube::NamespaceOf(object_);
    out_.name = kube::NameOf(object_);
    out_.generation = base::FindInt(object_, {"metadata", "generation"});
    auto created = base::ParseTime(base::FindString(object_, {"metadata", "creationTimestamp"}));
    if (created.ok()) out_.created_ms = *created;
    base::ObjectReader top(tree_, "", errors_);
    for (const char* key : {"apiVersion", "kind", "metadata", "status"}) top.Ignore(key);
    if (!top.Object("spec", [this](base::ObjectReader& spec) { ReadSpec(spec); })) top.Missing("spec");
    top.Finish();
    TW_RETURN_IF_ERROR(errors_.ToStatus());
    return std::move(out_);
  }

 private:
  void ReadSpec(base::ObjectReader& spec) {
    bool target = spec.Object("scaleTargetRef", [this](base::ObjectReader& ref) {
      out_.target_api_version = "apps/v1";
      ref.Optional("apiVersion", &out_.target_api_version);
      ref.Required("kind", &out_.target_kind);
      ref.Required("name", &out_.target_name);
    });
    if (!target) spec.Missing("scaleTargetRef");
    spec.Objects("metrics", [this](base::ObjectReader& metric) { ReadMetric(metric); });
    if (!spec.Has("metrics")) out_.metrics.push_back(DefaultMetric());
    ReadLimits(spec);
    ReadBehaviorOf(spec);
  }

  static HpaMetric DefaultMetric() {
    HpaMetric cpu;
    cpu.name = "cpu";
    cpu.target_milli = 80'000;
    return cpu;
  }

  void ReadLimits(base::ObjectReader& spec) {
    ScaleSpec& scale = out_.scale;
    spec.Optional("minReplicas", &scale.min_replicas);
    spec.Required("maxReplicas", &scale.max_replicas);
    bool total = std::any_of(out_.metrics.begin(), out_.metrics.end(), [](const HpaMetric& metric) {
      return metric.source == HpaMetric::Source::kObject || metric.source == HpaMetric::Source::kExternal;
    });
    if (scale.min_replicas < (total ? 0 : 1)) {
      spec.Error("minReplicas", std::to_string(scale.min_replicas) +
                                    " is too low; use 1 or more, or 0 beside an Object or External metric");
    }
    if (scale.max_replicas < std::max(scale.min_replicas, 1)) {
      spec.Error("maxReplicas", std::to_string(scale.max_replicas) + " is below minReplicas " +
                                    std::to_string(scale.min_replicas) + "; raise it");
    }
  }

  void ReadBehaviorOf(base::ObjectReader& spec) {
    Behavior behavior;
    behavior.up.tolerance = behavior.down.tolerance = defaults_.tolerance;
    behavior.down.stabilization_s = defaults_.downscale_stabilization_s;
    out_.scale.no_behavior =
        !spec.Object("behavior", [&behavior](base::ObjectReader& reader) { ReadBehavior(reader, &behavior); });
    out_.scale.scale_up = behavior.up;
    out_.scale.scale_down = behavior.down;
  }

  void ReadMetric(base::ObjectReader& reader) {
    std::string type;
    if (!reader.Required("type", &type)) return reader.IgnoreRest();
    for (size_t i = 0; i < std::size(kSources); ++i) {
      if (type != kSources[i].first) continue;
      HpaMetric metric;
      metric.source = kSources[i].second;
      bool found = reader.Object(kMembers[i], [&](base::ObjectReader& source) { ReadSource(source, &metric); });
      if (!found) reader.Missing(kMembers[i]);
      out_.metrics.push_back(std::move(metric));
      return;
    }
    reader.Error("type", base::Quoted(type) +
                             " is not a metric type; use Resource, ContainerResource, Pods, Object or External");
    reader.IgnoreRest();
  }

  void ReadSource(base::ObjectReader& source, HpaMetric* metric) {
    bool resource =
        metric->source == HpaMetric::Source::kResource || metric->source == HpaMetric::Source::kContainerResource;
    if (resource) {
      source.Required("name", &metric->name);
      if (metric->source == HpaMetric::Source::kContainerResource) source.Required("container", &metric->container);
    } else if (!source.Object("metric", [this, metric](base::ObjectReader& m) { ReadIdentifier(m, metric); })) {
      source.Missing("metric");
    }
    if (metric->source == HpaMetric::Source::kObject) {
      bool described = source.Object("describedObject", [metric](base::ObjectReader& object) {
        object.Optional("apiVersion", &metric->object_api_version);
        object.Required("kind", &metric->object_kind);
        object.Required("name", &metric->object_name);
      });
      if (!described) source.Missing("describedObject");
    }
    if (!source.Object("target", [this, metric](base::ObjectReader& target) { ReadTarget(target, metric); })) {
      source.Missing("target");
    }
  }

  void ReadIdentifier(base::ObjectReader& reader, HpaMetric* metric) {
    reader.Required("name", &metric->name);
    const base::Node* selector = reader.Raw("selector");
    if (selector == nullptr) return;
    auto parsed = kube::LabelSelector::FromJson(base::NodeToJson(*selector));
    if (!parsed.ok()) return reader.Error("selector", parsed.status().message());
    metric->selector = *parsed;
  }

  void ReadTarget(base::ObjectReader& target, HpaMetric* metric) {
    std::string type;
    if (!target.Required("type", &type)) return target.IgnoreRest();
    bool pods = metric->source == HpaMetric::Source::kPods;
    bool total = metric->source == HpaMetric::Source::kObject || metric->source == HpaMetric::Source::kExternal;
    base::Quantity quantity;
    if (type == "Utilization" && !pods && !total) {
      int32_t percent = 0;
      metric->type = TargetType::kUtilization;
      if (target.Required("averageUtilization", &percent)) metric->target_milli = int64_t{percent} * 1000;
    } else if (type == "AverageValue") {
      metric->type = total ? TargetType::kAverageValue : TargetType::kPerPod;
      if (target.Required("averageValue", &quantity)) metric->target_milli = quantity.MilliValue();
    } else if (type == "Value" && total) {
      metric->type = TargetType::kValue;
      if (target.Required("value", &quantity)) metric->target_milli = quantity.MilliValue();
    } else {
      target.IgnoreRest();
      return target.Error(
          "type", base::Quoted(type) + " does not go with this metric; use " +
                      (pods ? "AverageValue" : (total ? "Value or AverageValue" : "Utilization or AverageValue")));
    }
    for (const char* key : {"averageUtilization", "averageValue", "value"}) target.Ignore(key);
    if (metric->target_milli <= 0) target.Error("type", "the target is not positive; use a number greater than 0");
  }

  const base::Json& object_;
  const HpaDefaults defaults_;
  base::ErrorList errors_;
  const base::Node tree_;
  Hpa out_;
};

}  // namespace

const char* HpaMetric::SourceName() const {
  for (const auto& [word, value] : kSources) {
    if (value == source) return word;
  }
  return "";
}

std::string HpaMetric::Title() const {
  switch (source) {
    case Source::kResource: return name;
    case Source::kContainerResource: return name + " of container " + container;
    case Source::kObject: return "Object " + name + " of " + object_kind + " " + object_name;
    case Source::kPods:
    case Source::kExternal: break;
  }
  return std::string(SourceName()) + " " + name;
}

base::Result<Hpa> DecodeHpa(const base::Json& object, const HpaDefaults& defaults) {
  return Decoder(object, defaults).Run();
}

}  // namespace tidewright::scaler
