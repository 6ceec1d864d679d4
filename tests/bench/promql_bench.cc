// The heavy shapes of dashboards and rules over a store in memory: 20,000 series x 6 h, one sample per 15 s.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "promql/engine.h"
#include "tests/bench/measure_query.h"
#include "tsdb/querier.h"

namespace tidewright::promql {
namespace {

constexpr int64_t kInterval = 15'000;
constexpr int64_t kSamples = 6 * 3600 * 1000 / kInterval;
constexpr int64_t kEnd = kSamples * kInterval;
constexpr int kDistinct = 1000;  // Series share their columns of values.

// What all series are made of: a timeline per target, and columns of counters and gauges.
struct Columns {
  std::vector<std::vector<int64_t>> timelines;
  std::vector<std::vector<double>> counters, gauges;

  Columns() {
    for (int64_t target = 0; target < 40; ++target) {
      auto& t = timelines.emplace_back();
      for (int64_t i = 0; i < kSamples; ++i) t.push_back(i * kInterval + target * 373);
    }
    for (int k = 0; k < kDistinct; ++k) {
      auto& counter = counters.emplace_back();
      auto& gauge = gauges.emplace_back();
      double value = 0;
      for (int64_t i = 0; i < kSamples; ++i) {
        value = i % 700 == k % 700 && k % 50 == 0 ? 0 : value + static_cast<double>((i * 7 + k) % 13);
        counter.push_back(value);
        gauge.push_back(1e6 * (2 + std::sin(static_cast<double>(i + k) / 60)));
      }
    }
  }
};

class Iterator : public tsdb::SampleIterator {
 public:
  Iterator(const std::vector<int64_t>& t, const std::vector<double>& v) : t_(t), v_(v) {}
  bool Next() override { return ++at_ < t_.size(); }
  bool Seek(int64_t t) override {
    if (at_ == SIZE_MAX) at_ = 0;
    while (at_ < t_.size() && t_[at_] < t) ++at_;
    return at_ < t_.size();
  }
  tsdb::Sample At() const override { return {t_[at_], v_[at_]}; }

 private:
  const std::vector<int64_t>& t_;
  const std::vector<double>& v_;
  size_t at_ = SIZE_MAX;
};

struct Stored {
  Labels labels;
  size_t timeline = 0;
  const std::vector<double>* values = nullptr;
};

class BenchSeries : public tsdb::Series {
 public:
  BenchSeries(const Stored& stored, const std::vector<int64_t>& t) : stored_(stored), t_(t) {}
  const Labels& labels() const override { return stored_.labels; }
  std::unique_ptr<tsdb::SampleIterator> Iterator() const override {
    return std::make_unique<promql::Iterator>(t_, *stored_.values);
  }
  bool Columns(tsdb::ColumnBuffer*, tsdb::SampleColumns* columns) const override {
    *columns = {t_, *stored_.values, stored_.timeline + 1};
    return true;
  }

 private:
  const Stored& stored_;
  const std::vector<int64_t>& t_;
};

class BenchStorage : public tsdb::Queryable {
 public:
  BenchStorage() {
    // 10,000 buckets, 5,000 counters, 5,000 gauges.
    static const char* const kBounds[] = {"0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "5", "10", "+Inf"};
    for (int pod = 0; pod < 1000; ++pod) {
      for (int i = 0; i < 10; ++i) Add("http_request_duration_seconds_bucket", pod, "le", kBounds[i], true);
      for (int i = 0; i < 5; ++i) Add("http_requests_total", pod, "code", std::to_string(200 + i * 75), true);
      for (int i = 0; i < 5; ++i) Add("memory_bytes", pod, "container", "c-" + std::to_string(i), false);
    }
    std::sort(series_.begin(), series_.end(), [](const auto& a, const auto& b) { return a.labels < b.labels; });
  }

  base::Result<std::unique_ptr<tsdb::Querier>> NewQuerier(int64_t, int64_t) override;

  const std::vector<Stored>& series() const { return series_; }
  const std::vector<int64_t>& timeline(size_t i) const { return columns_.timelines[i]; }

 private:
  void Add(const std::string& name, int pod, const std::string& label, const std::string& value, bool counter) {
    size_t k = series_.size() % kDistinct;
    series_.push_back({Labels::Of({{"__name__", name},
                                   {label, value},
                                   {"handler", "/api/v1/resource-" + std::to_string(pod % 10)},
                                   {"instance", "10.0.0." + std::to_string(pod % 40) + ":8080"},
                                   {"job", "shop"},
                                   {"namespace", "ns-" + std::to_string(pod % 20)},
                                   {"pod", "app-" + std::to_string(pod) + "-7d9c5b8f6d-x2x4z"}}),
                       static_cast<size_t>(pod % 40), counter ? &columns_.counters[k] : &columns_.gauges[k]});
  }

  Columns columns_;
  std::vector<Stored> series_;
};

class BenchQuerier : public tsdb::Querier {
 public:
  explicit BenchQuerier(const BenchStorage& storage) : storage_(storage) {}
  base::Result<std::vector<std::unique_ptr<tsdb::Series>>> Select(const tsdb::SelectHints&,
                                                                  const Matchers& matchers) override {
    std::vector<std::unique_ptr<tsdb::Series>> found;
    for (const Stored& stored : storage_.series()) {
      bool matches = true;
      for (const auto& matcher : matchers) matches = matches && matcher.Matches(stored.labels.Get(matcher.name()));
      if (matches) found.push_back(std::make_unique<BenchSeries>(stored, storage_.timeline(stored.timeline)));
    }
    return found;
  }
  base::Result<std::vector<std::string>> LabelNames(const Matchers&) override { return std::vector<std::string>(); }
  base::Result<std::vector<std::string>> LabelValues(const std::string&, const Matchers&) override {
    return std::vector<std::string>();
  }

