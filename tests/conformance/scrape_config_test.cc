// Verdicts on configuration files against Prometheus 3.14.
#include <gtest/gtest.h>

#include <iostream>

#include "scrape/config.h"
#include "tests/conformance/scrape_data.h"

namespace tidewright::scrape {
namespace {

TEST(ScrapeConfigFiles, Verdicts) {
  base::Json cases = LoadCases("config/config.json");
  if (cases.is_null()) GTEST_SKIP() << "conformance data is not here";
  Tally tally("config verdicts");
  for (const auto& test : cases) {
    auto config = ParseConfig(TextOrBase64(test, "yaml"), "prometheus.yml");
    bool expected = test["expect"]["ok"];
    tally.Count(config.ok() == expected, test["name"],
                (config.ok() ? "accepted, but: " + test["expect"].value("error", "")
                             : config.status().message() + "\n" + TextOrBase64(test, "yaml")));
  }
  // Missing: "\\xff" in YAML text (3), 1.5 taken for the number 1, the YAML 1.1 truth value "yes", merge keys (<<).
  EXPECT_GE(tally.passed(), 396);
}

}  // namespace
}  // namespace tidewright::scrape
