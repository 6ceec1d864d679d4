// What queries cost over a store on disk: 100 applications of 196 series, 6 h at 15 s, two thirds of that in blocks.
// The expressions are those of autoscalers, rules and dashboards; each is asked again and again, 15 s further on every
// time. docs/performance.md says what the figures are.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "promql/engine.h"
#include "tests/bench/measure_query.h"
#include "tsdb/db.h"

namespace tidewright::promql {
namespace {

constexpr int64_t kInterval = 15'000;
constexpr int64_t kHours = 6;
constexpr int64_t kScrapes = kHours * 3'600'000 / kInterval;
constexpr int64_t kEnd = 1'700'006'400'000 / 7'200'000 * 7'200'000 + 1'500'000;
constexpr int kPods = 100;
constexpr int kUnits = 7;  // Handlers, containers, queues of each.

struct Counter {
  tsdb::SeriesRef ref = 0;
  Labels labels;
  uint64_t state = 0;
  uint64_t mask = 0;  // Of the random increments; 0: the value stands still.
  bool gauge = false;
  double value = 0;

  double Next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    double change = static_cast<double>(state >> 20 & mask);
    value += gauge ? change - static_cast<double>(mask / 2) : change;
    if (value < 0) value = 0;
    return value;
  }
};

class Store {
 public:
  Store() : clock_(kEnd) {
    (void)base::SetLogLevel("error");
    std::string pattern = std::filesystem::temp_directory_path() / "query_bench_XXXXXX";
    directory_ = mkdtemp(pattern.data());
    db_ = *tsdb::Db::Open(directory_, {}, clock_, nullptr);
    MakeSeries();
    Fill();
  }
  ~Store() {
    db_.reset();
    std::filesystem::remove_all(directory_);
  }
  tsdb::Db& db() { return *db_; }

 private:
  using Pairs = std::vector<std::pair<std::string_view, std::string_view>>;

  void Add(int pod, std::string name, Pairs more, uint64_t mask, bool gauge = false) {
    std::string app = "app-" + std::to_string(pod % 20), ns = "ns-" + std::to_string(pod % 10);
    std::string full = app + "-7d9c5b8f6d-x2x" + std::to_string(pod);
    tsdb::LabelsBuilder builder;
    builder.Set("__name__", name).Set("namespace", ns).Set("pod", full).Set("job", "bench");
    builder.Set("instance", "127.77.0." + std::to_string(pod + 1) + ":9100");
    for (const auto& [label, value] : more) builder.Set(label, value);
    uint64_t seed = (series_.size() + 1) * 0x9e3779b97f4a7c15;
    series_.push_back({0, builder.Build(), seed, mask, gauge, gauge ? 2e8 : 0});
  }
  void MakeSeries() {
    static const char* const kBounds[] = {"0.005", "0.01", "0.025", "0.05", "0.1",  "0.25",
                                          "0.5",   "1.0",  "2.5",   "5.0",  "10.0", "+Inf"};
    static const char* const kCodes[] = {"200", "404", "500"};
    for (int pod = 0; pod < kPods; ++pod) {
      for (int unit = 0; unit < kUnits; ++unit) {
        std::string u = std::to_string(unit), handler = "/api/v1/resource-" + u, container = "c-" + u;
        uint64_t traffic = unit % 3 == 2 ? 0 : 31;
        for (const char* method : {"GET", "POST"}) {
          for (const char* code : kCodes) {
            Add(pod, "http_requests_total", {{"handler", handler}, {"method", method}, {"code", code}}, traffic);
          }
        }
        for (const char* le : kBounds) {
          Add(pod, "http_request_duration_seconds_bucket", {{"handler", handler}, {"le", le}}, traffic);
        }
        Add(pod, "http_request_duration_seconds_sum", {{"handler", handler}}, traffic * 1'000'003);
        Add(pod, "http_request_duration_seconds_count", {{"handler", handler}}, traffic);
        Add(pod, "container_cpu_usage_seconds_total", {{"container", container}, {"cpu", "total"}}, 0x1fffff);
        Add(pod, "container_memory_working_set_bytes", {{"container", container}}, 0xff000, true);
        Add(pod, "container_network_receive_bytes_total", {{"interface", "eth" + u}}, 0xfffff);
        Add(pod, "work_queue_depth", {{"queue", "queue-" + u}}, 7, true);
        Add(pod, "job_last_duration_seconds", {{"job_name", "job-" + u}}, 0xffffff, true);
        Add(pod, "app_cache_entries", {{"cache", "cache-" + u}}, 15, true);
        Add(pod, "app_build_info", {{"component", container}, {"version", "v1.4.2"}}, 0);
        Add(pod, "kube_pod_container_resource_limits", {{"container", container}, {"resource", "memory"}}, 0);
      }
    }
  }
  void Fill() {
    for (int64_t i = 0; i < kScrapes; ++i) {
      int64_t t = kEnd - (kScrapes - 1 - i) * kInterval;
      auto appender = db_->NewAppender();
      for (Counter& series : series_) series.ref = *appender->Append(series.ref, series.labels, t, series.Next());
      if (!appender->Commit().ok()) std::abort();
    }
    for (int i = 0; i < 3; ++i) (void)db_->Maintain();
    std::printf("%zu series, %lld scrapes, %llu blocks\n", series_.size(), static_cast<long long>(kScrapes),
                static_cast<unsigned long long>(db_->Stats().blocks));
  }

