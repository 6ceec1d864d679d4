// What a Kafka consumer group has still to read, as a number to scale by. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tidewright::scaler::trigger {

// Where a group stands in one partition.
struct PartitionOffsets {
  std::string topic;
  int32_t partition = 0;
  int64_t committed = -1;  // The next offset that it reads; negative: it has committed none.
  int64_t end = 0;         // The offset of the next message to be written.
};

// KEDA's settings of the same names.
struct KafkaLagRules {
  int64_t threshold_milli = 10'000;
  int64_t activation_milli = 0;
  bool earliest = false;  // offsetResetPolicy: what a group without an offset starts with.
  bool allow_idle_consumers = false;
  bool zero_on_invalid_offset = false;
  bool exclude_persistent_lag = false;
  bool limit_to_partitions_with_lag = false;
  bool even_distribution = false;
};

struct KafkaLag {
  int64_t value_milli = 0;
  int64_t messages = 0;  // All of the lag, before any rule for the number of consumers.
  int32_t partitions = 0;
  int32_t lagging = 0;  // Partitions with lag that counts.
};

// Adds up partitions. Not thread-safe: it remembers what was committed at the time of the last reading.
class KafkaLagMeter {
 public:
  explicit KafkaLagMeter(KafkaLagRules rules) : rules_(rules) {}

  // The lag is the distance between `committed` and `end`; without a committed offset it is one message (policy latest:
  // a consumer has to come and commit) or all of them (earliest). It is limited so that no more replicas are asked for
  // than there are partitions to share out. Lag that is excluded because nobody moves on still activates: the value is
  // then just above the activation.
  KafkaLag Measure(const std::vector<PartitionOffsets>& partitions);

 private:
  int64_t LagOf(const PartitionOffsets& partition) const;
  bool Persists(const PartitionOffsets& partition);
  int64_t Limited(int64_t value_milli, int32_t partitions, int32_t lagging) const;

  const KafkaLagRules rules_;
  std::map<std::pair<std::string, int32_t>, int64_t> committed_;  // By topic and partition.
};

}  // namespace tidewright::scaler::trigger
