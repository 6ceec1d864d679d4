// The rabbitmq trigger: the length of a queue, or the rate of its messages, asked of the management API.
#include <algorithm>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

enum class Mode { kQueueLength, kMessageRate, kDeliverGetRate };
enum class Operation { kSum, kAverage, kMax };

struct RabbitConfig {
  std::string host;
  std::string queue;
  std::string vhost;
  Mode mode = Mode::kQueueLength;
  Operation operation = Operation::kSum;
  int64_t target_milli = 20'000;
  int64_t activation_milli = 0;
  bool ready_only = false;
  bool regex = false;
  int64_t page_size = 100;
  HttpAccess from_host;  // User name and password that stand in the address.
};

base::Status ParseHost(const std::string& value, RabbitConfig& config) {
  if (value.starts_with("amqp://") || value.starts_with("amqps://")) {
    return base::InvalidArgumentError(
        "is an AMQP address, which this version does not read; use the management API's, for example "
        "http://rabbitmq:15672");
  }
  return ParseHttpAddress(value, &config.host, &config.from_host);
}

base::Status ParseMode(const std::string& value, RabbitConfig& config) {
  if (value == "QueueLength") config.mode = Mode::kQueueLength;
  if (value == "MessageRate") config.mode = Mode::kMessageRate;
  if (value == "DeliverGetRate") config.mode = Mode::kDeliverGetRate;
  if (value == "QueueLength" || value == "MessageRate" || value == "DeliverGetRate") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) +
                                    " is not a mode; use QueueLength, MessageRate or DeliverGetRate");
}

base::Status ParseProtocol(const std::string& value, RabbitConfig&) {
  if (value == "http" || value == "auto") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) +
                                    " is not supported; use http and the management API's address");
}

base::Status ParseOperation(const std::string& value, RabbitConfig& config) {
  if (value == "sum") config.operation = Operation::kSum;
  if (value == "avg") config.operation = Operation::kAverage;
  if (value == "max") config.operation = Operation::kMax;
  if (value == "sum" || value == "avg" || value == "max") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not an operation; use sum, avg or max");
}

