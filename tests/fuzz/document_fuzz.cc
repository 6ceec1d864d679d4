// Documents: YAML and JSON of any bytes must give a value or an error, within bounded time and memory.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/document.h"
#include "base/json.h"
#include "base/quantity.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto node = tidewright::base::ParseYaml(text, "fuzz"); node.ok()) (void)tidewright::base::NodeToJson(*node);
  if (auto json = tidewright::base::ParseJson(text); json.ok()) (void)tidewright::base::NodeFromJson(*json);
  if (auto quantity = tidewright::base::Quantity::Parse(text); quantity.ok()) (void)quantity->ToString();
  (void)tidewright::base::ParseDuration(text);
  (void)tidewright::base::ParseGoDuration(text);
  (void)tidewright::base::ParseTime(text);
  return 0;
}
