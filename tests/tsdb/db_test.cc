#include "tsdb/db.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/tsdb/file_size_limit.h"
#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

using testing::Contents;
using testing::FileSizeLimit;
using testing::kHourMs;
using testing::ReadAll;
using testing::Store;
using testing::Write;

const Labels kUp = Labels::Of({{"__name__", "up"}, {"job", "node"}});
const Labels kDown = Labels::Of({{"__name__", "down"}});

// What each append of a sequence to one series answers, and what is left in the end.
TEST(Append, FollowsTheOrderRules) {
  struct Step {
    int64_t t;
    double v;
    base::Code code;
  };
  const Step steps[] = {
      {1000, 1, base::Code::kOk},
      {1000, 1, base::Code::kOk},             // Identical.
      {1000, 2, base::Code::kAlreadyExists},  // Same time, other value.
      {999, 1, base::Code::kOutOfRange},
      {1001, 1, base::Code::kOk},
      {-5, 1, base::Code::kOutOfRange},
      {2000, StaleNan(), base::Code::kOk},
      {2000, StaleNan(), base::Code::kOk},
      {2000, NormalNan(), base::Code::kAlreadyExists},  // NaNs are compared by their bits.
      {3000, 0.0, base::Code::kOk},
      {3000, -0.0, base::Code::kAlreadyExists},
  };
  for (bool one_batch : {true, false}) {
    base::FakeClock clock(5000);
    auto db = Db::Open("", {}, clock, nullptr);
    ASSERT_TRUE(db.ok());
    auto appender = (*db)->NewAppender();
    for (const Step& step : steps) {
      auto ref = appender->Append(0, kUp, step.t, step.v);
      EXPECT_EQ(ref.status().code(), step.code) << "t=" << step.t << " v=" << step.v << " one_batch=" << one_batch;
      if (!ref.ok()) {
        EXPECT_NE(ref.status().message().find(kUp.ToString()), std::string::npos);
      }
      if (one_batch) continue;
      ASSERT_TRUE(appender->Commit().ok());
      appender = (*db)->NewAppender();
    }
    ASSERT_TRUE(appender->Commit().ok());
    EXPECT_EQ(ReadAll(**db), (Contents{{"up{job=\"node\"}", {"1000=1", "1001=1", "2000=stale", "3000=0"}}}));
    EXPECT_EQ((*db)->Stats().samples_appended, 4u);
    EXPECT_EQ((*db)->Stats().min_time, 1000);
    EXPECT_EQ((*db)->Stats().max_time, 3000);
  }
}

TEST(Append, RefsNameSeriesUntilTheyAreForgotten) {
  Store store;
  auto appender = store.db().NewAppender();
  EXPECT_EQ(appender->Append(0, Labels(), 1, 1).status().code(), base::Code::kInvalidArgument);
  int64_t now = store.clock().NowMs();
  auto ref = appender->Append(0, kUp, now, 1);
  ASSERT_TRUE(ref.ok());
  EXPECT_EQ(*appender->Append(*ref, Labels(), now + 1, 2), *ref);
  EXPECT_EQ(*appender->Append(0, kUp, now + 2, 3), *ref);
  ASSERT_TRUE(appender->Commit().ok());

  // After the retention the series goes; its reference falls back on the labels.
  store.clock().Advance(30 * kHourMs);
  now = store.clock().NowMs();
  ASSERT_TRUE(Write(store.db(), {{kDown, now, 0}}).ok());
  ASSERT_TRUE(store.db().Maintain().ok());
  EXPECT_EQ(store.db().Stats().series, 1u);
  EXPECT_EQ(appender->Append(*ref, Labels(), now, 4).status().code(), base::Code::kInvalidArgument);
  auto again = appender->Append(*ref, kUp, now, 4);
  ASSERT_TRUE(again.ok());
  EXPECT_NE(*again, *ref);
  ASSERT_TRUE(appender->Commit().ok());
  EXPECT_EQ(ReadAll(store.db()),
            (Contents{{"down", {std::to_string(now) + "=0"}}, {"up{job=\"node\"}", {std::to_string(now) + "=4"}}}));
}

