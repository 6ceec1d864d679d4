// EndpointMetrics: what is shown of sending to one receiver, under the names that Prometheus uses, so that its alerts
// and dashboards for remote write serve as they are.
#pragma once

#include <set>
#include <string>

#include "base/metrics.h"
#include "remote/request.h"
#include "remote/window.h"
#include "scrape/remote_config.h"

namespace tidewright::remote {

// Thread-safe. Removes its metrics from the registry when it goes.
class EndpointMetrics {
 public:
  // `name` tells the endpoint from others with the same URL.
  EndpointMetrics(const scrape::RemoteWriteConfig& config, const std::string& name, base::MetricRegistry& registry);
  ~EndpointMetrics();
  EndpointMetrics(const EndpointMetrics&) = delete;
  EndpointMetrics& operator=(const EndpointMetrics&) = delete;

  void Sent(const Request& request);     // It was taken.
  void Failed(const Request& request);   // It was refused for good.
  void Retried(const Request& request);  // It is sent again.
  void LeftOut(const Window::LeftOut& left_out);
  void Took(double seconds) { duration_.Observe(seconds); }  // From a request to its answer.
  void SetPending(size_t samples) { pending_.Set(static_cast<double>(samples)); }
  void SetShards(int64_t shards, double desired);

 private:
  struct Counters {
    base::Counter& samples;
    base::Counter& histograms;
    base::Counter& exemplars;
    base::Counter& metadata;
    void Add(const RequestCounts& counts);
  };

  base::Counter& Count(const std::string& name, const std::string& help, const base::MetricLabels& more = {});
  base::Gauge& Set(const std::string& name, const std::string& help);
  Counters All(const std::string& suffix, const std::string& what);
  Counters Dropped(const std::string& reason);

  base::MetricRegistry& registry_;
  const base::MetricLabels labels_;
  std::set<std::string> names_;  // Of the families that it has a part in.
  Counters sent_;
  Counters failed_;
  Counters retried_;
  Counters dropped_;
  Counters too_old_;
  Counters unknown_;
  base::Counter& bytes_;
  base::Counter& metadata_bytes_;
  base::Histogram& duration_;
  base::Gauge& pending_;
  base::Gauge& shards_;
  base::Gauge& desired_shards_;
  base::Gauge& newest_sent_;
};

}  // namespace tidewright::remote
