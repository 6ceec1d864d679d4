// Protobuf bodies of the sandbox's API server: no bytes may crash or hang the decoder.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "sandbox/protobuf_body.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto decoded = tidewright::sandbox::DecodeProtobufBody(text);
  if (decoded.ok()) (void)tidewright::base::DumpJson(*decoded);
  // Most inputs lack the envelope: give them that of a Deployment, which has the deepest tables.
  std::string wrapped(
      "k8s\0\x0a\x15\x0a\x07"
      "apps/v1"
      "\x12\x0a"
      "Deployment",
      27);
  size_t length = text.size();
  wrapped += '\x12';
  for (; length >= 0x80; length >>= 7) wrapped += static_cast<char>(length | 0x80);
  wrapped += static_cast<char>(length);
  wrapped += text;
  (void)tidewright::sandbox::DecodeProtobufBody(wrapped);
  return 0;
}