TEST(Append, SeriesLimitRefusesNewSeriesOnly) {
  Store store({.max_series = 1});
  auto appender = store.db().NewAppender();
  ASSERT_TRUE(appender->Append(0, kUp, 1, 1).ok());
  auto refused = appender->Append(0, kDown, 1, 1);
  EXPECT_EQ(refused.status().code(), base::Code::kResourceExhausted);
  EXPECT_NE(refused.status().message().find("series limit of 1"), std::string::npos);
  ASSERT_TRUE(appender->Append(0, kUp, 2, 1).ok());
  ASSERT_TRUE(appender->Commit().ok());
  EXPECT_EQ(ReadAll(store.db()), (Contents{{"up{job=\"node\"}", {"1=1", "2=1"}}}));
  EXPECT_NE(store.metrics().Render().find("samples_rejected_total{reason=\"series_limit\"} 1"), std::string::npos);
}

TEST(Append, RollbackLeavesNoTrace) {
  Store store;
  ASSERT_TRUE(Write(store.db(), {{kUp, 1, 1}}).ok());
  {
    auto appender = store.db().NewAppender();
    ASSERT_TRUE(appender->Append(0, kUp, 2, 2).ok());
    ASSERT_TRUE(appender->Append(0, kDown, 2, 2).ok());
    appender->UpdateMetadata("down", {MetricType::kGauge, "", "d"});
    appender->Rollback();
    ASSERT_TRUE(appender->Append(0, kUp, 1, 1).ok());
    ASSERT_TRUE(appender->Append(0, Labels::Of({{"only", "here"}}), 2, 2).ok());
  }
  EXPECT_EQ(ReadAll(store.db()), (Contents{{"up{job=\"node\"}", {"1=1"}}}));
  EXPECT_EQ(store.db().Stats().series, 1u);
  EXPECT_TRUE(store.db().AllMetadata().empty());
  auto querier = *store.db().NewQuerier(0, 10);
  EXPECT_EQ(*querier->LabelNames({}), (std::vector<std::string>{"__name__", "job"}));
  ASSERT_TRUE(Write(store.db(), {{kUp, 2, 7}}).ok()) << "what was rolled back does not count as newest";
}

TEST(Isolation, AQuerySeesTheBatchesBeforeIt) {
  Store store;
  ASSERT_TRUE(Write(store.db(), {{kUp, 1, 1}}).ok());
  auto first = *store.db().NewQuerier(0, 100);
  auto appender = store.db().NewAppender();
  ASSERT_TRUE(appender->Append(0, kUp, 2, 2).ok());
  ASSERT_TRUE(appender->Append(0, kDown, 2, 2).ok());
  auto second = *store.db().NewQuerier(0, 100);
  ASSERT_TRUE(appender->Commit().ok());
  auto third = *store.db().NewQuerier(0, 100);
  for (int64_t t = 3; t < 300; ++t) ASSERT_TRUE(Write(store.db(), {{kUp, t, 3}}).ok());

  auto seen = [](Querier& querier) {
    std::vector<size_t> counts;
    auto selected = querier.Select({}, {});
    for (const auto& series : *selected) {
      auto it = series->Iterator();
      size_t count = 0;
      while (it->Next()) ++count;
      counts.push_back(count);
    }
    return counts;
  };
  EXPECT_EQ(seen(*first), (std::vector<size_t>{1}));
  EXPECT_EQ(seen(*second), (std::vector<size_t>{1}));
  EXPECT_EQ(seen(*third), (std::vector<size_t>{1, 2}));
  EXPECT_EQ(seen(**store.db().NewQuerier(0, 1000)), (std::vector<size_t>{1, 299}));
}