 private:
  const BenchStorage& storage_;
};

base::Result<std::unique_ptr<tsdb::Querier>> BenchStorage::NewQuerier(int64_t, int64_t) {
  return std::unique_ptr<tsdb::Querier>(std::make_unique<BenchQuerier>(*this));
}

// At the end of the data.
void Query(benchmark::State& state, const std::string& expr, int64_t range_s, int64_t step_s) {
  static BenchStorage* const kStorage = new BenchStorage();
  MeasureQuery(state, *kStorage, expr, {.end_ms = kEnd, .range_s = range_s, .step_s = step_s});
}

#define QUERY(name, expr, range_s, step_s) \
  BENCHMARK_CAPTURE(Query, name, expr, range_s, step_s)->Unit(benchmark::kMillisecond)

QUERY(i05_rule_rps, "sum by (namespace, handler) (rate(http_requests_total[5m]))", 0, 15);
QUERY(i06_error_ratio,
      "sum by (namespace) (rate(http_requests_total{code=~\"5..\"}[5m])) / sum by (namespace) "
      "(rate(http_requests_total[5m]))",
      0, 15);
QUERY(i07_p99, "histogram_quantile(0.99, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))", 0,
      15);
QUERY(i08_max_over_time, "max by (pod) (max_over_time(memory_bytes[1h])) > 1e8", 0, 15);
QUERY(i12_subquery, "max_over_time(sum by (namespace) (rate(http_requests_total{code=\"200\"}[5m]))[1h:1m])", 0, 15);
QUERY(i13_quantile_over_time, "quantile_over_time(0.95, memory_bytes{namespace=\"ns-1\"}[1h])", 0, 15);
QUERY(i17_count_all, "count({job=\"shop\"})", 0, 15);
QUERY(i18_increase_4h, "sum by (namespace) (increase(http_requests_total{code!~\"5..\"}[4h]))", 0, 15);
QUERY(r01_codes_1h, "sum by (code) (rate(http_requests_total{namespace=\"ns-3\"}[5m]))", 3600, 15);
QUERY(r02_rps_5h, "sum by (namespace) (rate(http_requests_total[5m]))", 18000, 60);
QUERY(r04_p99_5h, "histogram_quantile(0.99, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))",
      18000, 60);
QUERY(r05_topk_5h, "topk(5, sum by (pod) (rate(http_requests_total[5m])))", 18000, 60);
QUERY(r06_raw_5h, "memory_bytes{pod=~\"app-3.-.*\",container=\"c-0\"}", 18000, 15);
QUERY(r07_sum_gauge_5h, "sum by (namespace) (memory_bytes)", 18000, 60);
QUERY(r08_avg_over_time_5h, "avg_over_time(memory_bytes{namespace=\"ns-5\"}[10m])", 18000, 300);
QUERY(r09_join_5h,
      "sum by (namespace, handler) (rate(http_requests_total{code=\"500\"}[10m])) / on (namespace, handler) group_left "
      "() "
      "sum by (namespace, handler) (rate(http_requests_total[10m]))",
      18000, 60);
QUERY(vector_matching_5h, "memory_bytes / on (pod, container) group_left () memory_bytes", 18000, 300);

}  // namespace
}  // namespace tidewright::promql
