// Remote write, as a sender: every entry of remote_write in prometheus.yml gets what the store commits.
//
// The source is the store's own log, not a queue beside it: a commit is written once, what is not sent yet takes no
// memory, and a receiver that is away costs disk space alone. Each endpoint remembers its place in a file. A checkpoint
// of the store never waits for an endpoint: it hands over the segments that it replaces (tsdb/log_tail.h), and they are
// removed once every endpoint has read them, or have become too large or too old.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "remote/endpoint.h"
#include "scrape/remote_config.h"
#include "tsdb/labels.h"

namespace tidewright::remote {

struct ManagerOptions {
  std::string data_directory;                  // Of the store; "": samples are in memory only, and cannot be sent.
  std::function<MetadataByFamily()> metadata;  // Of the store; thread-safe.
  std::function<int64_t()> newest_ms;          // Time of the store's newest sample; thread-safe.
  // Of the log, for endpoints that are behind; then the oldest goes. As long as Prometheus keeps its own at most, and
  // no larger than fits beside the samples into the chart's volume.
  uint64_t max_kept_bytes = 1ULL << 30;
  int64_t max_kept_ms = 3 * 3600 * 1000;
  int64_t flush_ms = 5'000;                    // How long Stop() lets endpoints send the rest.
  scrape::HttpTransport::Factory make_client;  // Empty: http::NewCurlClient.
};

// Thread-safe. Borrows clock and metrics.
class Manager {
 public:
  Manager(ManagerOptions options, base::Clock& clock, base::MetricRegistry& metrics);
  ~Manager();  // Stop().

  // Makes the endpoints those of `configs`. What did not change goes on; what was edited goes on where it was, and is
  // known by its name, or by its URL without one; what went forgets its place in the log. kFailedPrecondition when
  // there is something to send and no log to read it from.
  base::Status Apply(const std::vector<scrape::RemoteWriteConfig>& configs, const tsdb::Labels& external_labels);
  // Removes what is kept of the log and not needed any more. Called by the owner about once a minute.
  void Maintain();
  // Sends what is committed, unless the receiver fails or takes too long. Idempotent, and final.
  void Stop();

 private:
  struct Running {
    scrape::RemoteWriteConfig config;
    tsdb::Labels external_labels;
    std::string name;  // The same as long as an entry is edited and not replaced; part of a file's name.
    std::unique_ptr<Endpoint> endpoint;
  };
  std::string StateFile(const std::string& name) const;
  std::vector<Running> Named(const std::vector<scrape::RemoteWriteConfig>& configs,
                             const tsdb::Labels& external_labels) const;
  void StartEndpoint(Running* one) REQUIRES_LOCK(mu_);
  void ForgetOthers() REQUIRES_LOCK(mu_);

  const ManagerOptions options_;
  base::Clock& clock_;
  base::MetricRegistry& metrics_;
  base::Counter& lost_segments_;
  base::Gauge& newest_;

  base::Mutex mu_;
  std::vector<Running> running_ GUARDED_BY(mu_);
  bool stopped_ GUARDED_BY(mu_) = false;
};

}  // namespace tidewright::remote
