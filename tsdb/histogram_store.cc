#include "tsdb/histogram_store.h"

#include <algorithm>
#include <utility>

#include "tsdb/encoding.h"

namespace tidewright::tsdb {

namespace {

// Calls `use` for each sample of a chunk; false when the chunk is damaged.
template <typename Use>
bool ForEachSample(ChunkEncoding encoding, std::string_view bytes, Use&& use) {
  auto reader = NewChunkReader(encoding, bytes);
  if (!reader.ok()) return false;
  for (ValueType type = (*reader)->Next(); type != ValueType::kNone; type = (*reader)->Next()) {
    if (type == ValueType::kHistogram) {
      Histogram histogram;
      (*reader)->At(&histogram);
      use(HistogramSample{(*reader)->time(), std::move(histogram)});
    } else if (type == ValueType::kFloatHistogram) {
      FloatHistogram histogram;
      (*reader)->At(&histogram);
      use(HistogramSample{(*reader)->time(), std::move(histogram)});
    } else {
      return false;
    }
  }
  return !(*reader)->corrupt();
}

}  // namespace

std::string EncodeHistogramSample(const HistogramSample& sample) {
  ChunkEncoder encoder;
  std::visit([&](const auto& value) { encoder.Append(sample.t, value); }, sample.value);
  std::vector<EncodedChunk> chunks = encoder.Take();
  std::string bytes;
  PutU8(&bytes, static_cast<uint8_t>(chunks.front().encoding));
  return bytes + chunks.front().bytes;
}

base::Result<HistogramSample> DecodeHistogramSample(std::string_view bytes) {
  std::optional<HistogramSample> found;
  if (!bytes.empty()) {
    auto encoding = static_cast<ChunkEncoding>(bytes.front());
    bool good = ForEachSample(encoding, bytes.substr(1), [&](HistogramSample sample) { found = std::move(sample); });
    if (!good) found.reset();
  }
  if (!found) return base::DataLossError("histogram of the head's log cannot be decoded");
  return std::move(*found);
}

const HistogramStore::Series* HistogramStore::Find(SeriesRef ref) const {
  auto it = series_.find(ref);
  return it == series_.end() ? nullptr : &it->second;
}

void HistogramStore::Append(SeriesRef ref, CommitSequence commit, HistogramSample sample) {
  base::MutexLock lock(mu_);
  Series& series = series_[ref];
  series.raw_entries.push_back({sample.t, commit});
  series.raw.push_back(std::move(sample));
  if (series.raw.size() <= kRawSamples) return;
  // The newest stays, so that it can be compared with.
  ChunkEncoder encoder;
  for (size_t i = 0; i < kRawSamples; ++i) {
    std::visit([&](const auto& value) { encoder.Append(series.raw[i].t, value); }, series.raw[i].value);
  }
  Run run;
  run.chunks = encoder.Take();
  run.entries.assign(series.raw_entries.begin(), series.raw_entries.begin() + kRawSamples);
  series.runs.push_back(std::move(run));
  series.raw.erase(series.raw.begin(), series.raw.begin() + kRawSamples);
  series.raw_entries.erase(series.raw_entries.begin(), series.raw_entries.begin() + kRawSamples);
}

std::optional<int64_t> HistogramStore::LastTime(SeriesRef ref) const {
  base::MutexLock lock(mu_);
  const Series* series = Find(ref);
  if (series == nullptr || series->raw.empty()) return std::nullopt;
  return series->raw.back().t;
}

bool HistogramStore::IsLast(SeriesRef ref, const HistogramSample& sample) const {
  base::MutexLock lock(mu_);
  const Series* series = Find(ref);
  if (series == nullptr || series->raw.empty()) return false;
  return series->raw.back().t == sample.t && series->raw.back().value == sample.value;
}

std::vector<HistogramSample> HistogramStore::Read(SeriesRef ref, int64_t mint, int64_t maxt,
                                                  CommitSequence reader) const {
  std::vector<HistogramSample> samples;
  auto add = [&](const Entry& entry, HistogramSample sample) {
    if (entry.commit <= reader && entry.t >= mint && entry.t <= maxt) samples.push_back(std::move(sample));
  };
  base::MutexLock lock(mu_);
  const Series* series = Find(ref);
  if (series == nullptr) return samples;
  for (const Run& run : series->runs) {
    if (run.entries.back().t < mint || run.entries.front().t > maxt) continue;
    size_t i = 0;
    for (const EncodedChunk& chunk : run.chunks) {
      ForEachSample(chunk.encoding, chunk.bytes, [&](HistogramSample sample) {
        if (i < run.entries.size()) add(run.entries[i++], std::move(sample));
      });
    }
  }
  for (size_t i = 0; i < series->raw.size(); ++i) add(series->raw_entries[i], series->raw[i]);
  return samples;
}

bool HistogramStore::MayHave(SeriesRef ref, int64_t mint, int64_t maxt, CommitSequence reader) const {
  auto seen = [&](const Entry& entry) { return entry.commit <= reader && entry.t >= mint && entry.t <= maxt; };
  base::MutexLock lock(mu_);
  const Series* series = Find(ref);
  if (series == nullptr) return false;
  for (const Run& run : series->runs) {
    if (std::any_of(run.entries.begin(), run.entries.end(), seen)) return true;
  }
  return std::any_of(series->raw_entries.begin(), series->raw_entries.end(), seen);
}

int64_t HistogramStore::NextTime(SeriesRef ref, int64_t t) const {
  base::MutexLock lock(mu_);
  const Series* series = Find(ref);
  if (series == nullptr) return INT64_MAX;
  for (const Run& run : series->runs) {
    for (const Entry& entry : run.entries) {
      if (entry.t >= t) return entry.t;
    }
  }
  for (const Entry& entry : series->raw_entries) {
    if (entry.t >= t) return entry.t;
  }
  return INT64_MAX;
}

void HistogramStore::Truncate(SeriesRef ref, int64_t mint) {
  base::MutexLock lock(mu_);
  auto it = series_.find(ref);
  if (it == series_.end()) return;
  auto old = [mint](int64_t t) { return mint == INT64_MAX || t < mint; };
  Series& series = it->second;
  series.runs.erase(
      std::remove_if(series.runs.begin(), series.runs.end(), [&](const Run& run) { return old(run.entries.back().t); }),
      series.runs.end());
  size_t gone = 0;
  while (gone < series.raw.size() && old(series.raw[gone].t)) ++gone;
  series.raw.erase(series.raw.begin(), series.raw.begin() + static_cast<ptrdiff_t>(gone));
  series.raw_entries.erase(series.raw_entries.begin(), series.raw_entries.begin() + static_cast<ptrdiff_t>(gone));
}

void HistogramStore::Forget(SeriesRef ref) {
  base::MutexLock lock(mu_);
  series_.erase(ref);
}

}  // namespace tidewright::tsdb
