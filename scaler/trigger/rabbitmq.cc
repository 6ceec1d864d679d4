// The rabbitmq trigger: the length of a queue by AMQP, or that and the rates of its messages by the management API.
#include <algorithm>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/librabbitmq.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

enum class Mode {
  kQueueLength,
  kMessageRate,
  kDeliverGetRate,
  kPublishedToDeliveredRatio,
  kExpectedQueueConsumptionTime
};
enum class Operation { kSum, kAverage, kMax };
enum class Protocol { kByAddress, kAmqp, kHttp };

constexpr char kUseManagement[] =
    "is for the management API only; remove it, or make host that one's address, for example http://rabbitmq:15672";

struct RabbitConfig {
  std::string host;  // Of the management API; "": AMQP, or not known yet.
  std::string queue;
  std::string vhost;
  Mode mode = Mode::kQueueLength;
  Operation operation = Operation::kSum;
  Protocol protocol = Protocol::kByAddress;
  int64_t target_milli = 20'000;
  int64_t activation_milli = 0;
  bool ready_only = false;
  bool regex = false;
  int64_t page_size = 100;
  bool tls = false;
  std::string key_password;
  HttpAccess from_host;  // User name and password that stand in the address.
  AmqpAddress amqp;      // Without a host: HTTP, or not known yet.
};

base::Status ParseHost(const std::string& value, RabbitConfig& config) {
  const std::string scheme = base::ToLower(value.substr(0, value.find("://")));
  if (scheme == "amqp" || scheme == "amqps") return ParseAmqpAddress(value, &config.amqp);
  if (ParseHttpAddress(value, &config.host, &config.from_host).ok()) return base::Status::Ok();
  return base::InvalidArgumentError(
      "is not an address; use amqp://rabbitmq:5672/vhost, amqps://, or the management API's, for example "
      "http://rabbitmq:15672/vhost");
}

base::Status ParseMode(const std::string& value, RabbitConfig& config) {
  constexpr std::pair<const char*, Mode> kModes[] = {
      {"QueueLength", Mode::kQueueLength},
      {"MessageRate", Mode::kMessageRate},
      {"DeliverGetRate", Mode::kDeliverGetRate},
      {"PublishedToDeliveredRatio", Mode::kPublishedToDeliveredRatio},
      {"ExpectedQueueConsumptionTime", Mode::kExpectedQueueConsumptionTime}};
  for (const auto& [name, mode] : kModes) {
    if (value != name) continue;
    config.mode = mode;
    return base::Status::Ok();
  }
  return base::InvalidArgumentError(base::Quoted(value) +
                                    " is not a mode; use QueueLength, MessageRate, DeliverGetRate, "
                                    "PublishedToDeliveredRatio or ExpectedQueueConsumptionTime");
}

