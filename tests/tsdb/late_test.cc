// Samples that come out of order, within a window: taken, seen, kept across restarts, and moved to blocks.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

using testing::Contents;
using testing::FastTempDir;
using testing::kHourMs;
using testing::ReadAll;
using testing::Write;

constexpr int64_t kMinute = 60'000;
constexpr int64_t kStart = 500'000 * kHourMs;  // Even: a border of blocks.

const Labels kOne = Labels::Of({{"__name__", "one"}});
const Labels kTwo = Labels::Of({{"__name__", "two"}});

class Late : public ::testing::Test {
 protected:
  Late() { Open(); }

  void Open() {
    db_.reset();
    auto db = Db::Open(path(), options_, clock_, &metrics_);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::move(db).value();
  }
  std::string path() const { return directory_.path() + "/data"; }
  base::Code Add(const Labels& labels, int64_t minute, double v) {
    const int64_t t = kStart + minute * kMinute;
    base::Status written = Write(*db_, {{labels, t, v}});
    if (written.ok()) written_[labels.ToString()][t] = v;
    return written.code();
  }
  Contents Expected() const {
    Contents expected;
    for (const auto& [series, samples] : written_) {
      for (const auto& [t, v] : samples) expected[series].push_back(testing::Print({t, v}));
    }
    return expected;
  }
  Contents Killed() {
    const std::string copy = directory_.path() + "/killed";
    std::filesystem::remove_all(copy);
    std::filesystem::copy(path(), copy, std::filesystem::copy_options::recursive);
    auto db = Db::Open(copy, options_, clock_, nullptr);
    return db.ok() ? ReadAll(**db) : Contents();
  }

  base::TempDir directory_ = FastTempDir("tsdb-late");
  base::FakeClock clock_{kStart + 24 * kHourMs};
  base::MetricRegistry metrics_;
  DbOptions options_{.retention_ms = 1000 * kHourMs, .wal_segment_bytes = 4096, .out_of_order_window_ms = 3 * kHourMs};
  std::unique_ptr<Db> db_;
  std::map<std::string, std::map<int64_t, double>> written_;
};

TEST_F(Late, TheWindowCountsFromTheNewestSampleOfAll) {
  ASSERT_EQ(Add(kOne, 300, 1), base::Code::kOk);
  ASSERT_EQ(Add(kTwo, 600, 1), base::Code::kOk);
  struct Case {
    const char* name;
    int64_t minute;
    double v;
    base::Code code;
  };
  const Case cases[] = {
      {"newer", 500, 2, base::Code::kOk},
      {"older, in the window", 450, 3, base::Code::kOk},
      {"at its beginning", 420, 4, base::Code::kOk},
      {"before it", 419, 5, base::Code::kOutOfRange},
      {"repeats the newest", 500, 2, base::Code::kOk},
      {"contradicts the newest", 500, 9, base::Code::kAlreadyExists},
  };
  for (const Case& c : cases) EXPECT_EQ(Add(kOne, c.minute, c.v), c.code) << c.name;
  EXPECT_EQ(ReadAll(*db_), Expected());
  EXPECT_EQ(Write(*db_, {{kOne, kStart + 450 * kMinute, 33}}).code(), base::Code::kOk) << "the first one stays";
  EXPECT_EQ(ReadAll(*db_), Expected());
  db_->SetOutOfOrderWindow(0);
  EXPECT_EQ(Add(kOne, 451, 1), base::Code::kOutOfRange);
  db_->SetOutOfOrderWindow(10 * kHourMs);
  EXPECT_EQ(Add(kOne, 1, 1), base::Code::kOk);
  EXPECT_EQ(ReadAll(*db_), Expected());
}

TEST_F(Late, IsSeenOnceCommittedAndByColumnsToo) {
  Add(kOne, 100, 1);
  Add(kOne, 200, 2);
  auto appender = db_->NewAppender();
  auto ref = appender->Append(0, kOne, kStart + 150 * kMinute, 1.5);
  ASSERT_TRUE(ref.ok());
  std::vector<BatchRejection> rejected;
  const double values[] = {1.25, 7};
  const SeriesRef refs[] = {*ref, 99};
  appender->AppendBatch(refs, values, kStart + 120 * kMinute, &rejected);
  ASSERT_EQ(rejected.size(), 1u);
  EXPECT_EQ(ReadAll(*db_), Expected());
  auto before = std::move(db_->NewQuerier(INT64_MIN, INT64_MAX)).value();
  auto seen_before = std::move(before->Select({}, {Matcher::Equal("__name__", "one")})).value();
  ASSERT_TRUE(appender->Commit().ok());
  ColumnBuffer buffer;
  SampleColumns columns;
  ASSERT_TRUE(seen_before[0]->Columns(&buffer, &columns));
  EXPECT_EQ(columns.v.size(), 2u) << "a query that began before";
  auto after = std::move(db_->NewQuerier(INT64_MIN, INT64_MAX)).value();
  auto seen_after = std::move(after->Select({}, {Matcher::Equal("__name__", "one")})).value();
  ASSERT_TRUE(seen_after[0]->Columns(&buffer, &columns));
  EXPECT_EQ(std::vector<double>(columns.v.begin(), columns.v.end()), (std::vector<double>{1, 1.25, 1.5, 2}));
  EXPECT_EQ(columns.t.size(), 4u);
  auto narrow = std::move(db_->NewQuerier(kStart + 110 * kMinute, kStart + 130 * kMinute)).value();
  EXPECT_EQ(std::move(narrow->Select({}, {})).value().size(), 1u);
}