TEST(Restart, KeepsSamplesMetadataAndRefs) {
  for (bool close : {true, false}) {
    Store store;
    auto appender = store.db().NewAppender();
    for (int64_t t = 1; t <= 500; ++t) ASSERT_TRUE(appender->Append(0, kUp, t * 15'000, static_cast<double>(t)).ok());
    ASSERT_TRUE(appender->Append(0, Labels::Of({{"__name__", "latency_bucket"}, {"le", "1"}}), 1, 1).ok());
    appender->UpdateMetadata("up", {MetricType::kGauge, "", "Whether it is up."});
    appender->UpdateMetadata("latency", {MetricType::kHistogram, "seconds", "How long."});
    appender->UpdateMetadata("unseen", {MetricType::kCounter, "", "No series yet."});
    ASSERT_TRUE(appender->Commit().ok());
    appender.reset();
    Contents before = ReadAll(store.db());
    EXPECT_EQ(before.at("up{job=\"node\"}").size(), 500u);
    EXPECT_EQ(store.db().AllMetadata().size(), 3u);
    if (close) {
      ASSERT_TRUE(store.db().Close().ok());
    }
    store.Reopen();
    EXPECT_EQ(ReadAll(store.db()), before);
    auto metadata = store.db().AllMetadata();
    EXPECT_EQ(metadata.size(), 2u);
    EXPECT_EQ(metadata["up"].help, "Whether it is up.");
    EXPECT_EQ(metadata["latency"].type, MetricType::kHistogram);
    EXPECT_EQ(metadata["latency"].unit, "seconds");
    EXPECT_EQ(Write(store.db(), {{kUp, 500 * 15'000, 1}}).code(), base::Code::kAlreadyExists);
    ASSERT_TRUE(Write(store.db(), {{kUp, 501 * 15'000, 1}}).ok());
    store.Reopen();
    EXPECT_EQ(ReadAll(store.db()).at("up{job=\"node\"}").size(), 501u);
  }
}

TEST(Restart, ClosedMeansNoMoreCommits) {
  Store store;
  auto appender = store.db().NewAppender();
  ASSERT_TRUE(appender->Append(0, kUp, 1, 1).ok());
  ASSERT_TRUE(store.db().Close().ok());
  ASSERT_TRUE(store.db().Close().ok());
  EXPECT_EQ(appender->Commit().code(), base::Code::kFailedPrecondition);
  EXPECT_TRUE(ReadAll(store.db()).empty());
  EXPECT_EQ(store.db().Maintain().code(), base::Code::kFailedPrecondition);
}

TEST(Restart, OneOwnerAtATime) {
  Store store;
  auto second = Db::Open(store.directory(), {}, store.clock(), nullptr);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), base::Code::kFailedPrecondition);
  EXPECT_NE(second.status().message().find(store.directory()), std::string::npos);
}

TEST(Maintain, DropsWhatIsOlderThanTheRetention) {
  Store store({.retention_ms = 4 * kHourMs});
  int64_t start = store.clock().NowMs();
  auto appender = store.db().NewAppender();
  for (int64_t t = 0; t <= 10 * kHourMs; t += 60'000) ASSERT_TRUE(appender->Append(0, kUp, start + t, 1).ok());
  ASSERT_TRUE(appender->Append(0, kDown, start, 1).ok());
  appender->UpdateMetadata("up", {MetricType::kGauge, "", "u"});
  appender->UpdateMetadata("down", {MetricType::kGauge, "", "d"});
  ASSERT_TRUE(appender->Commit().ok());
  auto reading = *store.db().NewQuerier(INT64_MIN, INT64_MAX);
  store.clock().Advance(10 * kHourMs);
  ASSERT_TRUE(store.db().Maintain().ok());

  Contents left = ReadAll(store.db());
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left.begin()->second.size(), 241u);
  EXPECT_EQ(left.begin()->second.front(), std::to_string(start + 6 * kHourMs) + "=1");
  EXPECT_EQ(store.db().Stats().series, 1u);
  EXPECT_EQ(store.db().Stats().min_time, start + 6 * kHourMs);
  EXPECT_EQ(store.db().AllMetadata().size(), 1u);
  auto querier = *store.db().NewQuerier(INT64_MIN, INT64_MAX);
  EXPECT_EQ(*querier->LabelValues("__name__", {}), (std::vector<std::string>{"up"}));
  auto old = Write(store.db(), {{kDown, start + 5 * kHourMs, 1}});
  EXPECT_EQ(old.code(), base::Code::kOutOfRange);
  EXPECT_NE(old.message().find("retention"), std::string::npos);
}

TEST(Maintain, KeepsEverythingWhileNothingComesIn) {
  Store store({.retention_ms = kHourMs});
  int64_t start = store.clock().NowMs();
  ASSERT_TRUE(Write(store.db(), {{kUp, start, 1}}).ok());
  store.clock().Advance(100 * kHourMs);
  ASSERT_TRUE(store.db().Maintain().ok());
  EXPECT_EQ(ReadAll(store.db()).size(), 1u);
  // A sample from the future, on the other hand, does not throw out the present.
  ASSERT_TRUE(Write(store.db(), {{kUp, start + 100 * kHourMs, 1}, {kDown, start + 9000 * kHourMs, 1}}).ok());
  ASSERT_TRUE(store.db().Maintain().ok());
  EXPECT_EQ(ReadAll(store.db()).size(), 2u);
}

int CountFiles(const std::string& directory) {
  FILE* pipe = popen(("ls " + directory + " | grep -c '^[0-9]*$'").c_str(), "r");
  int count = -1;
  if (fscanf(pipe, "%d", &count) != 1) count = -1;
  pclose(pipe);
  return count;
}

TEST(Maintain, CheckpointsReplaceSegments) {
  Store store({.retention_ms = 4 * kHourMs, .wal_segment_bytes = 64 * 1024});
  int64_t start = store.clock().NowMs();
  auto series = [](int i) { return Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}}); };
  int most_segments = 0;
  for (int64_t t = 0; t < 8 * kHourMs; t += 60'000) {
    auto appender = store.db().NewAppender();
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(appender->Append(0, series(i), start + t, t * 1.1 + i).ok());
    appender->UpdateMetadata("m", {MetricType::kCounter, "", "h"});
    ASSERT_TRUE(appender->Commit().ok());
    store.clock().Set(start + t);
    ASSERT_TRUE(store.db().Maintain().ok());
    most_segments = std::max(most_segments, CountFiles(store.log()));
  }
  EXPECT_GT(most_segments, 1);
  EXPECT_LT(most_segments, 12) << "the log must not grow with the time that passes";
  // Series of a batch that is under way at a checkpoint survive it.
  auto pending = store.db().NewAppender();
  int64_t now = start + 8 * kHourMs;
  ASSERT_TRUE(pending->Append(0, kUp, now, 1).ok());
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(Write(store.db(), {{series(0), now + i, i * 1.7}}).ok());
  store.clock().Set(now);
  ASSERT_TRUE(store.db().Maintain().ok());
  ASSERT_TRUE(pending->Commit().ok());
  Contents before = ReadAll(store.db());
  ASSERT_EQ(before.size(), 101u);
  for (bool close : {true, false}) {
    if (close) {
      ASSERT_TRUE(store.db().Close().ok());
    }
    pending.reset();
    store.Reopen();
    EXPECT_EQ(ReadAll(store.db()), before);
    EXPECT_EQ(store.db().AllMetadata().size(), 1u);
    EXPECT_EQ(store.db().Stats().wal_corruptions, 0u);
  }
}

// A damaged block is left out, which somebody has to learn.
TEST(Blocks, ThoseThatCannotBeReadAreCounted) {
  for (const char* file : {"meta.json", "tombstones", "index"}) {
    SCOPED_TRACE(file);
    Store store;
    auto counts = [&](const char* damaged) {
      const std::string line = std::string("\ntidewright_tsdb_blocks_damaged_total ") + damaged + "\n";
      return store.metrics().Render().find(line) != std::string::npos;
    };
    ASSERT_TRUE(Write(store.db(), {{kUp, 1, 1}}).ok());
    store.Reopen();  // The stop made a block.
    EXPECT_TRUE(counts("0")) << store.metrics().Render();
    ASSERT_EQ(store.db().Stats().blocks, 1u);
    for (const auto& entry : std::filesystem::directory_iterator(store.directory())) {
      if (entry.path().filename().string().size() == 26) std::ofstream(entry.path() / file) << "damage";
    }
    store.Reopen();
    EXPECT_TRUE(counts("1")) << store.metrics().Render();
    EXPECT_EQ(store.db().Stats().blocks, 0u);
  }
}

TEST(Maintain, AFirstWindowThatIsShortWaitsForThreeHours) {
  Store store;
  const int64_t start = 1'000'000'000'000 / (2 * kHourMs) * (2 * kHourMs) + kHourMs;  // In the middle of a window.
  for (int64_t minute = 0; minute <= 180; ++minute) {
    store.clock().Set(start + minute * 60'000);
    ASSERT_TRUE(Write(store.db(), {{kUp, start + minute * 60'000, 1}}).ok());
    ASSERT_TRUE(store.db().Maintain().ok());
    ASSERT_EQ(store.db().Stats().blocks, minute < 180 ? 0u : 1u) << minute;
  }
}

TEST(Snapshot, HasOneBlockOfTheHead) {
  Store store;
  const int64_t start = 1'000'000'000'000 / (2 * kHourMs) * (2 * kHourMs);
  for (int64_t minute = 0; minute < 150; ++minute) {
    ASSERT_TRUE(Write(store.db(), {{kUp, start + kHourMs + minute * 60'000, 1.0 * static_cast<double>(minute)}}).ok());
  }
  const std::string copy = store.directory() + "/snapshots/copy";
  ASSERT_TRUE(store.db().Snapshot(copy, /*without_head=*/false).ok());
  auto db = Db::Open(copy, {}, store.clock(), nullptr);
  ASSERT_TRUE(db.ok()) << db.status().ToString();
  EXPECT_EQ((*db)->Stats().blocks, 1u);
  EXPECT_EQ(ReadAll(**db), ReadAll(store.db()));
}

TEST(FullDisk, TheBatchIsVoidAndTheNextOneWorks) {
  Store store;
  ASSERT_TRUE(Write(store.db(), {{kUp, 1, 1}}).ok());
  {
    FileSizeLimit limit(300);
    std::vector<testing::NewSample> large;
    for (int i = 0; i < 1000; ++i) {
      large.push_back({Labels::Of({{"__name__", "m"}, {"i", std::to_string(i * 7919)}}), 2, i * 1.37});
    }
    large.push_back({kUp, 2, 2});
    base::Status full = Write(store.db(), large);
    EXPECT_EQ(full.code(), base::Code::kResourceExhausted) << full.ToString();
    EXPECT_NE(full.message().find(store.log()), std::string::npos) << full.ToString();
    EXPECT_EQ(ReadAll(store.db()), (Contents{{"up{job=\"node\"}", {"1=1"}}}));
    EXPECT_EQ(store.db().Stats().series, 1u);
    ASSERT_TRUE(Write(store.db(), {{kUp, 3, 3}}).ok()) << "a small batch still fits";
  }
  ASSERT_TRUE(Write(store.db(), {{kUp, 4, 4}, {kDown, 4, 4}}).ok());
  Contents expected{{"down", {"4=4"}}, {"up{job=\"node\"}", {"1=1", "3=3", "4=4"}}};
  EXPECT_EQ(ReadAll(store.db()), expected);
  store.Reopen();
  EXPECT_EQ(ReadAll(store.db()), expected);
  EXPECT_EQ(store.db().Stats().wal_corruptions, 0u);
}

TEST(FullDisk, ASegmentThatCannotBeCreatedIsRetried) {
  Store store({.wal_segment_bytes = 1});
  ASSERT_TRUE(Write(store.db(), {{kUp, 1, 1}}).ok());
  std::string away = store.log() + "-away";
  ASSERT_EQ(rename(store.log().c_str(), away.c_str()), 0);
  base::Status status = Write(store.db(), {{kUp, 2, 2}});
  EXPECT_EQ(status.code(), base::Code::kUnavailable) << status.ToString();
  EXPECT_EQ(ReadAll(store.db()), (Contents{{"up{job=\"node\"}", {"1=1"}}}));
  ASSERT_EQ(rename(away.c_str(), store.log().c_str()), 0);
  ASSERT_TRUE(Write(store.db(), {{kUp, 2, 2}}).ok());
  store.Reopen();
  EXPECT_EQ(ReadAll(store.db()), (Contents{{"up{job=\"node\"}", {"1=1", "2=2"}}}));
}

}  // namespace
}  // namespace tidewright::tsdb
