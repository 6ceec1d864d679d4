// Every changed byte and every length of every kind of file in a data directory: the store opens, what it hands out was
// written, what is out of the damage's reach is all there, and it goes on working.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "tests/tsdb/store.h"
#include "tsdb/block_reader.h"
#include "tsdb/frame.h"
#include "tsdb/prometheus_head_chunks.h"
#include "tsdb/record.h"

namespace tidewright::tsdb {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using testing::ReadAll;

constexpr int64_t kStart = 1'699'999'200'000;  // A multiple of two hours.
constexpr int64_t kMinute = 60'000;

class StoreCorruption : public ::testing::Test {
 protected:
  void SetUp() override {
    base::SetLogLevel(base::LogLevel::kError);
    ASSERT_TRUE(base::LogToFile("/dev/null").ok());
  }

  std::string good() const { return directory_.path() + "/good"; }
  std::string bad() const { return directory_.path() + "/bad"; }

  static Labels SeriesLabels(int i) { return Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}}); }

  // A block with a deletion, chunk files, a checkpoint and a segment, as a kill leaves them.
  void WriteStore() {
    auto db = *Db::Open(directory_.path() + "/running", options_, clock_, nullptr);
    for (int minute = 0; minute < 292; ++minute) {
      const int64_t t = kStart + minute * kMinute;
      clock_.Set(t);
      ASSERT_TRUE(testing::Write(*db, {{SeriesLabels(0), t, 1.0 * minute}, {SeriesLabels(1), t, 7}}).ok());
      // The chunks that end at minute 240 go to a file, and then a checkpoint says so.
      if (minute % 60 == 59 || minute == 245 || minute == 289) ASSERT_TRUE(db->Maintain().ok());
    }
    fs::copy(directory_.path() + "/running", good(), fs::copy_options::recursive);
    const std::vector<std::string> blocks = *ListBlocks(good(), /*clean=*/false);
    for (const std::string& name : blocks) {
      ASSERT_TRUE((*Block::Open(good() + "/" + name))->Delete(kStart, kStart + kMinute, {}).ok());
    }
  }

  // The same samples in a directory of Prometheus: chunks on disk, the newer samples in the log alone.
  void WritePrometheus() {
    std::string log;
    const auto add = [&log](const std::string& record) { FrameRecord(log.size(), record, /*compress=*/true, &log); };
    SeriesEncoder series;
    for (int i = 0; i < 2; ++i) series.Add(static_cast<SeriesRef>(i + 1), SeriesLabels(i));
    add(series.bytes());
    std::string chunks = HeadChunksHeader();
    for (int i = 0; i < 2; ++i) {
      ChunkEncoder encoder;
      for (int minute = 0; minute < 20; ++minute) encoder.Append(kStart + minute * kMinute, minute * i);
      for (const EncodedChunk& chunk : encoder.Take()) {
        chunks += EncodeHeadChunk({static_cast<uint64_t>(i + 1), chunk.View(), false});
      }
    }
    for (int minute = 20; minute < 25; ++minute) {
      SamplesEncoder samples;
      for (int i = 0; i < 2; ++i) {
        samples.Add(static_cast<SeriesRef>(i + 1), {kStart + minute * kMinute, 1.0 * minute * i});
      }
      add(samples.bytes());
    }
    for (const char* folder : {"/wal", "/chunks_head"}) ASSERT_TRUE(base::MakeDirectories(good() + folder).ok());
    ASSERT_TRUE(base::WriteFileAtomic(good() + "/wal/00000000", log).ok());
    ASSERT_TRUE(base::WriteFileAtomic(good() + "/chunks_head/000001", chunks).ok());
    clock_.Set(kStart + 30 * kMinute);
  }

  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(good())) {
      if (entry.is_regular_file() && entry.path().filename() != "lock") {
        files.push_back(fs::relative(entry.path(), good()));
      }
    }
    std::sort(files.begin(), files.end());
    return files;
  }

  // Tries one form of a file. What it takes away is added to `lost`.
  void Try(const fs::path& file, const std::string& content, size_t* lost, size_t* refused) {
    fs::remove_all(bad());
    fs::copy(good(), bad(), fs::copy_options::recursive);
    std::ofstream(fs::path(bad()) / file, std::ios::binary | std::ios::trunc) << content;
    Contents after;
    const Labels extra = Labels::Of({{"__name__", "extra"}});
    {
      auto db = Db::Open(bad(), options_, clock_, nullptr);
      ASSERT_TRUE(db.ok()) << db.status().ToString();
      after = ReadAll(**db);
      if (after.size() == 1 && after.begin()->first.rfind("error", 0) == 0) {
        ++*refused;  // A query that would meet the damage says so.
      } else {
        CheckIsPart(after, lost);
      }
      ASSERT_TRUE(testing::Write(**db, {{extra, clock_.NowMs(), 1}}).ok());
      (void)(*db)->Maintain();
    }
    auto db = Db::Open(bad(), options_, clock_, nullptr);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    EXPECT_EQ((*db)->Stats().wal_corruptions, 0u) << "the damage is dealt with once";
    auto querier = *(*db)->NewQuerier(clock_.NowMs(), clock_.NowMs());
    auto selected = querier->Select({}, {Matcher::Equal("__name__", "extra")});
    ASSERT_TRUE(!selected.ok() || selected->size() == 1u) << "what came later is there";
  }

  void CheckIsPart(const Contents& contents, size_t* lost) const {
    size_t found = 0;
    for (const auto& [series, samples] : contents) {
      auto whole = whole_.find(series);
      ASSERT_NE(whole, whole_.end()) << series;
      ASSERT_TRUE(std::includes(whole->second.begin(), whole->second.end(), samples.begin(), samples.end())) << series;
      found += samples.size();
    }
    *lost = std::max(*lost, total_ - found);
  }

  void TryAll() {
    {
      fs::copy(good(), bad(), fs::copy_options::recursive);
      auto db = *Db::Open(bad(), options_, clock_, nullptr);
      whole_ = ReadAll(*db);
    }
    for (const auto& [series, samples] : whole_) total_ += samples.size();
    ASSERT_GT(total_, 40u);
    for (const fs::path& file : Files()) {
      SCOPED_TRACE(file);
      const std::string content = *base::ReadFile(fs::path(good()) / file);
      size_t lost = 0, refused = 0, tried = 0;
      for (size_t at = 0; at < content.size() && !HasFatalFailure(); ++at) {
        SCOPED_TRACE("byte " + std::to_string(at));
        std::string damaged = content;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x41);
        Try(file, damaged, &lost, &refused);
        Try(file, content.substr(0, at), &lost, &refused);
        tried += 2;
      }
      printf("  %-44s %5zu forms of damage: at most %zu of %zu samples lost, %zu queries refused\n", file.c_str(),
             tried, lost, total_, refused);
    }
  }

  base::TempDir directory_ = testing::FastTempDir("tsdb-store-corruption");
  base::FakeClock clock_{kStart};
  DbOptions options_{.retention_ms = 1000 * testing::kHourMs, .wal_segment_bytes = 256};
  Contents whole_;
  size_t total_ = 0;
};

TEST_F(StoreCorruption, EveryByteOfEveryFileOfOurs) {
  WriteStore();
  TryAll();
}

TEST_F(StoreCorruption, EveryByteOfEveryFileOfAPrometheus) {
  WritePrometheus();
  TryAll();
}

}  // namespace
}  // namespace tidewright::tsdb
