#include "scaler/scaling_rules.h"

#include <string>
#include <utility>
#include <vector>

namespace tidewright::scaler {

namespace {

void ReadBounded(base::ObjectReader& reader, const char* key, int32_t min, int32_t max, int32_t* out) {
  int32_t value = 0;
  if (!reader.Optional(key, &value)) return;
  if (value < min || value > max) {
    reader.Error(key,
                 std::to_string(value) + " is out of range; use " + std::to_string(min) + " to " + std::to_string(max));
    return;
  }
  *out = value;
}

void ReadSelectPolicy(base::ObjectReader& reader, SelectPolicy* out) {
  std::string word;
  if (!reader.Optional("selectPolicy", &word)) return;
  if (word == "Max") {
    *out = SelectPolicy::kMax;
  } else if (word == "Min") {
    *out = SelectPolicy::kMin;
  } else if (word == "Disabled") {
    *out = SelectPolicy::kDisabled;
  } else {
    reader.Error("selectPolicy", base::Quoted(word) + " is not a policy; use Max, Min or Disabled");
  }
}

ScalingPolicy ReadPolicy(base::ObjectReader& reader) {
  ScalingPolicy policy;
  std::string type;
  if (reader.Required("type", &type)) {
    if (type != "Pods" && type != "Percent") {
      reader.Error("type", base::Quoted(type) + " is not a policy type; use Pods or Percent");
    }
    policy.type = type == "Percent" ? ScalingPolicy::Type::kPercent : ScalingPolicy::Type::kPods;
  }
  for (const char* key : {"value", "periodSeconds"}) {
    if (!reader.Has(key)) reader.Missing(key);
  }
  ReadBounded(reader, "value", 1, INT32_MAX, &policy.value);
  ReadBounded(reader, "periodSeconds", 1, 1800, &policy.period_s);
  return policy;
}

void ReadTolerance(base::ObjectReader& reader, double* out) {
  base::Quantity tolerance;
  if (!reader.Optional("tolerance", &tolerance)) return;
  if (tolerance.Sign() < 0) {
    reader.Error("tolerance", tolerance.ToString() + " is negative; use for example 0.1 for ten percent");
    return;
  }
  *out = tolerance.AsDouble();
}

void ReadRules(base::ObjectReader& reader, ScalingRules* rules) {
  ReadBounded(reader, "stabilizationWindowSeconds", 0, 3600, &rules->stabilization_s);
  ReadSelectPolicy(reader, &rules->select);
  ReadTolerance(reader, &rules->tolerance);
  std::vector<ScalingPolicy> policies;
  reader.Objects("policies", [&policies](base::ObjectReader& policy) { policies.push_back(ReadPolicy(policy)); });
  if (!policies.empty()) rules->policies = std::move(policies);
}

}  // namespace

void ReadBehavior(base::ObjectReader& reader, Behavior* behavior) {
  reader.Object("scaleUp", [behavior](base::ObjectReader& rules) { ReadRules(rules, &behavior->up); });
  reader.Object("scaleDown", [behavior](base::ObjectReader& rules) {
    behavior->has_down_window = rules.Has("stabilizationWindowSeconds");
    ReadRules(rules, &behavior->down);
  });
}

}  // namespace tidewright::scaler
