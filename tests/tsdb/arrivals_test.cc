#include "tsdb/arrivals.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tsdb/db.h"

namespace tidewright::tsdb {
namespace {

constexpr int64_t kStart = 1'767'873'600'000;

class ArrivalsTest : public testing::Test {
 protected:
  // One commit of a sample of each series; the refs.
  std::vector<SeriesRef> Store(const std::vector<Labels>& series) {
    std::vector<SeriesRef> refs;
    auto appender = db_->NewAppender();
    now_ += 1'000;
    for (const Labels& labels : series) refs.push_back(*appender->Append(0, labels, now_, 1));
    EXPECT_TRUE(appender->Commit().ok());
    return refs;
  }
  void StoreBatch(const std::vector<SeriesRef>& refs) {
    auto appender = db_->NewAppender();
    now_ += 1'000;
    std::vector<BatchRejection> rejected;
    appender->AppendBatch(refs, std::vector<double>(refs.size(), 2), now_, &rejected);
    EXPECT_TRUE(rejected.empty());
    EXPECT_TRUE(appender->Commit().ok());
  }
  static Labels Series(const std::string& name, const std::string& pod) {
    return Labels::FromPairs({{"__name__", name}, {"pod", pod}});
  }
  // How often a watcher was told since this was asked last.
  int Told() { return std::exchange(told_, 0); }
  uint64_t Watch(const std::vector<std::string>& metrics) {
    return db_->arrivals().Watch(metrics, [this] { ++told_; });
  }

  base::FakeClock clock_{kStart};
  std::unique_ptr<Db> db_ = *Db::Open("", {}, clock_, nullptr);
  int64_t now_ = kStart;
  int told_ = 0;
};

TEST_F(ArrivalsTest, OnceForEachCommitOfSeriesOldAndNew) {
  const auto known = Store({Series("rps", "a"), Series("up", "a"), Series("rps", "b")});
  EXPECT_FALSE(db_->arrivals().watched());
  const uint64_t watch = Watch({"rps"});
  StoreBatch(known);
  EXPECT_EQ(Told(), 1) << "series from before the watch; one commit";
  StoreBatch({known[1]});
  EXPECT_EQ(Told(), 0) << "another metric";
  const auto fresh = Store({Series("rps", "c")});
  EXPECT_EQ(Told(), 1) << "a new series";
  StoreBatch(fresh);
  EXPECT_EQ(Told(), 1);
  db_->arrivals().Stop(watch);
  StoreBatch(known);
  EXPECT_EQ(Told(), 0);
  EXPECT_FALSE(db_->arrivals().watched());
}

TEST_F(ArrivalsTest, ForSeveralMetricsAndSeveralWatchers) {
  const auto refs = Store({Series("rps", "a"), Series("errors", "a"), Series("up", "a")});
  const uint64_t both = Watch({"rps", "errors"});
  const uint64_t one = Watch({"rps"});
  StoreBatch({refs[0]});
  EXPECT_EQ(Told(), 2);
  StoreBatch({refs[1]});
  EXPECT_EQ(Told(), 1);
  db_->arrivals().Stop(both);
  StoreBatch({refs[0], refs[1]});
  EXPECT_EQ(Told(), 1);
  db_->arrivals().Stop(one);
  const uint64_t later = Watch({"up"});
  StoreBatch({refs[0], refs[1]});
  EXPECT_EQ(Told(), 0) << "its place among the metrics was used before";
  StoreBatch(refs);
  EXPECT_EQ(Told(), 1);
  db_->arrivals().Stop(later);
}

TEST_F(ArrivalsTest, OnlyWhatWasStored) {
  Watch({"rps"});
  {
    auto appender = db_->NewAppender();
    ASSERT_TRUE(appender->Append(0, Series("rps", "a"), now_ + 1, 1).ok());
    appender->Rollback();
    ASSERT_TRUE(appender->Commit().ok());
  }
  EXPECT_EQ(Told(), 0);
  const auto refs = Store({Series("rps", "a")});
  EXPECT_EQ(Told(), 1);
  auto appender = db_->NewAppender();
  EXPECT_FALSE(appender->Append(refs[0], {}, now_, 5).ok()) << "another value at the same time";
  EXPECT_TRUE(appender->Commit().ok());
  EXPECT_EQ(Told(), 0);
}

TEST_F(ArrivalsTest, NativeHistograms) {
  Watch({"latency"});
  Histogram histogram;
  histogram.schema = 0;
  histogram.count = 0;
  auto appender = db_->NewAppender();
  ASSERT_TRUE(appender->AppendHistogram(0, Series("latency", "a"), now_ + 1, histogram).ok());
  ASSERT_TRUE(appender->Commit().ok());
  EXPECT_EQ(Told(), 1);
}

TEST_F(ArrivalsTest, ManyMoreSeriesThanThereWereAtFirst) {
  Watch({"rps"});
  std::vector<Labels> series;
  for (int i = 0; i < 3'000; ++i) series.push_back(Series("rps", std::to_string(i)));
  const auto refs = Store(series);
  EXPECT_EQ(Told(), 1);
  for (SeriesRef ref : {refs.front(), refs[1'500], refs.back()}) {
    StoreBatch({ref});
    EXPECT_EQ(Told(), 1);
  }
}

TEST_F(ArrivalsTest, WatchesComeAndGoWhileOthersStore) {
  std::atomic<bool> done = false;
  std::thread writer([&] {
    std::vector<SeriesRef> refs = Store({Series("rps", "a"), Series("up", "a")});
    for (int i = 0; i < 300; ++i) {
      StoreBatch(refs);
      if (i % 10 == 0) refs.push_back(Store({Series(i % 20 == 0 ? "rps" : "up", std::to_string(i))})[0]);
    }
    done = true;
  });
  std::atomic<int> told = 0;
  do {
    const uint64_t watch = db_->arrivals().Watch({"rps", "up"}, [&told] { ++told; });
    db_->arrivals().Stop(watch);
  } while (!done);
  writer.join();
  const int before = told;
  Store({Series("rps", "a")});
  EXPECT_EQ(told, before) << "nobody watches any more";
}

}  // namespace
}  // namespace tidewright::tsdb
