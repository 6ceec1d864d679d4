// The file of --web.config.file: any text is a configuration or an error.
#include "web/web_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  auto config = tidewright::web::ParseWebConfig(text, "web.yml", "/nowhere");
  if (!config.ok() && config.status().message().empty()) __builtin_trap();
  return 0;
}
