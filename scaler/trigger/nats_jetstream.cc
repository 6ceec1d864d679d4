// The nats-jetstream trigger: what a consumer of a stream has still to process, by the server's monitoring endpoint.
#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct NatsConfig {
  std::string endpoint;
  std::string account;
  std::string stream;
  std::string consumer;
  int64_t target_milli = 10'000;
  int64_t activation_milli = 0;
  bool https = false;
};

base::Status ParseEndpoint(const std::string& value, NatsConfig& config) {
  std::string ignored;
  const bool bare = value.find("://") == std::string::npos;
  if (!bare || !ParseHttpAddress("http://" + value, &ignored, nullptr).ok()) {
    return base::InvalidArgumentError(base::Quoted(value) +
                                      " is not an endpoint; use host:port without a scheme, for example nats:8222");
  }
  return Keep(value, &config.endpoint);
}

constexpr Field<NatsConfig> kFields[] = {
    {"natsServerMonitoringEndpoint", Need::kRequired, From::kAny, &ParseEndpoint,
     "Host and port of the monitoring endpoint: nats.messaging:8222."},
    {"account", Need::kOptional, From::kAny,
     [](const std::string& value, NatsConfig& config) { return Keep(value, &config.account); },
     "The account that the stream belongs to, for instance $G. This or accountID is required."},
    {"accountID", Need::kOptional, From::kAny,
     [](const std::string& value, NatsConfig& config) { return Keep(value, &config.account); },
     "The same, by its identity."},
    {"stream", Need::kRequired, From::kMetadata,
     [](const std::string& value, NatsConfig& config) { return Keep(value, &config.stream); }, "The stream's name."},
    {"consumer", Need::kRequired, From::kMetadata,
     [](const std::string& value, NatsConfig& config) { return Keep(value, &config.consumer); },
     "The consumer's name."},
    {"lagThreshold", Need::kOptional, From::kDecision,
     [](const std::string& value, NatsConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "Messages per replica that are pending or not acknowledged. Default 10."},
    {"activationLagThreshold", Need::kOptional, From::kDecision,
     [](const std::string& value, NatsConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"useHttps", Need::kOptional, From::kMetadata,
     [](const std::string& value, NatsConfig& config) { return ParseFlag(value, &config.https); }, "Default false."},
};

// The member of a list whose `key` is `name`, or nullptr.
const base::Json* Named(const base::Json* list, const char* key, const std::string& name) {
  if (list == nullptr || !list->is_array()) return nullptr;
  for (const base::Json& item : *list) {
    if (base::FindString(item, {key}) == name) return &item;
  }
  return nullptr;
}

class NatsTrigger : public Trigger {
 public:
  NatsTrigger(TriggerInfo info, NatsConfig config, HttpAccess access, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), source_(std::move(access), context) {}

  base::Result<Reading> Read() override {
    auto reading = ReadConsumer();
    if (!reading.ok()) return reading.status().Annotate("nats at " + config_.endpoint);
    return reading;
  }

 private:
  base::Result<Reading> ReadConsumer() {
    std::string url = (config_.https ? "https://" : "http://") + config_.endpoint +
                      "/jsz?consumers=true&config=true&acc=" + http::PercentEncode(config_.account);
    TW_ASSIGN_OR_RETURN(base::Json reply, source_.GetJson(url));
    const base::Json* accounts = base::Find(reply, {"account_details"});
    if (accounts == nullptr || !accounts->is_array() || accounts->empty()) {
      return base::FailedPreconditionError("there is no account " + base::Quoted(config_.account) + " with streams");
    }
    const base::Json* stream = Named(base::Find(accounts->front(), {"stream_detail"}), "name", config_.stream);
    if (stream == nullptr) return base::FailedPreconditionError("there is no stream " + base::Quoted(config_.stream));
    const base::Json* consumer = Named(base::Find(*stream, {"consumer_detail"}), "name", config_.consumer);
    if (consumer == nullptr) {
      return base::FailedPreconditionError("stream " + base::Quoted(config_.stream) + " has no consumer " +
                                           base::Quoted(config_.consumer));
    }
    TW_ASSIGN_OR_RETURN(double pending, NumberAt(*consumer, "num_pending"));
    TW_ASSIGN_OR_RETURN(double unacknowledged, NumberAt(*consumer, "num_ack_pending"));
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(pending + unacknowledged));
    return Reading{milli, config_.stream + "/" + config_.consumer + " has " + FormatMilli(milli) + " to process"};
  }

  const NatsConfig config_;
  HttpSource source_;
};

}  // namespace

std::unique_ptr<Trigger> MakeNatsJetstream(const TriggerSpec& spec, MetadataReader& reader,
                                           const TriggerContext* context) {
  NatsConfig config = ReadMetadata(kFields, reader);
  HttpAccess access = ReadHttpAccess(reader);
  bool later = context == nullptr && (!spec.authentication.empty() || spec.metadata.count("accountFromEnv") > 0 ||
                                      spec.metadata.count("accountIDFromEnv") > 0);
  if (config.account.empty() && !later)
    reader.Error("account", "is missing; give account or accountID, for example $G");
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.stream, "nats-jetstream-" + config.stream);
  info.source = config.endpoint;
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<NatsTrigger>(std::move(info), std::move(config), std::move(access), *context);
}

}  // namespace tidewright::scaler::trigger
