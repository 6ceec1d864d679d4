// Endpoint: sends what the store commits to one receiver of remote write.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "remote/endpoint_metrics.h"
#include "remote/outgoing_labels.h"
#include "remote/send_state.h"
#include "remote/sender.h"
#include "remote/window.h"
#include "remote/write_message.h"
#include "scrape/http_transport.h"
#include "scrape/remote_config.h"
#include "tsdb/labels.h"

namespace tidewright::remote {

struct EndpointOptions {
  scrape::RemoteWriteConfig config;
  std::string name;  // For metrics.
  tsdb::Labels external_labels;
  std::string data_directory;                  // Of the store.
  std::string state_file;                      // Where SendState is kept.
  std::function<MetadataByFamily()> metadata;  // Of the store; thread-safe. May be empty.
  scrape::HttpTransport::Factory make_client;
};

// A thread of its own reads the log of the store, window by window, from the place that the state file names or,
// without one, from what is committed after Start(). A window is as many samples as fit into one request per shard, or
// what came within batch_send_deadline; the next one is read when all of it was taken or refused for good, so that
// memory is bounded by one window whatever the receiver does. The number of shards doubles while sending takes nearly
// all the time, and is halved while it takes less than two fifths of it.
//
// Start() once. Borrows clock and metrics, which outlive it.
class Endpoint {
 public:
  Endpoint(EndpointOptions options, base::Clock& clock, base::MetricRegistry& metrics);
  ~Endpoint();  // Stop().
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  void Start();
  // Ends by itself once everything that is committed was sent; what comes then is left to the next start.
  void Finish() { finishing_ = true; }
  // Waits until Finish() has come to its end, the receiver fails, or the time is up.
  void AwaitEnd(int64_t deadline_ms);
  // Abandons requests that are under way: they are sent again after the next start. Idempotent.
  void Stop();

  // The log before this segment is not needed any more; -1 while that is not known.
  int needed_segment() const { return needed_segment_; }

 private:
  enum class Reading { kWindow, kEnd };

  void Run();
  base::Status Begin(tsdb::LogTail* tail);
  base::Status Follow(tsdb::LogTail* tail);
  WindowLimits Limits() const;
  base::Result<Reading> ReadWindow(tsdb::LogTail* tail, Window* window);
  bool SendWindow(const tsdb::LogTail& tail, Window* window);
  void SendMetadata();
  void Settle(const tsdb::LogTail& tail);
  void AdjustShards(bool full);
  void Save();

  const EndpointOptions options_;
  base::Clock& clock_;
  EndpointMetrics metrics_;
  OutgoingLabels labels_;
  Sender sender_;
  SendStateFile state_file_;

  SendState state_;  // Of the thread, as what follows.
  MetadataByFamily metadata_;
  int64_t next_metadata_ms_ = 0;
  int64_t waited_ms_ = 0;  // For the window at hand.
  int64_t sending_ms_ = 0;
  bool repeated_ = false;  // Sending it met with failures.

  std::atomic<int> needed_segment_{-1};
  std::atomic<bool> finishing_{false};
  base::StopSignal stop_;
  base::StopSignal ended_;
  std::thread thread_;
};

}  // namespace tidewright::remote
