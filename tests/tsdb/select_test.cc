// Which series Select() finds, and how their samples are walked.
#include <gtest/gtest.h>

#include <random>

#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

using testing::ReadAll;
using testing::Store;
using testing::Write;
using Type = Matcher::Type;

Matcher M(const std::string& name, Type type, const std::string& value) { return *Matcher::Create(type, name, value); }

class Select : public ::testing::Test {
 protected:
  Select() {
    std::vector<testing::NewSample> samples;
    for (const Labels& labels : kSeries) samples.push_back({labels, 1000, 1});
    EXPECT_TRUE(Write(store_.db(), samples).ok());
  }

  const std::vector<Labels> kSeries = {
      Labels::Of({{"__name__", "up"}, {"job", "node"}, {"pod", "a-1"}}),
      Labels::Of({{"__name__", "up"}, {"job", "node"}, {"pod", "a-2"}}),
      Labels::Of({{"__name__", "up"}, {"job", "web"}, {"pod", "b-1"}}),
      Labels::Of({{"__name__", "up"}}),
      Labels::Of({{"__name__", "load"}, {"pod", "b-1"}, {"zone", "x"}}),
  };
  Store store_;
};

TEST_F(Select, FindsByMatchers) {
  struct Row {
    std::string name;
    Matchers matchers;
  };
  const Row rows[] = {
      {"nothing asked", {}},
      {"equal", {M("job", Type::kEqual, "node")}},
      {"equal, absent value", {M("job", Type::kEqual, "none")}},
      {"equal, absent name", {M("none", Type::kEqual, "x")}},
      {"equal to empty", {M("job", Type::kEqual, "")}},
      {"equal to empty, absent name", {M("none", Type::kEqual, "")}},
      {"not equal", {M("job", Type::kNotEqual, "node")}},
      {"not equal to empty", {M("job", Type::kNotEqual, "")}},
      {"not equal, absent name", {M("none", Type::kNotEqual, "x")}},
      {"regex set", {M("pod", Type::kRegex, "a-1|b-1|c")}},
      {"regex set with empty", {M("pod", Type::kRegex, "a-1|")}},
      {"regex prefix", {M("pod", Type::kRegex, "a-.*")}},
      {"regex", {M("pod", Type::kRegex, ".-1")}},
      {"regex that matches empty", {M("pod", Type::kRegex, "(a-1)?")}},
      {"regex anything", {M("pod", Type::kRegex, ".*")}},
      {"regex something", {M("pod", Type::kRegex, ".+")}},
      {"not regex", {M("pod", Type::kNotRegex, "a-.*")}},
      {"not regex set", {M("pod", Type::kNotRegex, "a-1|b-1")}},
      {"not regex set with empty", {M("pod", Type::kNotRegex, "|a-1")}},
      {"not regex something", {M("pod", Type::kNotRegex, ".+")}},
      {"not regex anything", {M("pod", Type::kNotRegex, ".*")}},
      {"two that intersect", {M("__name__", Type::kEqual, "up"), M("pod", Type::kEqual, "b-1")}},
      {"equal and regex", {M("__name__", Type::kEqual, "up"), M("pod", Type::kRegex, "a.*")}},
      {"equal and empty", {M("__name__", Type::kEqual, "up"), M("zone", Type::kEqual, "")}},
      {"one candidate, many values", {M("zone", Type::kEqual, "x"), M("pod", Type::kRegex, "b.+")}},
      {"one candidate, refused by its label", {M("zone", Type::kEqual, "x"), M("pod", Type::kNotRegex, "b.+")}},
      {"the same name twice", {M("pod", Type::kNotEqual, ""), M("pod", Type::kNotEqual, "a-1")}},
      {"contradiction", {M("pod", Type::kEqual, "a-1"), M("pod", Type::kEqual, "a-2")}},
  };
  for (const Row& row : rows) {
    // The definition: every matcher holds, an absent label being "".
    std::vector<Labels> expected;
    for (const Labels& labels : kSeries) {
      bool all = true;
      for (const Matcher& matcher : row.matchers) all = all && matcher.Matches(labels.Get(matcher.name()));
      if (all) expected.push_back(labels);
    }
    std::sort(expected.begin(), expected.end());
    auto querier = *store_.db().NewQuerier(0, 5000);
    auto selected = querier->Select({}, row.matchers);
    ASSERT_TRUE(selected.ok());
    std::vector<Labels> found;
    for (const auto& series : *selected) found.push_back(series->labels());
    EXPECT_EQ(found, expected) << row.name;
  }
}

