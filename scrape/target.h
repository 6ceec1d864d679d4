// From what discovery delivers to what is scraped: labels, URL, timing, request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/duration.h"
#include "base/status.h"
#include "http/client.h"
#include "scrape/config.h"
#include "tsdb/labels.h"

namespace tidewright::scrape {

// One thing to scrape. Value type.
struct Target {
  tsdb::Labels labels;  // Those that its series get: names that do not start with "__".
  std::string url;      // Without credentials.
  base::Duration interval;
  base::Duration timeout;
  // The job's settings, or what the labels __scrape_native_histograms__ and so on say.
  bool native_histograms = false;
  bool always_classic_histograms = false;
  bool convert_classic_histograms = false;

  // Stable over restarts and machines: the same labels and URL give the same number.
  uint64_t Hash() const;
};

// What became of a discovered target: a Target, or none because relabelling dropped it (error OK) or because its labels
// make no sense (error).
struct TargetResult {
  tsdb::Labels discovered;  // Before relabelling, the defaults of the job included.
  std::optional<Target> target;
  size_t dropped_by = SIZE_MAX;  // The rule of relabel_configs that dropped it, if one did.
  base::Status error;
};

// Merges the labels of target and group, fills in the job's defaults, relabels, and checks. Thread-safe.
TargetResult BuildTarget(const ScrapeConfig& config, const tsdb::Labels& target, const tsdb::Labels& group);

// The request of one scrape, without authorization. Media types by configuration, in order of preference.
http::ClientRequest BuildRequest(const ScrapeConfig& config, const Target& target);

// The media type that a scrape protocol's name stands for ("PrometheusText0.0.4" -> "text/plain"), for ChooseFormat.
std::string ProtocolMediaType(const std::string& protocol);

// The first scrape at or after `now_ms` for a target: targets are spread evenly over their interval by hash, in
// absolute time, so that restarts keep the rhythm. They are due at the beginnings of slots, of which an interval has 40
// or, being at most 250 ms long, more: for targets that are due together the processor wakes up once.
int64_t FirstScrapeMs(const Target& target, int64_t now_ms);

// The time of the samples of a scrape that started at `start_ms` and was planned for `planned_ms`: the plan, if the
// start is within min(2 ms, interval / 100) of it, because evenly spaced timestamps compress better.
int64_t SampleTimeMs(int64_t start_ms, int64_t planned_ms, base::Duration interval);

}  // namespace tidewright::scrape
