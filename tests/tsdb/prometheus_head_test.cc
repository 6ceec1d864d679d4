// Data directories of Prometheus before any block was written: what their logs and head chunks hold.
#include "tsdb/prometheus_head.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "base/log.h"
#include "tests/tsdb/conformance.h"
#include "tests/tsdb/store.h"
#include "tsdb/frame.h"
#include "tsdb/prometheus_head_chunks.h"
#include "tsdb/record.h"

namespace tidewright::tsdb {
namespace {

namespace fs = std::filesystem;
using base::Json;
using testing::ConformanceDirectory;
using testing::ConformanceTest;
using testing::Describe;
using testing::DescribeJson;
using testing::FastTempDir;
using testing::ParseLabels;
using testing::Print;
using testing::ToHex;

// Keeps everything, as text, by series.
class Collector : public PrometheusHeadSink {
 public:
  base::Result<SeriesRef> AddSeries(const Labels& labels) override {
    auto [it, added] = refs_.try_emplace(labels.ToString(), refs_.size() + 1);
    if (added) names_.push_back(labels.ToString());
    return it->second;
  }
  base::Status AddFloat(SeriesRef ref, int64_t t, double value, bool out_of_order) override {
    return Add(ref, t, Describe(value), out_of_order);
  }
  base::Status AddHistogram(SeriesRef ref, int64_t t, const Histogram& h, bool out_of_order) override {
    return Add(ref, t, Describe(h), out_of_order);
  }
  base::Status AddFloatHistogram(SeriesRef ref, int64_t t, const FloatHistogram& h, bool out_of_order) override {
    return Add(ref, t, Describe(h), out_of_order);
  }
  base::Status AddExemplar(SeriesRef ref, const Labels& labels, int64_t t, double value) override {
    exemplars.push_back(names_[ref - 1] + " " + labels.ToString() + " " + Print({t, value}));
    return base::Status::Ok();
  }
  base::Status SetMetadata(SeriesRef ref, const std::string& family, const Metadata& data) override {
    metadata.push_back(names_[ref - 1] + " " + family + " " + data.help);
    return base::Status::Ok();
  }
  base::Status Delete(SeriesRef ref, TimeInterval interval) override {
    auto& samples = contents[names_[ref - 1]];
    std::erase_if(samples,
                  [&](const auto& sample) { return sample.first >= interval.mint && sample.first <= interval.maxt; });
    return base::Status::Ok();
  }

  std::map<std::string, std::map<int64_t, std::string>> contents;
  std::vector<std::string> exemplars;
  std::vector<std::string> metadata;
  int out_of_order_samples = 0;

 private:
  base::Status Add(SeriesRef ref, int64_t t, std::string value, bool out_of_order) {
    auto& samples = contents[names_.at(ref - 1)];
    if (!out_of_order && !samples.empty()) {
      EXPECT_GT(t, samples.rbegin()->first) << "in order means ascending";
    }
    out_of_order_samples += out_of_order;
    samples.emplace(t, std::move(value));
    return base::Status::Ok();
  }

