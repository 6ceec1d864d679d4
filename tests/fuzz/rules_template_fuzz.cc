// Any bytes as a template of an alert, expanded if they parse.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "rules/alert_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using tidewright::base::TemplateValue;
  using tidewright::rules::AlertTemplate;
  static const tidewright::rules::TemplateEnvironment kEnvironment{
      .query =
          [](const std::string&) {
            return tidewright::promql::Vector{{tidewright::tsdb::Labels::Of({{"a", "b"}}), {0, 1.5}}, {{}, {0, 2}}};
          },
      .external_labels = {{"cluster", "c"}},
      .external_url = "http://host:9090/path",
      .now_ms = 1'700'000'000'123};
  auto parsed = AlertTemplate::Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return 0;
  (void)parsed->Expand({{"instance", "a:80"}, {"job", "\xff"}}, TemplateValue::Float(-1e30), kEnvironment);
  return 0;
}