  base::FakeClock clock_;
  std::string directory_;
  std::unique_ptr<tsdb::Db> db_;
  std::vector<Counter> series_;
};

tsdb::Db& SharedStore() {
  static Store store;
  return store.db();
}

void Query(benchmark::State& state, const std::string& expr, int64_t range_s, int64_t step_s) {
  MeasureQuery(state, SharedStore(), expr, {.end_ms = kEnd, .range_s = range_s, .step_s = step_s, .variants = 40});
}

// What the adapter and rules do.
void Prepared(benchmark::State& state, const std::string& expr) {
  auto engine = NewEmbeddedEngine(SharedStore(), {}, nullptr);
  auto query = engine->Prepare(expr);
  int64_t shift = 0;
  for (auto _ : state) benchmark::DoNotOptimize((*query)->Instant(kEnd - (shift++ % 40) * 15'000));
}

// Nothing is known of the expression: parsed, selected and grouped anew.
void First(benchmark::State& state, const std::string& expr) {
  for (auto _ : state) {
    auto engine = NewEmbeddedEngine(SharedStore(), {}, nullptr);
    benchmark::DoNotOptimize(engine->Instant(expr, kEnd));
  }
}

// The series of a metric in a namespace, and a label's values there, over all times.
const char kSelector[] = "http_requests_total{namespace=\"ns-3\"}";

void m02_label_values(benchmark::State& state) {
  auto engine = NewEmbeddedEngine(SharedStore(), {}, nullptr);
  const Matchers matchers = *ParseSelector(kSelector);
  for (auto _ : state) benchmark::DoNotOptimize(engine->LabelValues("handler", matchers, 0, kEnd));
}
BENCHMARK(m02_label_values)->Unit(benchmark::kMicrosecond);

void m03_series(benchmark::State& state) {
  auto engine = NewEmbeddedEngine(SharedStore(), {}, nullptr);
  const Matchers matchers = *ParseSelector(kSelector);
  for (auto _ : state) benchmark::DoNotOptimize(engine->Series({matchers}, 0, kEnd));
}
BENCHMARK(m03_series)->Unit(benchmark::kMicrosecond);

#define QUERY(name, expr, range_s, step_s) \
  BENCHMARK_CAPTURE(Query, name, expr, range_s, step_s)->Unit(benchmark::kMicrosecond)

const char kRps[] = "sum(rate(http_requests_total{namespace=\"ns-3\",pod=~\"app-3-.*\"}[2m])) by (pod)";
const char kCpu[] =
    "sum by (pod, container) (irate(container_cpu_usage_seconds_total{namespace=\"ns-3\",container!=\"\"}[5m]))";
BENCHMARK_CAPTURE(Prepared, i02_hpa_rps, kRps)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Prepared, i03_hpa_cpu, kCpu)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(First, i02_hpa_rps, kRps)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(First, i05_rule_rps, "sum by (namespace, handler) (rate(http_requests_total[5m]))")
    ->Unit(benchmark::kMicrosecond);
QUERY(i01, "http_requests_total{namespace=\"ns-3\",pod=~\"app-3-.*\",handler=\"/api/v1/resource-1\"}", 0, 15);
QUERY(i02, kRps, 0, 15);
QUERY(i03, kCpu, 0, 15);
QUERY(i04, "avg(work_queue_depth{namespace=\"ns-3\",queue=~\"queue-[0-3]\"})", 0, 15);
QUERY(i05, "sum by (namespace, handler) (rate(http_requests_total[5m]))", 0, 15);
QUERY(i06,
      "sum by (namespace) (rate(http_requests_total{code=~\"5..\"}[5m])) / sum by (namespace) "
      "(rate(http_requests_total[5m]))",
      0, 15);
QUERY(i07, "histogram_quantile(0.99, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))", 0, 15);
QUERY(i08, "max by (pod) (max_over_time(container_memory_working_set_bytes[1h])) > 1e8", 0, 15);
QUERY(i09,
      "sum by (pod, namespace) (container_memory_working_set_bytes) * on (pod) group_left (version) max by (pod, "
      "version) (app_build_info)",
      0, 15);
QUERY(i10,
      "container_memory_working_set_bytes{namespace=\"ns-2\"} / on (namespace, pod, container) group_left () "
      "kube_pod_container_resource_limits{resource=\"memory\"}",
      0, 15);
QUERY(i11, "topk(10, sum by (pod) (rate(container_network_receive_bytes_total[5m])))", 0, 15);
QUERY(i12, "max_over_time(sum by (namespace) (rate(http_requests_total{code=\"200\"}[5m]))[1h:1m])", 0, 15);
QUERY(i13, "quantile_over_time(0.95, work_queue_depth{namespace=\"ns-1\"}[1h])", 0, 15);
QUERY(i14, "count by (__name__) ({__name__=~\"http_.*|work_.+\",pod=~\"app-1[0-9]?-.*\",handler!~\".*-[5-9]\"})", 0,
      15);
QUERY(i15, "predict_linear(container_memory_working_set_bytes{namespace=\"ns-4\"}[30m], 3600) > 0", 0, 15);
QUERY(i16, "absent(bench_scrape_seq{namespace=\"none\"}) or vector(0)", 0, 15);
QUERY(i17, "count({job=\"bench\"})", 0, 15);
QUERY(i18, "sum by (namespace) (increase(http_requests_total{code!~\"5..\"}[4h]))", 0, 15);
QUERY(r01, "sum by (code) (rate(http_requests_total{namespace=\"ns-3\"}[5m]))", 3600, 15);
QUERY(r02, "sum by (namespace) (rate(http_requests_total[5m]))", 18000, 60);
QUERY(r03, "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{namespace=\"ns-3\"}[5m])))",
      3600, 15);
QUERY(r04, "histogram_quantile(0.99, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))", 18000,
      60);
QUERY(r05, "topk(5, sum by (pod) (rate(container_cpu_usage_seconds_total[5m])))", 18000, 60);
QUERY(r06, "container_memory_working_set_bytes{pod=~\"app-3-.*\",container=\"c-0\"}", 18000, 15);
QUERY(r07, "sum(container_memory_working_set_bytes) by (namespace)", 18000, 60);
QUERY(r08, "avg_over_time(work_queue_depth{namespace=\"ns-5\"}[10m])", 18000, 300);
QUERY(r09,
      "sum by (namespace, handler) (rate(http_requests_total{code=\"500\"}[10m])) / on (namespace, handler) group_left "
      "() sum by (namespace, handler) (rate(http_request_duration_seconds_count[10m]))",
      18000, 60);

}  // namespace
}  // namespace tidewright::promql
