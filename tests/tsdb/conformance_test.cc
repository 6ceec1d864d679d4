// Bytes recorded from Prometheus: chunks, log records and whole logs.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "tests/tsdb/store.h"
#include "tsdb/record.h"
#include "tsdb/xor_chunk.h"

namespace tidewright::tsdb {
namespace {

namespace fs = std::filesystem;
using base::Json;

std::string ConformanceDirectory() {
  const char* configured = std::getenv("CONFORMANCE_DIR");
  return std::string(configured != nullptr ? configured : TIDEWRIGHT_SOURCE_DIR "/../shared/conformance") + "/tsdb";
}

class Conformance : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(ConformanceDirectory())) GTEST_SKIP() << "no conformance data; set CONFORMANCE_DIR";
  }
  static Json Load(const std::string& file) {
    auto text = base::ReadFile(ConformanceDirectory() + "/" + file);
    EXPECT_TRUE(text.ok()) << text.status().ToString();
    return *base::ParseJson(text.ok() ? *text : "null");
  }
};

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::strtol(hex.substr(i, 2).c_str(), nullptr, 16));
  }
  return bytes;
}

double ParseValue(const Json& value) {
  std::string text = value.get<std::string>();
  if (text == "stale") return StaleNan();
  if (text.rfind("NaN:", 0) == 0)
    return std::bit_cast<double>(static_cast<uint64_t>(std::stoull(text.substr(4), nullptr, 16)));
  double number = 0;
  EXPECT_TRUE(base::ParseDouble(text, &number)) << text;
  return number;
}

std::string Bits(double value) { return std::to_string(std::bit_cast<uint64_t>(value)); }

TEST_F(Conformance, XorChunks) {
  int checked = 0;
  std::map<std::string, int> skipped;
  const Json file = Load("float-chunks.json");
  for (const Json& test : file["cases"]) {
    if (test["encoding_byte"] != 1) {
      ++skipped["encoding " + test["encoding"].get<std::string>() + " is not built in"];
      continue;
    }
    XorChunkWriter writer;
    for (const Json& sample : test["samples"]) writer.Append(sample[0].get<int64_t>(), ParseValue(sample[1]));
    const std::string expected = FromHex(test["data_hex"]);
    EXPECT_EQ(writer.bytes(), expected) << test["id"] << " " << test["name"];
    XorChunkReader reader(expected);
    for (const Json& sample : test["samples"]) {
      ASSERT_TRUE(reader.Next()) << test["name"];
      EXPECT_EQ(reader.At().t, sample[0].get<int64_t>()) << test["name"];
      EXPECT_EQ(Bits(reader.At().v), Bits(ParseValue(sample[1]))) << test["name"];
    }
    EXPECT_FALSE(reader.Next());
    EXPECT_FALSE(reader.corrupt());
    ++checked;
  }
  EXPECT_GT(checked, 30);
  printf("XOR chunks: %d identical both ways\n", checked);
  for (const auto& [reason, count] : skipped) printf("  skipped %d: %s\n", count, reason.c_str());
}

void CheckSeries(const Json& test, const std::string& bytes) {
  SeriesEncoder encoder;
  auto decoded = DecodeSeries(bytes);
  ASSERT_TRUE(decoded.ok());
  ASSERT_EQ(decoded->size(), test["content"].size());
  for (size_t i = 0; i < decoded->size(); ++i) {
    const Json& expected = test["content"][i];
    std::vector<Label> labels;
    for (const auto& [name, value] : expected["labels"].items()) labels.push_back({name, value.get<std::string>()});
    EXPECT_EQ((*decoded)[i].ref, expected["ref"].get<uint64_t>());
    EXPECT_EQ((*decoded)[i].labels, Labels::FromPairs(labels));
    // One case ends with a label without value, which is dropped when read: equal as far as nothing was dropped.
    if (i + 1 < decoded->size() || bytes.back() != '\0') encoder.Add((*decoded)[i].ref, (*decoded)[i].labels);
  }
  EXPECT_EQ(encoder.bytes(), bytes.substr(0, encoder.bytes().size()));
  EXPECT_GT(encoder.bytes().size(), 20u);
}

