// The store as a whole: blocks, deletion, snapshots, damage to the head's own files, a full disk, batches.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/log.h"
#include "base/strings.h"
#include "tests/tsdb/file_size_limit.h"
#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using testing::FileSizeLimit;
using testing::kHourMs;
using testing::ReadAll;
using testing::Write;

constexpr int64_t kStart = 1'699'999'200'000;  // A multiple of two hours.
constexpr int64_t kMinute = 60'000;

Labels SeriesLabels(int i) { return Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}}); }
double Value(int series, int64_t t) { return static_cast<double>((t - kStart) / 1000 * series) / (series % 2 + 1); }

// A store that is scraped every minute.
class Scraped : public ::testing::Test {
 protected:
  static constexpr int kSeries = 10;

  void SetUp() override { Open(); }
  void Open() {
    db_.reset();
    auto db = Db::Open(path(), options_, clock_, nullptr);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::move(db).value();
  }
  std::string path() const { return directory_.path() + "/data"; }

  void Scrape(int minutes, int maintain_every = 10) {
    for (int end = minute_ + minutes; minute_ < end; ++minute_) {
      const int64_t t = kStart + minute_ * kMinute;
      clock_.Set(t);
      auto appender = db_->NewAppender();
      for (int i = 0; i < kSeries; ++i) {
        // One series misses a scrape now and then, one begins late.
        if ((i == 3 && minute_ % 7 == 3) || (i == 4 && minute_ < 90)) continue;
        ASSERT_TRUE(appender->Append(0, SeriesLabels(i), t, Value(i, t)).ok());
        written_[SeriesLabels(i).ToString()].push_back(testing::Print({t, Value(i, t)}));
      }
      ASSERT_TRUE(appender->Commit().ok());
      if (minute_ % maintain_every == maintain_every - 1) {
        auto status = db_->Maintain();
        ASSERT_TRUE(status.ok()) << status.ToString();
      }
    }
  }
  // What a crash at this moment leaves behind.
  std::string Killed() {
    std::string copy = directory_.path() + "/killed";
    fs::remove_all(copy);
    fs::copy(path(), copy, fs::copy_options::recursive);
    return copy;
  }
  Contents ContentsOf(const std::string& path) {
    auto db = Db::Open(path, options_, clock_, nullptr);
    EXPECT_TRUE(db.ok()) << db.status().ToString();
    return db.ok() ? ReadAll(**db) : Contents();
  }

  base::TempDir directory_ = testing::FastTempDir("tsdb-store");
  base::FakeClock clock_{kStart};
  DbOptions options_{.retention_ms = 1000 * kHourMs, .wal_segment_bytes = 4096};
  std::unique_ptr<Db> db_;
  int minute_ = 0;
  Contents written_;
};

TEST_F(Scraped, BlocksAndHeadAreOne) {
  Scrape(9 * 60);
  EXPECT_EQ(ReadAll(*db_), written_);
  EXPECT_GE(db_->Stats().blocks, 1u);
  EXPECT_EQ(db_->Stats().min_time, kStart);
  EXPECT_EQ(db_->Stats().series, static_cast<uint64_t>(kSeries));
  EXPECT_EQ(ContentsOf(Killed()), written_);
  // A range within a block, across the border, within the head.
  for (auto [from, to] : {std::pair{30, 60}, {100, 500}, {520, 530}}) {
    for (const auto& [series, samples] : ReadAll(*db_, kStart + from * kMinute, kStart + to * kMinute - 1)) {
      const bool gaps = series == SeriesLabels(3).ToString() || series == SeriesLabels(4).ToString();
      EXPECT_TRUE(gaps || samples.size() == static_cast<size_t>(to - from)) << series << " " << samples.size();
    }
  }
  Open();  // After a clean stop.
  EXPECT_EQ(ReadAll(*db_), written_);
  Scrape(5 * 60);
  EXPECT_EQ(ReadAll(*db_), written_);
  EXPECT_EQ(ContentsOf(Killed()), written_);
}

TEST_F(Scraped, ColumnsAreWhatTheIteratorGives) {
  Scrape(6 * 60);
  auto querier = *db_->NewQuerier(kStart + 50 * kMinute, kStart + 330 * kMinute);
  auto selected = querier->Select({}, {});
  ASSERT_TRUE(selected.ok());
  ColumnBuffer buffer;
  std::map<uint64_t, std::vector<int64_t>> timelines;
  for (const auto& series : *selected) {
    SampleColumns columns;
    ASSERT_TRUE(series->Columns(&buffer, &columns));
    std::vector<int64_t> times(columns.t.begin(), columns.t.end());
    size_t i = 0;
    auto it = series->Iterator();
    for (; it->Next(); ++i) {
      ASSERT_LT(i, times.size());
      ASSERT_EQ(it->At().t, times[i]);
      ASSERT_EQ(it->At().v, columns.v[i]);
    }
    ASSERT_EQ(i, times.size());
    if (columns.timeline != 0) {
      EXPECT_EQ(timelines.emplace(columns.timeline, times).first->second, times);
    }
  }
}

