#include "remote/endpoint_metrics.h"

#include <algorithm>

namespace tidewright::remote {

namespace {

const std::string kPrefix = "prometheus_remote_storage_";

}  // namespace

void EndpointMetrics::Counters::Add(const RequestCounts& counts) {
  samples.Add(static_cast<double>(counts.samples));
  histograms.Add(static_cast<double>(counts.histograms));
  exemplars.Add(static_cast<double>(counts.exemplars));
  metadata.Add(static_cast<double>(counts.metadata));
}

base::Counter& EndpointMetrics::Count(const std::string& name, const std::string& help,
                                      const base::MetricLabels& more) {
  base::MetricLabels labels = labels_;
  labels.insert(labels.begin(), more.begin(), more.end());
  names_.insert(kPrefix + name);
  return registry_.GetCounter(kPrefix + name, help, labels);
}

base::Gauge& EndpointMetrics::Set(const std::string& name, const std::string& help) {
  names_.insert(kPrefix + name);
  return registry_.GetGauge(kPrefix + name, help, labels_);
}

EndpointMetrics::Counters EndpointMetrics::All(const std::string& suffix, const std::string& what) {
  return {Count("samples" + suffix, "Samples that " + what), Count("histograms" + suffix, "Histograms that " + what),
          Count("exemplars" + suffix, "Exemplars that " + what),
          Count("metadata" + suffix, "Metadata entries that " + what)};
}

EndpointMetrics::Counters EndpointMetrics::Dropped(const std::string& reason) {
  const std::string what = " that were read from the log and not sent, by reason.";
  const base::MetricLabels more = {{"reason", reason}};
  return {Count("samples_dropped_total", "Samples" + what, more),
          Count("histograms_dropped_total", "Histograms" + what, more),
          Count("exemplars_dropped_total", "Exemplars" + what, more),
          Count("metadata_dropped_total", "Metadata entries" + what, more)};
}

EndpointMetrics::EndpointMetrics(const scrape::RemoteWriteConfig& config, const std::string& name,
                                 base::MetricRegistry& registry)
    : registry_(registry),
      labels_({{"remote_name", name}, {"url", config.url}}),
      sent_(All("_total", "the receiver has taken.")),
      failed_(All("_failed_total", "the receiver refused for good.")),
      retried_(All("_retried_total", "were sent again, because the answer said that this may help.")),
      dropped_(Dropped("dropped_series")),
      too_old_(Dropped("too_old")),
      unknown_(Dropped("unintentionally_dropped_series")),
      bytes_(Count("bytes_total", "Bytes of samples that the receiver has taken, compressed.")),
      metadata_bytes_(Count("metadata_bytes_total", "Bytes of metadata that the receiver has taken, compressed.")),
      duration_(registry.GetHistogram(kPrefix + "sent_batch_duration_seconds", "From a request to its answer.",
                                      {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300},
                                      labels_)),
      pending_(Set("samples_pending", "Samples that were read from the log and not taken yet.")),
      shards_(Set("shards", "Requests at a time.")),
      desired_shards_(Set("shards_desired", "Requests at a time that would keep up.")),
      newest_sent_(Set("queue_highest_sent_timestamp_seconds", "Time of the newest sample that was taken.")) {
  names_.insert(kPrefix + "sent_batch_duration_seconds");
  const auto samples_per_send = static_cast<double>(config.max_samples_per_send);
  Set("shards_min", "The configured minimum of shards.").Set(static_cast<double>(config.min_shards));
  Set("shards_max", "The configured maximum of shards.").Set(static_cast<double>(config.max_shards));
  Set("shard_capacity", "Samples of a shard in memory at a time.").Set(samples_per_send);
  Set("max_samples_per_send", "The configured maximum of samples in a request.").Set(samples_per_send);
}

EndpointMetrics::~EndpointMetrics() {
  for (const std::string& name : names_) registry_.Remove(name, labels_);
}

void EndpointMetrics::Sent(const Request& request) {
  sent_.Add(request.counts);
  (request.counts.metadata > 0 ? metadata_bytes_ : bytes_).Add(static_cast<double>(request.body.size()));
  newest_sent_.Set(std::max(newest_sent_.Value(), static_cast<double>(request.newest_ms) / 1000));
}

void EndpointMetrics::Failed(const Request& request) { failed_.Add(request.counts); }

void EndpointMetrics::Retried(const Request& request) { retried_.Add(request.counts); }

void EndpointMetrics::LeftOut(const Window::LeftOut& left_out) {
  const auto add = [](Counters& counters, const Window::LeftOut::Kinds& kinds) {
    counters.Add({kinds.samples, kinds.histograms, kinds.exemplars, 0});
  };
  add(dropped_, left_out.dropped);
  add(too_old_, left_out.too_old);
  add(unknown_, left_out.unknown);
}

void EndpointMetrics::SetShards(int64_t shards, double desired) {
  shards_.Set(static_cast<double>(shards));
  desired_shards_.Set(desired);
}

}  // namespace tidewright::remote
