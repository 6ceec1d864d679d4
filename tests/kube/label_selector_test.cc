#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "kube/meta.h"

namespace tidewright::kube {
namespace {

using LabelMap = std::map<std::string, std::string>;

struct MatchCase {
  const char* name;
  const char* selector;
  LabelMap labels;
  bool want;
};

class SelectorMatchTest : public testing::TestWithParam<MatchCase> {};
TEST_P(SelectorMatchTest, Row) {
  auto selector = LabelSelector::Parse(GetParam().selector);
  ASSERT_TRUE(selector.ok()) << selector.status().ToString();
  EXPECT_EQ(selector->Matches(GetParam().labels), GetParam().want);
  // The printed form selects the same.
  auto again = LabelSelector::Parse(selector->ToString());
  ASSERT_TRUE(again.ok()) << selector->ToString();
  EXPECT_EQ(again->Matches(GetParam().labels), GetParam().want);
}
INSTANTIATE_TEST_SUITE_P(
    Table, SelectorMatchTest,
    testing::Values(MatchCase{"empty", "", {}, true}, MatchCase{"equals", "app=web", {{"app", "web"}}, true},
                    MatchCase{"double_equals", "app==web", {{"app", "db"}}, false},
                    MatchCase{"not_equal_absent", "app!=web", {}, true},
                    MatchCase{"in", "tier in (a, b)", {{"tier", "b"}}, true},
                    MatchCase{"notin", "tier notin (a,b)", {{"tier", "b"}}, false},
                    MatchCase{"notin_absent", "tier notin (a,b)", {}, true},
                    MatchCase{"exists", "app", {{"app", ""}}, true}, MatchCase{"absent", "!app", {{"app", "x"}}, false},
                    MatchCase{"both", "app=web,tier=a", {{"app", "web"}, {"tier", "b"}}, false},
                    MatchCase{"greater", "n>5", {{"n", "7"}}, true},
                    MatchCase{"greater_text", "n>5", {{"n", "x"}}, false},
                    MatchCase{"empty_value", "app=", {{"app", ""}}, true},
                    MatchCase{"prefixed_key", "app.kubernetes.io/name=x", {{"app.kubernetes.io/name", "x"}}, true}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(SelectorParseTest, ErrorsQuoteWhatIsWrong) {
  for (const char* wrong : {"app=web,", "=web", "app in a", "app in (a", "app ~ b", "n>x", "app=web tier=a", "!"}) {
    auto selector = LabelSelector::Parse(wrong);
    ASSERT_FALSE(selector.ok()) << wrong;
    EXPECT_THAT(selector.status().message(), testing::HasSubstr("label selector"));
  }
}

TEST(SelectorJsonTest, ReadsLabelsAndExpressions) {
  auto selector = LabelSelector::FromJson(base::Json::parse(
      R"({"matchLabels":{"app":"web"},"matchExpressions":[{"key":"tier","operator":"NotIn","values":["x"]}]})"));
  ASSERT_TRUE(selector.ok());
  EXPECT_EQ(selector->ToString(), "app=web,tier notin (x)");
  for (const char* wrong : {R"({"matchExpressions":[{"key":"a","operator":"Like","values":["x"]}]})",
                            R"({"matchExpressions":[{"key":"a","operator":"In"}]})", R"({"matchLabels":{"a":5}})"}) {
    EXPECT_FALSE(LabelSelector::FromJson(base::Json::parse(wrong)).ok()) << wrong;
  }
}

}  // namespace
}  // namespace tidewright::kube
