// `tidewright tsdb` next to promtool: the same commands on the same directory print the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/clock.h"
#include "base/file.h"
#include "base/strings.h"
#include "cmd/go_text.h"
#include "tests/tsdb/programs.h"
#include "tests/tsdb/store.h"
#include "tsdb/db.h"

namespace tidewright::cmd {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using tsdb::testing::CommandResult;
using tsdb::testing::RunCommand;

constexpr int64_t kStart = 1'699'999'200'000;  // A multiple of two hours.
constexpr int64_t kMinute = 60'000;

CommandResult Ours(const std::string& arguments) {
  return RunCommand(TIDEWRIGHT_BINARY " tsdb " + arguments + " 2>&1");
}
CommandResult Theirs(const std::string& arguments) {
  return RunCommand(tsdb::testing::PromtoolProgram() + " tsdb " + arguments + " 2>&1");
}

std::vector<std::string> Lines(const std::string& text) { return base::Split(text, '\n'); }

// The items of each list sorted: those of equal counts have no order in promtool. Prometheus 2 says "Series".
std::string SortedLists(const std::string& text) {
  std::string sorted;
  std::vector<std::string> items;
  const auto flush = [&] {
    std::sort(items.begin(), items.end());
    for (const std::string& item : items) sorted += item + "\n";
    items.clear();
  };
  for (std::string line : Lines(text)) {
    if (line.rfind("Series: ", 0) == 0) line = "Total " + line;
    const bool item = !line.empty() && line[0] >= '0' && line[0] <= '9';
    if (item) {
      items.push_back(line);
      continue;
    }
    flush();
    sorted += line + "\n";
  }
  flush();
  return sorted;
}

// Without the names of blocks, which are random, and their sizes: Prometheus wrote more tables into an index once.
std::string WithoutNamesAndSizes(const std::string& text) {
  std::string rest;
  for (const std::string& line : Lines(text)) {
    rest += (line.size() > 26 ? line.substr(26, line.rfind(' ') - 26) : line) + "\n";
  }
  return rest;
}

tsdb::FloatHistogram SomeHistogram(int i) {
  tsdb::FloatHistogram h;
  h.schema = 0;  // Bounds that each version computes alike.
  h.zero_threshold = 0.001;
  h.zero_count = 1;
  h.sum = 12.5 * i;
  h.positive_spans = {{-2, 2}, {3, 1}};
  h.positive_buckets = {1.0 * i, 2, 1};
  h.negative_spans = {{0, 1}};
  h.negative_buckets = {2};
  h.count = 6 + i;
  return h;
}

class TsdbCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    if (tsdb::testing::PromtoolProgram().empty()) {
      GTEST_SKIP() << "promtool is not installed: nothing compares `tidewright tsdb` with it";
    }
    // Prometheus 2 has neither this command nor today's form of --extended.
    modern_ = Theirs("dump-openmetrics --help").exit_code == 0;
    WriteStore();
  }

  // Five hours, a deletion, a clean stop.
  void WriteStore() {
    base::FakeClock clock(kStart);
    tsdb::DbOptions options{.retention_ms = 1000 * tsdb::testing::kHourMs};
    auto db = tsdb::Db::Open(data(), options, clock, nullptr);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    for (int minute = 0; minute < 300; ++minute) {
      const int64_t t = kStart + minute * kMinute;
      clock.Set(t);
      auto appender = (*db)->NewAppender();
      for (int i = 0; i < 8; ++i) {
        if (i == 5 && minute > 200) continue;
        auto labels = tsdb::Labels::Of({{"__name__", i < 6 ? "requests_total" : "busy"},
                                        {"instance", "host-" + std::to_string(i)},
                                        {"job", i % 2 == 0 ? "node" : "odd \"x\" 日本 \x01"}});
        const double value = i == 7 && minute % 50 == 49 ? tsdb::StaleNan() : minute * (i + 0.1) * (i == 3 ? 1e7 : 1);
        ASSERT_TRUE(appender->Append(0, labels, t, value).ok());
      }
      ASSERT_TRUE(
          appender->AppendFloatHistogram(0, tsdb::Labels::Of({{"__name__", "latency"}}), t, SomeHistogram(minute))
              .ok());
      ASSERT_TRUE(appender->Commit().ok());
      if (minute % 10 == 9) ASSERT_TRUE((*db)->Maintain().ok());
    }
    ASSERT_TRUE(
        (*db)->Delete(kStart + 10 * kMinute, kStart + 20 * kMinute, {tsdb::Matcher::Equal("instance", "host-1")}).ok());
    ASSERT_TRUE((*db)->Close().ok());
  }

  std::string data() const { return directory_.path() + "/data"; }
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  base::TempDir directory_ = tsdb::testing::FastTempDir("tsdb-command");
  bool modern_ = false;
};

