// What a server answers to a remote read: samples in one message, or frames of chunks.
// Source: Prometheus' prompb/remote.proto and its chunked reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::remote {

// One series of an answer, in order of time.
struct ReadSeries {
  tsdb::Labels labels;
  std::vector<tsdb::Sample> samples;  // Of a histogram: its time and sum.
  // As long as `samples` once there is a histogram, null where there is none.
  std::vector<std::unique_ptr<tsdb::FloatHistogram>> histograms;
};

struct ReadLimits {
  size_t samples = 50'000'000;    // Of all series together.
  size_t frame_bytes = 50 << 20;  // Of a frame of chunks.
};

// A prometheus.ReadResponse, decompressed, with one result; or a stream of prometheus.ChunkedReadResponse frames, which
// may name a series again and again, one after the other. Sorted by labels; samples outside of [mint, maxt] are left
// out. kDataLoss for bytes that are neither, kResourceExhausted for more than the limits.
base::Result<std::vector<ReadSeries>> ParseSampledReply(std::string_view bytes, int64_t mint, int64_t maxt,
                                                        const ReadLimits& limits);
base::Result<std::vector<ReadSeries>> ParseStreamedReply(std::string_view bytes, int64_t mint, int64_t maxt,
                                                         const ReadLimits& limits);

}  // namespace tidewright::remote
