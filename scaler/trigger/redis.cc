// The redis trigger: the length of a list, hash, set or sorted set. A key that does not exist has length 0; a key of
// any other type is an error.
#include <optional>
#include <utility>

#include "base/strings.h"
#include "scaler/trigger/redis_connection.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct RedisConfig {
  std::string list;
  int64_t target_milli = 5000;
  int64_t activation_milli = 0;
  std::string address;
  std::string host;
  int64_t port = 0;
  RedisAddress connection;
};

base::Status RefuseTls(const std::string& value) {
  if (value == "false" || value == "disable") return base::Status::Ok();
  return base::InvalidArgumentError("TLS to Redis is not supported by this version; remove it or use a plain address");
}

constexpr Field<RedisConfig> kFields[] = {
    {"listName", Need::kRequired, From::kMetadata,
     [](const std::string& value, RedisConfig& config) {
       config.list = value;
       return base::Status::Ok();
     }},
    {"listLength", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisConfig& config) { return ParsePositiveMilli(value, &config.target_milli); }},
    {"activationListLength", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisConfig& config) { return ParseMilli(value, &config.activation_milli); }},
    {"address", Need::kOptional, From::kAny,
     [](const std::string& value, RedisConfig& config) {
       config.address = value;
       return base::Status::Ok();
     }},
    {"host", Need::kOptional, From::kAny,
     [](const std::string& value, RedisConfig& config) {
       config.host = value;
       return base::Status::Ok();
     }},
    {"port", Need::kOptional, From::kAny,
     [](const std::string& value, RedisConfig& config) { return ParseWhole(value, 1, 65535, &config.port); }},
    {"databaseIndex", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisConfig& config) {
       return ParseWhole(value, 0, INT32_MAX, &config.connection.database);
     }},
    {"username", Need::kOptional, From::kAny,
     [](const std::string& value, RedisConfig& config) {
       config.connection.username = value;
       return base::Status::Ok();
     }},
    {"password", Need::kOptional, From::kSecret,
     [](const std::string& value, RedisConfig& config) {
       config.connection.password = value;
       return base::Status::Ok();
     }},
    {"enableTLS", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisConfig&) { return RefuseTls(value); }},
    {"tls", Need::kOptional, From::kAny, [](const std::string& value, RedisConfig&) { return RefuseTls(value); }},
    {"unsafeSsl", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisConfig&) { return RefuseTls(value); }},
    {"ca", Need::kOptional, From::kAny, nullptr},
    {"cert", Need::kOptional, From::kAny, nullptr},
    {"key", Need::kOptional, From::kAny, nullptr},
    {"keyPassword", Need::kOptional, From::kAny, nullptr},
};

base::Status ParseAddress(const std::string& text, RedisAddress* address) {
  size_t colon = text.rfind(':');
  int64_t port = 0;
  bool valid = colon != std::string::npos && colon > 0 && base::ParseInt64(text.substr(colon + 1), &port) && port > 0 &&
               port <= 65535;
  if (!valid) return base::InvalidArgumentError(base::Quoted(text) + " is not an address; use host:port");
  address->host = text.substr(0, colon);
  address->port = static_cast<uint16_t>(port);
  if (address->host.size() > 2 && address->host.front() == '[' && address->host.back() == ']') {
    address->host = address->host.substr(1, address->host.size() - 2);
  }
  return base::Status::Ok();
}

class RedisTrigger : public Trigger {
 public:
  RedisTrigger(TriggerInfo info, RedisConfig config) : Trigger(std::move(info)), config_(std::move(config)) {}

  base::Result<Reading> Read() override {
    base::Result<Reading> reading = Attempt();
    // A kept connection may have died unnoticed since the last reading: one fresh attempt tells.
    if (!reading.ok() && reused_) reading = Attempt();
    if (reading.ok()) return reading;
    return reading.status().Annotate("redis at " + config_.connection.host + ":" +
                                     std::to_string(config_.connection.port));
  }

 private:
  base::Result<Reading> Attempt() {
    if (connection_ != nullptr && !connection_->Idle()) connection_ = nullptr;
    reused_ = connection_ != nullptr;
    if (connection_ == nullptr) {
      TW_ASSIGN_OR_RETURN(connection_, RedisConnection::Open(config_.connection));
    }
    base::Result<Reading> reading = ReadLength();
    if (!reading.ok()) connection_ = nullptr;
    return reading;
  }

  base::Result<Reading> ReadLength() {
    TW_ASSIGN_OR_RETURN(RedisReply type, connection_->Command({"TYPE", config_.list}));
    if (type.text == "none") return Reading{0, "key " + config_.list + " does not exist"};
    constexpr std::pair<const char*, const char*> kCommands[] = {
        {"list", "LLEN"}, {"hash", "HLEN"}, {"set", "SCARD"}, {"zset", "ZCARD"}};
    for (const auto& [name, command] : kCommands) {
      if (type.text == name) return Length(name, command);
    }
    return base::FailedPreconditionError("key " + base::Quoted(config_.list) + " is a " + type.text.substr(0, 40) +
                                         "; a list, hash, set or sorted set is expected");
  }

  base::Result<Reading> Length(const std::string& type, const char* command) {
    TW_ASSIGN_OR_RETURN(RedisReply length, connection_->Command({command, config_.list}));
    if (!length.is_integer || length.integer < 0 || length.integer > INT64_MAX / 1000) {
      return base::UnavailableError(std::string(command) + " did not answer with a length");
    }
    return Reading{length.integer * 1000, type + " " + config_.list + " = " + std::to_string(length.integer)};
  }

  const RedisConfig config_;
  std::unique_ptr<RedisConnection> connection_;
  bool reused_ = false;
};

// Either address, or host and port. What comes from the environment is only known on creation.
base::Status ResolveAddress(const TriggerSpec& spec, RedisConfig* config, bool resolved) {
  if (!config->address.empty()) return ParseAddress(config->address, &config->connection);
  if (!config->host.empty()) {
    config->connection.host = config->host;
    config->connection.port = static_cast<uint16_t>(config->port == 0 ? 6379 : config->port);
    return base::Status::Ok();
  }
  bool later = !spec.authentication.empty() || spec.metadata.count("addressFromEnv") > 0 ||
               spec.metadata.count("hostFromEnv") > 0;
  if (later && !resolved) return base::Status::Ok();
  return base::InvalidArgumentError("is missing; give address (host:port), or host and port, or addressFromEnv");
}

}  // namespace

std::unique_ptr<Trigger> MakeRedis(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  RedisConfig config = ReadMetadata(kFields, reader);
  base::Status address = ResolveAddress(spec, &config, context != nullptr);
  if (!address.ok()) {
    reader.Error("address", address.message());
    return nullptr;
  }
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.list, "redis-" + config.list);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  config.connection.host = context->Resolve(config.connection.host);
  return std::make_unique<RedisTrigger>(std::move(info), std::move(config));
}

}  // namespace tidewright::scaler::trigger