TEST_F(TsdbCommand, List) {
  for (const char* flags : {"", "-r "}) {
    const CommandResult theirs = Theirs("list " + std::string(flags) + data());
    const CommandResult ours = Ours("list " + std::string(flags) + data());
    EXPECT_EQ(ours.output, theirs.output);
    EXPECT_EQ(ours.exit_code, 0);
    EXPECT_GE(Lines(ours.output).size(), 3u);
  }
  ASSERT_TRUE(base::MakeDirectories(Path("empty/wal")).ok());
  EXPECT_EQ(Ours("list " + Path("empty")).output, Theirs("list " + Path("empty")).output);
  EXPECT_NE(Ours("list " + Path("missing")).exit_code, 0);
}

TEST_F(TsdbCommand, Analyze) {
  std::string last;
  for (const fs::directory_entry& entry : fs::directory_iterator(data())) {
    const std::string name = entry.path().filename();
    if (name.size() != 26) continue;
    last = std::max(last, name);
    // All of a list: which of equal items are left out is open.
    const std::string arguments = "analyze --limit=1000 " + data() + " " + name;
    EXPECT_EQ(SortedLists(Ours(arguments).output), SortedLists(Theirs(arguments).output));
    if (!modern_) continue;
    EXPECT_EQ(SortedLists(Ours(arguments + " --extended").output),
              SortedLists(Theirs(arguments + " --extended").output));
    for (const char* match : {"requests_total", "{job=\"node\"}", "{instance=~\"host-[1-3]\"}"}) {
      const std::string some = arguments + " --match='" + match + "'";
      EXPECT_EQ(SortedLists(Ours(some).output), SortedLists(Theirs(some).output)) << match;
    }
  }
  EXPECT_THAT(Ours("analyze " + data()).output, HasSubstr("Block ID: " + last)) << "the one that was made last";
  EXPECT_NE(Ours("analyze " + data() + " 01ARZ3NDEKTSV4RRFFQ69G5FAV").exit_code, 0);
}

TEST_F(TsdbCommand, Dump) {
  std::vector<std::string> forms = {"--match='{__name__=~\"requests_total|busy\"}'", "--match='{job=\"node\"}'"};
  // Prometheus 2 heeds times only in the log.
  if (modern_) forms.push_back("--match='{instance=\"host-1\"}' --min-time=1700000400000 --max-time=1700000700000");
  if (modern_) forms.push_back("--match='{instance=\"host-1\"}' --match='{job=\"node\"}'");
  for (const std::string& flags : forms) {
    const CommandResult theirs = Theirs("dump " + flags + " " + data()), ours = Ours("dump " + flags + " " + data());
    ASSERT_EQ(ours.exit_code, 0) << ours.output;
    EXPECT_TRUE(ours.output == theirs.output) << "ours:\n"
                                              << ours.output.substr(0, 500) << "theirs:\n"
                                              << theirs.output.substr(0, 500);
    EXPECT_GT(ours.output.size(), 100u);
  }
  // promtool leaves out the first sample or two of each run of histograms, and before version 3 all of them.
  const std::vector<std::string> ours = Lines(Ours("dump --match='latency' " + data()).output);
  EXPECT_EQ(ours.size(), 301u);
  EXPECT_THAT(ours[2], HasSubstr("{__name__=\"latency\"} {count:8, sum:25, ["));
  for (const std::string& line : Lines(Theirs("dump --match='latency' " + data()).output)) {
    EXPECT_THAT(ours, ::testing::Contains(line));
  }
}

