// The micro costs of the store: appending scrapes with and without a log, encoding and decoding values, selecting,
// hashing; and what a series costs in memory and on disk. docs/performance.md says what the figures are.
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "tests/bench/monitored_app.h"
#include "tsdb/db.h"
#include "tsdb/postings.h"
#include "tsdb/value_codec.h"

namespace tidewright::tsdb {
namespace {

using bench::MonitoredPod;

constexpr int64_t kStart = 1'700'000'000'000;
constexpr int64_t kInterval = 15'000;

size_t ResidentBytes() {
  size_t pages = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%zu %zu", &pages, &resident) != 2) resident = 0;
  if (file != nullptr) std::fclose(file);
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Of this process.
double CpuNanos() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto nanos = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_usec) * 1e3;
  };
  return nanos(usage.ru_utime) + nanos(usage.ru_stime);
}

uint64_t DirectoryBytes(const std::string& path) {
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) total += entry.file_size();
  }
  return total;
}

// Targets that are scraped in turn.
struct Fleet {
  Fleet(Db& store, int pods, int series, int first_pod = 0) : db(store) {
    for (int pod = 0; pod < pods; ++pod) targets.emplace_back(first_pod + pod, series);
    refs.assign(targets.size(), std::vector<SeriesRef>(static_cast<size_t>(series), 0));
  }
  void ScrapeOne(size_t pod, int64_t t) {
    auto appender = db.NewAppender();
    if (refs[pod][0] == 0) {
      for (size_t i = 0; i < refs[pod].size(); ++i) {
        auto ref = appender->Append(0, targets[pod].LabelsOf(static_cast<int>(i)), t, targets[pod].values()[i]);
        if (!ref.ok()) std::abort();
        refs[pod][i] = *ref;
      }
    } else {
      std::vector<BatchRejection> rejected;
      appender->AppendBatch(refs[pod], targets[pod].values(), t, &rejected);
      if (!rejected.empty()) std::abort();
    }
    if (!appender->Commit().ok()) std::abort();
  }
  void ScrapeAll(int64_t t) {
    for (size_t pod = 0; pod < targets.size(); ++pod) {
      targets[pod].Advance();
      ScrapeOne(pod, t + static_cast<int64_t>(pod % 97));
    }
  }

  Db& db;
  std::vector<MonitoredPod> targets;
  std::vector<std::vector<SeriesRef>> refs;
};

std::unique_ptr<Db> OpenDb(const std::string& directory, base::Clock& clock) {
  base::SetLogLevel(base::LogLevel::kError);
  auto db = Db::Open(directory, {}, clock, nullptr);
  if (!db.ok()) {
    std::fprintf(stderr, "%s\n", db.status().ToString().c_str());
    std::abort();
  }
  return std::move(db).value();
}

