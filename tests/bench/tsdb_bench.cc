// Appending scrapes to the head, with and without a log, and selecting from it.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "tsdb/db.h"

namespace tidewright::tsdb {
namespace {

constexpr int64_t kStart = 1'700'000'000'000;

Labels SeriesLabels(int64_t i) {
  return LabelsBuilder()
      .Set("__name__", "http_requests_total")
      .Set("namespace", "shop")
      .Set("pod", "checkout-" + std::to_string(i / 10))
      .Set("code", std::to_string(200 + i % 10))
      .Set("job", "checkout")
      .Build();
}

// A batch of `series` samples, as one scrape has them: by reference.
void Scrape(Db& db, std::vector<SeriesRef>& refs, const std::vector<Labels>& labels, int64_t t) {
  auto appender = db.NewAppender();
  for (size_t i = 0; i < refs.size(); ++i) {
    auto ref = appender->Append(refs[i], labels[i], t, static_cast<double>(t % 977) * 3 + static_cast<double>(i));
    if (ref.ok()) refs[i] = *ref;
  }
  if (!appender->Commit().ok()) std::abort();
}

std::vector<Labels> MakeLabels(int64_t count) {
  std::vector<Labels> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(SeriesLabels(i));
  return labels;
}

void BM_Append(benchmark::State& state) {
  base::FakeClock clock(kStart);
  auto directory = base::TempDir::Create("tsdb-bench");
  auto db = Db::Open(state.range(1) != 0 ? directory->path() : "", {}, clock, nullptr);
  if (!db.ok()) return state.SkipWithError(db.status().ToString().c_str());
  auto labels = MakeLabels(state.range(0));
  std::vector<SeriesRef> refs(labels.size(), 0);
  int64_t t = kStart;
  for (auto _ : state) Scrape(**db, refs, labels, t += 15'000);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Append)->ArgNames({"series", "log"})->Args({1000, 0})->Args({1000, 1});

void BM_AppendNewSeries(benchmark::State& state) {
  base::FakeClock clock(kStart);
  auto db = Db::Open("", {}, clock, nullptr);
  int64_t next = 0;
  for (auto _ : state) {
    auto appender = (*db)->NewAppender();
    for (int i = 0; i < 100; ++i) {
      if (!appender->Append(0, SeriesLabels(next++), kStart, 1).ok()) std::abort();
    }
    if (!appender->Commit().ok()) std::abort();
  }
  state.SetItemsProcessed(next);
}
BENCHMARK(BM_AppendNewSeries)->Iterations(1000);

// Decodes every sample of the selected series.
void BM_Select(benchmark::State& state) {
  base::FakeClock clock(kStart);
  auto db = Db::Open("", {}, clock, nullptr);
  auto labels = MakeLabels(state.range(0));
  std::vector<SeriesRef> refs(labels.size(), 0);
  constexpr int kScrapes = 240;
  for (int i = 0; i < kScrapes; ++i) Scrape(**db, refs, labels, kStart + i * 15'000);
  Matchers matchers = {Matcher::Equal("__name__", "http_requests_total"),
                       *Matcher::Create(Matcher::Type::kRegex, "pod", "checkout-.+")};
  int64_t samples = 0;
  for (auto _ : state) {
    auto querier = *(*db)->NewQuerier(kStart, kStart + kScrapes * 15'000);
    auto selected = querier->Select({}, matchers);
    double sum = 0;
    for (const auto& series : *selected) {
      auto it = series->Iterator();
      for (; it->Next(); ++samples) sum += it->At().v;
    }
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(samples);
}
BENCHMARK(BM_Select)->ArgName("series")->Arg(10)->Arg(1000);

}  // namespace
}  // namespace tidewright::tsdb
