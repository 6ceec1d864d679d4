// Appenders, queries and maintenance at once. What thread sanitizers look at, and the test of isolation under load.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

using testing::Store;

TEST(Concurrency, QueriesSeeWholeBatches) {
  constexpr int kWriters = 3;
  constexpr int kSeries = 20;
  constexpr int kRounds = 150;
  Store store({.wal_segment_bytes = 64 * 1024});
  std::atomic<int> running{kWriters};
  std::atomic<int> halves{0}, reads{0}, errors{0};

  auto write = [&](int writer) {
    std::vector<SeriesRef> refs(kSeries, 0);
    for (int round = 1; round <= kRounds; ++round) {
      while (reads < round / 2) std::this_thread::yield();  // However fast writing is, reading keeps up.
      auto appender = store.db().NewAppender();
      for (int i = 0; i < kSeries; ++i) {
        Labels labels = Labels::Of({{"w", std::to_string(writer)}, {"i", std::to_string(i)}});
        auto ref = appender->Append(refs[i], labels, round, round);
        if (ref.ok()) refs[i] = *ref;
        errors += !ref.ok();
      }
      // Series that come and go, so that creation and collection meet.
      errors +=
          !appender->Append(0, Labels::Of({{"churn", std::to_string(round)}, {"w", std::to_string(writer)}}), round, 1)
               .ok();
      if (round % 7 == 0) {
        appender->Rollback();
      } else {
        errors += !appender->Commit().ok();
      }
    }
    --running;
  };
  auto read = [&] {
    while (running > 0) {
      auto querier = *store.db().NewQuerier(0, kRounds);
      for (int pass = 0; pass < 2; ++pass) {
        auto selected = querier->Select({}, {*Matcher::Create(Matcher::Type::kRegex, "i", ".+")});
        std::map<std::string, std::vector<size_t>> counts;
        for (const auto& series : *selected) {
          size_t count = 0;
          auto it = series->Iterator();
          while (it->Next()) ++count;
          counts[std::string(series->labels().Get("w"))].push_back(count);
        }
        for (const auto& [writer, seen] : counts) {
          halves += seen.size() != kSeries || seen != std::vector<size_t>(kSeries, seen.front());
        }
        ++reads;
      }
      (void)querier->LabelValues("churn", {});
    }
  };
  auto maintain = [&] {
    while (running > 0) {
      errors += !store.db().Maintain().ok();
      (void)store.db().Stats();
    }
  };
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) threads.emplace_back(write, writer);
  threads.emplace_back(read);
  threads.emplace_back(read);
  threads.emplace_back(maintain);
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(errors, 0);
  EXPECT_EQ(halves, 0);
  EXPECT_GE(reads, kRounds / 2);
  testing::Contents before = testing::ReadAll(store.db());
  constexpr int kCommitted = kRounds - kRounds / 7;
  EXPECT_EQ(before.size(), static_cast<size_t>(kWriters * (kSeries + kCommitted)));
  EXPECT_EQ(store.db().Stats().samples_appended, static_cast<uint64_t>(kWriters * kCommitted * (kSeries + 1)));
  store.Reopen();
  EXPECT_EQ(testing::ReadAll(store.db()), before);
}

TEST(Concurrency, TheSameSeriesFromTwoSides) {
  Store store;
  const Labels labels = Labels::Of({{"a", "b"}});
  std::atomic<int> accepted{0};
  auto write = [&] {
    for (int t = 1; t <= 500; ++t) {
      auto appender = store.db().NewAppender();
      bool admitted = appender->Append(0, labels, t, t).ok();
      accepted += appender->Commit().ok() && admitted;
    }
  };
  std::thread other(write);
  write();
  other.join();
  auto samples = testing::ReadAll(store.db()).at("{a=\"b\"}");
  EXPECT_EQ(samples.size(), 500u) << "each time once, in order";
  EXPECT_GE(accepted, 500);
  store.Reopen();
  EXPECT_EQ(testing::ReadAll(store.db()).at("{a=\"b\"}"), samples);
}

}  // namespace
}  // namespace tidewright::tsdb
