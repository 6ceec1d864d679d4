// prometheus.Histogram, the message that remote read and remote write carry native histograms in.
// Source: Prometheus' prompb/types.proto.
#pragma once

#include <cstdint>
#include <string>

#include "tsdb/histogram.h"

namespace tidewright::web {

std::string HistogramMessage(const tsdb::FloatHistogram& histogram, int64_t t);

}  // namespace tidewright::web
