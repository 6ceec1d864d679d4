// Rule files that Prometheus accepts, with what it reads from them, and those that it refuses.
#include <gtest/gtest.h>

#include "base/duration.h"
#include "base/strings.h"
#include "rules/rule_file.h"
#include "tests/rules/data.h"

namespace tidewright::rules {
namespace {

// Where this parser decides otherwise than the recorded one, on purpose or for now.
std::string Difference(const std::string& name) {
  static const std::map<std::string, std::string> kDifferences = {
      {"rule null", "an empty list entry is an error here; there it is a rule that vanishes"},
  };
  auto it = kDifferences.find(name);
  return it == kDifferences.end() ? "" : it->second;
}

void CompareGroups(const base::Json& expected, const std::vector<GroupSpec>& groups) {
  ASSERT_EQ(groups.size(), expected.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    const base::Json& group = expected[g];
    EXPECT_EQ(groups[g].name, group["name"].get<std::string>());
    EXPECT_EQ(base::FormatDuration({groups[g].interval_ms}), group.value("interval", "0s"));
    base::Json rules = group.value("rules", base::Json::array());
    ASSERT_EQ(groups[g].rules.size(), rules.size());
    for (size_t r = 0; r < rules.size(); ++r) {
      const RuleSpec& rule = groups[g].rules[r];
      EXPECT_EQ(rule.name, rules[r].value(rule.kind == RuleKind::kAlerting ? "alert" : "record", ""));
      EXPECT_EQ(rule.expr, rules[r].value("expr", ""));
      EXPECT_EQ(base::FormatDuration({rule.for_ms}), rules[r].value("for", "0s"));
      EXPECT_EQ(base::FormatDuration({rule.keep_firing_for_ms}), rules[r].value("keep_firing_for", "0s"));
      base::Json labels = group.value("labels", base::Json::object());
      labels.update(rules[r].value("labels", base::Json::object()));
      EXPECT_EQ(base::Json(rule.labels), labels);
      EXPECT_EQ(base::Json(rule.annotations), rules[r].value("annotations", base::Json::object()));
    }
  }
}

TEST(RuleConformance, RuleFiles) {
  base::Json cases = testing::LoadCases("rule-files.json");
  if (cases.is_null()) GTEST_SKIP() << "no conformance data; set CONFORMANCE_DIR";
  int accepted = 0, refused = 0, different = 0;
  for (const base::Json& test : cases) {
    const std::string name = test["name"];
    SCOPED_TRACE(name);
    if (!Difference(name).empty()) {
      printf("  decided otherwise: %s: %s\n", name.c_str(), Difference(name).c_str());
      ++different;
      continue;
    }
    const base::Json& expect = test["expect"];
    bool legacy = test["name_validation_scheme"] == "legacy";
    std::string yaml = test.value("yaml", "");
    if (test.contains("yaml_b64")) {
      ASSERT_TRUE(base::Base64Decode(test["yaml_b64"].get<std::string>(), &yaml));
    }
    auto parsed = ParseRuleFile(yaml, "f.yml", {.legacy_names = legacy});
    EXPECT_EQ(parsed.ok(), expect["ok"].get<bool>()) << parsed.status().message() << "\n" << yaml;
    if (!parsed.ok()) {
      ++refused;
      continue;
    }
    ++accepted;
    if (expect["ok"]) CompareGroups(expect.value("groups", base::Json::array()), *parsed);
  }
  EXPECT_EQ(static_cast<size_t>(accepted + refused + different), cases.size());
  printf("rule-files.json: %zu cases: %d accepted and %d refused as recorded, %d decided otherwise\n", cases.size(),
         accepted, refused, different);
}

}  // namespace
}  // namespace tidewright::rules
