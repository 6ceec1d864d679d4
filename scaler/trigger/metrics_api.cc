// The metrics-api trigger: a number in the reply of any HTTP API. Keys: url, valueLocation, targetValue, ...
#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct MetricsApiConfig {
  std::string url;
  std::string location;
  std::string format = "json";
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
};

base::Status ParseFormat(const std::string& value, MetricsApiConfig& config) {
  config.format = value;
  if (value == "json" || value == "yaml") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not a format that this version reads; use json or yaml");
}

constexpr Field<MetricsApiConfig> kFields[] = {
    {"url", Need::kRequired, From::kAny,
     [](const std::string& value, MetricsApiConfig& config) {
       config.url = value;
       std::string ignored;
       return ParseHttpAddress(value, &ignored, nullptr);
     },
     "What to ask."},
    {"valueLocation", Need::kRequired, From::kMetadata,
     [](const std::string& value, MetricsApiConfig& config) { return Keep(value, &config.location); },
     "Where the number stands: `stats.queues.0.length`; `#` is the number of elements, `\\.` a dot in a name."},
    {"targetValue", Need::kTarget, From::kDecision,
     [](const std::string& value, MetricsApiConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "The value per replica."},
    {"activationTargetValue", Need::kOptional, From::kDecision,
     [](const std::string& value, MetricsApiConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"format", Need::kOptional, From::kMetadata, &ParseFormat, "json (default) or yaml."},
    {"aggregateFromKubeServiceEndpoints", Need::kOptional, From::kMetadata, nullptr},
    {"aggregationType", Need::kOptional, From::kMetadata, nullptr},
};

class MetricsApiTrigger : public Trigger {
 public:
  MetricsApiTrigger(TriggerInfo info, MetricsApiConfig config, HttpAccess access, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), source_(std::move(access), context) {}

  base::Result<Reading> Read() override {
    TW_ASSIGN_OR_RETURN(base::Json document, Document());
    TW_ASSIGN_OR_RETURN(double value, NumberAt(document, config_.location));
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(value));
    return Reading{milli, config_.location + " = " + FormatMilli(milli)};
  }

 private:
  base::Result<base::Json> Document() {
    if (config_.format == "json") return source_.GetJson(config_.url);
    TW_ASSIGN_OR_RETURN(std::string body, source_.Get(config_.url));
    auto tree = base::ParseYaml(body, "the reply");
    if (!tree.ok()) return base::UnavailableError("the reply is not YAML");
    return base::NodeToJson(*tree);
  }

  const MetricsApiConfig config_;
  HttpSource source_;
};

}  // namespace

std::unique_ptr<Trigger> MakeMetricsApi(const TriggerSpec& spec, MetadataReader& reader,
                                        const TriggerContext* context) {
  MetricsApiConfig config = ReadMetadata(kFields, reader);
  HttpAccess access = ReadHttpAccess(reader);
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.location, "metric-api-" + config.location);
  info.source = ServerOf(config.url);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<MetricsApiTrigger>(std::move(info), std::move(config), std::move(access), *context);
}

}  // namespace tidewright::scaler::trigger
