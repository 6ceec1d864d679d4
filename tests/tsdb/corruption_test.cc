// Every single-byte change and every shortening of a log: the store opens, holds a prefix of the batches, and works on.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/log.h"
#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

using testing::Contents;
using testing::ReadAll;

constexpr int kBatches = 12;

Labels Counter(int i) { return Labels::Of({{"__name__", "requests_total"}, {"instance", std::to_string(i)}}); }

// Batch b writes sample t = b + 1 to series 0, 1 and, from batch 6 on, 2.
Contents PrefixOf(int batches) {
  Contents contents;
  for (int b = 0; b < batches; ++b) {
    for (int i = 0; i < (b < 6 ? 2 : 3); ++i) {
      contents[Counter(i).ToString()].push_back(std::to_string(b + 1) + "=" + std::to_string(b * 10 + i));
    }
  }
  return contents;
}

class Corruption : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::SetLogLevel("error").ok());
    ASSERT_TRUE(base::LogToFile("/dev/null").ok());
    auto db = Db::Open(source_.path(), {}, clock_, nullptr);
    ASSERT_TRUE(db.ok());
    for (int b = 0; b < kBatches; ++b) {
      auto appender = (*db)->NewAppender();
      for (int i = 0; i < (b < 6 ? 2 : 3); ++i) ASSERT_TRUE(appender->Append(0, Counter(i), b + 1, b * 10 + i).ok());
      ASSERT_TRUE(appender->Commit().ok());
      if (b == 7) after_eight_ = base::ReadFile(Segment(source_.path()))->size();
    }
    log_ = *base::ReadFile(Segment(source_.path()));
    ASSERT_EQ(ReadAll(**db), PrefixOf(kBatches));
  }

  static std::string Segment(const std::string& directory) { return directory + "/log/00000000"; }

  // Opens a store over `log`; how many batches it holds, or -1 when it is not a prefix. Then checks that it goes on.
  void Open(const std::string& log, int* batches, uint64_t* corruptions) {
    *batches = -1;
    base::TempDir directory = testing::FastTempDir("tsdb-corruption");
    ASSERT_TRUE(base::MakeDirectories(directory.path() + "/log").ok());
    ASSERT_TRUE(base::WriteFileAtomic(Segment(directory.path()), log).ok());
    Contents after;
    {
      auto db = Db::Open(directory.path(), {}, clock_, nullptr);
      ASSERT_TRUE(db.ok()) << db.status().ToString();
      *corruptions = (*db)->Stats().wal_corruptions;
      Contents contents = ReadAll(**db);
      for (int b = 0; b <= kBatches; ++b) {
        if (contents == PrefixOf(b)) *batches = b;
      }
      ASSERT_TRUE(testing::Write(**db, {{Counter(0), 100, 1}, {Counter(9), 100, 1}}).ok());
      after = ReadAll(**db);
    }
    auto db = Db::Open(directory.path(), {}, clock_, nullptr);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    EXPECT_EQ((*db)->Stats().wal_corruptions, 0u) << "the damage was repaired";
    EXPECT_EQ(ReadAll(**db), after);
  }

  base::FakeClock clock_{1000};
  base::TempDir source_ = testing::FastTempDir("tsdb-source");
  std::string log_;
  size_t after_eight_ = 0;
};

TEST_F(Corruption, EveryLength) {
  int last = 0;
  for (size_t size = 0; size <= log_.size(); ++size) {
    int batches;
    uint64_t corruptions;
    Open(log_.substr(0, size), &batches, &corruptions);
    ASSERT_GE(batches, last) << size;
    if (size == after_eight_) {
      EXPECT_EQ(batches, 8);
    }
    last = batches;
  }
  EXPECT_EQ(last, kBatches);
}

TEST_F(Corruption, EveryByte) {
  int whole = 0;
  for (size_t at = 0; at < log_.size(); ++at) {
    for (unsigned char flip : {0x01, 0x80, 0xff}) {
      std::string damaged = log_;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      int batches;
      uint64_t corruptions;
      Open(damaged, &batches, &corruptions);
      ASSERT_GE(batches, 0) << "byte " << at << " ^ " << int{flip} << " left half a batch";
      ASSERT_EQ(corruptions, 1u) << at;
      if (at >= after_eight_) {
        EXPECT_GE(batches, 8) << at;
      }
      whole += batches == kBatches;
    }
  }
  EXPECT_EQ(whole, 0) << "no change goes unnoticed";
}

TEST_F(Corruption, ADamagedCheckpointKeepsItsPrefixAndTheSegments) {
  base::TempDir directory = testing::FastTempDir("tsdb-checkpoint");
  const std::string killed = directory.path() + "/killed";
  DbOptions options{.wal_segment_bytes = 512};
  {
    auto db = *Db::Open(directory.path() + "/running", options, clock_, nullptr);
    for (int t = 1; t <= 100; ++t) ASSERT_TRUE(testing::Write(*db, {{Counter(0), t, 1}, {Counter(1), t, 2}}).ok());
    ASSERT_TRUE(db->Maintain().ok());
    ASSERT_TRUE(testing::Write(*db, {{Counter(0), 101, 1}, {Counter(1), 101, 2}}).ok());
    std::filesystem::copy(directory.path() + "/running", killed, std::filesystem::copy_options::recursive);
  }
  std::string checkpoint;
  for (const auto& entry : std::filesystem::directory_iterator(killed + "/log")) {
    if (entry.path().filename().string().rfind("checkpoint.", 0) == 0) checkpoint = entry.path();
  }
  ASSERT_FALSE(checkpoint.empty()) << "Maintain() wrote a checkpoint";
  std::string bytes = *base::ReadFile(checkpoint);
  bytes[bytes.size() - 3] ^= 1;  // In the record of the samples, which is the last.
  ASSERT_TRUE(base::WriteFileAtomic(checkpoint, bytes).ok());
  auto db = *Db::Open(killed, options, clock_, nullptr);
  EXPECT_EQ(db->Stats().wal_corruptions, 1u);
  EXPECT_EQ(ReadAll(*db), (Contents{{Counter(0).ToString(), {"101=1"}}, {Counter(1).ToString(), {"101=2"}}}));
}

}  // namespace
}  // namespace tidewright::tsdb
