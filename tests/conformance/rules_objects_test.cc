// PrometheusRule objects and the rule files that prometheus-operator makes of them, or why it refuses them.
#include <gtest/gtest.h>

#include "base/duration.h"
#include "rules/rule_object.h"
#include "tests/rules/data.h"

namespace tidewright::rules {
namespace {

using base::Json;

// Why a case is decided otherwise; "" for all others.
std::string Difference(const Json& test) {
  if (test.contains("enforced_namespace_label"))
    return "a label that is enforced per namespace is a setting we do not have";
  if (test["name"] == "duration expression") return "such expressions are on, as they are in rule files";
  if (test["name"] == "empty keep_firing_for")
    return "an empty duration counts as not given, as it does for the others";
  return "";
}

// Text members may be numbers, and an empty duration is as good as none.
std::string TextOf(const Json& object, const char* key, const std::string& otherwise) {
  auto it = object.find(key);
  if (it == object.end() || *it == "") return otherwise;
  return it->is_string() ? it->get<std::string>() : it->dump();
}

void CompareRule(const Json& expected, const Json& group_labels, const RuleSpec& rule) {
  EXPECT_EQ(rule.name, TextOf(expected, rule.kind == RuleKind::kAlerting ? "alert" : "record", ""));
  EXPECT_EQ(rule.expr, TextOf(expected, "expr", ""));
  EXPECT_EQ(base::FormatDuration({rule.for_ms}), TextOf(expected, "for", "0s"));
  EXPECT_EQ(base::FormatDuration({rule.keep_firing_for_ms}), TextOf(expected, "keep_firing_for", "0s"));
  Json labels = group_labels;
  labels.update(expected.value("labels", Json::object()));
  EXPECT_EQ(Json(rule.labels), labels);
  EXPECT_EQ(Json(rule.annotations), expected.value("annotations", Json::object()));
}

TEST(RuleConformance, Objects) {
  const Json file = testing::LoadFile("../prometheus-operator/prometheus-rules.json");
  if (file.is_null()) GTEST_SKIP() << "no conformance data; set CONFORMANCE_DIR";
  int accepted = 0, refused = 0, different = 0;
  for (const Json& test : file["cases"]) {
    SCOPED_TRACE(test["name"].get<std::string>());
    if (const std::string reason = Difference(test); !reason.empty()) {
      printf("  decided otherwise: %s: %s\n", test["name"].get<std::string>().c_str(), reason.c_str());
      ++different;
      continue;
    }
    Json object = test["object"];
    if (test["name"] == "too large") {
      object["spec"]["groups"][0]["rules"][0]["annotations"]["x"] = std::string(600'000, 'y');
    }
    auto groups = ReadRuleObject(object);
    const bool wanted = test["expect"].contains("rule_file");
    EXPECT_EQ(groups.ok(), wanted) << groups.status().ToString();
    (groups.ok() ? accepted : refused) += 1;
    if (!groups.ok() || !wanted) continue;
    const Json expected = test["expect"]["rule_file"].value("groups", Json::array());
    ASSERT_EQ(groups->size(), expected.size());
    for (size_t g = 0; g < groups->size(); ++g) {
      const GroupSpec& group = (*groups)[g];
      EXPECT_EQ(group.name, expected[g]["name"].get<std::string>());
      EXPECT_EQ(base::FormatDuration({group.interval_ms}), TextOf(expected[g], "interval", "0s"));
      EXPECT_EQ(group.limit, expected[g].value("limit", int64_t{0}));
      const Json rules = expected[g].value("rules", Json::array());
      ASSERT_EQ(group.rules.size(), rules.size());
      const Json labels = expected[g].value("labels", Json::object());
      for (size_t r = 0; r < rules.size(); ++r) CompareRule(rules[r], labels, group.rules[r]);
    }
  }
  printf("prometheus-rules.json: %zu cases: %d accepted and %d refused as recorded, %d decided otherwise\n",
         file["cases"].size(), accepted, refused, different);
}

}  // namespace
}  // namespace tidewright::rules
