// Every damaged byte of every kind of file is found, and nothing is changed by looking.
#include "tsdb/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "tests/tsdb/conformance.h"
#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kStart = 1'699'999'200'000;

class VerifyTest : public ::testing::Test {
 protected:
  // Blocks, log, checkpoint and chunk files, as a kill leaves them.
  void WriteStore() {
    base::FakeClock clock(kStart);
    DbOptions options{.retention_ms = 1000 * testing::kHourMs, .wal_segment_bytes = 2048};
    auto db = *Db::Open(directory_.path() + "/running", options, clock, nullptr);
    for (int minute = 0; minute < 400; ++minute) {
      clock.Set(kStart + minute * 60'000);
      std::vector<testing::NewSample> samples;
      for (int i = 0; i < 6; ++i) {
        samples.push_back({Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}}), clock.NowMs(), 1.5 * i * minute});
      }
      ASSERT_TRUE(testing::Write(*db, samples).ok());
      if (minute % 20 == 19) ASSERT_TRUE(db->Maintain().ok());
      if (minute == 300) {
        ASSERT_TRUE(db->Delete(kStart, kStart + 600'000, {Matcher::Equal("i", "3")}).ok());
      }
    }
    fs::copy(directory_.path() + "/running", data(), fs::copy_options::recursive);
  }
  std::string data() const { return directory_.path() + "/data"; }

  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(data())) {
      if (entry.is_regular_file() && entry.path().filename() != "lock") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }

  static void Overwrite(const fs::path& file, const std::string& bytes) {
    fs::permissions(file, fs::perms::owner_all);
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  }

  // Changes each `step`th byte of a file and counts the changes that go unnoticed; every fault must name the file.
  int Unnoticed(const fs::path& file, size_t step) {
    const std::string good = *base::ReadFile(file);
    int unnoticed = 0;
    for (size_t at = 0; at < good.size(); at += step) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 0x41);
      Overwrite(file, bad);
      auto report = VerifyDirectory(data());
      EXPECT_TRUE(report.ok()) << report.status().ToString();
      unnoticed += report->faults.empty();
      if (!report->faults.empty()) {
        EXPECT_THAT(report->faults, ::testing::Contains(HasSubstr(file.string()))) << "byte " << at;
      }
      EXPECT_EQ(*base::ReadFile(file), bad) << "looking changes nothing";
    }
    Overwrite(file, good);
    return unnoticed;
  }

  base::TempDir directory_ = testing::FastTempDir("tsdb-verify");
};

TEST_F(VerifyTest, AStoreOfOurs) {
  WriteStore();
  auto clean = VerifyDirectory(data());
  ASSERT_TRUE(clean.ok()) << clean.status().ToString();
  EXPECT_THAT(clean->faults, IsEmpty());
  EXPECT_EQ(clean->files, Files().size());
  std::set<std::string> kinds;
  for (const fs::path& file : Files()) {
    const std::string name = file.filename();
    const bool index = name == "index", meta = name == "meta.json";
    const int unnoticed = Unnoticed(file, index || meta ? 3 : 7);
    // Padding of an index means nothing, and not every letter of meta.json.
    if (!index && !meta) EXPECT_EQ(unnoticed, 0) << file;
    if (index) EXPECT_LT(unnoticed, 40) << file;
    kinds.insert(fs::relative(file, data()).string().substr(0, 4) == "head" ? "head" : name);
  }
  EXPECT_GE(kinds.size(), 6u);
}

TEST_F(VerifyTest, APrometheus) {
  if (!fs::exists(testing::ConformanceDirectory())) GTEST_SKIP() << "no conformance data; set CONFORMANCE_DIR";
  for (const char* name : {"snappy", "several-pages", "checkpoint", "everything", "mmapped-chunks"}) {
    SCOPED_TRACE(name);
    fs::remove_all(data());
    fs::copy(testing::ConformanceDirectory() + "/wal/" + name, data(), fs::copy_options::recursive);
    auto clean = VerifyDirectory(data());
    ASSERT_TRUE(clean.ok()) << clean.status().ToString();
    EXPECT_THAT(clean->faults, IsEmpty());
    for (const fs::path& file : Files()) {
      fs::permissions(file, fs::perms::owner_all);
      const std::string good = *base::ReadFile(file);
      // What follows the records is zero, and noticed when it is not; three bytes of a head chunk file are spare.
      EXPECT_LE(Unnoticed(file, 1 + good.size() / 200), 1) << file;
    }
  }
}

TEST_F(VerifyTest, SaysWhatItDoesNotKnow) {
  ASSERT_TRUE(base::MakeDirectories(data() + "/log/checkpoint.00000003.tmp").ok());
  ASSERT_TRUE(base::MakeDirectories(data() + "/01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation").ok());
  ASSERT_TRUE(base::MakeDirectories(data() + "/snapshots").ok());
  Overwrite((std::ofstream(data() + "/lock"), data() + "/lock"), "");
  auto report = VerifyDirectory(data());
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->faults, IsEmpty());
  EXPECT_THAT(report->notes, ElementsAre(HasSubstr(".tmp-for-creation: left behind"), HasSubstr(".tmp: left behind"),
                                         HasSubstr("/snapshots: not part of the store")));
  EXPECT_EQ(VerifyDirectory(directory_.path() + "/missing").status().code(), base::Code::kNotFound);
}

}  // namespace
}  // namespace tidewright::tsdb
