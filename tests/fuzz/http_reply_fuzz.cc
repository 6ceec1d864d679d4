// Anything a server may send as a reply: no crash, no hang, a body within its limit, and the same outcome however the
// bytes are cut into pieces.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/reply_reader.h"

namespace base = tidewright::base;
namespace http = tidewright::http;

namespace {

constexpr size_t kMaxBody = 4096;

struct Outcome {
  base::Code code = base::Code::kOk;
  bool done = false;
  http::Response response;
};

Outcome ReadInPieces(std::string_view bytes, size_t piece) {
  http::ReplyReader::Options options;
  options.max_body_bytes = kMaxBody;
  options.buffer = [] { return std::string(100, 'x'); };
  http::ReplyReader reader(std::move(options));
  base::Status status;
  while (!bytes.empty() && status.ok() && !reader.done()) {
    status = reader.Feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  if (status.ok() && !reader.done()) status = reader.End();
  Outcome outcome{status.code(), reader.done(), {}};
  if (status.ok()) outcome.response = reader.TakeResponse();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = ReadInPieces(bytes, size), cut = ReadInPieces(bytes, 1 + data[0] % 64);
  if (whole.response.body.size() > kMaxBody || whole.done != (whole.code == base::Code::kOk)) abort();
  if (whole.code != cut.code || whole.response.status != cut.response.status) abort();
  if (whole.response.body != cut.response.body || whole.response.headers.size() != cut.response.headers.size()) abort();
  return 0;
}
