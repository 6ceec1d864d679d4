// The log of a store, read while it is written, over checkpoints and restarts.
#include "tsdb/log_tail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

using ::testing::ElementsAre;

class LogTailTest : public ::testing::Test {
 protected:
  void Open() {
    DbOptions options;
    options.wal_segment_bytes = 4096;
    db_ = *Db::Open(path_, options, clock_, nullptr);
  }
  void Add(const std::string& pod, int64_t t, double v) {
    auto appender = db_->NewAppender();
    ASSERT_TRUE(appender->Append(0, Labels::Of({{"__name__", "m"}, {"pod", pod}}), t, v).ok());
    ASSERT_TRUE(appender->Commit().ok());
  }
  // "pod:t=v" of everything that there is to read now.
  std::vector<std::string> ReadAll(LogTail& tail) {
    std::vector<std::string> all;
    LogCommit commit;
    while (true) {
      commit.Clear();
      auto read = tail.Next(&commit);
      EXPECT_TRUE(read.ok()) << read.status().ToString();
      if (!read.ok() || !*read) return all;
      for (const LogCommit::Float& one : commit.floats) {
        LabelViews labels;
        EXPECT_TRUE(tail.LabelsOf(one.ref, &labels)) << one.ref;
        const std::string_view pod = labels.empty() ? "?" : labels.back().second;
        all.push_back(std::string(pod) + ":" + std::to_string(one.t) + "=" + base::FormatDouble(one.v));
      }
    }
  }

  base::TempDir directory_ = testing::FastTempDir("log-tail");
  const std::string path_ = directory_.path() + "/data";
  base::FakeClock clock_{1'000'000};
  std::unique_ptr<Db> db_;
};

TEST_F(LogTailTest, ReadsWhatIsCommittedAfterItsStart) {
  Open();
  Add("a", 1000, 1);
  LogTail tail(path_);
  bool lost = true;
  ASSERT_TRUE(tail.Start(std::nullopt, &lost).ok());
  EXPECT_FALSE(lost);
  EXPECT_THAT(ReadAll(tail), ElementsAre());
  Add("a", 2000, 2);
  Add("b", 2000, 3);
  EXPECT_THAT(ReadAll(tail), ElementsAre("a:2000=2", "b:2000=3"));
  EXPECT_THAT(ReadAll(tail), ElementsAre());
  Add("b", 3000, 4);
  EXPECT_THAT(ReadAll(tail), ElementsAre("b:3000=4"));
}

TEST_F(LogTailTest, GoesOnWhereItWasOverSegmentsCheckpointsAndRestarts) {
  Open();
  ASSERT_TRUE(LogTail::Keep(path_, true).ok());
  LogTail first(path_);
  bool lost = false;
  ASSERT_TRUE(first.Start(std::nullopt, &lost).ok());
  Add("a", 1000, 1);
  EXPECT_THAT(ReadAll(first), ElementsAre("a:1000=1"));
  const LogPosition position = first.position();
  std::vector<std::string> wanted;
  for (int i = 2; i < 600; ++i) {
    const std::string pod = i % 3 == 0 ? "a" : "pod-" + std::to_string(i);
    Add(pod, i * 1000, i);
    wanted.push_back(pod + ":" + std::to_string(i * 1000) + "=" + std::to_string(i));
    if (i % 200 == 0) {
      ASSERT_TRUE(db_->Maintain().ok());
    }
  }
  ASSERT_TRUE(db_->Close().ok());
  db_.reset();
  Open();
  Add("a", 700'000, 7);
  wanted.push_back("a:700000=7");
  LogTail second(path_);
  ASSERT_TRUE(second.Start(position, &lost).ok());
  EXPECT_FALSE(lost);
  EXPECT_EQ(ReadAll(second), wanted);
  EXPECT_EQ(ReadAll(first), wanted) << "one that followed all the time sees the same";
  const std::string retired = path_ + "/log/retired";
  EXPECT_FALSE(std::filesystem::is_empty(retired));
  EXPECT_EQ(*LogTail::Release(path_, second.position().segment, UINT64_MAX, 0), 0);
  EXPECT_TRUE(std::filesystem::is_empty(retired));
  LogTail third(path_);
  ASSERT_TRUE(third.Start(position, &lost).ok());
  EXPECT_TRUE(lost) << "what it wants was released";
}

TEST_F(LogTailTest, ExplainsSeriesThatTheStoreHasForgottenToAReaderThatIsBehind) {
  Open();
  ASSERT_TRUE(LogTail::Keep(path_, true).ok());
  Add("gone", 1000, 1);
  for (int i = 0; i < 1000; ++i) Add("early-" + std::to_string(i), 2000 + i, i);
  ASSERT_TRUE(db_->Maintain().ok());  // "gone" is explained by a checkpoint from now on.
  LogTail before(path_);
  bool lost = false;
  ASSERT_TRUE(before.Start(std::nullopt, &lost).ok());
  const LogPosition behind = before.position();
  Add("gone", 5000, 2);
  clock_.Advance(30 * testing::kHourMs);
  for (int i = 0; i < 2000; ++i) Add("late-" + std::to_string(i % 100), clock_.NowMs() + i, i);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(db_->Maintain().ok());
  ASSERT_EQ(*LogTail::Release(path_, behind.segment, UINT64_MAX, 0), 0);
  LogTail after(path_);
  ASSERT_TRUE(after.Start(behind, &lost).ok());
  EXPECT_FALSE(lost);
  const std::vector<std::string> all = ReadAll(after);
  ASSERT_EQ(all.size(), 2001u);
  EXPECT_EQ(all[0], "gone:5000=2");
}

TEST_F(LogTailTest, ForgetsSeriesThatTheStoreHasForgotten) {
  Open();
  LogTail tail(path_);
  bool lost = false;
  ASSERT_TRUE(tail.Start(std::nullopt, &lost).ok());
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 500; ++i) {
      Add("pod-" + std::to_string(round) + "-" + std::to_string(i), clock_.NowMs(), i);
    }
    EXPECT_EQ(ReadAll(tail).size(), 500u);
    clock_.Advance(30 * testing::kHourMs);
    ASSERT_TRUE(db_->Maintain().ok());
  }
  Add("last", clock_.NowMs(), 1);
  EXPECT_THAT(ReadAll(tail), ElementsAre("last:" + std::to_string(clock_.NowMs()) + "=1"));
  EXPECT_LT(tail.series(), 2000u) << "of 3001; how soon depends on when the store writes a checkpoint";
}

