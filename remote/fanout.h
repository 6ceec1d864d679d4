// Fanout: the local store and, beyond what it holds, the servers of remote_read, as one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "remote/read_client.h"
#include "scrape/http_transport.h"
#include "scrape/remote_config.h"
#include "tsdb/querier.h"

namespace tidewright::remote {

// Without servers it is the local store, at no cost. A server that fails makes the query fail: what is missing must not
// be taken for little (Prometheus answers with what it has, and a warning). Where local store and a server have a
// sample at the same time, the local one counts. Thread-safe. Borrows all.
class Fanout : public tsdb::Queryable {
 public:
  // `local_start` is the time from which on the store holds everything, INT64_MAX while it holds nothing.
  Fanout(tsdb::Queryable& local, std::function<int64_t()> local_start, base::Clock& clock,
         base::MetricRegistry& metrics, scrape::HttpTransport::Factory make_client = {});

  void Apply(const std::vector<scrape::RemoteReadConfig>& configs, const tsdb::Labels& external_labels);

  base::Result<std::unique_ptr<tsdb::Querier>> NewQuerier(int64_t mint, int64_t maxt) override;
  std::map<std::string, tsdb::Metadata> AllMetadata() const override { return local_.AllMetadata(); }
  base::Result<std::vector<tsdb::SeriesExemplars>> SelectExemplars(int64_t start, int64_t end,
                                                                   std::span<const tsdb::Matchers> any) const override {
    return local_.SelectExemplars(start, end, any);
  }
  uint64_t SeriesEpoch() const override;

 private:
  using Clients = std::vector<std::shared_ptr<const ReadClient>>;
  Clients clients() const;

  tsdb::Queryable& local_;
  const std::function<int64_t()> local_start_;
  base::Clock& clock_;
  base::MetricRegistry& metrics_;
  const scrape::HttpTransport::Factory make_client_;
  mutable base::Mutex mu_;
  Clients clients_ GUARDED_BY(mu_);
};

}  // namespace tidewright::remote
