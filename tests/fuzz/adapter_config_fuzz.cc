// Reads any bytes as a rules file.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "adapter/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto config = tidewright::adapter::ParseConfig(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  if (!config.ok()) return 0;
  for (const auto& rule : config->rules) {
    (void)rule->AcceptsSeries("http_requests_total");
    if (rule->name) (void)rule->name->Apply("http_requests_total");
    (void)rule->resources.FromTemplate("kube_pod");
  }
  return 0;
}
