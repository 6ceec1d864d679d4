// kill -9 at random instants while a process ingests, maintains and cuts blocks: whatever was acknowledged is there
// afterwards, every scrape whole or not at all, and the store goes on without help. TIDEWRIGHT_CRASH_ROUNDS sets how
// often (`./dev test soak`).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <random>

#include "base/clock.h"
#include "base/log.h"
#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

constexpr int kSeries = 40;
constexpr int64_t kStart = 1'699'999'200'000;  // A multiple of two hours.
constexpr int64_t kInterval = 15'000;

// What the ingesting process tells about itself; shared memory.
struct Progress {
  std::atomic<int64_t> acknowledged{-1};  // The last scrape whose commit returned.
  std::atomic<int> failed{0};
  std::atomic<bool> maintains{false};
};

Labels SeriesLabels(int i) { return Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}}); }
double Value(int series, int64_t scrape) {
  return series % 5 == 0 ? 7.0 : static_cast<double>(scrape * series) / (series % 3 == 0 ? 8.0 : 1.0);
}

DbOptions Options() { return {.retention_ms = 1000 * testing::kHourMs, .wal_segment_bytes = 16 * 1024}; }

// The child: scrapes until it is killed.
[[noreturn]] void Ingest(const std::string& directory, int64_t first, Progress* progress) {
  base::FakeClock clock(kStart + first * kInterval);
  auto db = Db::Open(directory, Options(), clock, nullptr);
  if (!db.ok()) {
    fprintf(stderr, "open: %s\n", db.status().ToString().c_str());
    progress->failed = 1;
    _exit(1);
  }
  std::vector<SeriesRef> refs(kSeries, 0);
  for (int64_t scrape = first;; ++scrape) {
    clock.Set(kStart + scrape * kInterval);
    auto appender = (*db)->NewAppender();
    for (int i = 0; i < kSeries; ++i) {
      auto ref = appender->Append(refs[i], SeriesLabels(i), kStart + scrape * kInterval, Value(i, scrape));
      if (!ref.ok()) {
        fprintf(stderr, "append: %s\n", ref.status().ToString().c_str());
        progress->failed = 2;
        _exit(1);
      }
      refs[i] = *ref;
    }
    if (!appender->Commit().ok()) progress->failed = 3;
    progress->acknowledged = scrape;
    if (scrape % 7 != 6) continue;
    progress->maintains = true;
    if (!(*db)->Maintain().ok()) progress->failed = 4;
    progress->maintains = false;
  }
}

// The number of scrapes that the store holds; fails the test unless they are all whole and right.
int64_t CheckContents(const std::string& directory) {
  base::FakeClock clock(kStart);
  clock.Set(kStart + 1000 * testing::kHourMs);
  auto db = Db::Open(directory, Options(), clock, nullptr);
  EXPECT_TRUE(db.ok()) << db.status().ToString();
  if (!db.ok()) return -1;
  auto querier = *(*db)->NewQuerier(INT64_MIN, INT64_MAX);
  auto selected = querier->Select({}, {});
  EXPECT_TRUE(selected.ok());
  int64_t scrapes = -1;
  for (const auto& series : *selected) {
    const int number = std::atoi(std::string(series->labels().Get("i")).c_str());
    int64_t count = 0;
    bool right = true;
    auto it = series->Iterator();
    for (; it->Next(); ++count) {
      right = right && it->At().t == kStart + count * kInterval && it->At().v == Value(number, count);
    }
    EXPECT_TRUE(right) << "series " << number;
    if (scrapes < 0) scrapes = count;
    EXPECT_EQ(count, scrapes) << "half a scrape, seen in series " << number;
  }
  EXPECT_TRUE(scrapes <= 0 || selected->size() == static_cast<size_t>(kSeries));
  return std::max<int64_t>(scrapes, 0);
}

TEST(Crash, KillsLoseNothingThatWasAcknowledged) {
  const char* configured = std::getenv("TIDEWRIGHT_CRASH_ROUNDS");
  const int rounds = configured != nullptr ? std::atoi(configured) : 20;
  base::SetLogLevel(base::LogLevel::kError);
  base::TempDir directory = testing::FastTempDir("tsdb-crash");
  void* shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* progress = new (shared) Progress();
  std::mt19937 random(std::random_device{}());
  int64_t stored = 0;
  int in_maintenance = 0;
  for (int round = 0; round < rounds; ++round) {
    const int64_t first = stored;
    progress->acknowledged = first - 1;
    progress->maintains = false;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) Ingest(directory.path(), first, progress);
    // Anywhere between the start and some hundred scrapes on, so that it also dies while it opens.
    base::StopSignal never;
    base::SystemClock::Get().SleepFor(static_cast<int64_t>(random() % 60), never);
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    in_maintenance += progress->maintains;
    ASSERT_EQ(progress->failed, 0) << "round " << round;
    const int64_t acknowledged = progress->acknowledged + 1;
    // The check ends with a clean stop every other time; otherwise it looks at a copy.
    if (round % 2 == 0) {
      stored = CheckContents(directory.path());
    } else {
      base::TempDir copy = testing::FastTempDir("tsdb-crash-copy");
      ASSERT_EQ(system(("cp -a " + directory.path() + "/. " + copy.path()).c_str()), 0);
      stored = CheckContents(copy.path());
    }
    ASSERT_GE(stored, acknowledged) << "round " << round;
    ASSERT_FALSE(::testing::Test::HasFailure()) << "round " << round;
  }
  munmap(shared, sizeof(Progress));
  printf("%d kills, %d of them during maintenance; %lld scrapes of %d series (%lld hours) kept\n", rounds,
         in_maintenance, static_cast<long long>(stored), kSeries,
         static_cast<long long>(stored * kInterval / testing::kHourMs));
}

}  // namespace
}  // namespace tidewright::tsdb
