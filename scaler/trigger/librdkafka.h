// The Kafka client of librdkafka, loaded when the first trigger needs it. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "scaler/trigger/kafka_lag.h"

struct rd_kafka_s;
struct rd_kafka_topic_partition_list_s;

namespace tidewright::scaler::trigger {

// Connections to the brokers of one cluster as one user. It joins no consumer group and reads no message, so that the
// groups that it asks about do not notice. Thread-safe.
class KafkaClient {
 public:
  // Configuration properties of librdkafka: bootstrap.servers, security.protocol, ...
  using Properties = std::map<std::string, std::string>;

  // The client with these properties: whoever asks for the same ones while it is used shares it. `group`: one that it
  // will be asked about; a client has to know some group. Connects to nothing yet. kUnimplemented when librdkafka is not
  // installed, kInvalidArgument when it refuses a property.
  static base::Result<std::shared_ptr<KafkaClient>> Get(const Properties& properties, const std::string& group);
  ~KafkaClient();
  KafkaClient(const KafkaClient&) = delete;
  KafkaClient& operator=(const KafkaClient&) = delete;

  // Where `group` stands in all partitions of `topics`, which may be none: then in every partition that it has
  // committed an offset of. kFailedPrecondition for what the brokers refuse, kUnavailable or kDeadlineExceeded when
  // they cannot be asked; one partition without an answer is an error of the whole. Errors never contain a password.
  base::Result<std::vector<PartitionOffsets>> OffsetsOf(const std::string& group,
                                                        const std::vector<std::string>& topics, int64_t timeout_ms);

 private:
  KafkaClient() = default;
  static void OnError(rd_kafka_s* client, int error, const char* reason, void* self);
  base::Status Start(Properties properties, const std::string& group);
  base::Status AwaitBrokers(int64_t deadline_ms);
  base::Status AddPartitions(const std::string& topic, rd_kafka_topic_partition_list_s* list, int64_t deadline_ms);
  base::Status ReadCommitted(const std::string& group, rd_kafka_topic_partition_list_s* asked, int64_t deadline_ms,
                             std::vector<PartitionOffsets>* offsets);
  base::Status ReadEnds(int64_t deadline_ms, std::vector<PartitionOffsets>* offsets);
  base::Status Failure(const std::string& what, int error);

  rd_kafka_s* client_ = nullptr;  // Owned.
  base::Mutex mu_;
  std::string problem_ GUARDED_BY(mu_);    // What brokers or connections last complained of.
  bool hopeless_ GUARDED_BY(mu_) = false;  // It does not go away by waiting.
};

}  // namespace tidewright::scaler::trigger