void CheckSamples(const Json& test, const std::string& bytes) {
  SamplesEncoder encoder;
  auto decoded = DecodeSamples(bytes);
  ASSERT_TRUE(decoded.ok());
  ASSERT_EQ(decoded->size(), test["content"].size());
  for (size_t i = 0; i < decoded->size(); ++i) {
    const Json& expected = test["content"][i];
    EXPECT_EQ((*decoded)[i].ref, expected["ref"].get<uint64_t>());
    EXPECT_EQ((*decoded)[i].sample.t, expected["t"].get<int64_t>());
    EXPECT_EQ(Bits((*decoded)[i].sample.v), Bits(ParseValue(expected["v"])));
    encoder.Add((*decoded)[i].ref, (*decoded)[i].sample);
  }
  if (test["type_byte"] == 2) {
    EXPECT_EQ(encoder.bytes(), bytes);
  }
}

void CheckMetadata(const Json& test, const std::string& bytes) {
  MetadataEncoder encoder;
  auto decoded = DecodeMetadata(bytes);
  ASSERT_TRUE(decoded.ok());
  ASSERT_EQ(decoded->size(), test["content"].size());
  for (size_t i = 0; i < decoded->size(); ++i) {
    const Json& expected = test["content"][i];
    const MetadataRecord& record = (*decoded)[i];
    EXPECT_EQ(record.ref, expected["ref"].get<uint64_t>());
    EXPECT_EQ(static_cast<int>(record.metadata.type), expected["metric_type_byte"].get<int>());
    EXPECT_EQ(record.metadata.unit, expected["unit"].get<std::string>());
    EXPECT_EQ(record.metadata.help, expected["help"].get<std::string>());
    encoder.Add(record);
  }
  EXPECT_EQ(encoder.bytes(), bytes);
}

TEST_F(Conformance, LogRecords) {
  int checked = 0;
  std::map<std::string, int> skipped;
  const Json file = Load("records.json");
  for (const Json& test : file["cases"]) {
    SCOPED_TRACE(test["name"].get<std::string>());
    const std::string bytes = FromHex(test["data_hex"]);
    int type = test["type_byte"];
    if (type == 1) {
      CheckSeries(test, bytes);
    } else if (type == 2 || type == 11) {
      CheckSamples(test, bytes);
    } else if (type == 6) {
      CheckMetadata(test, bytes);
    } else {
      ++skipped["type " + std::to_string(type) + " (" + test["name"].get<std::string>() + ") is not built in"];
      continue;
    }
    ++checked;
  }
  EXPECT_GE(checked, 5);
  printf("log records: %d checked\n", checked);
  for (const auto& [reason, count] : skipped) printf("  skipped %d: %s\n", count, reason.c_str());
}

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
      {"zstd", "records compressed with zstd: no decompressor is built in"},
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
  EXPECT_GE(checked, 4);
  printf("logs: %d replayed, %d series identical\n", checked, series);
}

// What can be said about the cases that need more than float series.
TEST_F(Conformance, LogsThatNeedMoreAreReadAsFarAsTheyGo) {
  base::TempDir directory = testing::FastTempDir("tsdb-conformance");
  base::FakeClock clock(1704085260000);
  for (const char* name : {"zstd", "everything", "checkpoint"}) {
    fs::copy(ConformanceDirectory() + "/wal/" + name, directory.path() + "/" + name, fs::copy_options::recursive);
    fs::permissions(directory.path() + "/" + name, fs::perms::owner_all);
    for (const auto& entry : fs::recursive_directory_iterator(directory.path() + "/" + name)) {
      fs::permissions(entry.path(), fs::perms::owner_all);
    }
  }
  auto zstd = Db::Open(directory.path() + "/zstd", {}, clock, nullptr);
  EXPECT_EQ(zstd.status().code(), base::Code::kUnimplemented) << "an unreadable log is refused, never cut off";
  EXPECT_GT(fs::file_size(directory.path() + "/zstd/wal/00000000"), 0u);

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
