#include "scaler/trigger/librdkafka.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/document.h"
#include "scaler/trigger/client_library.h"

namespace tidewright::scaler::trigger {

namespace {

// How long the first request waits before it is looked whether waiting is in vain. Each further one waits twice as
// long, as an answer that comes too late is lost.
constexpr int64_t kFirstWaitMs = 250;

struct Library {
  decltype(rd_kafka_version)* version;
  decltype(rd_kafka_conf_new)* conf_new;
  decltype(rd_kafka_conf_destroy)* conf_destroy;
  decltype(rd_kafka_conf_set)* conf_set;
  decltype(rd_kafka_conf_set_opaque)* conf_set_opaque;
  decltype(rd_kafka_conf_set_error_cb)* conf_set_error_cb;
  decltype(rd_kafka_conf_set_log_cb)* conf_set_log_cb;
  decltype(rd_kafka_new)* create;
  decltype(rd_kafka_destroy_flags)* destroy;
  decltype(rd_kafka_poll)* poll;
  decltype(rd_kafka_err2str)* text;
  decltype(rd_kafka_topic_new)* topic_new;
  decltype(rd_kafka_topic_destroy)* topic_destroy;
  decltype(rd_kafka_metadata)* metadata;
  decltype(rd_kafka_metadata_destroy)* metadata_destroy;
  decltype(rd_kafka_topic_partition_list_new)* list_new;
  decltype(rd_kafka_topic_partition_list_add)* list_add;
  decltype(rd_kafka_topic_partition_list_destroy)* list_destroy;
  decltype(rd_kafka_offsets_for_times)* offsets_for_times;
  decltype(rd_kafka_queue_new)* queue_new;
  decltype(rd_kafka_queue_poll)* queue_poll;
  decltype(rd_kafka_queue_destroy)* queue_destroy;
  decltype(rd_kafka_AdminOptions_new)* options_new;
  decltype(rd_kafka_AdminOptions_set_request_timeout)* options_set_timeout;
  decltype(rd_kafka_AdminOptions_destroy)* options_destroy;
  decltype(rd_kafka_ListConsumerGroupOffsets_new)* question_new;
  decltype(rd_kafka_ListConsumerGroupOffsets_destroy)* question_destroy;
  decltype(rd_kafka_ListConsumerGroupOffsets)* ask;
  decltype(rd_kafka_event_error)* event_error;
  decltype(rd_kafka_event_destroy)* event_destroy;
  decltype(rd_kafka_event_ListConsumerGroupOffsets_result)* event_result;
  decltype(rd_kafka_ListConsumerGroupOffsets_result_groups)* result_groups;
  decltype(rd_kafka_group_result_error)* group_error;
  decltype(rd_kafka_group_result_partitions)* group_partitions;
  decltype(rd_kafka_error_code)* error_code;
};

void BindAll(ClientLibrary& file, Library* kafka) {
  file.Bind("rd_kafka_version", &kafka->version);
  file.Bind("rd_kafka_conf_new", &kafka->conf_new).Bind("rd_kafka_conf_destroy", &kafka->conf_destroy);
  file.Bind("rd_kafka_conf_set", &kafka->conf_set).Bind("rd_kafka_conf_set_opaque", &kafka->conf_set_opaque);
  file.Bind("rd_kafka_conf_set_error_cb", &kafka->conf_set_error_cb);
  file.Bind("rd_kafka_conf_set_log_cb", &kafka->conf_set_log_cb);
  file.Bind("rd_kafka_new", &kafka->create).Bind("rd_kafka_destroy_flags", &kafka->destroy);
  file.Bind("rd_kafka_poll", &kafka->poll).Bind("rd_kafka_err2str", &kafka->text);
  file.Bind("rd_kafka_topic_new", &kafka->topic_new).Bind("rd_kafka_topic_destroy", &kafka->topic_destroy);
  file.Bind("rd_kafka_metadata", &kafka->metadata).Bind("rd_kafka_metadata_destroy", &kafka->metadata_destroy);
  file.Bind("rd_kafka_topic_partition_list_new", &kafka->list_new);
  file.Bind("rd_kafka_topic_partition_list_add", &kafka->list_add);
  file.Bind("rd_kafka_topic_partition_list_destroy", &kafka->list_destroy);
  file.Bind("rd_kafka_offsets_for_times", &kafka->offsets_for_times);
  file.Bind("rd_kafka_queue_new", &kafka->queue_new).Bind("rd_kafka_queue_poll", &kafka->queue_poll);
  file.Bind("rd_kafka_queue_destroy", &kafka->queue_destroy);
  file.Bind("rd_kafka_AdminOptions_new", &kafka->options_new);
  file.Bind("rd_kafka_AdminOptions_set_request_timeout", &kafka->options_set_timeout);
  file.Bind("rd_kafka_AdminOptions_destroy", &kafka->options_destroy);
  file.Bind("rd_kafka_ListConsumerGroupOffsets_new", &kafka->question_new);
  file.Bind("rd_kafka_ListConsumerGroupOffsets_destroy", &kafka->question_destroy);
  file.Bind("rd_kafka_ListConsumerGroupOffsets", &kafka->ask).Bind("rd_kafka_event_error", &kafka->event_error);
  file.Bind("rd_kafka_event_destroy", &kafka->event_destroy);
  file.Bind("rd_kafka_event_ListConsumerGroupOffsets_result", &kafka->event_result);
  file.Bind("rd_kafka_ListConsumerGroupOffsets_result_groups", &kafka->result_groups);
  file.Bind("rd_kafka_group_result_error", &kafka->group_error);
  file.Bind("rd_kafka_group_result_partitions", &kafka->group_partitions);
  file.Bind("rd_kafka_error_code", &kafka->error_code);
}

// Null when it is not installed, or older than 2.0.
const Library* Kafka() {
  static const Library* const library = []() -> const Library* {
    static Library kafka;
    ClientLibrary file("librdkafka.so.1");
    BindAll(file, &kafka);
    return file.usable() ? &kafka : nullptr;
  }();
  return library;
}

// Older libraries repeat a nonce in what they answer to SCRAM, which brokers of 4.0 and newer take for a wrong
// password.
std::string HintAt(const std::string& problem) {
  constexpr int kFixedVersion = 0x020601ff;
  if (problem.find("SCRAM") == std::string::npos || Kafka()->version() >= kFixedVersion) return "";
  return "; Kafka 4 also needs librdkafka 2.6.1 or newer for SCRAM";
}

int Left(int64_t deadline_ms) { return static_cast<int>(std::max<int64_t>(1, deadline_ms - SocketNowMs())); }

struct Pool {
  base::Mutex mu;
  std::map<KafkaClient::Properties, std::weak_ptr<KafkaClient>> clients GUARDED_BY(mu);
};

struct FreeList {
  void operator()(rd_kafka_topic_partition_list_t* list) const { Kafka()->list_destroy(list); }
};
using PartitionList = std::unique_ptr<rd_kafka_topic_partition_list_t, FreeList>;

PartitionList NewList(size_t size) { return PartitionList(Kafka()->list_new(static_cast<int>(size))); }

std::string Name(const rd_kafka_topic_partition_t& partition) {
  return "partition " + std::to_string(partition.partition) + " of topic " + base::Quoted(partition.topic);
}

}  // namespace

base::Result<std::shared_ptr<KafkaClient>> KafkaClient::Get(const Properties& properties, const std::string& group) {
  if (Kafka() == nullptr) {
    return base::UnimplementedError(
        "librdkafka.so.1 (2.0 or newer) is not installed; add the package librdkafka1 to "
        "the image");
  }
  static Pool* const pool = new Pool;
  base::MutexLock lock(pool->mu);
  std::erase_if(pool->clients, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<KafkaClient>& known = pool->clients[properties];
  std::shared_ptr<KafkaClient> client = known.lock();
  if (client != nullptr) return client;
  client.reset(new KafkaClient);
  TW_RETURN_IF_ERROR(client->Start(properties, group));
  known = client;
  return client;
}

KafkaClient::~KafkaClient() {
  if (client_ != nullptr) Kafka()->destroy(client_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void KafkaClient::OnError(rd_kafka_s*, int error, const char* reason, void* self) {
  auto* client = static_cast<KafkaClient*>(self);
  base::MutexLock lock(client->mu_);
  const bool all_down = error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
  // Which server it was and why is more than that all of them are away.
  if (!all_down || client->problem_.empty()) client->problem_ = FirstLine(reason);
  client->hopeless_ =
      client->hopeless_ || all_down || error == RD_KAFKA_RESP_ERR__AUTHENTICATION || error == RD_KAFKA_RESP_ERR__SSL;
}

// A client without a group crashes in librdkafka (2.0.2, at least) when a broker answers that it is no longer the
// coordinator of the group that was asked about. One with a group that subscribes to nothing never joins it.
base::Status KafkaClient::Start(Properties properties, const std::string& group) {
  const Library& kafka = *Kafka();
  properties["group.id"] = group;
  properties["enable.auto.commit"] = "false";
  rd_kafka_conf_t* conf = kafka.conf_new();
  char text[512] = "";
  for (const auto& [name, value] : properties) {
    if (kafka.conf_set(conf, name.c_str(), value.c_str(), text, sizeof(text)) == RD_KAFKA_CONF_OK) continue;
    kafka.conf_destroy(conf);
    return base::InvalidArgumentError(FirstLine(text));
  }
  kafka.conf_set_opaque(conf, this);
  kafka.conf_set_error_cb(conf, &KafkaClient::OnError);
  kafka.conf_set_log_cb(conf, nullptr);  // What it has to say comes as an error, too.
  client_ = kafka.create(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
  if (client_ != nullptr) return base::Status::Ok();
  kafka.conf_destroy(conf);
  return base::InvalidArgumentError(FirstLine(text));
}

base::Status KafkaClient::Failure(const std::string& what, int error) {
  Kafka()->poll(client_, 0);  // Calls OnError.
  base::MutexLock lock(mu_);
  const bool of_connection = error == RD_KAFKA_RESP_ERR__TIMED_OUT || error == RD_KAFKA_RESP_ERR__TRANSPORT ||
                             error == RD_KAFKA_RESP_ERR__WAIT_COORD || error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
  if (of_connection && !problem_.empty()) return base::UnavailableError(problem_ + HintAt(problem_));
  const std::string text = what + ": " + Kafka()->text(static_cast<rd_kafka_resp_err_t>(error));
  return error < 0 ? base::UnavailableError(text) : base::FailedPreconditionError(text);
}

// The first answer may take several attempts at connecting. The library makes them without end; a wrong password or a
// port that nobody listens at is not waited out.
base::Status KafkaClient::AwaitBrokers(int64_t deadline_ms) {
  const Library& kafka = *Kafka();
  kafka.poll(client_, 0);  // What happened since the last reading does not count.
  {
    base::MutexLock lock(mu_);
    problem_.clear();
    hopeless_ = false;
  }
  for (int64_t wait_ms = kFirstWaitMs;; wait_ms *= 2) {
    const rd_kafka_metadata_t* metadata = nullptr;
    const int timeout_ms = static_cast<int>(std::min<int64_t>(wait_ms, Left(deadline_ms)));
    rd_kafka_resp_err_t error = kafka.metadata(client_, 0, nullptr, &metadata, timeout_ms);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      kafka.metadata_destroy(metadata);
      return base::Status::Ok();
    }
    kafka.poll(client_, 0);
    bool hopeless = false;
    {
      base::MutexLock lock(mu_);
      hopeless = hopeless_;
    }
    if (hopeless || SocketNowMs() >= deadline_ms) return Failure("brokers", error);
  }
}

base::Status KafkaClient::AddPartitions(const std::string& topic, rd_kafka_topic_partition_list_s* list,
                                        int64_t deadline_ms) {
  const Library& kafka = *Kafka();
  const std::string what = "topic " + base::Quoted(topic);
  rd_kafka_topic_t* handle = kafka.topic_new(client_, topic.c_str(), nullptr);
  if (handle == nullptr) return base::InvalidArgumentError(what + " cannot be one");
  const rd_kafka_metadata_t* metadata = nullptr;
  rd_kafka_resp_err_t error = kafka.metadata(client_, 0, handle, &metadata, Left(deadline_ms));
  kafka.topic_destroy(handle);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return Failure(what, error);
  base::Status status = base::FailedPreconditionError(what + " is unknown to the brokers");
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const rd_kafka_metadata_topic_t& found = metadata->topics[i];
    status = found.err == RD_KAFKA_RESP_ERR_NO_ERROR ? base::Status::Ok() : Failure(what, found.err);
    for (int j = 0; j < found.partition_cnt; ++j) kafka.list_add(list, topic.c_str(), found.partitions[j].id);
  }
  kafka.metadata_destroy(metadata);
  return status;
}

base::Status KafkaClient::ReadCommitted(const std::string& group, rd_kafka_topic_partition_list_s* asked,
                                        int64_t deadline_ms, std::vector<PartitionOffsets>* offsets) {
  const Library& kafka = *Kafka();
  const std::string what = "group " + base::Quoted(group);
  char ignored[256];
  std::unique_ptr<rd_kafka_queue_t, void (*)(rd_kafka_queue_t*)> queue(kafka.queue_new(client_), kafka.queue_destroy);
  rd_kafka_AdminOptions_t* options = kafka.options_new(client_, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
  kafka.options_set_timeout(options, Left(deadline_ms), ignored, sizeof(ignored));
  rd_kafka_ListConsumerGroupOffsets_t* question = kafka.question_new(group.c_str(), asked);
  kafka.ask(client_, &question, 1, options, queue.get());
  kafka.question_destroy(question);
  kafka.options_destroy(options);
  // The answer comes in any case: at the latest it is that the time is over.
  std::unique_ptr<rd_kafka_event_t, void (*)(rd_kafka_event_t*)> event(
      kafka.queue_poll(queue.get(), Left(deadline_ms) + 1000), kafka.event_destroy);
  if (event == nullptr) return Failure(what, RD_KAFKA_RESP_ERR__TIMED_OUT);
  if (kafka.event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return Failure(what, kafka.event_error(event.get()));
  }
  size_t count = 0;
  const rd_kafka_group_result_t** groups = kafka.result_groups(kafka.event_result(event.get()), &count);
  if (count != 1) return base::UnavailableError(what + ": the brokers did not answer for it");
  if (const rd_kafka_error_t* error = kafka.group_error(groups[0]); error != nullptr) {
    return Failure(what, kafka.error_code(error));
  }
  const rd_kafka_topic_partition_list_t* partitions = kafka.group_partitions(groups[0]);
  for (int i = 0; partitions != nullptr && i < partitions->cnt; ++i) {
    const rd_kafka_topic_partition_t& partition = partitions->elems[i];
    if (partition.err != RD_KAFKA_RESP_ERR_NO_ERROR) return Failure(what + ", " + Name(partition), partition.err);
    offsets->push_back({partition.topic, partition.partition, std::max<int64_t>(-1, partition.offset), 0});
  }
  return base::Status::Ok();
}

base::Status KafkaClient::ReadEnds(int64_t deadline_ms, std::vector<PartitionOffsets>* offsets) {
  const Library& kafka = *Kafka();
  PartitionList ends = NewList(offsets->size());
  for (const PartitionOffsets& partition : *offsets) {
    // As a time, this is the protocol's "latest".
    kafka.list_add(ends.get(), partition.topic.c_str(), partition.partition)->offset = RD_KAFKA_OFFSET_END;
  }
  rd_kafka_resp_err_t error = kafka.offsets_for_times(client_, ends.get(), Left(deadline_ms));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return Failure("offsets", error);
  std::map<std::pair<std::string, int32_t>, int64_t> by_partition;
  for (int i = 0; i < ends->cnt; ++i) {
    const rd_kafka_topic_partition_t& end = ends->elems[i];
    if (end.err != RD_KAFKA_RESP_ERR_NO_ERROR) return Failure(Name(end), end.err);
    if (end.offset < 0) return base::UnavailableError(Name(end) + ": the brokers do not say where it ends");
    by_partition[{end.topic, end.partition}] = end.offset;
  }
  for (PartitionOffsets& partition : *offsets) partition.end = by_partition[{partition.topic, partition.partition}];
  return base::Status::Ok();
}

base::Result<std::vector<PartitionOffsets>> KafkaClient::OffsetsOf(const std::string& group,
                                                                   const std::vector<std::string>& topics,
                                                                   int64_t timeout_ms) {
  const int64_t deadline_ms = SocketNowMs() + timeout_ms;
  TW_RETURN_IF_ERROR(AwaitBrokers(deadline_ms));
  PartitionList asked = topics.empty() ? nullptr : NewList(topics.size());
  for (const std::string& topic : topics) TW_RETURN_IF_ERROR(AddPartitions(topic, asked.get(), deadline_ms));
  std::vector<PartitionOffsets> offsets;
  TW_RETURN_IF_ERROR(ReadCommitted(group, asked.get(), deadline_ms, &offsets));
  if (!offsets.empty()) TW_RETURN_IF_ERROR(ReadEnds(deadline_ms, &offsets));
  return offsets;
}

}  // namespace tidewright::scaler::trigger
