// Anything an external scaler may send: the frames of gRPC, cut anywhere, and the messages within. No crash, no message
// beyond its limit, and the same ones however the bytes are cut.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "http/grpc.h"
#include "scaler/trigger/external_messages.h"

namespace base = tidewright::base;
namespace http = tidewright::http;
namespace trigger = tidewright::scaler::trigger;

namespace {

base::Code ReadInPieces(std::string_view bytes, size_t piece, std::vector<std::string>* messages) {
  http::GrpcFrames frames;
  base::Status status;
  while (!bytes.empty() && status.ok()) {
    status = frames.Add(bytes.substr(0, piece), [&](std::string_view message) { messages->emplace_back(message); });
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return status.code();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string> whole, cut;
  if (ReadInPieces(bytes, size, &whole) != ReadInPieces(bytes, 1 + data[0] % 64, &cut) || whole != cut) abort();
  whole.emplace_back(bytes);
  for (const std::string& message : whole) {
    (void)trigger::DecodeIsActive(message).ok();
    (void)trigger::DecodeMetrics(message).ok();
    auto metrics = trigger::DecodeMetricSpecs(message);
    if (!metrics.ok()) continue;
    if (metrics->empty() || metrics->size() > trigger::kMaxExternalMetrics) abort();
    for (const auto& metric : *metrics) {
      if (!(metric.target >= 0.001)) abort();
    }
  }
  return 0;
}
