// Remote read: POST /api/v1/read, for a Prometheus (or a Thanos sidecar) that queries what is stored here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "http/message.h"
#include "http/server.h"
#include "tsdb/labels.h"
#include "tsdb/querier.h"
#include "web/read_request.h"

namespace tidewright::web {

// Answers with samples (one snappy block with a prometheus.ReadResponse) or with chunks (frames of
// prometheus.ChunkedReadResponse: length, CRC-32C, message), whichever the request names first. Series are sorted by
// labels, external labels added to them; a matcher that asks for the value of an external label is satisfied by it.
// Native histograms come as float histograms, integer ones too. Chunks begin and end within the time range.
//
// A reply with more than ten million samples, or 256 MiB of chunks, is refused with 400: it is made as a whole before
// it is sent. Stateless; thread-safe. Borrows the store. Source: Prometheus' "Remote Read API", and what 3.14 answers.
class RemoteRead {
 public:
  static constexpr size_t kMaxSamples = 10'000'000;
  static constexpr size_t kMaxChunkBytes = 256u << 20;
  static constexpr size_t kMaxFrameBytes = 1u << 20;  // Of chunks in one frame.

  using ExternalLabels = std::function<tsdb::Labels()>;
  RemoteRead(tsdb::Queryable& store, ExternalLabels external) : store_(store), external_(std::move(external)) {}

  http::Response Handle(const http::ServerRequest& request) const;

 private:
  base::Result<std::string> Samples(const ReadRequest& request) const;
  base::Result<std::string> Chunks(const ReadRequest& request) const;

  tsdb::Queryable& store_;
  const ExternalLabels external_;
};

}  // namespace tidewright::web
