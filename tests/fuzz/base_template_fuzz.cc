// Parses any bytes as a template and renders what parses.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/go_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using tidewright::base::GoTemplate;
  using V = tidewright::base::TemplateValue;
  static const V kData = V::Record({{"Series", V::String("http_requests_total")},
                                    {"LabelMatchers", V::String("pod=~\"a|b\"")},
                                    {"LabelValuesByName", V::FromMap({{"pod", V::String("a|b")}})},
                                    {"GroupBy", V::String("pod")},
                                    {"GroupBySlice", V::Strings({"pod", "le"})}});
  auto parsed = GoTemplate::Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (parsed.ok()) (void)parsed->Execute(kData);
  return 0;
}