void BM_Append(benchmark::State& state) {
  base::FakeClock clock(kStart);
  auto directory = base::TempDir::Create("tsdb-bench");
  auto db = OpenDb(state.range(1) != 0 ? directory->path() : "", clock);
  Fleet fleet(*db, 1, static_cast<int>(state.range(0)));
  int64_t t = kStart;
  fleet.ScrapeOne(0, t);
  for (auto _ : state) {
    state.PauseTiming();
    fleet.targets[0].Advance();
    state.ResumeTiming();
    fleet.ScrapeOne(0, t += kInterval);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Append)->ArgNames({"series", "log"})->Args({1000, 0})->Args({1000, 1})->Args({100, 1});

void BM_AppendNewSeries(benchmark::State& state) {
  base::FakeClock clock(kStart);
  auto directory = base::TempDir::Create("tsdb-bench");
  auto db = OpenDb(directory->path(), clock);
  int pod = 0;
  for (auto _ : state) {
    state.PauseTiming();
    MonitoredPod target(pod++, 280);
    std::vector<Labels> labels;
    for (int i = 0; i < 280; ++i) labels.push_back(target.LabelsOf(i));
    state.ResumeTiming();
    auto appender = db->NewAppender();
    for (size_t i = 0; i < labels.size(); ++i) {
      if (!appender->Append(0, labels[i], kStart, target.values()[i]).ok()) std::abort();
    }
    if (!appender->Commit().ok()) std::abort();
  }
  state.SetItemsProcessed(state.iterations() * 280);
}
BENCHMARK(BM_AppendNewSeries)->Iterations(300);

std::vector<std::vector<double>> SeriesValues(int series, int samples) {
  MonitoredPod pod(1, series);
  std::vector<std::vector<double>> values(static_cast<size_t>(series));
  for (int i = 0; i < samples; ++i, pod.Advance()) {
    for (size_t s = 0; s < values.size(); ++s) values[s].push_back(pod.values()[s]);
  }
  return values;
}

struct Packed {
  std::vector<uint8_t> bytes;
  size_t tail = 0;
};

Packed Pack(const std::vector<double>& values) {
  Packed packed;
  double previous = 0;
  for (size_t at = 0; at + kBlockValues <= values.size(); at += kBlockValues) {
    uint8_t codes[kBlockValues * kMaxCodeBytes], block[kMaxBlockBytes];
    size_t size = 0;
    double last = previous;
    for (size_t i = at; i < at + kBlockValues; ++i) {
      size += EncodeValue(last, values[i], codes + size);
      last = values[i];
    }
    size_t used = EncodeBlock(&values[at], previous, codes, size, block);
    packed.bytes.insert(packed.bytes.end(), block, block + used);
    previous = last;
  }
  packed.tail = packed.bytes.size();
  return packed;
}

void BM_EncodeValues(benchmark::State& state) {
  auto series = SeriesValues(280, 128);
  size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    for (const auto& values : series) bytes += Pack(values).bytes.size();
  }
  state.SetItemsProcessed(state.iterations() * 280 * 128);
  state.counters["B/sample"] = static_cast<double>(bytes) / (280 * 128);
}
BENCHMARK(BM_EncodeValues);

void BM_DecodeValues(benchmark::State& state) {
  std::vector<Packed> packed;
  for (const auto& values : SeriesValues(280, 128)) packed.push_back(Pack(values));
  double out[144], sum = 0;
  for (auto _ : state) {
    for (const Packed& one : packed) {
      const uint8_t* codes = one.bytes.data() + one.tail;
      if (!DecodeValues(one.bytes.data(), one.tail, codes, one.bytes.size() - one.tail, 0.0, 128, out)) std::abort();
      sum += out[127];
    }
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * 280 * 128);
}
BENCHMARK(BM_DecodeValues);

// Columns of every selected series; with range(1) after the chunks were moved to files.
void BM_Columns(benchmark::State& state) {
  base::FakeClock clock(kStart);
  auto directory = base::TempDir::Create("tsdb-bench");
  auto db = OpenDb(directory->path(), clock);
  Fleet fleet(*db, 10, 1000);
  constexpr int kScrapes = 480;
  for (int i = 0; i < kScrapes; ++i) fleet.ScrapeAll(kStart + i * kInterval);
  if (state.range(0) != 0 && !db->Maintain().ok()) std::abort();
  Matchers matchers = {Matcher::Equal("__name__", "http_request_duration_seconds_bucket")};
  int64_t samples = 0;
  ColumnBuffer buffer;
  for (auto _ : state) {
    auto querier = std::move(db->NewQuerier(kStart, INT64_MAX)).value();
    auto series = std::move(querier->Select({}, matchers)).value();
    for (const auto& one : series) {
      SampleColumns columns;
      one->Columns(&buffer, &columns);
      samples += static_cast<int64_t>(columns.v.size());
    }
  }
  state.SetItemsProcessed(samples);
}
BENCHMARK(BM_Columns)->ArgName("files")->Arg(0)->Arg(1);

void BM_Select(benchmark::State& state) {
  base::FakeClock clock(kStart);
  auto db = OpenDb("", clock);
  Fleet fleet(*db, 100, 1000);
  fleet.ScrapeAll(kStart);
  Matchers matchers = {Matcher::Equal("__name__", "http_requests_total"), Matcher::Equal("namespace", "ns-3"),
                       *Matcher::Create(Matcher::Type::kRegex, "pod", "app-.+")};
  int64_t found = 0;
  for (auto _ : state) {
    auto querier = std::move(db->NewQuerier(kStart, INT64_MAX)).value();
    found += static_cast<int64_t>(std::move(querier->Select({}, matchers)).value().size());
  }
  state.SetItemsProcessed(found);
}
BENCHMARK(BM_Select);

