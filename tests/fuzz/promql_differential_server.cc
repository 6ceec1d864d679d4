// Our side of promql_differential: stores the samples of a file, writes them as a block that Prometheus opens too, and
// answers queries over that block through the HTTP API until standard input ends.
//
// usage: promql_differential_server SAMPLES DIRECTORY
//
// SAMPLES holds `load INTERVAL` lines, each followed by series in the notation of promqltest. DIRECTORY/reference is a
// data directory for Prometheus, DIRECTORY/ours one for this program. It prints two ports, one of an engine that
// removes metric names at once and one of an engine that does so at the end, then a line that begins with "ready".
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/clock.h"
#include "base/duration.h"
#include "base/file.h"
#include "base/strings.h"
#include "http/server.h"
#include "promql/engine.h"
#include "promqltest/notation.h"
#include "tsdb/db.h"
#include "web/prometheus_api.h"

namespace tidewright {
namespace {

struct TimedItem {
  int64_t t;
  size_t line;
  const promqltest::Item* item;
};

bool IsWhole(double v) { return v >= 0 && v < 1e15 && v == std::floor(v); }

std::vector<int64_t> Deltas(const std::vector<double>& counts) {
  std::vector<int64_t> deltas;
  int64_t last = 0;
  for (double count : counts) {
    deltas.push_back(static_cast<int64_t>(count) - last);
    last = static_cast<int64_t>(count);
  }
  return deltas;
}

// Integer histograms where all counts are whole, so that both kinds of chunks take part.
bool ToInteger(const tsdb::FloatHistogram& from, tsdb::Histogram* to) {
  auto whole = [](const std::vector<double>& counts) { return std::all_of(counts.begin(), counts.end(), IsWhole); };
  if (!IsWhole(from.count) || !IsWhole(from.zero_count) || !whole(from.positive_buckets)) return false;
  if (!whole(from.negative_buckets)) return false;
  to->hint = from.hint;
  to->schema = from.schema;
  to->zero_threshold = from.zero_threshold;
  to->zero_count = static_cast<uint64_t>(from.zero_count);
  to->count = static_cast<uint64_t>(from.count);
  to->sum = from.sum;
  to->positive_spans = from.positive_spans;
  to->negative_spans = from.negative_spans;
  to->positive_buckets = Deltas(from.positive_buckets);
  to->negative_buckets = Deltas(from.negative_buckets);
  to->custom_values = from.custom_values;
  return tsdb::Validate(*to).ok();
}

base::Result<tsdb::SeriesRef> AppendItem(tsdb::Appender& appender, const tsdb::Labels& labels, const TimedItem& timed) {
  const promqltest::Item& item = *timed.item;
  if (item.kind == promqltest::Item::Kind::kFloat) return appender.Append(0, labels, timed.t, item.value);
  tsdb::Histogram integer;
  if (ToInteger(*item.histogram, &integer)) return appender.AppendHistogram(0, labels, timed.t, integer);
  return appender.AppendFloatHistogram(0, labels, timed.t, *item.histogram);
}

// All samples in the order of their times, committed one time after the other.
base::Status Store(const std::string& text, tsdb::Db& db) {
  std::vector<promqltest::SeriesLine> lines;
  std::vector<int64_t> intervals;
  int64_t interval_ms = 0;
  for (const std::string& line : base::Split(text, '\n')) {
    if (line.empty()) continue;
    if (line.starts_with("load ")) {
      TW_ASSIGN_OR_RETURN(base::Duration interval, base::ParseDuration(line.substr(5)));
      interval_ms = interval.ms;
      continue;
    }
    auto series = promqltest::ParseSeriesLine(base::TrimSpace(line));
    if (!series.ok()) return series.status().Annotate(line);
    lines.push_back(*std::move(series));
    intervals.push_back(interval_ms);
  }
  std::vector<TimedItem> samples;
  for (size_t i = 0; i < lines.size(); ++i) {
    for (size_t k = 0; k < lines[i].items.size(); ++k) {
      if (lines[i].items[k].kind == promqltest::Item::Kind::kNone) continue;
      samples.push_back({static_cast<int64_t>(k) * intervals[i], i, &lines[i].items[k]});
    }
  }
  std::stable_sort(samples.begin(), samples.end(), [](const auto& a, const auto& b) { return a.t < b.t; });
  for (size_t i = 0; i < samples.size();) {
    auto appender = db.NewAppender();
    int64_t t = samples[i].t;
    for (; i < samples.size() && samples[i].t == t; ++i) {
      auto stored = AppendItem(*appender, lines[samples[i].line].labels, samples[i]);
      if (!stored.ok()) return stored.status().Annotate(lines[samples[i].line].labels.ToString());
    }
    TW_RETURN_IF_ERROR(appender->Commit());
  }
  return base::Status::Ok();
}

tsdb::DbOptions KeepAll() {
  tsdb::DbOptions options;
  options.retention_ms = int64_t{100} * 365 * 24 * 3600 * 1000;
  return options;
}

// In `directory`/written, of which `directory`/reference is a copy without what is ours alone.
base::Status WriteBlocks(const std::string& samples, const std::string& directory) {
  base::FakeClock clock(0);
  TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(samples));
  TW_ASSIGN_OR_RETURN(auto db, tsdb::Db::Open(directory + "/written", KeepAll(), clock, nullptr));
  TW_RETURN_IF_ERROR(Store(text, *db));
  return db->Snapshot(directory + "/reference", /*without_head=*/false);
}

// One engine with its HTTP port.
class Endpoint {
 public:
  Endpoint(tsdb::Queryable& storage, base::Clock& clock, const promql::EngineOptions& options)
      : engine_(promql::NewEmbeddedEngine(storage, options, nullptr)), api_(*engine_, clock) {}

