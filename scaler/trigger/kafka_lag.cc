#include "scaler/trigger/kafka_lag.h"

#include <algorithm>

namespace tidewright::scaler::trigger {

namespace {

constexpr int64_t kMaxMessages = INT64_MAX / 1000;

int64_t Sum(int64_t a, int64_t b) { return a > kMaxMessages - b ? kMaxMessages : a + b; }

// The least number of consumers that share out `partitions` evenly and are no fewer than asked for.
int32_t EvenConsumers(int32_t partitions, int64_t wanted) {
  int32_t consumers = static_cast<int32_t>(std::clamp<int64_t>(wanted, 1, std::max(1, partitions)));
  while (partitions % consumers != 0) ++consumers;
  return consumers;
}

}  // namespace

int64_t KafkaLagMeter::LagOf(const PartitionOffsets& partition) const {
  if (partition.committed >= 0) return std::clamp<int64_t>(partition.end - partition.committed, 0, kMaxMessages);
  if (rules_.zero_on_invalid_offset) return 0;
  return rules_.earliest ? std::clamp<int64_t>(partition.end, 0, kMaxMessages) : 1;
}

bool KafkaLagMeter::Persists(const PartitionOffsets& partition) {
  if (!rules_.exclude_persistent_lag || partition.committed < 0) return false;
  auto [before, is_new] = committed_.try_emplace({partition.topic, partition.partition}, partition.committed);
  return !is_new && std::exchange(before->second, partition.committed) == partition.committed;
}

int64_t KafkaLagMeter::Limited(int64_t value_milli, int32_t partitions, int32_t lagging) const {
  if (value_milli == 0 || rules_.allow_idle_consumers) return value_milli;
  const int64_t wanted = (value_milli - 1) / rules_.threshold_milli + 1;
  const int64_t most = rules_.limit_to_partitions_with_lag ? lagging : partitions;
  if (rules_.even_distribution) return EvenConsumers(partitions, wanted) * rules_.threshold_milli;
  return wanted > most ? most * rules_.threshold_milli : value_milli;
}

KafkaLag KafkaLagMeter::Measure(const std::vector<PartitionOffsets>& partitions) {
  KafkaLag lag;
  lag.partitions = static_cast<int32_t>(partitions.size());
  int64_t counting = 0;
  for (const PartitionOffsets& partition : partitions) {
    const int64_t messages = LagOf(partition);
    lag.messages = Sum(lag.messages, messages);
    if (Persists(partition) || messages == 0) continue;
    counting = Sum(counting, messages);
    ++lag.lagging;
  }
  lag.value_milli = Limited(counting * 1000, lag.partitions, lag.lagging);
  const bool stuck = counting < lag.messages && lag.value_milli <= rules_.activation_milli;
  if (stuck && lag.messages * 1000 > rules_.activation_milli) lag.value_milli = rules_.activation_milli + 1;
  return lag;
}

}  // namespace tidewright::scaler::trigger
