#include "cmd/tsdb_bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "tsdb/db.h"

namespace tidewright::cmd {

namespace {

constexpr int64_t kStartMs = 1'700'000'000'000;
constexpr int64_t kIntervalMs = 15'000;
constexpr uint32_t kScrapesPerMaintenance = 4;  // Once a minute.

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Time and processor time from its making.
class Stopwatch {
 public:
  double wall() const { return static_cast<double>(base::MonotonicNanos() - wall_) / 1e9; }
  double cpu() const { return CpuSeconds() - cpu_; }

 private:
  int64_t wall_ = base::MonotonicNanos();
  double cpu_ = CpuSeconds();
};

uint64_t BytesBelow(const std::string& directory) {
  uint64_t total = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) total += it->file_size(ignored);
  }
  return total;
}

base::Result<std::vector<tsdb::Labels>> SeriesOf(const BenchFlags& flags) {
  std::vector<tsdb::Labels> series;
  if (flags.file.empty()) {
    for (uint32_t i = 0; i < flags.series; ++i) {
      series.push_back(tsdb::Labels::Of({{"__name__", "bench_metric_" + std::to_string(i % 100)},
                                         {"instance", "10.0.0." + std::to_string(i / 100 % 250) + ":9100"},
                                         {"job", "bench"},
                                         {"series", std::to_string(i)}}));
    }
    return series;
  }
  TW_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(flags.file));
  size_t number = 0;
  for (const std::string& line : base::Split(text, '\n')) {
    ++number;
    if (base::TrimSpace(line).empty() || series.size() == flags.series) continue;
    auto labels = base::ParseJson(line);
    std::vector<tsdb::Label> pairs;
    if (labels.ok() && labels->is_object()) {
      for (const auto& [name, value] : labels->items()) {
        if (value.is_string()) pairs.push_back({name, value.get<std::string>()});
      }
    }
    if (pairs.empty()) {
      return base::InvalidArgumentError(flags.file + " line " + std::to_string(number) +
                                        ": not a JSON object of labels");
    }
    series.push_back(tsdb::Labels::FromPairs(std::move(pairs)));
  }
  return series;
}

// Every other value grows, as about half of those of a scrape do.
base::Status Ingest(const std::vector<tsdb::Labels>& series, uint32_t scrapes, base::FakeClock& clock, tsdb::Db& db) {
  std::vector<tsdb::SeriesRef> refs(series.size());
  std::vector<double> values(series.size());
  std::mt19937 random(1);
  std::vector<tsdb::BatchRejection> rejected;
  for (uint32_t scrape = 0; scrape < scrapes; ++scrape) {
    const int64_t now = kStartMs + scrape * kIntervalMs;
    clock.Set(now);
    auto appender = db.NewAppender();
    for (size_t i = 0; i < series.size(); i += 2) values[i] += random() % 100;
    if (scrape == 0) {
      for (size_t i = 0; i < series.size(); ++i) {
        TW_ASSIGN_OR_RETURN(refs[i], appender->Append(0, series[i], now, values[i]));
      }
    } else {
      appender->AppendBatch(refs, values, now, &rejected);
      if (!rejected.empty()) return base::InternalError("the store refused samples of the benchmark");
    }
    TW_RETURN_IF_ERROR(appender->Commit());
    if (scrape % kScrapesPerMaintenance == kScrapesPerMaintenance - 1) TW_RETURN_IF_ERROR(db.Maintain());
  }
  return base::Status::Ok();
}

base::Result<uint64_t> CountSamples(tsdb::Db& db) {
  TW_ASSIGN_OR_RETURN(const std::unique_ptr<tsdb::Querier> querier, db.NewQuerier(INT64_MIN, INT64_MAX));
  TW_ASSIGN_OR_RETURN(const auto selected, querier->Select({}, {}));
  uint64_t samples = 0;
  tsdb::ColumnBuffer buffer;
  for (const auto& series : selected) {
    tsdb::SampleColumns columns;
    if (series->Columns(&buffer, &columns)) samples += columns.t.size();
  }
  return samples;
}

void Print(const char* what, const Stopwatch& watch, double samples) {
  std::printf("%-28s %8.2f s  %8.2f s of CPU  %10.3f s of CPU per million samples\n", what, watch.wall(), watch.cpu(),
              samples > 0 ? watch.cpu() / samples * 1e6 : 0);
}

// A benchmark's directory is known by this file, so that nothing else is ever removed.
constexpr char kMark[] = "/tidewright-bench";

base::Status PrepareDirectory(const std::string& directory) {
  std::error_code error;
  if (std::filesystem::exists(directory, error)) {
    if (!std::filesystem::exists(directory + kMark, error)) {
      return base::AlreadyExistsError("--out " + directory + ": there is something; name a new directory");
    }
    std::filesystem::remove_all(directory, error);
    if (error) return base::UnavailableError("remove " + directory + ": " + error.message());
  }
  TW_RETURN_IF_ERROR(base::MakeDirectories(directory + "/killed"));
  return base::WriteFileAtomic(directory + kMark, "");
}

}  // namespace

base::Status BenchWrite(const BenchFlags& flags) {
  base::SetLogLevel(base::LogLevel::kWarn);
  TW_ASSIGN_OR_RETURN(const std::vector<tsdb::Labels> series, SeriesOf(flags));
  TW_RETURN_IF_ERROR(PrepareDirectory(flags.out));
  const std::string data = flags.out + "/data", killed = flags.out + "/killed/data";
  const double samples = static_cast<double>(series.size()) * flags.scrapes;
  tsdb::DbOptions options;
  options.retention_ms = INT64_MAX;
  base::FakeClock clock(kStartMs);
  std::printf("%zu series, %u scrapes: %.0f samples\n", series.size(), flags.scrapes, samples);
  TW_ASSIGN_OR_RETURN(std::unique_ptr<tsdb::Db> db, tsdb::Db::Open(data, options, clock, nullptr));
  {
    Stopwatch watch;
    TW_RETURN_IF_ERROR(Ingest(series, flags.scrapes, clock, *db));
    Print("append, log and blocks", watch, samples);
  }
  std::error_code error;
  std::filesystem::copy(data, killed, std::filesystem::copy_options::recursive, error);
  if (error) return base::UnavailableError("copy " + data + ": " + error.message());
  {
    Stopwatch watch;
    TW_RETURN_IF_ERROR(db->Close());
    Print("clean stop", watch, samples);
  }
  std::printf("%-28s %8.2f bytes per sample\n", "on disk after that", static_cast<double>(BytesBelow(data)) / samples);
  Stopwatch start;
  TW_ASSIGN_OR_RETURN(db, tsdb::Db::Open(killed, options, clock, nullptr));
  Print("start after a kill", start, samples);
  Stopwatch reading;
  TW_ASSIGN_OR_RETURN(const uint64_t found, CountSamples(*db));
  Print("reading all samples", reading, samples);
  if (found == static_cast<uint64_t>(samples)) return base::Status::Ok();
  return base::DataLossError("there are " + std::to_string(found) + " samples after the kill");
}

}  // namespace tidewright::cmd
