// Reads any bytes as a rules file, and as a MetricRule; applies the rules that come of it to a series and a request.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "adapter/config.h"
#include "adapter/metric_query.h"
#include "adapter/metric_rule.h"
#include "base/json.h"

namespace tidewright {
namespace {

void Apply(const adapter::Rule& rule) {
  (void)rule.AcceptsSeries("http_requests_total");
  if (rule.name) (void)rule.name->Apply("http_requests_total");
  (void)rule.resources.FromTemplate("kube_pod");
  (void)rule.resources.ToTemplateLabel("apps", "deployment");
  if (!rule.promql.empty()) return;
  adapter::MetricQuery query("http_requests_total");
  query.AddEqual("namespace", "shop");
  query.AddNames("pod", {"web-1", "web.2|"});
  query.GroupBy({"pod"});
  auto text = query.Render(rule.query);
  if (text.ok()) (void)adapter::WindowSeconds(*text);
}

void ReadAndApply(std::string_view text) {
  auto config = adapter::ParseConfig(text, "fuzz");
  if (config.ok()) {
    for (const auto& rule : config->rules) Apply(*rule);
    for (const auto& rule : config->external_rules) Apply(*rule);
  }
  if (auto object = base::ParseJson(text); object.ok()) {
    if (auto rule = adapter::DecodeMetricRule(*object); rule.ok()) Apply(**rule);
  }
}

}  // namespace
}  // namespace tidewright

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tidewright::ReadAndApply(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