TEST_F(LogTailTest, KeepsNoMoreThanItMay) {
  Open();
  ASSERT_TRUE(LogTail::Keep(path_, true).ok());
  for (int i = 1; i < 2000; ++i) {
    Add("pod-" + std::to_string(i), i * 1000, i);
    if (i % 200 == 0) {
      ASSERT_TRUE(db_->Maintain().ok());
    }
  }
  auto kept = [&] {
    uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_ + "/log/retired")) bytes += entry.file_size();
    return bytes;
  };
  const uint64_t all = kept();
  EXPECT_GT(*LogTail::Release(path_, 0, all / 2, 0), 0);
  EXPECT_LE(kept(), all / 2);
  EXPECT_GT(kept(), 0u);
  EXPECT_GT(*LogTail::Release(path_, 0, UINT64_MAX, INT64_MAX), 0) << "by age";
  EXPECT_EQ(*LogTail::Release(path_, 0, 0, 0), 0);
  EXPECT_EQ(kept(), 0u);
}

// What is not whole yet may be cut off by the writer, and other bytes may follow.
TEST_F(LogTailTest, ReadsAgainWhatWasNotWhole) {
  Open();
  Add("a", 1000, 1);
  LogTail tail(path_);
  bool lost = false;
  ASSERT_TRUE(tail.Start(std::nullopt, &lost).ok());
  std::string newest;
  for (const auto& entry : std::filesystem::directory_iterator(path_ + "/log")) {
    if (entry.is_regular_file()) newest = std::max(newest, entry.path().string());
  }
  const auto size = std::filesystem::file_size(newest);
  for (const std::string& torn : {std::string("\0\0\0\x20\1\2\3\4half", 12), std::string(9, '\xff')}) {
    auto bytes = base::ReadFile(newest);
    ASSERT_TRUE(bytes.ok());
    std::ofstream(newest, std::ios::binary | std::ios::app) << torn;
    EXPECT_THAT(ReadAll(tail), ElementsAre());
    std::filesystem::resize_file(newest, size);
  }
  Add("b", 2000, 2);
  EXPECT_THAT(ReadAll(tail), ElementsAre("b:2000=2"));
}

TEST_F(LogTailTest, WithoutAKeeperNothingIsKept) {
  Open();
  for (int i = 1; i < 300; ++i) Add("pod-" + std::to_string(i), i * 1000, i);
  ASSERT_TRUE(db_->Close().ok());
  EXPECT_FALSE(std::filesystem::exists(path_ + "/log/retired"));
}

}  // namespace
}  // namespace tidewright::tsdb