TEST_F(Scraped, DeletedSamplesAreGoneEverywhere) {
  Scrape(5 * 60);
  const int64_t from = kStart + 60 * kMinute, to = kStart + 280 * kMinute;
  auto deleted = db_->Delete(from, to, {Matcher::Equal("i", "5")});
  ASSERT_TRUE(deleted.ok()) << deleted.status().ToString();
  EXPECT_GE(*deleted, 1u);
  auto& samples = written_[SeriesLabels(5).ToString()];
  samples.erase(samples.begin() + 60, samples.begin() + 281);
  EXPECT_EQ(ReadAll(*db_), written_);
  EXPECT_EQ(ContentsOf(Killed()), written_);
  ASSERT_TRUE(db_->CleanTombstones().ok());
  EXPECT_EQ(ReadAll(*db_), written_);
  Scrape(3 * 60);
  EXPECT_EQ(ReadAll(*db_), written_);
}

TEST_F(Scraped, ASnapshotHoldsAll) {
  Scrape(5 * 60);
  const std::string copy = directory_.path() + "/snapshot";
  ASSERT_TRUE(db_->Snapshot(copy, /*without_head=*/false).ok());
  EXPECT_EQ(ReadAll(*db_), written_) << "and nothing changes here";
  EXPECT_EQ(ContentsOf(copy), written_);
  Scrape(10);
  EXPECT_EQ(ReadAll(*db_), written_);
}

TEST_F(Scraped, TheOldestBlocksGoWhenThereAreTooManyBytes) {
  options_.retention_bytes = 1;
  Open();
  Scrape(7 * 60);
  EXPECT_LE(db_->Stats().blocks, 1u);
  EXPECT_GT(db_->Stats().min_time, kStart + 2 * kHourMs);
}

TEST_F(Scraped, ARunningQueryKeepsWhatItSees) {
  Scrape(150, 1000);
  auto querier = *db_->NewQuerier(INT64_MIN, INT64_MAX);
  auto selected = querier->Select({}, {Matcher::Equal("i", "1")});
  ASSERT_EQ(selected->size(), 1u);
  const size_t before = static_cast<size_t>(minute_);
  Contents then = written_;
  Scrape(120);  // The first window becomes a block meanwhile.
  EXPECT_GE(db_->Stats().blocks, 1u);
  size_t count = 0;
  for (auto it = selected->front()->Iterator(); it->Next();) ++count;
  EXPECT_EQ(count, before);
  querier.reset();
  ASSERT_TRUE(db_->Maintain().ok());
  EXPECT_EQ(ReadAll(*db_), written_);
}

// Damage to the files of the head, after a crash: the store opens, what it hands out was written, and it goes on.
TEST_F(Scraped, DamageToTheHeadsFilesCostsOnlyWhatItHits) {
  ASSERT_TRUE(base::LogToFile("/dev/null").ok());
  Scrape(4 * 60, 20);
  const std::string killed = Killed(), damaged = directory_.path() + "/damaged";
  std::vector<fs::path> files;
  for (const char* folder : {"/log", "/head_chunks"}) {
    for (const auto& entry : fs::directory_iterator(killed + folder))
      files.push_back(fs::relative(entry.path(), killed));
  }
  ASSERT_GE(files.size(), 2u);
  int checked = 0;
  for (const fs::path& file : files) {
    const std::string good = *base::ReadFile(killed / file);
    for (size_t at = 0; at < good.size(); at += 1 + good.size() / 40) {
      for (bool cut : {true, false}) {
        std::string bad = good;
        cut ? bad.resize(at) : void(bad[at] ^= 0x41);
        fs::remove_all(damaged);
        fs::copy(killed, damaged, fs::copy_options::recursive);
        ASSERT_TRUE(base::WriteFileAtomic(damaged / file, bad).ok());
        auto db = Db::Open(damaged, options_, clock_, nullptr);
        ASSERT_TRUE(db.ok()) << file << " at " << at << ": " << db.status().ToString();
        for (const auto& [series, samples] : ReadAll(**db)) {
          const std::vector<std::string>& all = written_[series];
          ASSERT_TRUE(std::includes(all.begin(), all.end(), samples.begin(), samples.end())) << file << " at " << at;
        }
        ASSERT_TRUE(testing::Write(**db, {{SeriesLabels(1), clock_.NowMs() + 1, 1}}).ok());
        ++checked;
      }
    }
  }
  printf("%d kinds of damage in %zu files\n", checked, files.size());
}

