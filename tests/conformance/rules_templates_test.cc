// Templates in labels and annotations, as Prometheus expands them.
#include <gtest/gtest.h>

#include <cmath>

#include "base/strings.h"
#include "rules/alert_template.h"
#include "tests/rules/data.h"

namespace tidewright::rules {
namespace {

using base::Json;

std::map<std::string, std::string> Strings(const Json& object) {
  return object.get<std::map<std::string, std::string>>();
}

double Number(const std::string& text) {
  double number = 0;
  EXPECT_TRUE(base::ParseDouble(text, &number)) << text;
  return number;
}

base::Result<promql::Vector> Recorded(const Json& queries, const std::string& expr) {
  if (!queries.contains(expr)) return base::InvalidArgumentError("no such query");
  promql::Vector vector;
  for (const Json& sample : queries[expr]) {
    std::vector<tsdb::Label> labels;
    for (const auto& [name, value] : sample["labels"].items()) labels.push_back({name, value});
    vector.push_back({tsdb::Labels::FromPairs(labels), {0, Number(sample["value"])}});
  }
  return vector;
}

// Why a case is decided otherwise; "" for all others.
std::string Difference(const Json& test) {
  const bool wraps = test["template"].get<std::string>().find("humanizeDuration") != std::string::npos &&
                     std::isfinite(Number(test["value"])) && std::fabs(Number(test["value"])) >= 0x1p63;
  return wraps ? "seconds beyond 64 bits are cut to the longest duration, where the recorded one turns negative" : "";
}

TEST(RuleConformance, Templates) {
  const Json file = testing::LoadFile("templates.json");
  if (file.is_null()) GTEST_SKIP() << "no conformance data; set CONFORMANCE_DIR";
  const Json& environment = file["environment"];
  const std::map<std::string, std::string> labels = Strings(environment["labels"]);
  const TemplateEnvironment given{
      .query = [&](const std::string& expr) { return Recorded(environment["queries"], expr); },
      .external_labels = Strings(environment["external_labels"]),
      .external_url = environment["external_url"],
      .now_ms = environment["now_ms"]};
  int expanded = 0, unparsed = 0, failed = 0, different = 0;
  for (const Json& test : file["cases"]) {
    const std::string text = test["template"];
    SCOPED_TRACE(test["id"].dump() + " " + text);
    if (const std::string reason = Difference(test); !reason.empty()) {
      printf("  decided otherwise: %s of %s: %s\n", text.c_str(), test["value"].get<std::string>().c_str(),
             reason.c_str());
      ++different;
      continue;
    }
    const Json& expect = test["expect"];
    auto parsed = AlertTemplate::Parse(text);
    EXPECT_EQ(parsed.ok(), !expect.contains("parse_error")) << parsed.status().ToString();
    unparsed += !parsed.ok();
    if (!parsed.ok()) continue;
    auto result = parsed->Expand(labels, base::TemplateValue::Float(Number(test["value"])), given);
    EXPECT_EQ(result.ok(), expect.contains("result")) << result.status().ToString();
    if (result.ok() && expect.contains("result")) {
      EXPECT_EQ(*result, expect["result"].get<std::string>());
    }
    (result.ok() ? expanded : failed) += 1;
  }
  printf("templates.json: %zu cases: %d expanded, %d refused, %d failed as recorded, %d decided otherwise\n",
         file["cases"].size(), expanded, unparsed, failed, different);
}

}  // namespace
}  // namespace tidewright::rules