  std::map<std::string, SeriesRef> refs_;
  std::vector<std::string> names_;
};

class PrometheusHeadConformance : public ConformanceTest {
 protected:
  static std::string Directory(const std::string& name) { return ConformanceDirectory() + "/wal/" + name; }
};

TEST_F(PrometheusHeadConformance, EveryDirectory) {
  const Json expected = Load("wal/expected.json");
  int directories = 0;
  size_t series = 0, samples = 0;
  for (const auto& [name, content] : expected.items()) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(HasPrometheusHead(Directory(name)));
    Collector collector;
    auto stats = ReadPrometheusHead(Directory(name), INT64_MIN, collector);
    ASSERT_TRUE(stats.ok()) << stats.status().ToString();
    EXPECT_EQ(stats->corruptions, 0u);
    EXPECT_EQ(stats->unknown_series, 0u);
    EXPECT_EQ(stats->unknown_records, 0u);
    std::map<std::string, std::map<int64_t, std::string>> wanted;
    for (const Json& one : content["after_replay"]) {
      auto& values = wanted[ParseLabels(one["labels"]).ToString()];
      for (const Json& sample : one["samples"]) values[sample[0].get<int64_t>()] = DescribeJson(sample[1]);
      samples += values.size();
    }
    EXPECT_EQ(collector.contents, wanted);
    EXPECT_EQ(wanted.size(), content["head_series"].get<size_t>());
    series += wanted.size();
    ++directories;
  }
  EXPECT_GE(directories, 7);
  printf("wal/: %d directories, %zu series, %zu samples identical\n", directories, series, samples);
}

TEST_F(PrometheusHeadConformance, WhatElseIsInThem) {
  Collector everything;
  ASSERT_TRUE(ReadPrometheusHead(Directory("everything"), INT64_MIN, everything).ok());
  EXPECT_EQ(everything.exemplars, (std::vector<std::string>{"up{job=\"a\"} {trace_id=\"x\"} 1704067350000=1"}));
  EXPECT_EQ(everything.out_of_order_samples, 3);
  Collector late;
  ASSERT_TRUE(ReadPrometheusHead(Directory("basic"), 1704067335000, late).ok());
  EXPECT_EQ(late.contents.at("up{job=\"a\"}").size(), 1u) << "what blocks have is left out";
  auto chunks = HeadChunks::Open(Directory("mmapped-chunks") + "/chunks_head");
  ASSERT_TRUE(chunks.ok());
  EXPECT_GE(chunks->chunks().size(), 1u);
  EXPECT_EQ(chunks->corruptions(), 0u);
}

TEST_F(PrometheusHeadConformance, ChunksAreEnoughWithoutSamplesInTheLog) {
  // The same directory with a log that only defines the series.
  base::TempDir directory = FastTempDir("tsdb-chunks");
  fs::copy(Directory("mmapped-chunks"), directory.path() + "/data", fs::copy_options::recursive);
  const std::string segment = directory.path() + "/data/wal/00000000";
  fs::permissions(segment, fs::perms::owner_all);
  SeriesEncoder series;
  series.Add(1, Labels::Of({{"__name__", "long"}, {"job", "a"}}));
  std::string log;
  FrameRecord(0, series.bytes(), /*compress=*/false, &log);
  ASSERT_TRUE(base::WriteFileAtomic(segment, log).ok());
  Collector collector;
  ASSERT_TRUE(ReadPrometheusHead(directory.path() + "/data", INT64_MIN, collector).ok());
  const Json expected = Load("wal/expected.json")["mmapped-chunks"]["after_replay"][0]["samples"];
  const auto& samples = collector.contents.at("long{job=\"a\"}");
  EXPECT_GT(samples.size(), 100u);
  size_t i = 0;
  for (const auto& [t, value] : samples) {
    EXPECT_EQ(t, expected[i][0].get<int64_t>());
    EXPECT_EQ(value, DescribeJson(expected[i++][1]));
  }
}

TEST_F(PrometheusHeadConformance, HeadChunksAreWrittenTheSame) {
  const std::string bytes = *base::ReadFile(Directory("mmapped-chunks") + "/chunks_head/000001");
  std::vector<HeadChunk> chunks;
  ASSERT_TRUE(ParseHeadChunks(bytes, &chunks).ok());
  std::string written = HeadChunksHeader();
  for (const HeadChunk& chunk : chunks) written += EncodeHeadChunk(chunk);
  EXPECT_EQ(ToHex(written), ToHex(bytes.substr(0, written.size())));
  EXPECT_EQ(bytes.find_first_not_of('\0', written.size()), std::string::npos);
  printf("chunks_head: %zu chunks identical both ways\n", chunks.size());
}

// Writes a log of these records and reads it.
class PrometheusHead : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::SetLogLevel("error").ok());
    ASSERT_TRUE(base::LogToFile("/dev/null").ok());
    ASSERT_TRUE(base::MakeDirectories(directory_.path() + "/wal").ok());
  }

  void WriteLog(const std::string& name, const std::vector<std::string>& records) {
    std::string log;
    for (const std::string& record : records) FrameRecord(log.size(), record, /*compress=*/true, &log);
    ASSERT_TRUE(base::WriteFileAtomic(directory_.path() + "/" + name, log).ok());
  }

  PrometheusHeadStats Read(Collector* collector) {
    auto stats = ReadPrometheusHead(directory_.path(), INT64_MIN, *collector);
    EXPECT_TRUE(stats.ok()) << stats.status().ToString();
    return stats.ok() ? *stats : PrometheusHeadStats{};
  }

  static std::string Series(SeriesRef ref, const std::string& name) {
    SeriesEncoder encoder;
    encoder.Add(ref, Labels::Of({{"__name__", name}}));
    return encoder.bytes();
  }
  static std::string Samples(const std::vector<SampleRecord>& samples) {
    SamplesEncoder encoder;
    for (const SampleRecord& sample : samples) encoder.Add(sample.ref, sample.sample);
    return encoder.bytes();
  }

  base::TempDir directory_ = FastTempDir("tsdb-prometheus");
};

using TimesByName = std::map<std::string, std::vector<int64_t>>;

TimesByName Times(const Collector& collector) {
  TimesByName times;
  for (const auto& [name, samples] : collector.contents) {
    for (const auto& [t, value] : samples) times[name].push_back(t);
  }
  return times;
}

TEST_F(PrometheusHead, TwoReferencesOfOneSeries) {
  WriteLog("wal/00000000",
           {Series(1, "a"), Samples({{1, {10, 1}}}), Series(2, "a"), Samples({{2, {20, 1}}, {1, {20, 9}}})});
  Collector collector;
  EXPECT_EQ(Read(&collector).samples, 2u);
  EXPECT_EQ(Times(collector), (TimesByName{{"a", {10, 20}}}));
}

TEST_F(PrometheusHead, ADeletionSparesWhatComesLater) {
  const TombstoneRecord gone{1, {INT64_MIN, INT64_MAX}};
  WriteLog("wal/00000000", {Series(1, "a"), Samples({{1, {10, 1}}}), EncodeTombstoneRecord({&gone, 1}), Series(2, "a"),
                            Samples({{2, {20, 1}}})});
  Collector collector;
  Read(&collector);
  EXPECT_EQ(Times(collector), (TimesByName{{"a", {20}}}));
}

