// The redis triggers (a server, a cluster, sentinels): the length of a list, hash, set or sorted set. A key that does
// not exist has length 0; a key of any other type is an error.
#include <utility>

#include "base/document.h"
#include "scaler/trigger/redis_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct RedisConfig {
  std::string list;
  int64_t target_milli = 5000;
  int64_t activation_milli = 0;
};

constexpr Field<RedisConfig> kFields[] = {
    {"listName", Need::kRequired, From::kMetadata,
     [](const std::string& value, RedisConfig& config) { return Keep(value, &config.list); }, "The key."},
    {"listLength", Need::kOptional, From::kDecision,
     [](const std::string& value, RedisConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "Elements per replica. Default 5."},
    {"activationListLength", Need::kOptional, From::kDecision,
     [](const std::string& value, RedisConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this length. Default 0."},
};

class RedisTrigger : public Trigger {
 public:
  RedisTrigger(TriggerInfo info, std::string list, RedisEndpoint endpoint, const TriggerContext& context)
      : Trigger(std::move(info)), list_(std::move(list)), source_(std::move(endpoint), context) {}

  base::Result<Reading> Read() override {
    return source_.Run([this](RedisConnection& connection) { return ReadLength(connection); });
  }

 private:
  base::Result<Reading> ReadLength(RedisConnection& connection) {
    TW_ASSIGN_OR_RETURN(RedisReply type, connection.Command({"TYPE", list_}));
    if (type.text == "none") return Reading{0, "key " + list_ + " does not exist"};
    constexpr std::pair<const char*, const char*> kCommands[] = {
        {"list", "LLEN"}, {"hash", "HLEN"}, {"set", "SCARD"}, {"zset", "ZCARD"}};
    for (const auto& [name, command] : kCommands) {
      if (type.text == name) return Length(connection, name, command);
    }
    return base::FailedPreconditionError("key " + base::Quoted(list_) + " is a " + type.text.substr(0, 40) +
                                         "; a list, hash, set or sorted set is expected");
  }

  base::Result<Reading> Length(RedisConnection& connection, const std::string& type, const char* command) {
    TW_ASSIGN_OR_RETURN(RedisReply length, connection.Command({command, list_}));
    if (!length.is_integer || length.integer < 0 || length.integer > INT64_MAX / 1000) {
      return base::UnavailableError(std::string(command) + " did not answer with a length");
    }
    return Reading{length.integer * 1000, type + " " + list_ + " = " + std::to_string(length.integer)};
  }

  const std::string list_;
  RedisSource source_;
};

std::unique_ptr<Trigger> MakeFor(RedisTopology topology, const TriggerSpec& spec, MetadataReader& reader,
                                 const TriggerContext* context) {
  RedisConfig config = ReadMetadata(kFields, reader);
  RedisEndpoint endpoint = ReadRedisEndpoint(spec, topology, reader, context);
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.list, "redis-" + config.list);
  info.source = Servers(endpoint);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<RedisTrigger>(std::move(info), config.list, std::move(endpoint), *context);
}

}  // namespace

std::unique_ptr<Trigger> MakeRedis(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  return MakeFor(RedisTopology::kServer, spec, reader, context);
}

std::unique_ptr<Trigger> MakeRedisCluster(const TriggerSpec& spec, MetadataReader& reader,
                                          const TriggerContext* context) {
  return MakeFor(RedisTopology::kCluster, spec, reader, context);
}

std::unique_ptr<Trigger> MakeRedisSentinel(const TriggerSpec& spec, MetadataReader& reader,
                                           const TriggerContext* context) {
  return MakeFor(RedisTopology::kSentinel, spec, reader, context);
}

}  // namespace tidewright::scaler::trigger
