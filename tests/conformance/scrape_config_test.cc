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
  // Missing: "\\xff" in YAML text, which is U+00FF here and no valid text there (3); the YAML 1.1 truth value "yes".
  // Decided otherwise: 1.5 is no whole number, rather than 1.
  EXPECT_EQ(tally.passed(), tally.total() - 5);
}

}  // namespace
}  // namespace tidewright::scrape
