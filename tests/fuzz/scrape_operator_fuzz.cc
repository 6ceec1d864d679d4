// Monitoring objects: whatever passes as JSON is converted or refused, and what was converted can be decoded or is
// refused.
#include "base/json.h"
#include "scrape/operator_objects.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidewright;
  auto document = base::ParseJson(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!document.ok() || !document->is_object()) return 0;
  auto lookup = [](const std::string&, const std::string&, const std::string& name, const std::string&) {
    return name.empty() ? base::Result<std::string>(base::NotFoundError("no name")) : std::string("\xff\x00", 2);
  };
  const base::Json prometheus = document->value("prometheus", base::Json::object());
  scrape::OperatorConverter converter(prometheus, lookup);
  auto configs = converter.Convert(document->value("object", *document));
  if (configs.ok()) static_cast<void>(DecodeConverted(*configs, "fuzz", scrape::GlobalConfig(), nullptr).ok());
  static_cast<void>(scrape::InstanceDefaults(prometheus).ok());
  return 0;
}
