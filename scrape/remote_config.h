// The sections remote_write and remote_read of prometheus.yml. Source: Prometheus' configuration reference.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "scrape/http_config.h"
#include "scrape/relabel.h"

namespace tidewright::scrape {

// One entry of remote_write. Times in ms. Defaults are Prometheus'.
struct RemoteWriteConfig {
  std::string url;
  std::string name;  // "": the URL stands for it.
  std::map<std::string, std::string> headers;
  int64_t timeout_ms = 30'000;
  bool send_exemplars = false;
  bool send_native_histograms = false;
  bool version2 = false;  // protobuf_message: io.prometheus.write.v2.Request.
  std::vector<RelabelRule> relabel_rules;
  HttpClientConfig http;
  // queue_config.
  int64_t max_shards = 50;
  int64_t min_shards = 1;
  int64_t max_samples_per_send = 2000;
  int64_t batch_send_deadline_ms = 5'000;
  int64_t min_backoff_ms = 30;
  int64_t max_backoff_ms = 5'000;
  bool retry_on_429 = false;
  int64_t sample_age_limit_ms = 0;  // 0: none.
  // metadata_config.
  bool send_metadata = true;
  int64_t metadata_interval_ms = 60'000;
  int64_t max_metadata_per_send = 2000;

  friend bool operator==(const RemoteWriteConfig&, const RemoteWriteConfig&) = default;
};

// One entry of remote_read. Times in ms. Defaults are Prometheus'.
struct RemoteReadConfig {
  std::string url;
  std::string name;  // "": the URL stands for it.
  std::map<std::string, std::string> headers;
  int64_t timeout_ms = 60'000;
  int64_t chunked_read_limit = 50 << 20;  // Bytes of one frame of a streamed reply.
  bool read_recent = false;               // Ask also for times that the local store holds completely.
  bool filter_external_labels = true;
  std::map<std::string, std::string> required_matchers;  // Only selectors with these equality matchers are asked.
  HttpClientConfig http;

  friend bool operator==(const RemoteReadConfig&, const RemoteReadConfig&) = default;
};

}  // namespace tidewright::scrape