TEST_F(TsdbCommand, DumpLeavesTheDirectoryAsItIs) {
  std::map<std::string, std::string> before;
  const auto files = [&] {
    std::map<std::string, std::string> all;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(data())) {
      if (entry.is_regular_file()) all[entry.path()] = *base::ReadFile(entry.path());
    }
    return all;
  };
  // With something in the head, as a kill leaves it.
  base::FakeClock clock(kStart + 301 * kMinute);
  auto db = *tsdb::Db::Open(data(), {.retention_ms = 1000 * tsdb::testing::kHourMs}, clock, nullptr);
  const tsdb::Labels labels = tsdb::Labels::Of({{"__name__", "late"}});
  ASSERT_TRUE(tsdb::testing::Write(*db, {{labels, kStart + 301 * kMinute, 42}}).ok());
  before = files();
  EXPECT_EQ(Ours("dump --match=late " + data()).output,
            "{__name__=\"late\"} 42 " + std::to_string(kStart + 301 * kMinute) + "\n");
  EXPECT_EQ(files(), before);
  EXPECT_EQ(Ours("verify " + data()).exit_code, 0) << Ours("verify " + data()).output;
  EXPECT_EQ(files(), before);
}

TEST_F(TsdbCommand, DumpOpenMetrics) {
  const std::string arguments = "dump-openmetrics --match='{job=\"node\"}' " + data();
  const CommandResult ours = Ours(arguments);
  EXPECT_EQ(ours.output.substr(ours.output.size() - 6), "# EOF\n");
  if (modern_) {
    EXPECT_TRUE(ours.output == Theirs(arguments).output);
  }
  // There and back again; staleness markers become NaN, as they are printed.
  std::ofstream(Path("all.om")) << Ours("dump-openmetrics " + data()).output;
  ASSERT_EQ(Ours("create-blocks-from openmetrics -q " + Path("all.om") + " " + Path("back")).output, "");
  const std::string floats = "dump --match='{__name__=~\"requests_total|busy\"}' ";
  EXPECT_TRUE(Ours(floats + Path("back")).output == Ours(floats + data()).output);
}

TEST_F(TsdbCommand, CreateBlocksFromOpenMetrics) {
  std::ofstream text(Path("in.om"));
  for (int metric = 0; metric < 3; ++metric) {
    text << "# HELP m" << metric << " help\n# TYPE m" << metric << " counter\n";
    for (int series = 0; series < 4; ++series) {
      for (int k = 0; k < 100; ++k) {
        text << "m" << metric << "_total{job=\"j" << series % 2 << "\",inst=\"h" << series << "\"} "
             << k * (series + 1) * 1.5 << " " << 1700000000 + k * 120 << ".5\n";
      }
    }
  }
  text << "# TYPE odd gauge\nodd{a=\"x\\ny\\\"z\"} NaN 1700000000\nodd{a=\"x\\ny\\\"z\"} +Inf 1700000001.123\n# EOF\n";
  text.close();
  for (const std::string flags : {std::string(), std::string("-r "), std::string(modern_ ? "--label=x=y " : "")}) {
    fs::remove_all(Path("ours"));
    fs::remove_all(Path("theirs"));
    const std::string command = "create-blocks-from openmetrics " + flags + Path("in.om") + " ";
    const CommandResult ours = Ours(command + Path("ours")), theirs = Theirs(command + Path("theirs"));
    EXPECT_EQ(WithoutNamesAndSizes(ours.output), WithoutNamesAndSizes(theirs.output));
    EXPECT_EQ(ours.exit_code, 0);
    for (const char* directory : {"ours/wal", "theirs/wal"}) ASSERT_TRUE(base::MakeDirectories(Path(directory)).ok());
    EXPECT_TRUE(Theirs("dump " + Path("ours")).output == Theirs("dump " + Path("theirs")).output);
    EXPECT_TRUE(Ours("dump " + Path("theirs")).output == Theirs("dump " + Path("theirs")).output);
  }
  std::ofstream(Path("bad.om")) << "a 1\n# EOF\n";
  for (const CommandResult& result :
       {Ours("create-blocks-from openmetrics " + Path("bad.om") + " " + Path("bad")),
        Theirs("create-blocks-from openmetrics " + Path("bad.om") + " " + Path("bad2"))}) {
    EXPECT_NE(result.exit_code, 0);
    EXPECT_THAT(result.output, HasSubstr("expected timestamp for series"));
  }
  std::ofstream(Path("torn.om")) << "a 1 5\n";
  EXPECT_NE(Ours("create-blocks-from openmetrics " + Path("torn.om") + " " + Path("torn")).exit_code, 0);
  EXPECT_TRUE(fs::is_empty(Path("torn"))) << "nothing is left of an import that failed";
}