constexpr Field<RabbitConfig> kFields[] = {
    {"host", Need::kRequired, From::kAny, &ParseHost,
     "The management API's address: `http://user:password@rabbitmq:15672/vhost`. Give a password by FromEnv or "
     "authenticationRef only."},
    {"queueName", Need::kRequired, From::kMetadata,
     [](const std::string& value, RabbitConfig& config) { return Keep(value, &config.queue); },
     "The queue, or with useRegex a regular expression."},
    {"vhostName", Need::kOptional, From::kAny,
     [](const std::string& value, RabbitConfig& config) { return Keep(value, &config.vhost); },
     "Default: the path of host, or /."},
    {"mode", Need::kOptional, From::kMetadata, &ParseMode,
     "QueueLength (default), MessageRate (published per second) or DeliverGetRate (delivered per second)."},
    {"value", Need::kOptional, From::kDecision,
     [](const std::string& value, RabbitConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "Messages, or messages per second, per replica. Default 20."},
    {"queueLength", Need::kOptional, From::kDecision,
     [](const std::string& value, RabbitConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "The older name of value."},
    {"activationValue", Need::kOptional, From::kDecision,
     [](const std::string& value, RabbitConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"excludeUnacknowledged", Need::kOptional, From::kMetadata,
     [](const std::string& value, RabbitConfig& config) { return ParseFlag(value, &config.ready_only); },
     "Count only messages that no consumer holds. Default false."},
    {"useRegex", Need::kOptional, From::kMetadata,
     [](const std::string& value, RabbitConfig& config) { return ParseFlag(value, &config.regex); },
     "Default false. No queue that matches counts as 0."},
    {"operation", Need::kOptional, From::kMetadata, &ParseOperation,
     "How several queues become one number: sum (default), avg or max."},
    {"pageSize", Need::kOptional, From::kMetadata,
     [](const std::string& value, RabbitConfig& config) { return ParseWhole(value, 1, 500, &config.page_size); },
     "The most queues that useRegex may match. Default 100; more are an error."},
    {"protocol", Need::kOptional, From::kAny, &ParseProtocol, "http or auto. AMQP itself is not spoken."},
    {"workloadIdentityResource", Need::kOptional, From::kAny, nullptr},
};

class RabbitTrigger : public Trigger {
 public:
  RabbitTrigger(TriggerInfo info, RabbitConfig config, HttpAccess access, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), source_(std::move(access), context) {}

  base::Result<Reading> Read() override {
    auto reading = config_.regex ? ReadMatching() : ReadOne();
    if (!reading.ok()) return reading.status().Annotate("rabbitmq at " + config_.host);
    return reading;
  }

 private:
  std::string QueuesUrl() const { return config_.host + "/api/queues/" + http::PercentEncode(config_.vhost); }

  base::Result<Reading> ReadOne() {
    TW_ASSIGN_OR_RETURN(base::Json queue, source_.GetJson(QueuesUrl() + "/" + http::PercentEncode(config_.queue)));
    TW_ASSIGN_OR_RETURN(double value, ValueOf(queue));
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(value));
    return Reading{milli, What() + config_.queue + " = " + FormatMilli(milli)};
  }

  base::Result<Reading> ReadMatching() {
    TW_ASSIGN_OR_RETURN(
        base::Json page,
        source_.GetJson(QueuesUrl() + "?page=1&use_regex=true&pagination=false&page_size=" +
                        std::to_string(config_.page_size) + "&name=" + http::PercentEncode(config_.queue)));
    const base::Json* items = base::Find(page, {"items"});
    if (items == nullptr || !items->is_array()) return base::UnavailableError("the reply has no list of queues");
    if (base::FindInt(page, {"page_count"}, 1) > 1) {
      return base::FailedPreconditionError("more than " + std::to_string(config_.page_size) +
                                           " queues match; raise pageSize or narrow the expression");
    }
    double sum = 0;
    double max = 0;
    for (const base::Json& queue : *items) {
      TW_ASSIGN_OR_RETURN(double value, ValueOf(queue));
      sum += value;
      max = std::max(max, value);
    }
    double count = static_cast<double>(std::max<size_t>(1, items->size()));
    double total = config_.operation == Operation::kMax ? max : sum;
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(config_.operation == Operation::kAverage ? sum / count : total));
    return Reading{milli, What() + std::to_string(items->size()) + " queues that match " + config_.queue + " = " +
                              FormatMilli(milli)};
  }

  std::string What() const { return config_.mode == Mode::kQueueLength ? "messages in " : "messages/s of "; }

  // Statistics of a queue that has never seen a message are left out: their rate is 0.
  base::Result<double> ValueOf(const base::Json& queue) const {
    if (config_.mode == Mode::kQueueLength) return NumberAt(queue, config_.ready_only ? "messages_ready" : "messages");
    const char* details = config_.mode == Mode::kMessageRate ? "publish_details" : "deliver_get_details";
    const base::Json* rate = base::Find(queue, {"message_stats", details, "rate"});
    return rate != nullptr && rate->is_number() ? rate->get<double>() : 0.0;
  }

  const RabbitConfig config_;
  HttpSource source_;
};

// The path of the address names the virtual host.
void SplitVhost(RabbitConfig* config) {
  size_t slash = config->host.find('/', config->host.find("://") + 3);
  std::string path = slash == std::string::npos ? "" : config->host.substr(slash + 1);
  config->host = config->host.substr(0, slash);
  if (!config->vhost.empty()) return;
  auto decoded = http::PercentDecode(path);
  config->vhost = path.empty() || !decoded.ok() ? "/" : *decoded;
}

}  // namespace

std::unique_ptr<Trigger> MakeRabbitmq(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  RabbitConfig config = ReadMetadata(kFields, reader);
  HttpAccess access = ReadHttpAccess(reader);
  auto host = spec.metadata.find("host");
  if (host != spec.metadata.end() && !config.from_host.password.empty()) {
    reader.Error("host",
                 "must not hold a password in the manifest; use hostFromEnv, or username and an authenticationRef");
  }
  if (context == nullptr) return nullptr;
  SplitVhost(&config);
  if (access.username.empty()) access.username = config.from_host.username;
  if (access.password.empty()) access.password = config.from_host.password;
  TriggerInfo info = InfoOf(spec, config.queue, "rabbitmq-" + config.queue);
  info.source = ServerOf(config.host);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<RabbitTrigger>(std::move(info), std::move(config), std::move(access), *context);
}

}  // namespace tidewright::scaler::trigger
