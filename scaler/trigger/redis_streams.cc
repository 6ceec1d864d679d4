// The redis-streams triggers (a server, a cluster, sentinels): the length of a stream, or what a consumer group has
// pending or lags behind.
#include <optional>
#include <utility>
#include <vector>

#include "base/document.h"
#include "scaler/trigger/redis_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct StreamConfig {
  std::string stream;
  std::string group;
  int64_t length_milli = 5000;
  int64_t pending_milli = 5000;
  std::optional<int64_t> lag_milli;
  int64_t activation_milli = 0;
};

constexpr Field<StreamConfig> kFields[] = {
    {"stream", Need::kRequired, From::kMetadata,
     [](const std::string& value, StreamConfig& config) { return Keep(value, &config.stream); }, "The key."},
    {"consumerGroup", Need::kOptional, From::kMetadata,
     [](const std::string& value, StreamConfig& config) { return Keep(value, &config.group); },
     "The group whose work counts. Without it the length of the stream does."},
    {"streamLength", Need::kOptional, From::kDecision,
     [](const std::string& value, StreamConfig& config) { return ParsePositiveMilli(value, &config.length_milli); },
     "Entries per replica, without consumerGroup. Default 5."},
    {"pendingEntriesCount", Need::kOptional, From::kDecision,
     [](const std::string& value, StreamConfig& config) { return ParsePositiveMilli(value, &config.pending_milli); },
     "Delivered entries without acknowledgement per replica, with consumerGroup. Default 5."},
    {"lagCount", Need::kOptional, From::kMetadata,
     [](const std::string& value, StreamConfig& config) {
       config.lag_milli = 0;
       return ParsePositiveMilli(value, &*config.lag_milli);
     },
     "Entries per replica that the group has not been delivered yet, instead of pendingEntriesCount. Needs Redis 7."},
    {"activationLagCount", Need::kOptional, From::kDecision,
     [](const std::string& value, StreamConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this number, whatever is counted. Default 0."},
};

// Each answers with one integer; -1 is for what the server cannot tell. A stream that does not exist has no work, and a
// group that does not exist yet has all of it before it.
constexpr char kLength[] = "return redis.call('XLEN', KEYS[1])";
constexpr char kPending[] =
    "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end "
    "return redis.call('XPENDING', KEYS[1], ARGV[1])[1]";
constexpr char kLag[] =
    "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end for _, group in ipairs(redis.call('XINFO', 'GROUPS', "
    "KEYS[1])) do   local fields = {}   for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end   if "
    "fields['name'] == ARGV[1] then return fields['lag'] or -1 end end return redis.call('XLEN', KEYS[1])";

class StreamTrigger : public Trigger {
 public:
  StreamTrigger(TriggerInfo info, StreamConfig config, RedisEndpoint endpoint, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), source_(std::move(endpoint), context) {}

  base::Result<Reading> Read() override {
    return source_.Run([this](RedisConnection& connection) { return Count(connection); });
  }

 private:
  base::Result<Reading> Count(RedisConnection& connection) {
    const char* script = config_.group.empty() ? kLength : (config_.lag_milli ? kLag : kPending);
    TW_ASSIGN_OR_RETURN(RedisReply reply, connection.Command({"EVAL", script, "1", config_.stream, config_.group}));
    if (!reply.is_integer || reply.integer < 0 || reply.integer > INT64_MAX / 1000) {
      return base::FailedPreconditionError("the server does not know the lag of group " + base::Quoted(config_.group) +
                                           "; it needs Redis 7, and a stream without deleted entries");
    }
    std::string what = "stream " + config_.stream;
    if (!config_.group.empty()) what += ", group " + config_.group + (config_.lag_milli ? ", lag" : ", pending");
    return Reading{reply.integer * 1000, what + " = " + std::to_string(reply.integer)};
  }

  const StreamConfig config_;
  RedisSource source_;
};

std::unique_ptr<Trigger> MakeFor(RedisTopology topology, const TriggerSpec& spec, MetadataReader& reader,
                                 const TriggerContext* context) {
  StreamConfig config = ReadMetadata(kFields, reader);
  RedisEndpoint endpoint = ReadRedisEndpoint(spec, topology, reader, context);
  if (config.lag_milli && config.group.empty()) {
    reader.Error("lagCount", "needs a consumerGroup; name it, or use streamLength");
  }
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.stream, "redis-streams-" + config.stream);
  info.source = Servers(endpoint);
  info.target_milli = config.group.empty() ? config.length_milli : config.lag_milli.value_or(config.pending_milli);
  info.activation_milli = config.activation_milli;
  return std::make_unique<StreamTrigger>(std::move(info), std::move(config), std::move(endpoint), *context);
}

}  // namespace

std::unique_ptr<Trigger> MakeRedisStreams(const TriggerSpec& spec, MetadataReader& reader,
                                          const TriggerContext* context) {
  return MakeFor(RedisTopology::kServer, spec, reader, context);
}

std::unique_ptr<Trigger> MakeRedisClusterStreams(const TriggerSpec& spec, MetadataReader& reader,
                                                 const TriggerContext* context) {
  return MakeFor(RedisTopology::kCluster, spec, reader, context);
}

std::unique_ptr<Trigger> MakeRedisSentinelStreams(const TriggerSpec& spec, MetadataReader& reader,
                                                  const TriggerContext* context) {
  return MakeFor(RedisTopology::kSentinel, spec, reader, context);
}

}  // namespace tidewright::scaler::trigger