TEST_F(Select, LabelsOfWhatMatches) {
  auto querier = *store_.db().NewQuerier(0, 5000);
  using Strings = std::vector<std::string>;
  EXPECT_EQ(*querier->LabelNames({}), (Strings{"__name__", "job", "pod", "zone"}));
  EXPECT_EQ(*querier->LabelNames({M("__name__", Type::kEqual, "load")}), (Strings{"__name__", "pod", "zone"}));
  EXPECT_EQ(*querier->LabelValues("pod", {}), (Strings{"a-1", "a-2", "b-1"}));
  EXPECT_EQ(*querier->LabelValues("pod", {M("job", Type::kEqual, "web")}), (Strings{"b-1"}));
  EXPECT_EQ(*querier->LabelValues("zone", {M("job", Type::kEqual, "web")}), Strings{});
  EXPECT_EQ(*querier->LabelValues("none", {}), Strings{});
}

TEST_F(Select, OnlyTheTimeRange) {
  EXPECT_EQ(ReadAll(store_.db(), 1000, 1000).size(), 5u);
  EXPECT_EQ(ReadAll(store_.db(), 0, 999).size(), 0u);
  EXPECT_EQ(ReadAll(store_.db(), 1001, 5000).size(), 0u);
}

TEST(Iterate, NextAndSeekAgreeWithAPlainList) {
  Store store;
  const Labels labels = Labels::Of({{"a", "b"}});
  std::mt19937 random(7);
  std::vector<int64_t> times;
  auto appender = store.db().NewAppender();
  int64_t t = 100;
  for (int i = 0; i < 1500; ++i) {
    t += 1 + random() % 60'000;
    times.push_back(t);
    ASSERT_TRUE(appender->Append(0, labels, t, i).ok());
  }
  ASSERT_TRUE(appender->Commit().ok());
  for (int round = 0; round < 300; ++round) {
    int64_t mint = random() % t, maxt = mint + random() % t;
    auto querier = *store.db().NewQuerier(mint, maxt);
    auto selected = querier->Select({}, {Matcher::Equal("a", "b")});
    ASSERT_TRUE(selected.ok());
    auto at = std::lower_bound(times.begin(), times.end(), mint);
    auto end = std::upper_bound(times.begin(), times.end(), maxt);
    if (selected->empty()) {
      EXPECT_EQ(at, end);
      continue;
    }
    auto it = selected->front()->Iterator();
    bool started = false;
    while (true) {
      bool more;
      if (random() % 2 == 0) {
        more = it->Next();
        if (started && at != end) ++at;
      } else {
        int64_t goal = mint + static_cast<int64_t>(random() % (2'000'000)) + (at != end ? *at - mint - 500'000 : 0);
        more = it->Seek(goal);
        at = std::max(at, std::lower_bound(times.begin(), times.end(), goal));
        at = std::min(at, end);
      }
      started = true;
      ASSERT_EQ(more, at != end) << round;
      if (!more) break;
      ASSERT_EQ(it->At().t, *at) << round;
    }
    EXPECT_FALSE(it->Next());
    EXPECT_FALSE(it->Seek(mint));
  }
}

// Sets that are found once and read through queriers to come, over blocks and the head.
class Sets : public ::testing::Test {
 protected:
  static constexpr int64_t kHourMs = testing::kHourMs;

  Sets() {
    const int64_t end = store_.clock().NowMs();
    // One series throughout, one that ended with the blocks, one that began with the head.
    for (int64_t t = end - 6 * kHourMs; t <= end; t += 60'000) {
      std::vector<testing::NewSample> samples = {{kThroughout, t, static_cast<double>(t % 1000)}};
      if (t < end - 5 * kHourMs) samples.push_back({kEnded, t, 1});
      if (t > end - kHourMs / 2) samples.push_back({kBegan, t, 2});
      EXPECT_TRUE(Write(store_.db(), samples).ok());
    }
    EXPECT_TRUE(store_.db().Maintain().ok());
    EXPECT_GT(store_.db().Stats().blocks, 0u);
  }

  // Every sample of a set, by the columns and by the iterator.
  static testing::Contents ContentsOf(Querier& querier, const SeriesSet& set) {
    testing::Contents contents;
    ColumnBuffer buffer;
    for (size_t i = 0; i < set.size(); ++i) {
      SampleColumns columns;
      EXPECT_TRUE(*querier.Columns(set, i, &buffer, &columns));
      std::vector<std::string> samples;
      auto iterator = *querier.Iterator(set, i);
      for (size_t k = 0; iterator->Next(); ++k) {
        EXPECT_EQ(columns.t[k], iterator->At().t);
        EXPECT_EQ(columns.v[k], iterator->At().v);
        samples.push_back(std::to_string(columns.t[k]));
      }
      EXPECT_EQ(samples.size(), columns.t.size());
      contents[set.labels(i).ToString()] = samples;
      for (const Label& label : set.labels(i)) EXPECT_EQ(set.Value(i, label.name), label.value);
      EXPECT_EQ(set.Value(i, "none"), "");
    }
    return contents;
  }
  testing::Contents Selected(int64_t mint, int64_t maxt) {
    testing::Contents contents;
    auto querier = *store_.db().NewQuerier(mint, maxt);
    const auto selected = querier->Select({}, kAll);
    for (const auto& series : *selected) {
      auto& samples = contents[series->labels().ToString()];
      for (auto it = series->Iterator(); it->Next();) samples.push_back(std::to_string(it->At().t));
    }
    return contents;
  }

  const Labels kThroughout = Labels::Of({{"__name__", "up"}, {"job", "a"}, {"pod", "1"}});
  const Labels kEnded = Labels::Of({{"__name__", "up"}, {"job", "a"}, {"pod", "2"}});
  const Labels kBegan = Labels::Of({{"__name__", "up"}, {"pod", "3"}});
  const Matchers kAll = {Matcher::Equal("__name__", "up")};
  Store store_;
};

TEST_F(Sets, AreReadThroughLaterQueriers) {
  const int64_t now = store_.clock().NowMs();
  SeriesSetPtr set;
  {
    auto querier = *store_.db().NewQuerier(now - 6 * kHourMs, now);
    set = *querier->Find({}, kAll);
    ASSERT_EQ(set->size(), 3u);
    EXPECT_TRUE(querier->Holds(*set));
    EXPECT_EQ(ContentsOf(*querier, *set), Selected(now - 6 * kHourMs, now));
  }
  ASSERT_TRUE(Write(store_.db(), {{kThroughout, now + 1, 5}}).ok());
  auto later = *store_.db().NewQuerier(now - 6 * kHourMs, now + 1);
  ASSERT_TRUE(later->Holds(*set));
  EXPECT_EQ(ContentsOf(*later, *set), Selected(now - 6 * kHourMs, now + 1));
}

TEST_F(Sets, EndWithWhatTheyAreOf) {
  const int64_t now = store_.clock().NowMs();
  auto whole = *store_.db().NewQuerier(now - 6 * kHourMs, now);
  auto head = *store_.db().NewQuerier(now - kHourMs, now);
  SeriesSetPtr of_whole = *whole->Find({}, kAll), of_head = *head->Find({}, kAll);
  EXPECT_FALSE(head->Holds(*of_whole)) << "it asks fewer blocks";
  EXPECT_FALSE(whole->Holds(*of_head));
  Store other;
  EXPECT_FALSE((*other.db().NewQuerier(now - kHourMs, now))->Holds(*of_head)) << "of another store";

  ASSERT_TRUE(Write(store_.db(), {{Labels::Of({{"__name__", "new"}}), now, 1}}).ok());
  EXPECT_TRUE((*store_.db().NewQuerier(now - kHourMs, now))->Holds(*of_head)) << "what is new does not match";
  EXPECT_TRUE((*store_.db().NewQuerier(now - 6 * kHourMs, now))->Holds(*of_whole));
  ASSERT_TRUE(Write(store_.db(), {{Labels::Of({{"__name__", "up"}, {"pod", "4"}}), now, 1}}).ok());
  EXPECT_FALSE((*store_.db().NewQuerier(now - kHourMs, now))->Holds(*of_head)) << "there is another series";
  auto again = *store_.db().NewQuerier(now - 6 * kHourMs, now);
  EXPECT_FALSE(again->Holds(*of_whole));
  of_whole = *again->Find({}, kAll);
  for (auto* querier : {&whole, &head, &again}) querier->reset();  // The head goes once nobody reads it.
  ASSERT_TRUE(store_.db().Delete(now - 6 * kHourMs, now - 5 * kHourMs, {Matcher::Equal("pod", "2")}).ok());
  EXPECT_FALSE((*store_.db().NewQuerier(now - 6 * kHourMs, now))->Holds(*of_whole)) << "the head went to blocks";
}

}  // namespace
}  // namespace tidewright::tsdb
