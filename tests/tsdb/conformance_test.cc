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

// All samples by series, as text; equal texts mean equal bits. Integer histograms as float histograms, which is what
// queries hand out.
testing::Contents ExpectedContents(const Json& expected) {
  testing::Contents contents;
  for (const Json& series : expected["after_replay"]) {
    std::vector<std::string>& samples = contents[testing::ParseLabels(series["labels"]).ToString()];
    for (const Json& sample : series["samples"]) {
      const bool integers = sample[1].is_object() && sample[1].contains("positive_deltas");
      samples.push_back(std::to_string(sample[0].get<int64_t>()) + " " +
                        (integers ? testing::Describe(ToFloat(testing::ParseHistogram(sample[1])))
                                  : testing::DescribeJson(sample[1])));
    }
  }
  return contents;
}

testing::Contents ContentsOf(Db& db) {
  testing::Contents contents;
  auto querier = *db.NewQuerier(INT64_MIN, INT64_MAX);
  auto selected = querier->Select({}, {});
  EXPECT_TRUE(selected.ok()) << selected.status().ToString();
  for (const auto& series : *selected) {
    std::vector<std::string>& samples = contents[series->labels().ToString()];
    for (auto it = series->Iterator(); it->Next();) {
      samples.push_back(
          std::to_string(it->At().t) + " " +
          (it->AtHistogram() != nullptr ? testing::Describe(*it->AtHistogram()) : testing::Describe(it->At().v)));
    }
  }
  return contents;
}

// A copy that may be changed.
std::string CopyOf(const std::string& name, const base::TempDir& directory) {
  const std::string copy = directory.path() + "/" + name;
  fs::copy(ConformanceDirectory() + "/wal/" + name, copy, fs::copy_options::recursive);
  fs::permissions(copy, fs::perms::owner_all);
  for (const auto& entry : fs::recursive_directory_iterator(copy)) fs::permissions(entry.path(), fs::perms::owner_all);
  return copy;
}

TEST_F(Conformance, Logs) {
  const Json expected = Load("wal/expected.json");
  int checked = 0;
  size_t samples = 0;
  for (const auto& [name, content] : expected.items()) {
    SCOPED_TRACE(name);
    base::TempDir directory = testing::FastTempDir("tsdb-conformance");
    const std::string data = CopyOf(name, directory);
    base::FakeClock clock(content["head_max_time"].get<int64_t>());
    const DbOptions options{.retention_ms = 1000 * testing::kHourMs};
    const testing::Contents wanted = ExpectedContents(content);
    // As taken over, and once more from what we made of it.
    for (int start = 0; start < 2; ++start) {
      auto db = Db::Open(data, options, clock, nullptr);
      ASSERT_TRUE(db.ok()) << db.status().ToString();
      EXPECT_EQ(ContentsOf(**db), wanted) << "start " << start;
      EXPECT_EQ((*db)->Stats().wal_corruptions, 0u);
    }
    for (const auto& [series, values] : wanted) samples += values.size();
    ++checked;
  }
  EXPECT_GE(checked, 7);
  printf("logs: %d of %zu directories taken over, %zu samples identical\n", checked, expected.size(), samples);
}

}  // namespace
}  // namespace tidewright::tsdb