void BM_Intersect(benchmark::State& state) {
  RefSet every_third, runs;
  for (SeriesRef ref = 1; ref < 300'000; ref += 3) every_third.Append(ref);
  for (SeriesRef ref = 1; ref < 300'000; ref += 2000) runs.Append(ref, ref + 1000);
  for (auto _ : state) benchmark::DoNotOptimize(every_third.Intersect(runs));
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(every_third.size()));
}
BENCHMARK(BM_Intersect);

void BM_LabelHash(benchmark::State& state) {
  const Labels labels = MonitoredPod(7, 28).LabelsOf(9);
  for (auto _ : state) benchmark::DoNotOptimize(labels.Hash());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_LabelHash);

// Resident memory and log bytes after `scrapes` scrapes of `series` series, and how long a restart takes.
void BM_Footprint(benchmark::State& state) {
  const auto pods = static_cast<int>(state.range(0)), scrapes = static_cast<int>(state.range(1));
  for (auto _ : state) {
    base::FakeClock clock(kStart);
    auto directory = base::TempDir::Create("tsdb-bench");
    auto series = static_cast<double>(pods) * 1000;
    {
      auto db = OpenDb(directory->path(), clock);
      Fleet fleet(*db, pods, 1000);
      size_t before = ResidentBytes();
      for (int i = 0; i < scrapes; ++i) {
        fleet.ScrapeAll(kStart + i * kInterval);
        clock.Set(kStart + i * kInterval);
        if (i % 4 == 3 && !db->Maintain().ok()) std::abort();
      }
      size_t after = ResidentBytes();
      state.counters["B/series"] = static_cast<double>(after - before) / series;
      state.counters["disk B/sample"] =
          static_cast<double>(DirectoryBytes(directory->path())) / (series * static_cast<double>(scrapes));
      std::filesystem::copy(directory->path(), directory->path() + "-killed", std::filesystem::copy_options::recursive);
    }
    const double start = CpuNanos();
    auto again = OpenDb(directory->path() + "-killed", clock);
    const double nanos = CpuNanos() - start;
    state.counters["replay CPU ns/sample"] = nanos / (series * static_cast<double>(scrapes));
    state.counters["replay CPU ms"] = nanos / 1e6;
    again.reset();
    std::filesystem::remove_all(directory->path() + "-killed");
  }
}
BENCHMARK(BM_Footprint)
    ->ArgNames({"kseries", "scrapes"})
    ->Args({300, 8})
    ->Args({100, 110})
    ->Args({50, 600})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

// Pods that are replaced every ten minutes, for `hours`: what a new series costs, and what is left of them once the
// head was cut.
void BM_Churn(benchmark::State& state) {
  constexpr int kPods = 20, kSeries = 500, kScrapes = 10;
  for (auto _ : state) {
    base::FakeClock clock(kStart);
    auto directory = base::TempDir::Create("tsdb-bench");
    auto db = OpenDb(directory->path(), clock);
    int64_t t = kStart;
    double new_series = 0, creation_nanos = 0;
    size_t begin = ResidentBytes(), after_first_hours = 0, most = 0;
    for (int generation = 0; generation < state.range(0) * 6; ++generation) {
      Fleet fleet(*db, kPods, kSeries, generation * kPods);
      for (int i = 0; i < kScrapes; ++i, t += 60'000) {
        const double start = CpuNanos();
        fleet.ScrapeAll(t);
        if (i == 0) creation_nanos += CpuNanos() - start;
        clock.Set(t);
        if (!db->Maintain().ok()) std::abort();
      }
      new_series += kPods * kSeries;
      most = std::max(most, ResidentBytes());
      if (generation == 17) {
        state.counters["B/new series"] = static_cast<double>(ResidentBytes() - begin) / new_series;
      }
      if (generation == 35) after_first_hours = ResidentBytes();
    }
    state.counters["us/new series"] = creation_nanos / new_series / 1e3;
    state.counters["new series"] = new_series;
    state.counters["MiB after 6 h"] = static_cast<double>(after_first_hours) / (1 << 20);
    state.counters["MiB at the end"] = static_cast<double>(ResidentBytes()) / (1 << 20);
    state.counters["MiB at most"] = static_cast<double>(most) / (1 << 20);
    state.counters["series in the head"] = static_cast<double>(db->Stats().series);
  }
}
BENCHMARK(BM_Churn)->ArgName("hours")->Arg(24)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tidewright::tsdb
