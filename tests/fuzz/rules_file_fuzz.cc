// A rule file of any bytes.
#include <cstdint>
#include <string_view>

#include "rules/rule_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)tidewright::rules::ParseRuleFile(text, "fuzz.yml");
  return 0;
}
