#include "scaler/trigger/redis_source.h"

#include <utility>

#include "base/document.h"
#include "base/strings.h"

namespace tidewright::scaler::trigger {

namespace {

base::Status RefuseTls(const std::string& value) {
  if (value == "false" || value == "disable") return base::Status::Ok();
  return base::InvalidArgumentError("TLS to Redis is not supported by this version; remove it or use a plain address");
}

constexpr Field<RedisEndpoint> kFields[] = {
    {"address", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.address); },
     "`host:port`. This, or host and port, is required."},
    {"host", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.host); }, "The host alone."},
    {"port", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return ParseWhole(value, 1, 65535, &endpoint.port); },
     "Its port. Default 6379."},
    {"databaseIndex", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisEndpoint& endpoint) {
       return ParseWhole(value, 0, INT32_MAX, &endpoint.connection.database);
     },
     "The database. Default 0."},
    {"username", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.connection.username); },
     "The user of an access control list."},
    {"password", Need::kOptional, From::kSecret,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.connection.password); },
     "The password."},
    {"enableTLS", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisEndpoint&) { return RefuseTls(value); }, "Only off: TLS is not supported."},
    {"tls", Need::kOptional, From::kAny, [](const std::string& value, RedisEndpoint&) { return RefuseTls(value); },
     "Only off: TLS is not supported."},
    {"unsafeSsl", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisEndpoint&) { return RefuseTls(value); }, "Only off: TLS is not supported."},
    {"ca", Need::kOptional, From::kAny, nullptr},
    {"cert", Need::kOptional, From::kAny, nullptr},
    {"key", Need::kOptional, From::kAny, nullptr},
    {"keyPassword", Need::kOptional, From::kAny, nullptr},
};

base::Status ParseAddress(const std::string& text, RedisAddress* address) {
  HostPort where;
  TW_RETURN_IF_ERROR(ParseHostPort(text, 0, &where));
  address->host = where.host;
  address->port = where.port;
  return base::Status::Ok();
}

// Either address, or host and port. What comes from the environment is only known on creation.
base::Status Complete(const TriggerSpec& spec, RedisEndpoint* endpoint, bool resolved) {
  if (!endpoint->address.empty()) return ParseAddress(endpoint->address, &endpoint->connection);
  if (!endpoint->host.empty()) {
    endpoint->connection.host = endpoint->host;
    endpoint->connection.port = static_cast<uint16_t>(endpoint->port == 0 ? 6379 : endpoint->port);
    return base::Status::Ok();
  }
  bool later = !spec.authentication.empty() || spec.metadata.count("addressFromEnv") > 0 ||
               spec.metadata.count("hostFromEnv") > 0;
  if (later && !resolved) return base::Status::Ok();
  return base::InvalidArgumentError("is missing; give address (host:port), or host and port, or addressFromEnv");
}

}  // namespace

RedisEndpoint ReadRedisEndpoint(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  RedisEndpoint endpoint = ReadMetadata(kFields, reader);
  if (reader.described() != nullptr) return endpoint;
  base::Status complete = Complete(spec, &endpoint, context != nullptr);
  if (!complete.ok()) reader.Error("address", complete.message());
  if (complete.ok() && context != nullptr) endpoint.connection.host = context->Resolve(endpoint.connection.host);
  return endpoint;
}

base::Result<Reading> RedisSource::Run(const std::function<base::Result<Reading>(RedisConnection&)>& read) {
  base::Result<Reading> reading = Attempt(read);
  if (!reading.ok() && reused_) reading = Attempt(read);
  if (reading.ok()) return reading;
  return reading.status().Annotate("redis at " + address_.host + ":" + std::to_string(address_.port));
}

base::Result<Reading> RedisSource::Attempt(const std::function<base::Result<Reading>(RedisConnection&)>& read) {
  if (connection_ != nullptr && !connection_->Idle()) connection_ = nullptr;
  reused_ = connection_ != nullptr;
  if (connection_ == nullptr) {
    TW_ASSIGN_OR_RETURN(connection_, RedisConnection::Open(address_));
  }
  base::Result<Reading> reading = read(*connection_);
  if (!reading.ok()) connection_ = nullptr;
  return reading;
}

}  // namespace tidewright::scaler::trigger
