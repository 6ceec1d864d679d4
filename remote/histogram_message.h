// prometheus.Histogram, the message that remote read and remote write carry native histograms in.
// Source: Prometheus' prompb/types.proto.
#pragma once

#include <cstdint>
#include <string>

#include "tsdb/histogram.h"

namespace tidewright::remote {

std::string HistogramMessage(const tsdb::Histogram& histogram, int64_t t);
std::string HistogramMessage(const tsdb::FloatHistogram& histogram, int64_t t);

}  // namespace tidewright::remote
