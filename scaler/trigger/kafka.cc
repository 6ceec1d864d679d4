// The kafka and apache-kafka triggers: what a consumer group has still to read.
#include <algorithm>
#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "scaler/trigger/kafka_lag.h"
#include "scaler/trigger/librdkafka.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr int64_t kTimeoutMs = 5000;

struct KafkaConfig {
  std::vector<HostPort> brokers;
  std::string group;
  std::string topic;                                    // As written: several, separated by commas.
  std::vector<std::pair<int64_t, int64_t>> partitions;  // First and last; empty: all.
  KafkaLagRules rules;
  bool tls = false;
  bool sasl = false;
  KafkaClient::Properties properties = {{"client.id", "tidewright"}, {"reconnect.backoff.max.ms", "1000"}};
};

base::Status KeepProperty(const char* name, const std::string& value, KafkaConfig& config) {
  return Keep(value, &config.properties[name]);
}

base::Status ParseBrokers(const std::string& value, KafkaConfig& config) {
  for (const std::string& broker : base::Split(value, ',')) {
    TW_RETURN_IF_ERROR(ParseHostPort(std::string(base::TrimSpace(broker)), 9092, &config.brokers.emplace_back()));
  }
  return base::Status::Ok();
}

base::Status ParsePolicy(const std::string& value, KafkaConfig& config) {
  config.rules.earliest = value == "earliest";
  if (value == "earliest" || value == "latest") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not a policy; use latest or earliest");
}

// "1,2,4-6"
base::Status ParsePartitions(const std::string& value, KafkaConfig& config) {
  for (const std::string& part : base::Split(value, ',')) {
    const std::string range(base::TrimSpace(part));
    const size_t dash = range.find('-');
    auto& [first, last] = config.partitions.emplace_back();
    bool valid = base::ParseInt64(range.substr(0, dash), &first) && first >= 0;
    last = first;
    if (dash != std::string::npos) valid = valid && base::ParseInt64(range.substr(dash + 1), &last) && last >= first;
    if (!valid) {
      return base::InvalidArgumentError(base::Quoted(range) +
                                        " is not a partition or a range of them; use for example "
                                        "1,2,4-6");
    }
  }
  return base::Status::Ok();
}

base::Status ParseSasl(const std::string& value, KafkaConfig& config) {
  constexpr std::pair<const char*, const char*> kMechanisms[] = {
      {"plaintext", "PLAIN"}, {"scram_sha256", "SCRAM-SHA-256"}, {"scram_sha512", "SCRAM-SHA-512"}};
  if (value == "none") return base::Status::Ok();
  for (const auto& [name, mechanism] : kMechanisms) {
    if (value != name) continue;
    config.sasl = true;
    return KeepProperty("sasl.mechanisms", mechanism, config);
  }
  return base::InvalidArgumentError(base::Quoted(value) +
                                    " is not supported; use none, plaintext, scram_sha256 or scram_sha512");
}

base::Status ParseUnsafe(const std::string& value, KafkaConfig& config) {
  bool unsafe = false;
  TW_RETURN_IF_ERROR(ParseFlag(value, &unsafe));
  return KeepProperty("enable.ssl.certificate.verification", unsafe ? "false" : "true", config);
}

