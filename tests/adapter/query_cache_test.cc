#include "adapter/query_cache.h"

#include <gtest/gtest.h>

#include "tests/adapter/fake_engine.h"

namespace tidewright::adapter {
namespace {

class QueryCacheTest : public ::testing::Test {
 protected:
  // The query for a question, and how often one has been rendered.
  RenderedQueryPtr Get(QueryCache& cache, const std::string& key, const std::vector<std::string>& names = {},
                       bool spells = true) {
    auto list = std::make_shared<kube::NameList>(kube::NameList{names});
    auto query = cache.Get(key, rule_, list, spells, [&]() -> base::Result<std::string> {
      ++rendered_;
      return "sum(rate(x{key=\"" + key + "\"}[5m]))";
    });
    return query.ok() ? *query : nullptr;
  }

  testing::FakeEngine engine_;
  std::shared_ptr<const Rule> rule_ = std::make_shared<Rule>();
  int rendered_ = 0;
};

TEST_F(QueryCacheTest, RendersAgainOnlyWhatHasChanged) {
  QueryCache cache(engine_);
  RenderedQueryPtr first = Get(cache, "a", {"web-1"});
  EXPECT_EQ(first->window_s(), 300);
  EXPECT_EQ(Get(cache, "a", {"web-1"}), first);
  EXPECT_EQ(rendered_, 1);
  EXPECT_NE(Get(cache, "a", {"web-1", "web-2"}), first) << "another pod";
  EXPECT_EQ(rendered_, 2);
  rule_ = std::make_shared<Rule>();
  (void)Get(cache, "a", {"web-1", "web-2"});
  EXPECT_EQ(rendered_, 3) << "the rules were read again";
  EXPECT_EQ(cache.size(), 1u);
}

TEST_F(QueryCacheTest, AQueryWithoutNamesStaysWhateverTheNamesAre) {
  QueryCache cache(engine_);
  EXPECT_EQ(cache.NamesOf("a"), nullptr);
  RenderedQueryPtr first = Get(cache, "a", {"web-1"}, /*spells=*/false);
  EXPECT_EQ(Get(cache, "a", {"web-2"}, /*spells=*/false), first);
  EXPECT_EQ(rendered_, 1);
  EXPECT_EQ(cache.NamesOf("a")->names, std::vector<std::string>{"web-2"});
}

TEST_F(QueryCacheTest, KeepsWhatWasAskedForLast) {
  QueryCache cache(engine_, 10'000);  // For about six.
  for (int i = 0; i < 100; ++i) {
    (void)Get(cache, "often");
    (void)Get(cache, std::to_string(i));
  }
  EXPECT_EQ(rendered_, 101);
  EXPECT_GT(cache.size(), 2u);
  EXPECT_LT(cache.size(), 10u);
}

TEST_F(QueryCacheTest, WhatCannotBeRenderedIsNotKept) {
  QueryCache cache(engine_);
  auto failed =
      cache.Get("a", rule_, nullptr, false, [] { return base::Result<std::string>(base::InternalError("no")); });
  EXPECT_EQ(failed.status().message(), "no");
  EXPECT_EQ(cache.size(), 0u);
}

TEST_F(QueryCacheTest, AFailureNamesRuleAndQuery) {
  RenderedQuery query(engine_, "sum(x)");
  EXPECT_TRUE(query.Ask(0, [] { return "unused"; }).ok());
  engine_.instant_error = base::InvalidArgumentError("many-to-many");
  base::Status status = query.Ask(0, [] { return "rules[3]"; }).status();
  EXPECT_EQ(status.code(), base::Code::kInternal) << "not the requester's fault";
  EXPECT_EQ(status.message(), "rules[3]: the query \"sum(x)\" failed: many-to-many");
}

}  // namespace
}  // namespace tidewright::adapter