TEST_F(TsdbCommand, VerifyNamesFileByteAndFault) {
  const CommandResult clean = Ours("verify " + data());
  EXPECT_EQ(clean.exit_code, 0) << clean.output;
  EXPECT_THAT(clean.output, HasSubstr(": 0 faults\n"));
  std::string chunks;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(data())) {
    if (entry.path().filename() == "000001") chunks = entry.path();
  }
  std::string bytes = *base::ReadFile(chunks);
  bytes[20] ^= 1;
  std::ofstream(chunks, std::ios::binary) << bytes;
  const CommandResult damaged = Ours("verify " + data());
  EXPECT_EQ(damaged.exit_code, 1);
  EXPECT_THAT(damaged.output, HasSubstr("FAULT read chunk at byte 8 of " + chunks + ": wrong checksum"));
}

TEST_F(TsdbCommand, BenchWrites) {
  const CommandResult result = Ours("bench write --out " + Path("bench") + " --metrics 50 --scrapes 1000");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("50 series, 1000 scrapes: 50000 samples"));
  EXPECT_THAT(result.output, HasSubstr("start after a kill"));
  EXPECT_EQ(Ours("bench write --out " + Path("bench") + " --metrics 5 --scrapes 10").exit_code, 0) << "once more";
  EXPECT_NE(Ours("bench write --out " + data()).exit_code, 0) << "data is never removed";
  EXPECT_TRUE(fs::exists(data() + "/wal"));
}

TEST(GoText, IsWhatGoPrints) {
  const std::pair<double, const char*> floats[] = {
      {0, "0"},       {-0.0, "-0"},     {1, "1"},        {100000, "100000"},
      {1e6, "1e+06"}, {1e-4, "0.0001"}, {1e-5, "1e-05"}, {123456789, "1.23456789e+08"},
      {0.1, "0.1"},   {1e300, "1e+300"}};
  for (const auto& [value, text] : floats) EXPECT_EQ(GoFloat(value), text);
  const std::pair<int64_t, const char*> durations[] = {{0, "0s"},
                                                       {1, "1ms"},
                                                       {1500, "1.5s"},
                                                       {60'000, "1m0s"},
                                                       {6'360'001, "1h46m0.001s"},
                                                       {-1000, "-1s"},
                                                       {100 * 3'600'000LL, "100h0m0s"}};
  for (const auto& [ms, text] : durations) EXPECT_EQ(GoDuration(ms), text);
  EXPECT_EQ(GoTime(1'700'000'000'999), "2023-11-14 22:13:20 +0000 UTC");
  EXPECT_EQ(GoQuote("a\"\\\n\t\x01\x7f\xff é日\u200b"), "\"a\\\"\\\\\\n\\t\\x01\\x7f\\xff é日\\u200b\"");
  EXPECT_EQ(BinarySize(3795), "3KiB723B");
  EXPECT_EQ(BinarySize(5 << 20), "5MiB");
  EXPECT_EQ(BinarySize(0), "0B");
}

}  // namespace
}  // namespace tidewright::cmd