base::Status ParseProtocol(const std::string& value, RabbitConfig& config) {
  if (value == "amqp") config.protocol = Protocol::kAmqp;
  if (value == "http") config.protocol = Protocol::kHttp;
  if (value == "amqp" || value == "http" || value == "auto") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not a protocol; use auto, amqp or http");
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
     "The server's address, `amqp://user:password@rabbitmq:5672/vhost` or `amqps://`, or the management API's, "
     "`http://user:password@rabbitmq:15672/vhost`. A password comes from FromEnv or authenticationRef only, in this "
     "address or beside it. Without any, AMQP logs in as guest, or where cert is given by that certificate "
     "(EXTERNAL)."},
    {"queueName", Need::kRequired, From::kMetadata,
     [](const std::string& value, RabbitConfig& config) { return Keep(value, &config.queue); },
     "The queue, or with useRegex a regular expression."},
    {"vhostName", Need::kOptional, From::kAny,
     [](const std::string& value, RabbitConfig& config) { return Keep(value, &config.vhost); },
     "Default: the path of host, or /."},
    {"mode", Need::kOptional, From::kMetadata, &ParseMode,
     "QueueLength (default); by the management API also MessageRate (published per second; active while there are "
     "messages, too), DeliverGetRate (delivered per second), PublishedToDeliveredRatio (the former by the latter; "
     "active when nothing is delivered) or ExpectedQueueConsumptionTime (seconds until the queue is empty, as "
     "deliveries go at present)."},
    {"value", Need::kOptional, From::kDecision,
     [](const std::string& value, RabbitConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "Messages, or whatever mode counts, per replica. Default 20."},
    {"queueLength", Need::kOptional, From::kDecision,
     [](const std::string& value, RabbitConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "The older name of value."},
    // Part of what is read: some modes give it as their value.
    {"activationValue", Need::kOptional, From::kMetadata,
     [](const std::string& value, RabbitConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"excludeUnacknowledged", Need::kOptional, From::kMetadata,
     [](const std::string& value, RabbitConfig& config) { return ParseFlag(value, &config.ready_only); },
     "Count only messages that no consumer holds, as AMQP does in any case. Default false. Management API only."},
    {"useRegex", Need::kOptional, From::kMetadata,
     [](const std::string& value, RabbitConfig& config) { return ParseFlag(value, &config.regex); },
     "Default false. No queue that matches counts as 0. Management API only."},
    {"operation", Need::kOptional, From::kMetadata, &ParseOperation,
     "How several queues become one number: sum (default), avg or max."},
    {"pageSize", Need::kOptional, From::kMetadata,
     [](const std::string& value, RabbitConfig& config) { return ParseWhole(value, 1, 500, &config.page_size); },
     "The most queues that useRegex may match. Default 100; more are an error."},
    {"protocol", Need::kOptional, From::kAny, &ParseProtocol,
     "`amqp`, `http`, or `auto`: what the address of host says. Default `auto`."},
    {"tls", Need::kOptional, From::kAny,
     [](const std::string& value, RabbitConfig& config) { return ParseTlsMode(value, &config.tls); },
     "`enable` or `disable`. Without effect: an address that begins with amqps:// or https:// means TLS, and `enable` "
     "with another one is an error."},
    {"keyPassword", Need::kOptional, From::kSecret,
     [](const std::string& value, RabbitConfig& config) { return Keep(value, &config.key_password); },
     "The password of key. amqps:// only."},
    {"workloadIdentityResource", Need::kOptional, From::kAny, nullptr},
};

class AmqpTrigger : public Trigger {
 public:
  AmqpTrigger(TriggerInfo info, std::string queue, AmqpAddress address, int64_t timeout_ms)
      : Trigger(std::move(info)), queue_(std::move(queue)), address_(std::move(address)), timeout_ms_(timeout_ms) {}

  base::Result<Reading> Read() override {
    auto count = Count();
    if (!count.ok()) {
      return count.status().Annotate("rabbitmq at " + address_.host + ":" + std::to_string(address_.port));
    }
    return Reading{*count * 1000, "messages in " + queue_ + " = " + std::to_string(*count)};
  }

 private:
  base::Result<int64_t> Count() {
    if (server_ == nullptr) {
      TW_ASSIGN_OR_RETURN(server_, AmqpServer::Get(address_));
    }
    return server_->MessagesIn(queue_, timeout_ms_);
  }

  const std::string queue_;
  const AmqpAddress address_;
  const int64_t timeout_ms_;
  std::shared_ptr<AmqpServer> server_;
};

// What the management API says of a queue, or of several together.
struct Statistics {
  double messages = 0;
  double published = 0;  // Per second.
  double delivered = 0;
};

// With several queues, of what has been composed of them.
struct Measure {
  double value = 0;
  std::optional<bool> active;
};

Measure MeasureOf(Mode mode, const Statistics& queue, double activation) {
  const bool stuck = queue.delivered <= 0;
  double value = 0;
  switch (mode) {
    case Mode::kQueueLength: return {queue.messages, std::nullopt};
    case Mode::kDeliverGetRate: return {queue.delivered, std::nullopt};
    case Mode::kMessageRate: return {queue.published, queue.published > activation || queue.messages > activation};
    case Mode::kPublishedToDeliveredRatio:
      if (queue.published <= 0) break;
      value = stuck ? activation : queue.published / queue.delivered;
      return {value, value > activation || stuck};
    case Mode::kExpectedQueueConsumptionTime:
      if (queue.messages <= 0) break;
      value = stuck ? activation : (queue.published - queue.delivered + queue.messages) / queue.delivered;
      return {value, value > activation || stuck};
  }
  return {0, activation < 0};
}

const char* NameOf(Mode mode) {
  switch (mode) {
    case Mode::kQueueLength: return "messages in ";
    case Mode::kPublishedToDeliveredRatio: return "messages published for each that is delivered of ";
    case Mode::kExpectedQueueConsumptionTime: return "seconds until nothing is left in ";
    default: return "messages/s of ";
  }
}

class ManagementTrigger : public Trigger {
 public:
  ManagementTrigger(TriggerInfo info, RabbitConfig config, HttpAccess access, const TriggerContext& context)
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
    TW_ASSIGN_OR_RETURN(Statistics statistics, StatisticsOf(queue));
    return ReadingOf(statistics, config_.queue);
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
    Statistics all;
    for (const base::Json& item : *items) {
      TW_ASSIGN_OR_RETURN(Statistics queue, StatisticsOf(item));
      for (double Statistics::*member : {&Statistics::messages, &Statistics::published, &Statistics::delivered}) {
        const bool largest = config_.operation == Operation::kMax;
        all.*member = largest ? std::max(all.*member, queue.*member) : all.*member + queue.*member;
      }
    }
    if (config_.operation == Operation::kAverage && !items->empty()) {
      const auto count = static_cast<double>(items->size());
      all = {all.messages / count, all.published / count, all.delivered / count};
    }
    return ReadingOf(all, std::to_string(items->size()) + " queues that match " + config_.queue);
  }

  base::Result<Reading> ReadingOf(const Statistics& statistics, const std::string& of) const {
    const Measure measure = MeasureOf(config_.mode, statistics, static_cast<double>(config_.activation_milli) / 1000);
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(measure.value));
    Reading reading{milli, NameOf(config_.mode) + of + " = " + FormatMilli(milli)};
    reading.active = measure.active;
    return reading;
  }

  // Rates of a queue that has never seen a message are left out: they are 0.
  base::Result<Statistics> StatisticsOf(const base::Json& queue) const {
    Statistics statistics;
    auto messages = NumberAt(queue, config_.ready_only ? "messages_ready" : "messages");
    const bool needed = config_.mode == Mode::kQueueLength || config_.mode == Mode::kExpectedQueueConsumptionTime;
    if (!messages.ok() && needed) return messages.status();
    if (messages.ok()) statistics.messages = *messages;
    auto rate = [&queue](const char* details) {
      const base::Json* found = base::Find(queue, {"message_stats", details, "rate"});
      return found != nullptr && found->is_number() ? found->get<double>() : 0.0;
    };
    statistics.published = rate("publish_details");
    statistics.delivered = rate("deliver_get_details");
    return statistics;
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

// What contradicts the protocol, as far as that is known.
void CheckProtocol(const RabbitConfig& config, MetadataReader& reader) {
  const bool amqp = !config.amqp.host.empty() || (config.host.empty() && config.protocol == Protocol::kAmqp);
  if (!config.amqp.host.empty() && config.protocol == Protocol::kHttp) {
    reader.Error("protocol", "is http, but host is an AMQP address; use auto");
  }
  if (!config.host.empty() && config.protocol == Protocol::kAmqp) {
    reader.Error("protocol", "is amqp, but host is the management API's address; use auto");
  }
  const bool plain = !config.amqp.host.empty() ? !config.amqp.tls : config.host.starts_with("http://");
  if (config.tls && plain) reader.Error("tls", "is enable, but host is not; make it begin with amqps:// or https://");
  if (!amqp && !config.host.empty() && !config.key_password.empty()) {
    reader.Error("keyPassword", "is for amqps:// only; give a key without a password");
  }
  if (!amqp) return;
  if (config.regex) reader.Error("useRegex", kUseManagement);
  if (config.ready_only) reader.Error("excludeUnacknowledged", kUseManagement);
  if (config.mode != Mode::kQueueLength) reader.Error("mode", std::string("other than QueueLength ") + kUseManagement);
}

// Needs what comes from secrets, too.
void CheckCredentials(const RabbitConfig& config, const HttpAccess& access, MetadataReader& reader) {
  if (access.username.empty() != access.password.empty()) {
    reader.Error("username", "and password go together; give both or neither");
  }
  if (access.tls.certificate_pem.empty() != access.tls.private_key_pem.empty()) {
    reader.Error("cert", "and key go together; give both or neither");
  }
  const bool others =
      !access.modes.empty() || !access.bearer_token.empty() || !access.api_key.empty() || !access.custom_header.empty();
  if (!config.amqp.host.empty() && others) {
    reader.Error("authModes",
                 std::string("and all credentials but username, password, cert and key ") + kUseManagement);
  }
}

AmqpAddress CompleteAddress(const RabbitConfig& config, const HttpAccess& access, const TriggerContext& context) {
  AmqpAddress address = config.amqp;
  address.host = context.Resolve(address.host);
  if (!config.vhost.empty()) address.vhost = config.vhost;
  if (!access.username.empty()) {
    address.username = access.username;
    address.password = access.password;
  }
  address.ca_pem = access.tls.ca_pem;
  address.certificate_pem = access.tls.certificate_pem;
  address.private_key_pem = access.tls.private_key_pem;
  address.key_password = config.key_password;
  address.insecure_skip_verify = access.tls.insecure_skip_verify;
  return address;
}

}  // namespace

std::unique_ptr<Trigger> MakeRabbitmq(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  RabbitConfig config = ReadMetadata(kFields, reader);
  HttpAccess access = ReadHttpAccess(reader);
  CheckProtocol(config, reader);
  const bool secret = !config.from_host.password.empty() || !config.amqp.password.empty();
  if (spec.metadata.count("host") > 0 && secret) {
    reader.Error("host",
                 "must not hold a password in the manifest; use hostFromEnv, or username and an authenticationRef");
  }
  if (context == nullptr) return nullptr;
  CheckCredentials(config, access, reader);
  TriggerInfo info = InfoOf(spec, config.queue, "rabbitmq-" + config.queue);
  info.source = ServerOf(config.host);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  if (!config.amqp.host.empty()) {
    info.source = config.amqp.host + ":" + std::to_string(config.amqp.port);
    return std::make_unique<AmqpTrigger>(std::move(info), config.queue, CompleteAddress(config, access, *context),
                                         access.timeout_ms);
  }
  SplitVhost(&config);
  if (access.username.empty()) access.username = config.from_host.username;
  if (access.password.empty()) access.password = config.from_host.password;
  return std::make_unique<ManagementTrigger>(std::move(info), std::move(config), std::move(access), *context);
}

}  // namespace tidewright::scaler::trigger
