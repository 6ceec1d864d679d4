#include "tsdb/prometheus_takeover.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "base/log.h"
#include "tsdb/block_writer.h"
#include "tsdb/prometheus_head.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kBatchSamples = 20'000;

// What does not go to the head: to be written to blocks.
struct SideSample {
  int64_t t = 0;
  std::variant<double, Histogram, FloatHistogram> value;
};
using SideSeries = std::map<size_t, std::vector<SideSample>>;  // By number of the series.

bool IsRefusal(const base::Status& status) {
  return status.code() == base::Code::kOutOfRange || status.code() == base::Code::kAlreadyExists ||
         status.code() == base::Code::kResourceExhausted || status.code() == base::Code::kInvalidArgument;
}

class TakeOver : public PrometheusHeadSink {
 public:
  TakeOver(Db& db, ExemplarRing& exemplars) : db_(db), exemplars_(exemplars), appender_(db.NewAppender()) {}

  base::Result<SeriesRef> AddSeries(const Labels& labels) override {
    series_.push_back({labels, 0});
    return series_.size();
  }

  base::Status AddFloat(SeriesRef ref, int64_t t, double value, bool out_of_order) override {
    if (out_of_order) {
      side_[ref - 1].push_back({t, value});
      return base::Status::Ok();
    }
    Known& series = series_[ref - 1];
    base::Result<SeriesRef> appended = appender_->Append(series.ref, series.labels, t, value);
    if (!appended.ok()) {
      ++refused_;
      return IsRefusal(appended.status()) ? base::Status::Ok() : appended.status();
    }
    series.ref = *appended;
    return ++pending_ < kBatchSamples ? base::Status::Ok() : Commit();
  }
  base::Status AddHistogram(SeriesRef ref, int64_t t, const Histogram& histogram, bool) override {
    side_[ref - 1].push_back({t, histogram});
    return base::Status::Ok();
  }
  base::Status AddFloatHistogram(SeriesRef ref, int64_t t, const FloatHistogram& histogram, bool) override {
    side_[ref - 1].push_back({t, histogram});
    return base::Status::Ok();
  }
  base::Status AddExemplar(SeriesRef ref, const Labels& labels, int64_t t, double value) override {
    exemplars_.Add(0, series_[ref - 1].labels, {labels, t, value});  // The checkpoint at the end has them.
    return base::Status::Ok();
  }
  base::Status SetMetadata(SeriesRef ref, const std::string& family, const Metadata& metadata) override {
    appender_->UpdateMetadata(family.empty() ? std::string(series_[ref - 1].labels.MetricName()) : family, metadata);
    return base::Status::Ok();
  }
  base::Status Delete(SeriesRef ref, TimeInterval interval) override {
    deleted_.emplace_back(ref - 1, interval);
    return base::Status::Ok();
  }

  base::Status Commit() {
    pending_ = 0;
    return appender_->Commit();
  }

  // Writes the samples that are kept aside to one block for each window.
  base::Status WriteSide(const std::string& directory, BlockSet& blocks, base::Clock& clock) {
    std::map<int64_t, SideSeries> windows;
    for (auto& [number, samples] : side_) {
      std::stable_sort(samples.begin(), samples.end(),
                       [](const SideSample& a, const SideSample& b) { return a.t < b.t; });
      for (SideSample& sample : samples) windows[ChunkWindow(sample.t)][number].push_back(std::move(sample));
    }
    for (const auto& [window, series] : windows) {
      BlockMeta meta;
      meta.ulid = NewUlid(clock.NowMs());
      meta.mint = window * kChunkWindowMs;
      meta.maxt = meta.mint + kChunkWindowMs;
      meta.sources = {meta.ulid};
      TW_RETURN_IF_ERROR(WriteWindow(directory, meta, series));
      TW_RETURN_IF_ERROR(blocks.Add(meta.ulid));
    }
    return base::Status::Ok();
  }

  base::Status DeleteWhatWasDeleted() {
    for (const auto& [number, interval] : deleted_) {
      Matchers matchers;
      for (const Label& label : series_[number].labels) matchers.push_back(Matcher::Equal(label.name, label.value));
      TW_RETURN_IF_ERROR(db_.Delete(interval.mint, interval.maxt, matchers).status());
    }
    return base::Status::Ok();
  }

  uint64_t refused() const { return refused_; }

 private:
  struct Known {
    Labels labels;
    SeriesRef ref = 0;
  };

  base::Status WriteWindow(const std::string& directory, const BlockMeta& meta, const SideSeries& series) const {
    TW_ASSIGN_OR_RETURN(std::unique_ptr<BlockWriter> writer, BlockWriter::Create(directory, meta));
    std::set<std::string> symbols;
    std::map<Labels, const std::vector<SideSample>*> sorted;
    for (const auto& [number, samples] : series) {
      sorted[series_[number].labels] = &samples;
      for (const Label& label : series_[number].labels) {
        symbols.insert(label.name);
        symbols.insert(label.value);
      }
    }
    for (const std::string& symbol : symbols) TW_RETURN_IF_ERROR(writer->AddSymbol(symbol).status());
    for (const auto& [labels, samples] : sorted) {
      ChunkEncoder encoder;
      for (size_t i = 0; i < samples->size(); ++i) {
        const SideSample& sample = (*samples)[i];
        if (i > 0 && sample.t == (*samples)[i - 1].t) continue;
        std::visit([&](const auto& value) { encoder.Append(sample.t, value); }, sample.value);
      }
      std::vector<EncodedChunk> chunks = encoder.Take();
      std::vector<ChunkView> views;
      for (const EncodedChunk& chunk : chunks) views.push_back(chunk.View());
      TW_RETURN_IF_ERROR(writer->AddSeries(labels, views));
    }
    return writer->Finish().status();
  }

  Db& db_;
  ExemplarRing& exemplars_;
  std::unique_ptr<Appender> appender_;
  std::vector<Known> series_;
  SideSeries side_;
  std::vector<std::pair<size_t, TimeInterval>> deleted_;
  size_t pending_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace

base::Status TakeOverPrometheus(const std::string& directory, BlockSet& blocks, Head& head, Db& db,
                                base::Clock& clock) {
  if (!HasPrometheusHead(directory)) return base::Status::Ok();
  int64_t min_valid_time = INT64_MIN;
  for (const auto& block : blocks.List()) min_valid_time = std::max(min_valid_time, block->meta().maxt);
  TakeOver sink(db, head.exemplars());
  TW_ASSIGN_OR_RETURN(PrometheusHeadStats stats, ReadPrometheusHead(directory, min_valid_time, sink));
  TW_RETURN_IF_ERROR(sink.Commit());
  TW_RETURN_IF_ERROR(sink.WriteSide(directory, blocks, clock));
  TW_RETURN_IF_ERROR(sink.DeleteWhatWasDeleted());
  head.CountCorruptions(stats.corruptions);
  TW_RETURN_IF_ERROR(head.Maintain(/*checkpoint=*/true));
  base::LogInfo("tsdb", "took over the log of a Prometheus",
                {{"directory", directory},
                 {"samples", std::to_string(stats.samples)},
                 {"refused", std::to_string(sink.refused())},
                 {"unknown_series", std::to_string(stats.unknown_series)},
                 {"corruptions", std::to_string(stats.corruptions)}});
  return RemovePrometheusHead(directory);
}

}  // namespace tidewright::tsdb
