// Blocks that we write, read by Prometheus and by its own tool.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>

#include "base/clock.h"
#include "base/file.h"
#include "base/strings.h"
#include "tests/tsdb/blocks.h"
#include "tests/tsdb/store.h"
#include "tsdb/compactor.h"

namespace tidewright::tsdb {
namespace {

constexpr int64_t kStart = 1700000000000;

// What a command printed; empty when it failed.
std::string Output(const std::string& command) {
  std::string output;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  char part[4096];
  for (size_t size = 0; (size = fread(part, 1, sizeof part, pipe)) > 0;) output.append(part, size);
  const int status = pclose(pipe);
  EXPECT_EQ(status, 0) << command << "\n" << output;
  return output;
}

class Promtool : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("promtool")) {
      GTEST_SKIP() << "promtool is not installed: nothing checks that Prometheus reads the blocks written here";
    }
    // Some versions want a log to be there, if only an empty one.
    ASSERT_TRUE(base::MakeDirectories(directory_.path() + "/wal").ok());
  }

  // Lines of `promtool tsdb dump`, by series.
  testing::BlockContents Dump() {
    testing::BlockContents contents;
    std::istringstream lines(Output("promtool tsdb dump " + directory_.path()));
    for (std::string line; std::getline(lines, line);) {
      const size_t value = line.find("} ");
      if (value == std::string::npos) continue;
      const size_t time = line.rfind(' ');
      contents[line.substr(0, value + 1)].push_back(line.substr(time + 1) + "=" +
                                                    line.substr(value + 2, time - value - 2));
    }
    return contents;
  }

  base::TempDir directory_ = testing::FastTempDir("tsdb-promtool");
};

Labels Series(int i) {
  return Labels::Of({{"__name__", "requests_total"}, {"instance", "host-" + std::to_string(i)}, {"job", "node"}});
}

TEST_F(Promtool, ReadsAWrittenBlock) {
  testing::BlockBuilder builder;
  testing::BlockContents expected;
  for (int i = 0; i < 20; ++i) {
    std::vector<Sample> samples;
    for (int64_t n = 0; n < 300; ++n) samples.push_back({kStart + n * 15000, static_cast<double>(n * (i + 1))});
    builder.Floats(Series(i), samples);
    const std::string name = "{__name__=\"requests_total\", instance=\"host-" + std::to_string(i) + "\", job=\"node\"}";
    for (const Sample& sample : samples) {
      expected[name].push_back(std::to_string(sample.t) + "=" + base::FormatDouble(sample.v));
    }
  }
  auto block = builder.Write(directory_.path());
  const std::string ulid = block->meta().ulid;
  EXPECT_NE(Output("promtool tsdb list " + directory_.path()).find(ulid), std::string::npos);
  const std::string analysis = Output("promtool tsdb analyze " + directory_.path() + " " + ulid);
  EXPECT_NE(analysis.find("Series: 20\n"), std::string::npos) << analysis;
  EXPECT_NE(analysis.find("Label names: 3\n"), std::string::npos) << analysis;
  EXPECT_NE(analysis.find("Postings (unique label pairs): 22\n"), std::string::npos) << analysis;
  EXPECT_NE(analysis.find("Postings entries (total label pairs): 60\n"), std::string::npos) << analysis;
  EXPECT_EQ(Dump(), expected);
}

TEST_F(Promtool, ReadsWhatCompactionAndDeletionLeft) {
  const std::string name = "{__name__=\"requests_total\", instance=\"host-1\", job=\"node\"}";
  base::TempDir sources = testing::FastTempDir("tsdb-sources");
  auto one = testing::BlockBuilder().Floats(Series(1), {{kStart, 1}, {kStart + 20, 3}}).Write(sources.path());
  auto two = testing::BlockBuilder().Floats(Series(1), {{kStart + 10, 2}, {kStart + 30, 4}}).Write(sources.path());
  const std::string ulid = NewUlid(kStart);
  ASSERT_TRUE(CompactBlocks(directory_.path(), {one, two}, ulid).ok());
  const std::string t = std::to_string(kStart).substr(0, 11);
  EXPECT_EQ(Dump(), (testing::BlockContents{{name, {t + "00=1", t + "10=2", t + "20=3", t + "30=4"}}}));
  auto merged = *Block::Open(directory_.path() + "/" + ulid);
  ASSERT_EQ(*merged->Delete(kStart + 10, kStart + 20, {}), 1u);
  EXPECT_EQ(Dump(), (testing::BlockContents{{name, {t + "00=1", t + "30=4"}}}));
}

