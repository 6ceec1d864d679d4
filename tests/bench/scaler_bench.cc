// What it costs to follow many ScaledObjects: the controller with its caches, threads and clock as they run in the
// program, over an API server in memory that counts what is written, and queries to a store in memory that is being
// written to. One prometheus trigger each, every query another one; nothing has to be scaled, as almost always.
// Then, how long it takes from a message in a real redis-server to the write that scales a workload from zero.
// docs/performance.md says what the figures are.
#include <malloc.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/duration.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "kube/object_reader.h"
#include "kube/shared_caches.h"
#include "promql/engine.h"
#include "scaler/scaled_object_controller.h"
#include "tests/bench/scaler_api.h"
#include "tests/bench/scaler_latency.h"
#include "tsdb/db.h"

namespace tidewright::scaler {
namespace {

constexpr int kThreads = 8;  // As the program has them.
constexpr int64_t kScrapeMs = 15'000;
constexpr int kReplicas = 3;
constexpr double kPerSecond = 28;  // With a target of 10: three replicas.
constexpr char kUsage[] = "usage: scaler_bench [--objects N] [--interval-ms N] [--seconds N]\n";

struct Flags {
  int objects = 10'000;
  int interval_ms = 1'000;
  int seconds = 20;
};

// One counter for each object, written as scrapes would.
class Load {
 public:
  Load(tsdb::Db& db, int objects) : db_(db) {
    for (int i = 0; i < objects; ++i) {
      tsdb::LabelsBuilder builder;
      builder.Set("__name__", "http_requests_total")
          .Set("app", NameOf(i))
          .Set("job", "pods")
          .Set("instance", NameOf(i));
      series_.push_back({0, builder.Build()});
    }
  }
  void Write(int64_t t_ms) {
    auto appender = db_.NewAppender();
    const double value = kPerSecond * static_cast<double>(t_ms % 1'000'000'000) / 1000;
    for (auto& [ref, labels] : series_) {
      auto appended = appender->Append(ref, labels, t_ms, value);
      if (!appended.ok()) std::abort();
      ref = *appended;
    }
    if (!appender->Commit().ok()) std::abort();
  }

 private:
  tsdb::Db& db_;
  std::vector<std::pair<tsdb::SeriesRef, tsdb::Labels>> series_;
};

double ProcessorSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int64_t ResidentBytes() {
  malloc_trim(0);
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * 4096;
}

double Value(const std::string& page, const std::string& series) {
  size_t at = page.find("\n" + series + " ");
  return at == std::string::npos ? 0 : std::atof(page.c_str() + at + series.size() + 2);
}

// Until all have been evaluated and nothing has been written for a while, or it takes too long for that.
void AwaitRest(const MemoryApi& api, int64_t interval_ms) {
  constexpr int64_t kPatienceMs = 180'000;
  base::Clock& clock = base::SystemClock::Get();
  base::StopSignal never;
  const int64_t quiet_ms = std::max<int64_t>(5'000, 3 * interval_ms);
  const int64_t end_ms = clock.NowMs() + kPatienceMs;
  int64_t before = -1;
  while (api.writes() != before && clock.NowMs() < end_ms) {
    before = api.writes();
    clock.SleepFor(quiet_ms, never);
  }
}

// The share of evaluations since `before` that began later than each bound, from the buckets of the histogram.
void PrintLateness(const std::string& before, const std::string& after) {
  const std::string name = "tidewright_scaler_lateness_seconds";
  const double count = Value(after, name + "_count") - Value(before, name + "_count");
  std::printf("evaluations            %.0f\n", count);
  for (const char* bound : {"0.005", "0.02", "0.05", "0.1", "0.2", "0.5", "1"}) {
    const std::string bucket = name + "_bucket{le=\"" + bound + "\"}";
    const double within = Value(after, bucket) - Value(before, bucket);
    std::printf("  at most %5s s late  %.3f %%\n", bound, count > 0 ? 100 * within / count : 0);
  }
}

int Run(const Flags& flags) {
  (void)base::SetLogLevel("error");
  base::Clock& clock = base::SystemClock::Get();
  base::MetricRegistry metrics;
  auto db = *tsdb::Db::Open("", {}, clock, nullptr);
  auto engine = promql::NewEmbeddedEngine(*db, {}, nullptr);
  Load load(*db, flags.objects);
  const int64_t start_ms = clock.NowMs();
  for (int64_t t = start_ms - 8 * kScrapeMs; t <= start_ms; t += kScrapeMs) load.Write(t);

  MemoryApi api(flags.objects, flags.interval_ms, kReplicas, [](const std::string& name) -> base::Json {
    const std::string query = "sum(rate(http_requests_total{app=\"" + name + "\"}[1m]))";
    return {{"type", "prometheus"}, {"metadata", {{"query", query}, {"threshold", "10"}}}};
  });
  kube::SharedCaches caches(api, clock);
  const int64_t empty = ResidentBytes();
  auto reader = kube::NewCachedReader(caches, 60'000);
  for (const kube::Resource* resource : {&kube::resources::kScaledObjects, &kube::resources::kDeployments}) {
    if (!reader->List(*resource, "", {}).ok()) std::abort();
  }
  const int64_t cached = ResidentBytes();

  base::ThreadPool pool("scaler", kThreads);
  base::Scheduler scheduler(clock, pool);
  Cluster cluster;
  cluster.client = &api;
  cluster.caches = &caches;
  cluster.objects = reader.get();
  cluster.record_event = [](const base::Json&, std::string_view, std::string_view, std::string_view) {};
  ScaledObjectController controller(cluster, *engine, clock, clock, scheduler, metrics, {});
  if (!controller.Start().ok()) std::abort();

  base::StopSignal never;
  AwaitRest(api, flags.interval_ms);
  const int64_t followed = ResidentBytes();
  const int64_t writes = api.writes();
  const std::string before = metrics.Render();
  const double processor = ProcessorSeconds();
  const int64_t begin_ms = clock.NowMs();
  for (int64_t next = begin_ms + kScrapeMs / 2; next < begin_ms + flags.seconds * 1000; next += kScrapeMs) {
    clock.SleepUntil(next, never);
    load.Write(clock.NowMs());
  }
  clock.SleepUntil(begin_ms + flags.seconds * 1000, never);
  const double used = ProcessorSeconds() - processor;
  const double elapsed = static_cast<double>(clock.NowMs() - begin_ms) / 1000;

  std::printf("objects                %d, each %d ms\n", flags.objects, flags.interval_ms);
  std::printf("cores                  %.2f\n", used / elapsed);
  PrintLateness(before, metrics.Render());
  std::printf("API writes at rest     %lld\n", static_cast<long long>(api.writes() - writes));
  std::printf("bytes for each object  %lld, and in the caches %lld\n",
              static_cast<long long>((followed - cached) / flags.objects),
              static_cast<long long>((cached - empty) / flags.objects));
  controller.Stop();
  scheduler.Stop();
  pool.Stop();
  reader.reset();
  caches.Stop();
  return 0;
}

}  // namespace
}  // namespace tidewright::scaler

int main(int argc, char** argv) {
  tidewright::scaler::Flags flags;
  for (int i = 1; i + 1 < argc; i += 2) {
    int* value = nullptr;
    if (std::strcmp(argv[i], "--objects") == 0) value = &flags.objects;
    if (std::strcmp(argv[i], "--interval-ms") == 0) value = &flags.interval_ms;
    if (std::strcmp(argv[i], "--seconds") == 0) value = &flags.seconds;
    if (value == nullptr || (*value = std::atoi(argv[i + 1])) <= 0) {
      std::fputs(tidewright::scaler::kUsage, stderr);
      return 2;
    }
  }
  const int failed = tidewright::scaler::Run(flags);
  return failed != 0 ? failed : tidewright::scaler::MeasureLatency();
}
