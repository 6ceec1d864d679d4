// The trigger types: each has a check of its metadata and a factory. Private to scaler/trigger.
#pragma once

#include <memory>
#include <string>

#include "scaler/trigger.h"
#include "scaler/trigger/metadata.h"

namespace tidewright::scaler::trigger {

// Reads the metadata through `reader` (and so reports what is wrong with it). Returns the trigger when `context` is
// given and nothing was wrong enough to prevent it; the caller looks at the error list.
using Factory = std::unique_ptr<Trigger> (*)(const TriggerSpec& spec, MetadataReader& reader,
                                             const TriggerContext* context);

std::unique_ptr<Trigger> MakeCpu(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeMemory(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeBeanstalkd(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeCron(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeElasticsearch(const TriggerSpec& spec, MetadataReader& reader,
                                           const TriggerContext* context);
std::unique_ptr<Trigger> MakeEtcd(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeExternal(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeGraphite(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeHttp(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeInfluxdb(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeKafka(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeKubernetesWorkload(const TriggerSpec& spec, MetadataReader& reader,
                                                const TriggerContext* context);
std::unique_ptr<Trigger> MakeMetricsApi(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeMysql(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeNatsJetstream(const TriggerSpec& spec, MetadataReader& reader,
                                           const TriggerContext* context);
std::unique_ptr<Trigger> MakePostgresql(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeRabbitmq(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeRedisStreams(const TriggerSpec& spec, MetadataReader& reader,
                                          const TriggerContext* context);
std::unique_ptr<Trigger> MakeRedis(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);
std::unique_ptr<Trigger> MakeRedisCluster(const TriggerSpec& spec, MetadataReader& reader,
                                          const TriggerContext* context);
std::unique_ptr<Trigger> MakeRedisClusterStreams(const TriggerSpec& spec, MetadataReader& reader,
                                                 const TriggerContext* context);
std::unique_ptr<Trigger> MakeRedisSentinel(const TriggerSpec& spec, MetadataReader& reader,
                                           const TriggerContext* context);
std::unique_ptr<Trigger> MakeRedisSentinelStreams(const TriggerSpec& spec, MetadataReader& reader,
                                                  const TriggerContext* context);
std::unique_ptr<Trigger> MakePrometheus(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context);

// The members of TriggerInfo that every type fills in the same way.
TriggerInfo InfoOf(const TriggerSpec& spec, const std::string& subject, const std::string& metric);

}  // namespace tidewright::scaler::trigger
