#include "tsdb/labels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <set>

namespace tidewright::tsdb {
namespace {

TEST(Labels, AreSortedUniqueAndNotEmpty) {
  Labels labels = Labels::FromPairs({{"z", "1"}, {"a", "first"}, {"empty", ""}, {"a", "last"}});
  EXPECT_EQ(labels, Labels::Of({{"a", "last"}, {"z", "1"}}));
  EXPECT_EQ(labels.size(), 2u);
  EXPECT_EQ(labels.Get("z"), "1");
  EXPECT_EQ(labels.Get("empty"), "");
  EXPECT_FALSE(labels.Has("empty"));
  EXPECT_TRUE(Labels::Of({{"a", "value"}, {"a", ""}}).empty());
}

TEST(Labels, PrintAsPromQl) {
  struct Row {
    Labels labels;
    std::string text;
  };
  const Row rows[] = {
      {Labels(), "{}"},
      {Labels::Of({{"__name__", "up"}}), "up"},
      {Labels::Of({{"__name__", "up"}, {"job", "node"}, {"a", "b"}}), "up{a=\"b\", job=\"node\"}"},
      {Labels::Of({{"job", "node"}}), "{job=\"node\"}"},
      {Labels::Of({{"__name__", "http.requests"}, {"le-1", "x"}}), "{\"http.requests\", \"le-1\"=\"x\"}"},
      {Labels::Of({{"a", "say \"hi\"\\\n\t\x01"}}), "{a=\"say \\\"hi\\\"\\\\\\n\\t\\x01\"}"},
      {Labels::Of({{"a", "\xc3\xa9"}}), "{a=\"\xc3\xa9\"}"},
  };
  for (const Row& row : rows) EXPECT_EQ(row.labels.ToString(), row.text);
}

TEST(Labels, HashTellsApartWhatLooksAlike) {
  EXPECT_EQ(Labels::Of({{"a", "b"}}).Hash(), Labels::Of({{"a", "b"}}).Hash());
  // Fixed: it selects the offset of rule groups, which must survive a restart.
  std::set<uint64_t> hashes;
  for (const Labels& labels : {Labels(), Labels::Of({{"a", "bc"}}), Labels::Of({{"ab", "c"}}),
                               Labels::Of({{"a", "b"}, {"c", "d"}}), Labels::Of({{"a", "bcd"}})}) {
    hashes.insert(labels.Hash());
  }
  EXPECT_EQ(hashes.size(), 5u);
  int flipped = 0, pairs = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string pod = "pod-" + std::to_string(i);
    uint64_t hash = Labels::Of({{"__name__", "m"}, {"pod", pod}}).Hash();
    hashes.insert(hash);
    pod.back() ^= 1;
    flipped += std::popcount(hash ^ Labels::Of({{"__name__", "m"}, {"pod", pod}}).Hash());
    ++pairs;
  }
  EXPECT_EQ(hashes.size(), 2005u);
  EXPECT_NEAR(static_cast<double>(flipped) / pairs, 32.0, 1.0) << "one input bit should change half of the hash";
}

TEST(LabelsBuilder, SetsReplacesAndRemoves) {
  LabelsBuilder builder(Labels::Of({{"b", "1"}, {"d", "2"}}));
  builder.Set("a", "x").Set("c", "y").Set("d", "z").Set("b", "").Remove("absent");
  EXPECT_EQ(builder.Get("c"), "y");
  EXPECT_EQ(builder.Get("b"), "");
  EXPECT_EQ(builder.Build(), Labels::Of({{"a", "x"}, {"c", "y"}, {"d", "z"}}));
}

TEST(Nan, MarkersKeepTheirBits) {
  EXPECT_TRUE(IsStaleNan(StaleNan()));
  EXPECT_TRUE(std::isnan(StaleNan()));
  EXPECT_FALSE(IsStaleNan(NormalNan()));
  EXPECT_FALSE(IsStaleNan(std::nan("")));
  EXPECT_EQ(std::bit_cast<uint64_t>(NormalNan()), kNormalNanBits);
}

using Type = Matcher::Type;

TEST(Matcher, Matches) {
  struct Row {
    Type type;
    std::string expression;
    std::vector<std::string> yes;
    std::vector<std::string> no;
  };
  const Row rows[] = {
      {Type::kEqual, "a", {"a"}, {"", "b", "aa"}},
      {Type::kNotEqual, "a", {"", "b"}, {"a"}},
      {Type::kRegex, "a|b", {"a", "b"}, {"", "ab", "a|b"}},
      {Type::kRegex, "(a|b)", {"a", "b"}, {"", "(a"}},
      {Type::kRegex, "a|", {"a", ""}, {"b"}},
      {Type::kRegex, "a\\.b|c", {"a.b", "c"}, {"axb", "a\\.b"}},
      {Type::kRegex, ".*", {"", "x", "a\nb"}, {}},
      {Type::kRegex, ".+", {"x", "\n"}, {""}},
      {Type::kRegex, "web.*", {"web", "web-1", "web\n"}, {"we", "xweb"}},
      {Type::kRegex, "web.+", {"web-1"}, {"web"}},
      {Type::kRegex, "web-?[0-9]", {"web1", "web-2"}, {"web", "web-22"}},
      {Type::kRegex, "ab*c", {"ac", "abc", "abbc"}, {"ab", "bc"}},
      {Type::kRegex, "caf\xc3\xa9?", {"caf", "caf\xc3\xa9"}, {"ca"}},
      {Type::kRegex, "a.c", {"abc", "a\nc"}, {"ac"}},
      {Type::kRegex, "foo|ba.", {"foo", "bar"}, {"ba", "fooo"}},
      {Type::kRegex, "(?i)ready", {"Ready", "READY"}, {"unready"}},
      {Type::kRegex, "[a-z]+", {"abc"}, {"abc1", ""}},
      {Type::kNotRegex, "a|b", {"", "c"}, {"a", "b"}},
      {Type::kNotRegex, ".+", {""}, {"a"}},
      {Type::kNotRegex, "web.*", {"", "x"}, {"web1"}},
  };
  for (const Row& row : rows) {
    auto matcher = Matcher::Create(row.type, "name", row.expression);
    ASSERT_TRUE(matcher.ok()) << matcher.status().ToString();
    for (const auto& value : row.yes) EXPECT_TRUE(matcher->Matches(value)) << matcher->ToString() << " / " << value;
    for (const auto& value : row.no) EXPECT_FALSE(matcher->Matches(value)) << matcher->ToString() << " / " << value;
  }
}

TEST(Matcher, RefusesInvalidExpressions) {
  for (const char* expression : {"(", "a)|(b", "*", "[z-a]", "a{2001}", "\\8"}) {
    auto matcher = Matcher::Create(Type::kRegex, "pod", expression);
    ASSERT_FALSE(matcher.ok()) << expression;
    EXPECT_EQ(matcher.status().code(), base::Code::kInvalidArgument);
    EXPECT_NE(matcher.status().message().find("pod=~"), std::string::npos) << matcher.status().message();
  }
}

TEST(Matcher, TellsAnIndexWhatItNeeds) {
  auto set = Matcher::Create(Type::kRegex, "a", "y|x|x");
  ASSERT_NE(set->Literals(), nullptr);
  EXPECT_EQ(*set->Literals(), (std::vector<std::string>{"x", "y"}));
  auto prefix = Matcher::Create(Type::kNotRegex, "a", "web-[0-9]+");
  EXPECT_EQ(prefix->Literals(), nullptr);
  EXPECT_EQ(prefix->Prefix(), "web-");
  EXPECT_EQ(Matcher::Create(Type::kRegex, "a", "(?i)web")->Prefix(), "");
  EXPECT_EQ(Matcher::Equal("a", "b").Literals(), nullptr);
  EXPECT_EQ(Matcher::Equal("a", "b").ToString(), "a=\"b\"");
  EXPECT_EQ(prefix->ToString(), "a!~\"web-[0-9]+\"");
}

}  // namespace
}  // namespace tidewright::tsdb
