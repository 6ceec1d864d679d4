// Verdicts on configuration files against Prometheus 3.14.
#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <set>
#include <string>

#include "base/document.h"
#include "scrape/config.h"
#include "scrape/config_print.h"
#include "tests/conformance/scrape_data.h"

namespace tidewright::scrape {
namespace {

constexpr char kNotWhole[] = "1.5 is no whole number, where the reference takes 1";

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
  ExpectOnly(tally.failed(), {{"global sample_limit: 1.5", kNotWhole}});
}

// A document as one text that does not depend on the order of members or on quotes.
std::string Canonical(const base::Node& node) {
  if (node.kind == base::Node::Kind::kScalar) return "\"" + node.text + "\"";
  std::string out;
  if (node.kind == base::Node::Kind::kList) {
    for (const base::Node& item : node.items) out += Canonical(item) + ",";
    return "[" + out + "]";
  }
  std::map<std::string, std::string> members;
  for (const auto& [name, value] : node.members) members[name] = Canonical(value);
  for (const auto& [name, value] : members) out += name + ":" + value + ",";
  return "{" + out + "}";
}

TEST(ScrapeConfigFiles, AsTheyAreShown) {
  base::Json cases = LoadCases("config/config.json");
  if (cases.is_null()) GTEST_SKIP() << "conformance data is not here";
  Tally tally("config as it is shown");
  for (const auto& test : cases) {
    if (!test["expect"].contains("normalized")) continue;
    auto shown = PrintConfig(TextOrBase64(test, "yaml"), "prometheus.yml");
    auto actual = base::ParseYaml(shown.ok() ? *shown : "", "shown");
    auto expected = base::ParseYaml(test["expect"]["normalized"].get<std::string>(), "expected");
    const bool passed = shown.ok() && actual.ok() && expected.ok() && Canonical(*actual) == Canonical(*expected);
    tally.Count(
        passed, test["name"],
        shown.ok() ? *shown + "\n  not\n" + test["expect"]["normalized"].get<std::string>() : shown.status().message());
  }
  ExpectOnly(tally.failed(), {{"global sample_limit: 1.5", kNotWhole},
                              {"null document", "it is an empty configuration, of which the defaults are shown"}});
}

}  // namespace
}  // namespace tidewright::scrape