constexpr Field<KafkaConfig> kFields[] = {
    {"bootstrapServers", Need::kRequired, From::kAny, &ParseBrokers,
     "`host:port` of some brokers, separated by commas. They name the others."},
    {"consumerGroup", Need::kRequired, From::kAny,
     [](const std::string& value, KafkaConfig& config) { return Keep(value, &config.group); },
     "The group whose lag counts. It is asked for, and not joined."},
    {"topic", Need::kOptional, From::kAny,
     [](const std::string& value, KafkaConfig& config) { return Keep(value, &config.topic); },
     "The topic, or several separated by commas. Without it all topics that the group has committed offsets of."},
    {"partitionLimitation", Need::kOptional, From::kMetadata, &ParsePartitions,
     "The partitions that count: `1,2,4-6`. Needs topic. Default all."},
    {"lagThreshold", Need::kOptional, From::kMetadata,
     [](const std::string& value, KafkaConfig& config) {
       return ParsePositiveMilli(value, &config.rules.threshold_milli);
     },
     "Messages per replica. Default 10."},
    {"activationLagThreshold", Need::kOptional, From::kMetadata,
     [](const std::string& value, KafkaConfig& config) { return ParseMilli(value, &config.rules.activation_milli); },
     "Active above this lag. Default 0."},
    {"offsetResetPolicy", Need::kOptional, From::kMetadata, &ParsePolicy,
     "What the consumers do in a partition without a committed offset: `latest` counts it as one message, `earliest` "
     "as all that were ever written. Default `latest`."},
    {"scaleToZeroOnInvalidOffset", Need::kOptional, From::kMetadata,
     [](const std::string& value, KafkaConfig& config) {
       return ParseFlag(value, &config.rules.zero_on_invalid_offset);
     },
     "Such a partition counts as 0 instead. Default false."},
    {"allowIdleConsumers", Need::kOptional, From::kMetadata,
     [](const std::string& value, KafkaConfig& config) { return ParseFlag(value, &config.rules.allow_idle_consumers); },
     "Ask for more replicas than there are partitions. Default false."},
    {"limitToPartitionsWithLag", Need::kOptional, From::kMetadata,
     [](const std::string& value, KafkaConfig& config) {
       return ParseFlag(value, &config.rules.limit_to_partitions_with_lag);
     },
     "Ask for no more replicas than there are partitions with lag. Needs topic. Default false."},
    {"ensureEvenDistributionOfPartitions", Need::kOptional, From::kMetadata,
     [](const std::string& value, KafkaConfig& config) { return ParseFlag(value, &config.rules.even_distribution); },
     "Ask for a number of replicas that divides the number of partitions, the next greater one. Needs topic. Default "
     "false."},
    {"excludePersistentLag", Need::kOptional, From::kMetadata,
     [](const std::string& value, KafkaConfig& config) {
       return ParseFlag(value, &config.rules.exclude_persistent_lag);
     },
     "A partition whose committed offset is that of the reading before counts as 0; it still keeps the target active. "
     "Default false."},
    {"sasl", Need::kOptional, From::kAny, &ParseSasl,
     "`none`, `plaintext`, `scram_sha256` or `scram_sha512`. Default `none`."},
    {"username", Need::kOptional, From::kAny,
     [](const std::string& value, KafkaConfig& config) { return KeepProperty("sasl.username", value, config); },
     "The user, with sasl."},
    {"password", Need::kOptional, From::kSecret,
     [](const std::string& value, KafkaConfig& config) { return KeepProperty("sasl.password", value, config); },
     "The password, with sasl."},
    {"tls", Need::kOptional, From::kAny,
     [](const std::string& value, KafkaConfig& config) { return ParseTlsMode(value, &config.tls); },
     "`enable` or `disable`. Default `disable`."},
    {"unsafeSsl", Need::kOptional, From::kMetadata, &ParseUnsafe, "Trust any certificate. Default false."},
    {"ca", Need::kOptional, From::kAny,
     [](const std::string& value, KafkaConfig& config) { return KeepProperty("ssl.ca.pem", value, config); },
     "Certificates (PEM) to trust instead of the system's."},
    {"cert", Need::kOptional, From::kAny,
     [](const std::string& value, KafkaConfig& config) { return KeepProperty("ssl.certificate.pem", value, config); },
     "Client certificate (PEM)."},
    {"key", Need::kOptional, From::kSecret,
     [](const std::string& value, KafkaConfig& config) { return KeepProperty("ssl.key.pem", value, config); },
     "Its private key (PEM)."},
    {"keyPassword", Need::kOptional, From::kSecret,
     [](const std::string& value, KafkaConfig& config) { return KeepProperty("ssl.key.password", value, config); },
     "The password of that key."},
    {"version", Need::kOptional, From::kMetadata, [](const std::string&, KafkaConfig&) { return base::Status::Ok(); },
     "Without effect: the brokers say what they speak."},
    {"fullMetadata", Need::kOptional, From::kMetadata,
     [](const std::string&, KafkaConfig&) { return base::Status::Ok(); },
     "Without effect: only what is needed is asked for."},
    {"saslTokenProvider", Need::kOptional, From::kAny, nullptr},
    {"scopes", Need::kOptional, From::kAny, nullptr},
    {"oauthTokenEndpointUri", Need::kOptional, From::kAny, nullptr},
    {"oauthExtensions", Need::kOptional, From::kAny, nullptr},
    {"realm", Need::kOptional, From::kAny, nullptr},
    {"keytab", Need::kOptional, From::kAny, nullptr},
    {"kerberosConfig", Need::kOptional, From::kAny, nullptr},
    {"kerberosServiceName", Need::kOptional, From::kAny, nullptr},
    {"kerberosDisableFAST", Need::kOptional, From::kAny, nullptr},
    {"awsRegion", Need::kOptional, From::kAny, nullptr},
};

