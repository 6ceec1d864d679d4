// ReadClient: asks one server for series by remote read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "http/message.h"
#include "remote/read_reply.h"
#include "scrape/http_transport.h"
#include "scrape/remote_config.h"
#include "tsdb/labels.h"

namespace tidewright::remote {

// What one selector asks for. Times in ms, inclusive.
struct ReadRange {
  int64_t mint = 0;
  int64_t maxt = 0;
};

// Thread-safe; each call waits for its answer. Borrows clock and metrics.
class ReadClient {
 public:
  ReadClient(scrape::RemoteReadConfig config, tsdb::Labels external_labels, scrape::HttpTransport::Factory make_client,
             base::Clock& clock, base::MetricRegistry& metrics);

  const scrape::RemoteReadConfig& config() const { return config_; }
  // The part of a range that the server is to be asked for: nothing when a selector lacks one of required_matchers, or
  // when the local store, which holds everything from `local_start` on, has all of it, unless read_recent.
  std::optional<ReadRange> Wanted(ReadRange range, int64_t local_start, const tsdb::Matchers& matchers) const;
  // With filter_external_labels, only series with the external labels are asked for, and they lose them again.
  base::Result<std::vector<ReadSeries>> Read(ReadRange range, const tsdb::Matchers& matchers) const;

 private:
  base::Result<http::Response> Ask(std::string body) const;
  base::Result<std::vector<ReadSeries>> Parse(const http::Response& response, ReadRange range) const;

  const scrape::RemoteReadConfig config_;
  const tsdb::Labels external_labels_;
  base::Clock& clock_;
  base::Counter& queries_;
  base::Counter& failures_;
  mutable scrape::HttpTransport transport_;
};

}  // namespace tidewright::remote