TEST_F(Scraped, AFullDiskLosesNothingThatIsStored) {
  Scrape(5 * 60, 1000);
  {
    FileSizeLimit limit(100);
    EXPECT_FALSE(db_->Maintain().ok());
    EXPECT_EQ(ReadAll(*db_), written_);
    EXPECT_FALSE(db_->Snapshot(directory_.path() + "/no-room", false).ok());
  }
  Scrape(30);
  EXPECT_GE(db_->Stats().blocks, 1u);
  EXPECT_EQ(ReadAll(*db_), written_);
  EXPECT_EQ(ContentsOf(Killed()), written_);
  {
    FileSizeLimit limit(100);
    EXPECT_TRUE(db_->Close().ok()) << "the log has it all";
  }
  Open();
  EXPECT_EQ(ReadAll(*db_), written_);
}

TEST_F(Scraped, BatchesSayWhatWasNotTaken) {
  auto appender = db_->NewAppender();
  std::vector<SeriesRef> refs;
  for (int i = 0; i < 4; ++i) refs.push_back(*appender->Append(0, SeriesLabels(i), kStart, i));
  ASSERT_TRUE(appender->Commit().ok());
  std::vector<BatchRejection> rejected;
  const uint64_t epoch = db_->SeriesEpoch();
  appender->AppendBatch(refs, std::vector<double>{0, 9, 2, 3}, kStart, &rejected);
  ASSERT_EQ(rejected.size(), 1u) << "the others are repetitions";
  EXPECT_EQ(rejected[0].index, 1u);
  EXPECT_EQ(rejected[0].code, base::Code::kAlreadyExists);
  rejected.clear();
  refs.push_back(12345678);
  appender->AppendBatch(refs, std::vector<double>{4, 5, 6, 7, 8}, kStart + 1, &rejected);
  ASSERT_EQ(rejected.size(), 1u);
  EXPECT_EQ(rejected[0].index, 4u);
  EXPECT_EQ(rejected[0].code, base::Code::kInvalidArgument);
  refs.pop_back();
  rejected.clear();
  appender->AppendBatch(refs, std::vector<double>{4, 5, 6, 7}, kStart - 1, &rejected);
  EXPECT_EQ(rejected.size(), 4u);
  ASSERT_TRUE(appender->Commit().ok());
  EXPECT_EQ(ReadAll(*db_)[SeriesLabels(3).ToString()], (std::vector<std::string>{
                                                           std::to_string(kStart) + "=3",
                                                           std::to_string(kStart + 1) + "=7",
                                                       }));
  EXPECT_EQ(db_->SeriesEpoch(), epoch);
  ASSERT_TRUE(testing::Write(*db_, {{SeriesLabels(77), kStart, 1}}).ok());
  EXPECT_NE(db_->SeriesEpoch(), epoch);
}

Histogram SomeHistogram(int64_t n) {
  Histogram histogram;
  histogram.schema = 3;
  histogram.zero_threshold = 0.001;
  histogram.zero_count = static_cast<uint64_t>(n);
  histogram.positive_spans = {{0, 2}, {3, 1}};
  histogram.positive_buckets = {n, 1, 2};
  histogram.count = static_cast<uint64_t>(4 * n + 4);  // The zero bucket, n, n + 1, n + 3.
  histogram.sum = static_cast<double>(n) * 1.5;
  return histogram;
}

// All samples of the series with histograms, as text.
std::vector<std::string> Histograms(Queryable& db) {
  std::vector<std::string> found;
  auto querier = *db.NewQuerier(INT64_MIN, INT64_MAX);
  auto selected = querier->Select({}, {Matcher::Equal("__name__", "native")});
  for (const auto& series : *selected) {
    auto it = series->Iterator();
    while (it->Next()) {
      std::string text = std::to_string(it->At().t) + " ";
      if (it->type() == ValueType::kFloat) {
        text += testing::Print(it->At());
      } else {
        const FloatHistogram& histogram = *it->AtHistogram();
        text += "count " + base::FormatDouble(histogram.count) + " sum " + base::FormatDouble(histogram.sum);
        for (double bucket : histogram.positive_buckets) text += " " + base::FormatDouble(bucket);
      }
      found.push_back(text);
    }
  }
  return found;
}

