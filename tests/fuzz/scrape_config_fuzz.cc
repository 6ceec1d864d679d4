// Configuration files, target files and Content-Type headers: no crash, no hang.
#include "scrape/config.h"
#include "scrape/exposition.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidewright::scrape;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(ParseConfig(text, "fuzz.yml").ok());
  static_cast<void>(ParseTargetFile(text, "targets.yml").ok());
  static_cast<void>(ChooseFormat(text, "").ok());
  return 0;
}