  base::Result<uint16_t> Start() {
    http::ServerOptions options;
    options.worker_threads = 2;
    TW_ASSIGN_OR_RETURN(server_, http::Server::Create(options, [this](const http::ServerRequest& request,
                                                                      const std::shared_ptr<http::Responder>& reply) {
                          reply->Reply(api_.Handle(request));
                        }));
    return server_->Listen("127.0.0.1", 0);
  }

 private:
  std::unique_ptr<promql::QueryEngine> engine_;
  web::PrometheusApi api_;
  std::unique_ptr<http::Server> server_;
};

base::Status Serve(const std::string& directory) {
  base::FakeClock clock(0);
  TW_ASSIGN_OR_RETURN(auto db, tsdb::Db::Open(directory, KeepAll(), clock, nullptr));
  promql::EngineOptions options;
  options.experimental_functions = options.fill_modifiers = options.extended_selectors = true;
  Endpoint names_at_once(*db, clock, options);
  options.delayed_name_removal = true;
  Endpoint names_at_the_end(*db, clock, options);
  TW_ASSIGN_OR_RETURN(uint16_t first, names_at_once.Start());
  TW_ASSIGN_OR_RETURN(uint16_t second, names_at_the_end.Start());
  std::printf("%d %d\nready\n", first, second);
  std::fflush(stdout);
  std::string line;
  while (std::getline(std::cin, line)) {
  }
  return base::Status::Ok();
}

base::Status Run(const std::string& samples, const std::string& directory) {
  std::string reference = directory + "/reference", ours = directory + "/ours";
  TW_RETURN_IF_ERROR(WriteBlocks(samples, directory));
  std::error_code error;
  std::filesystem::copy(reference, ours, std::filesystem::copy_options::recursive, error);
  if (error) return base::UnavailableError("copy " + reference + " to " + ours + ": " + error.message());
  return Serve(ours);
}

}  // namespace
}  // namespace tidewright

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: promql_differential_server SAMPLES DIRECTORY\n");
    return 2;
  }
  tidewright::base::Status status = tidewright::Run(argv[1], argv[2]);
  if (!status.ok()) std::fprintf(stderr, "promql_differential_server: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