class KafkaTrigger : public Trigger {
 public:
  KafkaTrigger(TriggerInfo info, KafkaConfig config)
      : Trigger(std::move(info)), config_(std::move(config)), meter_(config_.rules) {
    for (const std::string& topic : base::Split(config_.topic, ',')) {
      if (!base::TrimSpace(topic).empty()) topics_.emplace_back(base::TrimSpace(topic));
    }
  }

  base::Result<Reading> Read() override {
    auto reading = ReadLag();
    if (!reading.ok()) return reading.status().Annotate("kafka");
    return reading;
  }

 private:
  base::Result<Reading> ReadLag() {
    if (client_ == nullptr) {
      TW_ASSIGN_OR_RETURN(client_, KafkaClient::Get(config_.properties, config_.group));
    }
    TW_ASSIGN_OR_RETURN(std::vector<PartitionOffsets> partitions,
                        client_->OffsetsOf(config_.group, topics_, kTimeoutMs));
    std::erase_if(partitions, [this](const PartitionOffsets& partition) { return !Counts(partition.partition); });
    if (partitions.empty() && topics_.empty()) {
      return base::NotFoundError("group " + base::Quoted(config_.group) + " has committed no offset yet; name a topic");
    }
    if (partitions.empty()) return base::FailedPreconditionError("the topic has none of these partitions");
    const KafkaLag lag = meter_.Measure(partitions);
    return Reading{lag.value_milli, "group " + config_.group + " lags " + std::to_string(lag.messages) + " behind in " +
                                        std::to_string(lag.partitions) +
                                        " partitions = " + FormatMilli(lag.value_milli)};
  }

  bool Counts(int32_t partition) const {
    return config_.partitions.empty() ||
           std::any_of(config_.partitions.begin(), config_.partitions.end(),
                       [&](const auto& range) { return range.first <= partition && partition <= range.second; });
  }

  const KafkaConfig config_;
  std::vector<std::string> topics_;
  KafkaLagMeter meter_;
  std::shared_ptr<KafkaClient> client_;
};

// Settings that exclude or need each other.
void CheckTogether(const TriggerSpec& spec, const KafkaConfig& config, MetadataReader& reader) {
  const KafkaLagRules& rules = config.rules;
  if (rules.limit_to_partitions_with_lag && rules.allow_idle_consumers) {
    reader.Error("limitToPartitionsWithLag", "contradicts allowIdleConsumers; remove one of them");
  }
  if (rules.limit_to_partitions_with_lag && rules.even_distribution) {
    reader.Error("limitToPartitionsWithLag", "contradicts ensureEvenDistributionOfPartitions; remove one of them");
  }
  if (!config.topic.empty() || spec.metadata.count("topicFromEnv") > 0 || !spec.authentication.empty()) return;
  if (rules.limit_to_partitions_with_lag) reader.Error("limitToPartitionsWithLag", "needs a topic; name it");
  if (rules.even_distribution) reader.Error("ensureEvenDistributionOfPartitions", "needs a topic; name it");
  if (!config.partitions.empty()) reader.Error("partitionLimitation", "needs a topic; name it");
}

std::string BrokerList(const std::vector<HostPort>& brokers, const TriggerContext& context) {
  std::string list;
  for (const HostPort& broker : brokers) {
    std::string host = context.Resolve(broker.host);
    if (host.find(':') != std::string::npos) host = "[" + host + "]";
    list += (list.empty() ? "" : ",") + host + ":" + std::to_string(broker.port);
  }
  return list;
}

}  // namespace

std::unique_ptr<Trigger> MakeKafka(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  KafkaConfig config = ReadMetadata(kFields, reader);
  CheckTogether(spec, config, reader);
  if (context == nullptr) return nullptr;
  constexpr const char* kProtocols[2][2] = {{"plaintext", "ssl"}, {"sasl_plaintext", "sasl_ssl"}};
  config.properties["security.protocol"] = kProtocols[config.sasl ? 1 : 0][config.tls ? 1 : 0];
  config.properties["bootstrap.servers"] = BrokerList(config.brokers, *context);
  const std::string subject = config.topic.empty() ? config.group : config.topic;
  TriggerInfo info = InfoOf(spec, subject, "kafka-" + (config.topic.empty() ? config.group + "-topics" : config.topic));
  info.source = config.properties["bootstrap.servers"];
  info.own_reading = config.rules.exclude_persistent_lag;  // It looks at the reading before.
  info.target_milli = config.rules.threshold_milli;
  info.activation_milli = config.rules.activation_milli;
  return std::make_unique<KafkaTrigger>(std::move(info), std::move(config));
}

}  // namespace tidewright::scaler::trigger