TEST_F(PrometheusHead, SamplesWithoutSeriesAreCounted) {
  WriteLog("wal/00000000", {Series(1, "a"), Series(3, "empty"), Samples({{1, {10, 1}}, {7, {10, 1}}}), "\x63unknown"});
  Collector collector;
  const PrometheusHeadStats stats = Read(&collector);
  EXPECT_EQ(stats.unknown_series, 1u);
  EXPECT_EQ(stats.unknown_records, 1u);
  EXPECT_EQ(Times(collector), (TimesByName{{"a", {10}}})) << "a series without samples is not mentioned";
}

TEST_F(PrometheusHead, MetadataWaitsForTheFirstSample) {
  MetadataEncoder metadata;
  metadata.Add({1, "", {MetricType::kGauge, "", "of a"}});
  metadata.Add({2, "fam", {MetricType::kGauge, "", "of b"}});
  WriteLog("wal/00000000", {Series(1, "a"), Series(2, "b"), metadata.bytes(), Samples({{2, {10, 1}}})});
  Collector collector;
  Read(&collector);
  EXPECT_EQ(collector.metadata, (std::vector<std::string>{"b fam of b"}));
}

TEST_F(PrometheusHead, TheCheckpointReplacesOlderSegments) {
  ASSERT_TRUE(base::MakeDirectories(directory_.path() + "/wal/checkpoint.00000001").ok());
  WriteLog("wal/00000000", {Series(1, "a"), Samples({{1, {1, 1}}})});
  WriteLog("wal/00000001", {Samples({{1, {2, 1}}})});
  WriteLog("wal/checkpoint.00000001/00000000", {Series(1, "a"), Samples({{1, {2, 1}}})});
  WriteLog("wal/00000002", {Samples({{1, {3, 1}}})});
  Collector collector;
  Read(&collector);
  EXPECT_EQ(Times(collector), (TimesByName{{"a", {2, 3}}}));
}

TEST_F(PrometheusHead, DamageKeepsWhatStandsBefore) {
  WriteLog("wal/00000000", {Series(1, "a"), Samples({{1, {1, 1}}}), Samples({{1, {2, 1}}})});
  WriteLog("wal/00000001", {Samples({{1, {3, 1}}})});
  const std::string path = directory_.path() + "/wal/00000000";
  const std::string whole = *base::ReadFile(path);
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const std::string& damaged : {whole.substr(0, i), std::string(whole).replace(i, 1, 1, whole[i] ^ 0x10)}) {
      ASSERT_TRUE(base::WriteFileAtomic(path, damaged).ok());
      Collector collector;
      const PrometheusHeadStats stats = Read(&collector);
      const std::vector<int64_t> times = Times(collector)["a"];
      const std::set<std::vector<int64_t>> allowed = {{}, {3}, {1, 3}, {1, 2, 3}};
      EXPECT_TRUE(allowed.count(times)) << i;
      EXPECT_LE(stats.corruptions, 1u);
    }
  }
}

TEST_F(PrometheusHead, DamagedHeadChunksKeepWhatStandsBefore) {
  ChunkEncoder encoder;
  for (int t = 1; t <= 4; ++t) {
    encoder.Append(t * 10, 1.5 * t);
    if (t == 2) encoder.Cut();
  }
  std::string whole = HeadChunksHeader();
  std::set<size_t> clean = {0, whole.size()};  // Lengths that look as if they were meant.
  for (const EncodedChunk& chunk : encoder.Take()) {
    for (size_t zeros = 0; zeros < 8; ++zeros) clean.insert(whole.size() + zeros);  // Of the reference, or padding.
    whole += EncodeHeadChunk({1, chunk.View(), false});
    clean.insert(whole.size());
  }
  for (size_t i = 0; i <= whole.size(); ++i) {
    std::vector<HeadChunk> read;
    base::Status status = ParseHeadChunks(std::string_view(whole).substr(0, i), &read);
    EXPECT_EQ(status.ok(), clean.count(i) > 0) << i << " " << status.ToString();
    if (i == whole.size()) break;
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0xff);
    read.clear();
    status = ParseHeadChunks(damaged, &read);
    EXPECT_TRUE(!status.ok() || (i >= 5 && i < 8)) << i;
    EXPECT_LE(read.size(), 2u);
  }
}

TEST_F(PrometheusHead, RemovingLeavesNothingToTakeOver) {
  WriteLog("wal/00000000", {Series(1, "a")});
  ASSERT_TRUE(base::MakeDirectories(directory_.path() + "/chunks_head").ok());
  ASSERT_TRUE(base::MakeDirectories(directory_.path() + "/chunk_snapshot.000003.0000000123").ok());
  EXPECT_TRUE(HasPrometheusHead(directory_.path()));
  EXPECT_TRUE(RemovePrometheusHead(directory_.path()).ok());
  EXPECT_FALSE(HasPrometheusHead(directory_.path()));
  EXPECT_TRUE(fs::is_empty(directory_.path()));
}

}  // namespace
}  // namespace tidewright::tsdb
