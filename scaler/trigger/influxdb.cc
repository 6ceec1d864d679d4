// The influxdb trigger: the first value that a Flux query gives, by the API of InfluxDB 2.
#include <utility>

#include "base/json.h"
#include "scaler/trigger/flux_csv.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct InfluxdbConfig {
  std::string server;
  std::string organization;
  std::string query;
  std::string token;
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
};

base::Status ParseVersion(const std::string& value, InfluxdbConfig&) {
  if (value == "2") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not a version that is read; use 2");
}

constexpr Field<InfluxdbConfig> kFields[] = {
    {"serverURL", Need::kRequired, From::kAny,
     [](const std::string& value, InfluxdbConfig& config) { return ParseHttpAddress(value, &config.server, nullptr); },
     "InfluxDB's address."},
    {"organizationName", Need::kRequired, From::kAny,
     [](const std::string& value, InfluxdbConfig& config) { return Keep(value, &config.organization); },
     "The organization whose buckets are read; any text for InfluxDB 1.8, which has none."},
    {"query", Need::kRequired, From::kMetadata,
     [](const std::string& value, InfluxdbConfig& config) { return Keep(value, &config.query); },
     "Flux; `_value` of the first record counts."},
    {"thresholdValue", Need::kTarget, From::kDecision,
     [](const std::string& value, InfluxdbConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "The value per replica."},
    {"activationThresholdValue", Need::kOptional, From::kDecision,
     [](const std::string& value, InfluxdbConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"authToken", Need::kOptional, From::kSecret,
     [](const std::string& value, InfluxdbConfig& config) { return Keep(value, &config.token); },
     "A token that may read the buckets. Without one none is sent."},
    {"influxVersion", Need::kOptional, From::kMetadata, &ParseVersion, "2 (default)."},
    {"database", Need::kOptional, From::kMetadata, nullptr},
    {"metricKey", Need::kOptional, From::kMetadata, nullptr},
    {"queryType", Need::kOptional, From::kMetadata, nullptr},
};

class InfluxdbTrigger : public Trigger {
 public:
  InfluxdbTrigger(TriggerInfo info, InfluxdbConfig config, HttpAccess access, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), source_(std::move(access), context) {}

  base::Result<Reading> Read() override {
    auto reading = Ask();
    if (reading.ok()) return reading;
    return reading.status().Annotate("influxdb at " + config_.server);
  }

 private:
  base::Result<Reading> Ask() {
    const base::Json request = {{"query", config_.query},
                                {"type", "flux"},
                                {"dialect", {{"header", true}, {"annotations", {"datatype", "default"}}}}};
    http::Headers headers = {{"Accept", "application/csv"}};
    if (!config_.token.empty()) headers.Set("Authorization", "Token " + config_.token);
    TW_ASSIGN_OR_RETURN(std::string reply,
                        source_.Post(config_.server + "/api/v2/query?org=" + http::PercentEncode(config_.organization),
                                     base::DumpJson(request), headers));
    TW_ASSIGN_OR_RETURN(double value, FirstFluxValue(reply));
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(value));
    return Reading{milli, "query = " + FormatMilli(milli)};
  }

  const InfluxdbConfig config_;
  HttpSource source_;
};

}  // namespace

std::unique_ptr<Trigger> MakeInfluxdb(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  InfluxdbConfig config = ReadMetadata(kFields, reader);
  HttpAccess access = ReadHttpConnection(reader);
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.organization, "influxdb-" + config.organization);
  info.source = ServerOf(config.server);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<InfluxdbTrigger>(std::move(info), std::move(config), std::move(access), *context);
}

}  // namespace tidewright::scaler::trigger
