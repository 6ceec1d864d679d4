// The first line is an Accept header, the rest a path.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "apiservice/negotiation.h"
#include "apiservice/route.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidewright::apiservice;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t line = text.find('\n');
  std::string_view path = line == std::string_view::npos ? text : text.substr(line + 1);
  (void)Negotiate(std::string(text.substr(0, line)), Form::kTable);
  (void)ParseRoute(path);
  (void)AttributesOf("GET", path);
  return 0;
}
