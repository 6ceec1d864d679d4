// Remote read requests: prometheus.ReadRequest in the protocol buffers wire format.
// Source: Prometheus' prompb/remote.proto.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/labels.h"

namespace tidewright::web {

struct ReadQuery {
  int64_t start_ms = 0;
  int64_t end_ms = 0;  // Inclusive.
  tsdb::Matchers matchers;
};

enum class ReadFormat { kSamples, kStreamedChunks };

struct ReadRequest {
  std::vector<ReadQuery> queries;
  ReadFormat format = ReadFormat::kSamples;
};

// What is wrong with a request, in the terms of the answer: a message that is damaged, or asks for formats of which we
// know none, is the client's fault; so is a regular expression that is none, for which Prometheus answers 500.
struct ReadRequestError {
  int http_status = 400;
  base::Status status;
};

// A request has at most a thousand queries with a thousand matchers each. False fills `error`.
bool ParseReadRequest(std::string_view bytes, ReadRequest* request, ReadRequestError* error);

}  // namespace tidewright::web
