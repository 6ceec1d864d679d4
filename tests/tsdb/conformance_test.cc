// Data directories recorded from Prometheus, opened as a database.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "tests/tsdb/conformance.h"
#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

namespace fs = std::filesystem;
using base::Json;

using Conformance = testing::ConformanceTest;
using testing::ConformanceDirectory;
using testing::ParseValue;

// The float series of a case, as ReadAll() prints them; those with other samples are counted in `skipped`.
testing::Contents ExpectedContents(const Json& expected, int* skipped) {
  testing::Contents contents;
  for (const Json& series : expected["after_replay"]) {
    std::vector<Label> labels;
    for (const auto& [name, value] : series["labels"].items()) labels.push_back({name, value.get<std::string>()});
    std::vector<std::string> samples;
    bool floats = true;
    for (const Json& sample : series["samples"]) {
      floats = floats && sample[1].is_string();
      if (floats) samples.push_back(testing::Print({sample[0].get<int64_t>(), ParseValue(sample[1])}));
    }
    if (!floats) {
      ++*skipped;
      continue;
    }
    contents[Labels::FromPairs(labels).ToString()] = samples;
  }
  return contents;
}

TEST_F(Conformance, Logs) {
  const std::map<std::string, std::string> skipped_cases = {
      {"everything", "histograms, tombstones and the out-of-order log are later work"},
      {"checkpoint", "drops samples by the end of the newest block, and there are no blocks yet"},
  };
  Json expected = Load("wal/expected.json");
  int series = 0, checked = 0;
  for (const auto& [name, content] : expected.items()) {
    if (skipped_cases.count(name) > 0) {
      printf("  skipped %s: %s\n", name.c_str(), skipped_cases.at(name).c_str());
      continue;
    }
    SCOPED_TRACE(name);
    base::TempDir directory = testing::FastTempDir("tsdb-conformance");
    fs::copy(ConformanceDirectory() + "/wal/" + name, directory.path() + "/data", fs::copy_options::recursive);
    fs::permissions(directory.path() + "/data", fs::perms::owner_all);
    for (const auto& entry : fs::recursive_directory_iterator(directory.path() + "/data")) {
      fs::permissions(entry.path(), fs::perms::owner_all);
    }
    base::FakeClock clock(content["head_max_time"].get<int64_t>());
    auto db = Db::Open(directory.path() + "/data", {}, clock, nullptr);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    int skipped_series = 0;
    testing::Contents wanted = ExpectedContents(content, &skipped_series);
    EXPECT_EQ(testing::ReadAll(**db), wanted);
    EXPECT_EQ(skipped_series, 0);
    DbStats stats = (*db)->Stats();
    EXPECT_EQ(stats.wal_corruptions, 0u);
    EXPECT_EQ(stats.series, content["head_series"].get<uint64_t>());
    EXPECT_EQ(stats.min_time, content["head_min_time"].get<int64_t>());
    EXPECT_EQ(stats.max_time, content["head_max_time"].get<int64_t>());
    series += static_cast<int>(wanted.size());
    ++checked;
  }
  EXPECT_GE(checked, 5);
  printf("logs: %d replayed, %d series identical\n", checked, series);
}

// What can be said about the cases that need more than float series.
TEST_F(Conformance, LogsThatNeedMoreAreReadAsFarAsTheyGo) {
  base::TempDir directory = testing::FastTempDir("tsdb-conformance");
  base::FakeClock clock(1704085260000);
  for (const char* name : {"everything", "checkpoint"}) {
    fs::copy(ConformanceDirectory() + "/wal/" + name, directory.path() + "/" + name, fs::copy_options::recursive);
    fs::permissions(directory.path() + "/" + name, fs::perms::owner_all);
    for (const auto& entry : fs::recursive_directory_iterator(directory.path() + "/" + name)) {
      fs::permissions(entry.path(), fs::perms::owner_all);
    }
  }
  auto everything = Db::Open(directory.path() + "/everything", {}, clock, nullptr);
  ASSERT_TRUE(everything.ok()) << everything.status().ToString();
  EXPECT_EQ((*everything)->Stats().wal_corruptions, 0u);

  // Without the lower bound that blocks give, a reader sees at least what Prometheus sees.
  auto checkpoint = Db::Open(directory.path() + "/checkpoint", {}, clock, nullptr);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
  EXPECT_EQ((*checkpoint)->Stats().wal_corruptions, 0u);
  Json content = Load("wal/expected.json")["checkpoint"];
  int skipped = 0;
  testing::Contents wanted = ExpectedContents(content, &skipped);
  EXPECT_EQ(testing::ReadAll(**checkpoint, content["head_min_time"], content["head_max_time"]), wanted);
}

}  // namespace
}  // namespace tidewright::tsdb
