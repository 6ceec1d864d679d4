#include "tests/bench/scaler_latency.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/thread_pool.h"
#include "kube/object_reader.h"
#include "kube/shared_caches.h"
#include "promql/engine.h"
#include "scaler/scaled_object_controller.h"
#include "tests/bench/scaler_api.h"
#include "tests/scaler/redis_server.h"
#include "tsdb/db.h"

namespace tidewright::scaler {
namespace {

constexpr int kThreads = 8;  // As the program has them.
constexpr int kObjects = 100;
constexpr int kRounds = 10;
constexpr int kIntervalMs = 1'000;
constexpr int64_t kPatienceMs = 30'000;

int64_t NowMs() { return base::SystemClock::Get().NowMs(); }

// When each workload had its event, was looked at last and was scaled. Thread-safe.
class Stopwatch {
 public:
  void Event(const std::string& name) {
    base::MutexLock lock(mu_);
    runs_[name] = {NowMs(), 0, false};
  }
  // A pass begins; the trigger is read next.
  void Look(const std::string& name) {
    base::MutexLock lock(mu_);
    auto run = runs_.find(name);
    if (run != runs_.end() && !run->second.scaled) run->second.look_ms = NowMs();
  }
  void Scale(const std::string& name) {
    const int64_t now_ms = NowMs();
    base::MutexLock lock(mu_);
    auto run = runs_.find(name);
    if (run == runs_.end() || run->second.scaled) return;
    run->second.scaled = true;
    from_event_.push_back(now_ms - run->second.event_ms);
    from_look_.push_back(now_ms - run->second.look_ms);
  }
  size_t scaled() const {
    base::MutexLock lock(mu_);
    return from_event_.size();
  }
  void Print() {
    base::MutexLock lock(mu_);
    std::printf("0 to 1, message in redis to scale patched, pollingInterval 1: %zu events\n", from_event_.size());
    PrintLine("  since the message", from_event_);
    PrintLine("  since the pass began that read it", from_look_);
  }

 private:
  struct Run {
    int64_t event_ms = 0;
    int64_t look_ms = 0;
    bool scaled = true;
  };
  static void PrintLine(const char* what, std::vector<int64_t>& times) {
    if (times.empty()) return;
    std::sort(times.begin(), times.end());
    auto at = [&](double share) {
      return static_cast<long long>(times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))]);
    };
    std::printf("%-36s p50 %lld ms, p99 %lld ms, at most %lld ms\n", what, at(0.5), at(0.99),
                static_cast<long long>(times.back()));
  }

  mutable base::Mutex mu_;
  std::map<std::string, Run> runs_ GUARDED_BY(mu_);
  std::vector<int64_t> from_event_ GUARDED_BY(mu_);
  std::vector<int64_t> from_look_ GUARDED_BY(mu_);
};

// Tells the stopwatch of each look at a workload, which is what a pass begins with.
class WatchedReader : public kube::ObjectReader {
 public:
  WatchedReader(kube::ObjectReader& inner, Stopwatch& watch) : inner_(inner), watch_(watch) {}

  base::Result<std::shared_ptr<const base::Json>> Get(const kube::Resource& resource, const std::string& ns,
                                                      const std::string& name) override {
    if (resource.kind == "Deployment") watch_.Look(name);
    return inner_.Get(resource, ns, name);
  }
  base::Result<std::vector<std::shared_ptr<const base::Json>>> List(const kube::Resource& resource,
                                                                    const std::string& ns,
                                                                    const kube::LabelSelector& selector) override {
    return inner_.List(resource, ns, selector);
  }
  void Follow(const kube::Resource& resource) override { inner_.Follow(resource); }

 private:
  kube::ObjectReader& inner_;
  Stopwatch& watch_;
};

// A message for each workload, spread at random over two intervals, then until all were scaled; and the lists are empty
// again, so that the next round begins at zero.
bool PlayRound(RedisServer& redis, Stopwatch& watch, std::mt19937& random) {
  base::Clock& clock = base::SystemClock::Get();
  base::StopSignal never;
  std::vector<std::pair<int64_t, int>> plan;
  std::uniform_int_distribution<int64_t> spread(0, 2 * kIntervalMs);
  for (int i = 0; i < kObjects; ++i) plan.emplace_back(clock.NowMs() + spread(random), i);
  std::sort(plan.begin(), plan.end());
  const size_t wanted = watch.scaled() + kObjects;
  for (const auto& [t_ms, i] : plan) {
    clock.SleepUntil(t_ms, never);
    watch.Event(NameOf(i));
    if (!redis.Run({"LPUSH", NameOf(i), "message"}).ok()) return false;
  }
  const int64_t end_ms = clock.NowMs() + kPatienceMs;
  while (watch.scaled() < wanted && clock.NowMs() < end_ms) clock.SleepFor(10, never);
  return watch.scaled() == wanted && redis.Run({"FLUSHALL"}).ok();
}

}  // namespace

int MeasureLatency() {
  if (!RedisServer::Available()) {
    std::printf("latency: not measured, there is no redis-server\n");
    return 0;
  }
  base::Clock& clock = base::SystemClock::Get();
  base::MetricRegistry metrics;
  RedisServer redis;
  Stopwatch watch;
  MemoryApi api(kObjects, kIntervalMs, 0, [&](const std::string& name) -> base::Json {
    return {{"type", "redis"}, {"metadata", {{"address", redis.address()}, {"listName", name}, {"listLength", "1"}}}};
  });
  api.on_scale = [&](std::string_view target) { watch.Scale(std::string(target)); };
  auto db = *tsdb::Db::Open("", {}, clock, nullptr);
  auto engine = promql::NewEmbeddedEngine(*db, {}, nullptr);
  kube::SharedCaches caches(api, clock);
  auto cached = kube::NewCachedReader(caches, 60'000);
  WatchedReader reader(*cached, watch);
  base::ThreadPool pool("scaler", kThreads);
  base::Scheduler scheduler(clock, pool);
  Cluster cluster;
  cluster.client = &api;
  cluster.caches = &caches;
  cluster.objects = &reader;
  cluster.record_event = [](const base::Json&, std::string_view, std::string_view, std::string_view) {};
  ScaledObjectController controller(cluster, *engine, clock, clock, scheduler, metrics, {});
  if (!controller.Start().ok()) std::abort();
  base::StopSignal never;
  clock.SleepFor(5 * kIntervalMs, never);  // Until each has its turn.
  std::mt19937 random(1);
  bool complete = true;
  for (int round = 0; round < kRounds && complete; ++round) complete = PlayRound(redis, watch, random);
  watch.Print();
  if (!complete) std::printf("  not every message was answered in time\n");
  controller.Stop();
  scheduler.Stop();
  pool.Stop();
  cached.reset();
  caches.Stop();
  return complete ? 0 : 1;
}

}  // namespace tidewright::scaler
