// Request: a batch, ready to be sent in either version of the protocol.
#pragma once

#include <cstdint>
#include <string>

#include "remote/outgoing_labels.h"
#include "remote/window.h"
#include "remote/write_message.h"
#include "tsdb/log_tail.h"

namespace tidewright::remote {

// How much a request carries.
struct RequestCounts {
  size_t samples = 0;
  size_t histograms = 0;
  size_t exemplars = 0;
  size_t metadata = 0;
};

struct Request {
  std::string body;
  RequestCounts counts;
  int64_t newest_ms = 0;
  bool version2 = false;
};

// Sorts the batch by series, in the order of the log within each.
Request MakeRequest(Batch* batch, bool version2, const MetadataByFamily& metadata, const tsdb::LogTail& tail,
                    OutgoingLabels* labels);

}  // namespace tidewright::remote