TEST_F(Promtool, ReadsHistogramsAndSpecialNames) {
  Histogram h;
  h.schema = 2;
  h.count = 3;
  h.sum = 4;
  h.positive_spans = {{-3, 1}, {4, 2}};
  h.positive_buckets = {1, 0, 0};
  auto block = testing::BlockBuilder()
                   .Histograms(Labels::Of({{"__name__", "h"}}), {{kStart, h}, {kStart + 15, h}})
                   .Floats(Labels::Of({{"__name__", "zeit"}, {"ort", "日本 \"x\""}}), {{kStart, -0.5}})
                   .Write(directory_.path());
  const std::string list = Output("promtool tsdb list " + directory_.path());
  EXPECT_NE(list.find(block->meta().ulid), std::string::npos) << list;
  EXPECT_EQ(Dump()["{__name__=\"zeit\", ort=\"日本 \\\"x\\\"\"}"],
            (std::vector<std::string>{std::to_string(kStart) + "=-0.5"}));
  EXPECT_NE(Output("promtool tsdb analyze " + directory_.path() + " " + block->meta().ulid).find("Series: 2\n"),
            std::string::npos);
}

TEST_F(Promtool, PrometheusAnswersQueriesFromIt) {
  if (!base::HaveProgram("prometheus")) {
    GTEST_SKIP() << "prometheus is not installed: nothing checks that it answers from the blocks written here";
  }
  Histogram h;
  h.schema = 0;
  h.count = 3;
  h.sum = 4;
  h.positive_spans = {{0, 2}};
  h.positive_buckets = {1, 1};
  testing::BlockBuilder builder;
  std::vector<Sample> samples;
  for (int64_t n = 0; n < 240; ++n) samples.push_back({kStart + n * 15000, static_cast<double>(n * n)});
  for (int i = 0; i < 20; ++i) builder.Floats(Series(i), samples);
  builder.Histograms(Labels::Of({{"__name__", "h"}}), {{kStart, h}, {kStart + 15000, h}}).Write(directory_.path());
  const std::string config = directory_.path() + "/prometheus.yml";
  ASSERT_TRUE(base::WriteFileAtomic(config, "global: {}\n").ok());
  const std::string address = "127.0.0.1:" + std::to_string(*base::FreePort());
  auto server = base::Subprocess::Start({"prometheus", "--config.file=" + config, "--web.listen-address=" + address,
                                         "--storage.tsdb.path=" + directory_.path(), "--log.level=error",
                                         "--enable-feature=native-histograms"});
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  const int64_t deadline_ms = base::SystemClock::Get().NowMs() + 60'000;
  const std::string query = "promtool query instant --time=1700003585 http://" + address + " ";
  while (std::system((query + "1 >/dev/null 2>&1").c_str()) != 0) {
    ASSERT_TRUE(server->Running()) << "prometheus refused the directory";
    ASSERT_LT(base::SystemClock::Get().NowMs(), deadline_ms) << "prometheus did not become ready";
  }
  EXPECT_EQ(Output(query + "'sum by (job) (count_over_time(requests_total[2h]))'"),
            "{job=\"node\"} => 4800 @[1700003585]\n");
  EXPECT_EQ(
      Output(query + "'requests_total{instance=~\"host-1.*\"} and topk(1, requests_total{instance=\"host-17\"})'"),
      "requests_total{instance=\"host-17\", job=\"node\"} => 57121 @[1700003585]\n");
  EXPECT_EQ(Output(query + "'count_over_time(h[2h]) + histogram_sum(h @ 1700000015)'"), "{} => 6 @[1700003585]\n");
}

}  // namespace
}  // namespace tidewright::tsdb