// A second before and after each step a crash loses nothing; so do blocks, snapshots and clean stops.
TEST_F(Late, GoesToBlocksAndSurvives) {
  std::map<int64_t, int> late_ones;
  for (int minute = 0; minute < 600; minute += 5) {
    clock_.Set(kStart + minute * kMinute);
    ASSERT_EQ(Add(kOne, minute, minute), base::Code::kOk);
    ASSERT_EQ(Add(kTwo, minute, -minute), base::Code::kOk);
    if (minute >= 180 && minute % 20 == 0) {
      ASSERT_EQ(Add(kOne, minute - 170 - 3, 0.5 + minute), base::Code::kOk) << minute;
      ASSERT_EQ(Add(kTwo, minute - 1, 0.25), base::Code::kOk) << minute;
    }
    ASSERT_TRUE(db_->Maintain().ok());
    if (minute % 50 != 0) continue;
    ASSERT_EQ(ReadAll(*db_), Expected()) << minute;
    ASSERT_EQ(Killed(), Expected()) << minute;
  }
  EXPECT_GE(db_->Stats().blocks, 1u);
  ASSERT_TRUE(db_->Snapshot(directory_.path() + "/snapshot", false).ok());
  {
    auto copy = Db::Open(directory_.path() + "/snapshot", options_, clock_, nullptr);
    EXPECT_EQ(ReadAll(**copy), Expected());
  }
  Open();
  EXPECT_EQ(ReadAll(*db_), Expected());
  ASSERT_EQ(Add(kOne, 599, 1), base::Code::kOk) << "after a clean stop";
  EXPECT_EQ(Killed(), Expected());
  ASSERT_TRUE(db_->Delete(kStart, kStart + 300 * kMinute, {Matcher::Equal("__name__", "one")}).ok());
  std::erase_if(written_[kOne.ToString()], [](const auto& sample) { return sample.first <= kStart + 300 * kMinute; });
  EXPECT_EQ(ReadAll(*db_), Expected());
  EXPECT_EQ(Killed(), Expected());
}

TEST_F(Late, NativeHistogramsToo) {
  auto histogram = [](uint64_t n) {
    Histogram one;
    one.schema = 0;
    one.count = n;
    one.sum = static_cast<double>(n);
    one.positive_spans = {{0, 1}};
    one.positive_buckets = {static_cast<int64_t>(n)};
    return one;
  };
  auto counts = [&](Queryable& db) {
    std::vector<double> found;
    auto querier = std::move(db.NewQuerier(INT64_MIN, INT64_MAX)).value();
    auto selected = std::move(querier->Select({}, {})).value();
    for (const auto& series : selected) {
      auto it = series->Iterator();
      while (it->Next()) found.push_back(it->AtHistogram() != nullptr ? it->AtHistogram()->count : it->At().v);
    }
    return found;
  };
  for (int64_t minute : {100, 50, 75, 110, 60}) {
    auto appender = db_->NewAppender();
    ASSERT_TRUE(
        appender->AppendHistogram(0, kOne, kStart + minute * kMinute, histogram(static_cast<uint64_t>(minute))).ok())
        << minute;
    ASSERT_TRUE(appender->Commit().ok());
  }
  ASSERT_TRUE(Write(*db_, {{kOne, kStart + 55 * kMinute, 55}}).ok());
  const std::vector<double> all = {50, 55, 60, 75, 100, 110};
  EXPECT_EQ(counts(*db_), all);
  for (int times = 0; times < 2; ++times) {
    const std::string copy = directory_.path() + "/copy" + std::to_string(times);
    std::filesystem::copy(path(), copy, std::filesystem::copy_options::recursive);
    auto again = Db::Open(copy, options_, clock_, nullptr);
    EXPECT_EQ(counts(**again), all) << times;
    Open();
    EXPECT_EQ(counts(*db_), all) << times;
  }
}

// A deletion writes the head to blocks while others go on committing: none of what they bring is lost.
TEST_F(Late, ADeletionLosesNothingThatComesMeanwhile) {
  Add(kOne, 1, 1);
  std::atomic<bool> stop{false};
  int64_t minute = 2;
  std::thread writer([&] {
    for (; !stop; ++minute) Add(kTwo, minute, 2);
  });
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(db_->Delete(kStart, kStart + kMinute, {Matcher::Equal("__name__", "one")}).ok());
  }
  stop = true;
  writer.join();
  written_.erase(kOne.ToString());
  EXPECT_EQ(ReadAll(*db_), Expected());
}

}  // namespace
}  // namespace tidewright::tsdb