TEST_F(Scraped, NativeHistogramsGoTheWayOfFloats) {
  const Labels labels = Labels::Of({{"__name__", "native"}});
  std::vector<std::string> expected;
  SeriesRef ref = 0;
  auto append = [&](int minutes) {
    for (int end = minute_ + minutes; minute_ < end; ++minute_) {
      const int64_t t = kStart + minute_ * kMinute, n = minute_ + 1;
      clock_.Set(t);
      auto appender = db_->NewAppender();
      base::Result<SeriesRef> taken = SeriesRef{0};
      std::string text = std::to_string(t) + " count " + std::to_string(4 * n + 4) + " sum " +
                         base::FormatDouble(static_cast<double>(n) * 1.5) + " " + std::to_string(n) + " " +
                         std::to_string(n + 1) + " " + std::to_string(n + 3);
      if (minute_ % 50 == 49) {
        taken = appender->Append(ref, labels, t, 7);
        text = std::to_string(t) + " " + testing::Print({t, 7});
      } else if (minute_ / 100 % 2 == 0) {
        taken = appender->AppendHistogram(ref, labels, t, SomeHistogram(n));
      } else {
        taken = appender->AppendFloatHistogram(ref, labels, t, ToFloat(SomeHistogram(n)));
      }
      ASSERT_TRUE(taken.ok()) << taken.status().ToString();
      ref = *taken;
      EXPECT_EQ(appender->AppendHistogram(ref, labels, t - 1, SomeHistogram(1)).status().code(),
                base::Code::kOutOfRange);
      EXPECT_TRUE(Histograms(*db_) == expected) << "nothing is seen before the commit";
      ASSERT_TRUE(appender->Commit().ok());
      expected.push_back(text);
      if (minute_ % 30 == 29) {
        ASSERT_TRUE(db_->Maintain().ok());
      }
    }
  };
  append(130);
  EXPECT_EQ(Histograms(*db_), expected);
  EXPECT_EQ(Write(*db_, {{labels, kStart + 129 * kMinute, 1}}).code(), base::Code::kAlreadyExists);
  {
    const std::string killed = Killed();
    auto again = Db::Open(killed, options_, clock_, nullptr);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(Histograms(**again), expected);
  }
  append(200);
  EXPECT_GE(db_->Stats().blocks, 1u);
  EXPECT_EQ(Histograms(*db_), expected);
  Open();
  EXPECT_EQ(Histograms(*db_), expected);
  Histogram wrong = SomeHistogram(5);
  wrong.positive_buckets.push_back(1);
  EXPECT_EQ(db_->NewAppender()->AppendHistogram(0, labels, kStart + 1000 * kMinute, wrong).status().code(),
            base::Code::kInvalidArgument);
}

// Series that come and go leave nothing behind.
TEST_F(Scraped, ChurnedSeriesAreForgotten) {
  options_.retention_ms = 3 * kHourMs;
  Open();
  for (int hour = 0; hour < 12; ++hour) {
    for (int step = 0; step < 6; ++step) {
      const int64_t t = kStart + hour * kHourMs + step * 10 * kMinute;
      clock_.Set(t);
      std::vector<testing::NewSample> samples;
      for (int i = 0; i < 300; ++i) {
        samples.push_back(
            {Labels::Of({{"__name__", "m"}, {"pod", std::to_string(hour) + "-" + std::to_string(i)}}), t, 1});
      }
      ASSERT_TRUE(testing::Write(*db_, samples).ok());
      ASSERT_TRUE(db_->Maintain().ok());
    }
  }
  EXPECT_LE(db_->Stats().series, 300u * 5) << "the head keeps three hours and a bit";
}

// The bytes of the first ```hex block of a page.
std::string Example(const std::string& page) {
  std::string text = *base::ReadFile(std::string(TIDEWRIGHT_SOURCE_DIR) + "/tsdb/docs/" + page);
  size_t begin = text.find("```hex\n") + 7;
  std::string digits, bytes;
  for (const std::string& line : base::Split(text.substr(begin, text.find("```", begin) - begin), '\n')) {
    for (char c : line.substr(0, line.find('#'))) {
      if (c != ' ') digits += c;
    }
  }
  for (size_t i = 0; i < digits.size(); i += 2) {
    bytes += static_cast<char>(std::strtol(digits.substr(i, 2).c_str(), nullptr, 16));
  }
  return bytes;
}

TEST_F(Scraped, TheLogsExampleIsWhatTheLogHas) {
  ASSERT_TRUE(testing::Write(*db_, {{Labels::Of({{"__name__", "up"}, {"job", "a"}}), 1000, 1}}).ok());
  EXPECT_EQ(base::ReadFile(path() + "/log/00000000")->substr(8), Example("log.md"));
}

}  // namespace
}  // namespace tidewright::tsdb
