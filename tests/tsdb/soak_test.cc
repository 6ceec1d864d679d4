// Churn for TIDEWRIGHT_SOAK_SECONDS (600): every pod is replaced once a minute of a clock that runs as fast as the
// store can follow. Once the head has been truncated a few times, memory and disk stay what they are. Part of
// `./dev test soak`.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/clock.h"
#include "base/log.h"
#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

constexpr int64_t kStart = 1'699'999'200'000;  // A multiple of two hours.
constexpr int64_t kScrapeMs = 15'000;
constexpr int kPods = 20;
constexpr int kSeriesOfAPod = 20;
constexpr int kScrapesOfAPod = 4;  // A minute.

int64_t AnonymousBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssAnon:", 0) == 0) return std::atoll(line.c_str() + 8) * 1024;
  }
  return 0;
}

uint64_t BytesBelow(const std::string& directory) {
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) total += entry.file_size();
  }
  return total;
}

// What there was right after each truncation of the head.
struct Mark {
  int64_t memory = 0;
  uint64_t log = 0;
  uint64_t chunks = 0;
  uint64_t blocks = 0;
  uint64_t series = 0;
};

class Churn {
 public:
  explicit Churn(const std::string& directory) : directory_(directory) {
    // The log may be twice as large as a segment before it is looked at.
    DbOptions options{.retention_ms = 8 * testing::kHourMs, .wal_segment_bytes = 1 << 20};
    auto db = Db::Open(directory, options, clock_, nullptr);
    EXPECT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::move(db).value();
  }

  void Scrape() {
    const int64_t t = kStart + scrape_ * kScrapeMs;
    clock_.Set(t);
    auto appender = db_->NewAppender();
    for (int pod = 0; pod < kPods; ++pod) {
      // Pods are replaced evenly spread over their life.
      const int64_t generation = (scrape_ * kPods / kScrapesOfAPod + pod) / kPods;
      for (int i = 0; i < kSeriesOfAPod; ++i) {
        auto labels = Labels::Of({{"__name__", "m" + std::to_string(i)},
                                  {"namespace", "default"},
                                  {"pod", "app-" + std::to_string(pod) + "-" + std::to_string(generation)}});
        auto ref = appender->Append(0, labels, t, static_cast<double>(scrape_ * (i % 2)));
        ASSERT_TRUE(ref.ok()) << ref.status().ToString();
      }
    }
    ASSERT_TRUE(appender->Commit().ok());
    ++scrape_;
    if (scrape_ % kScrapesOfAPod == 0) Maintain();
  }

  double hours() const { return static_cast<double>(scrape_ * kScrapeMs) / testing::kHourMs; }
  const std::vector<Mark>& marks() const { return marks_; }

 private:
  void Maintain() {
    const uint64_t before = db_->Stats().series;
    auto maintained = db_->Maintain();
    ASSERT_TRUE(maintained.ok()) << maintained.ToString();
    const uint64_t after = db_->Stats().series;
    auto querier = *db_->NewQuerier(clock_.NowMs() - 60'000, clock_.NowMs());
    ASSERT_GE(querier->Select({}, {Matcher::Equal("__name__", "m7")})->size(), static_cast<size_t>(kPods));
    if (after < before)
      marks_.push_back({AnonymousBytes(), BytesBelow(directory_ + "/log"), BytesBelow(directory_ + "/head_chunks"),
                        db_->Stats().block_bytes, after});
  }

  const std::string directory_;
  base::FakeClock clock_{kStart};
  std::unique_ptr<Db> db_;
  int64_t scrape_ = 0;
  std::vector<Mark> marks_;
};

// The largest of a part of the marks.
Mark Largest(const std::vector<Mark>& marks, size_t begin, size_t end) {
  Mark largest;
  for (size_t i = begin; i < end; ++i) {
    largest.memory = std::max(largest.memory, marks[i].memory);
    largest.log = std::max(largest.log, marks[i].log);
    largest.chunks = std::max(largest.chunks, marks[i].chunks);
    largest.blocks = std::max(largest.blocks, marks[i].blocks);
    largest.series = std::max(largest.series, marks[i].series);
  }
  return largest;
}

TEST(Soak, ChurnLeavesMemoryFlat) {
  base::SetLogLevel(base::LogLevel::kError);
  const char* configured = std::getenv("TIDEWRIGHT_SOAK_SECONDS");
  const int64_t seconds = configured != nullptr ? std::atoll(configured) : 600;
  base::TempDir directory = testing::FastTempDir("tsdb-soak");
  Churn churn(directory.path() + "/data");
  const int64_t end = base::SystemClock::Get().NowMs() + seconds * 1000;
  while (base::SystemClock::Get().NowMs() < end && !::testing::Test::HasFatalFailure()) churn.Scrape();
  const std::vector<Mark>& marks = churn.marks();
  // Until the retention is reached there is more every time.
  constexpr size_t kWarmUp = 8;
  ASSERT_GE(marks.size(), kWarmUp + 4) << "only " << churn.hours() << " hours";
  const size_t middle = (kWarmUp + marks.size()) / 2;
  const Mark first = Largest(marks, kWarmUp, middle), second = Largest(marks, middle, marks.size());
  printf("%.0f hours, %zu truncations, %.1f million series\n", churn.hours(), marks.size(),
         churn.hours() * 60 * kPods * kSeriesOfAPod / 1e6);
  const auto mib = [](auto bytes) { return static_cast<double>(bytes) / (1 << 20); };
  for (const Mark& mark : {first, second}) {
    printf("  at most %.1f MiB of memory; %.1f of log, %.1f of chunks, %.1f of blocks; %llu series\n", mib(mark.memory),
           mib(mark.log), mib(mark.chunks), mib(mark.blocks), static_cast<unsigned long long>(mark.series));
  }
  const auto flat = [](auto before, auto after) { return after <= before + before / 10 + (4 << 20); };
  EXPECT_TRUE(flat(first.memory, second.memory));
  EXPECT_TRUE(flat(first.log, second.log));
  EXPECT_TRUE(flat(first.chunks, second.chunks));
  EXPECT_TRUE(flat(first.blocks, second.blocks));
  EXPECT_TRUE(flat(first.series, second.series));
}

}  // namespace
}  // namespace tidewright::tsdb
