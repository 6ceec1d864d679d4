#include "tsdb/block_import.h"

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/file.h"
#include "tsdb/block_writer.h"
#include "tsdb/chunk.h"
#include "tsdb/encoding.h"
#include "tsdb/file_writer.h"
#include "tsdb/mapped_file.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

constexpr int64_t kWindowMs = 2 * 3600 * 1000;

int64_t WindowOf(int64_t t) { return t / kWindowMs - (t % kWindowMs < 0 ? 1 : 0); }

struct HeldSample {
  uint32_t series = 0;
  uint32_t order = 0;  // Of arrival.
  int64_t t = 0;
  double value = 0;
};

// What was held in memory at one time, of one window: series ascending by labels, each with its chunks.
class RunWriter {
 public:
  explicit RunWriter(FileWriter& file) : file_(file) {}

  base::Status Add(const Labels& labels, const std::vector<EncodedChunk>& chunks) {
    buffer_.clear();
    PutUvarint(&buffer_, labels.size());
    for (const Label& label : labels) {
      PutString(&buffer_, label.name);
      PutString(&buffer_, label.value);
    }
    PutUvarint(&buffer_, chunks.size());
    for (const EncodedChunk& chunk : chunks) {
      PutVarint(&buffer_, chunk.mint);
      PutVarint(&buffer_, chunk.maxt);
      PutU8(&buffer_, static_cast<uint8_t>(chunk.encoding));
      PutString(&buffer_, chunk.bytes);
    }
    return file_.Append(buffer_);
  }
  base::Status End() { return file_.Append(std::string_view("\0", 1)); }

 private:
  FileWriter& file_;
  std::string buffer_;
};

// Walks through a run.
class RunReader {
 public:
  explicit RunReader(std::string_view bytes) : in_(bytes) { Next(); }

  bool done() const { return labels_.empty(); }
  const Labels& labels() const { return labels_; }
  const std::vector<ChunkView>& chunks() const { return chunks_; }

  void Next() {
    std::vector<Label> pairs(in_.Uvarint());
    for (Label& pair : pairs) {
      pair.name = in_.String();
      pair.value = in_.String();
    }
    labels_ = Labels::FromSorted(std::move(pairs));
    if (done()) return;
    chunks_.resize(in_.Uvarint());
    for (ChunkView& chunk : chunks_) {
      chunk.mint = in_.Varint();
      chunk.maxt = in_.Varint();
      chunk.encoding = static_cast<ChunkEncoding>(in_.U8());
      chunk.bytes = in_.String();
    }
  }

 private:
  ByteReader in_;
  Labels labels_;
  std::vector<ChunkView> chunks_;
};

// The runs of one window, merged by labels.
class Runs {
 public:
  Runs(std::string_view bytes, const std::vector<uint64_t>& offsets) {
    for (uint64_t offset : offsets) readers_.emplace_back(bytes.substr(offset));
  }

  // Calls visit(labels, chunks, number of runs) for each series, ascending; the runs' chunks in the order of the runs.
  template <class Visit>
  base::Status ForEach(Visit visit) {
    for (;;) {
      const RunReader* first = nullptr;
      for (const RunReader& reader : readers_) {
        if (!reader.done() && (first == nullptr || reader.labels() < first->labels())) first = &reader;
      }
      if (first == nullptr) return base::Status::Ok();
      const Labels labels = first->labels();
      std::vector<ChunkView> chunks;
      int runs = 0;
      for (RunReader& reader : readers_) {
        if (reader.done() || !(reader.labels() == labels)) continue;
        ++runs;
        chunks.insert(chunks.end(), reader.chunks().begin(), reader.chunks().end());
        reader.Next();
      }
      TW_RETURN_IF_ERROR(visit(labels, chunks, runs));
    }
  }

 private:
  std::vector<RunReader> readers_;
};

// Encodes samples ascending by time; of those at the same time the first.
template <class Samples, class Time, class Value>
std::vector<EncodedChunk> Encode(const Samples& samples, Time time, Value value) {
  ChunkEncoder encoder;
  bool any = false;
  int64_t last = 0;
  for (const auto& sample : samples) {
    if (any && time(sample) == last) continue;
    encoder.Append(time(sample), value(sample));
    last = time(sample);
    any = true;
  }
  return encoder.Take();
}

// The samples of several runs in chunks of the usual length.
base::Result<std::vector<EncodedChunk>> Merge(const std::vector<ChunkView>& chunks) {
  std::vector<int64_t> t;
  std::vector<double> v;
  for (const ChunkView& chunk : chunks) {
    if (!DecodeFloatChunk(chunk.encoding, chunk.bytes, &t, &v)) {
      return base::DataLossError("import: the temporary file was changed");
    }
  }
  std::vector<Sample> samples(t.size());
  for (size_t i = 0; i < t.size(); ++i) samples[i] = {t[i], v[i]};
  std::stable_sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) { return a.t < b.t; });
  return Encode(
      samples, [](const Sample& s) { return s.t; }, [](const Sample& s) { return s.v; });
}

class BlockImportImpl : public BlockImport {
 public:
  BlockImportImpl(std::string directory, base::Clock& clock, const BlockImportOptions& options)
      : directory_(std::move(directory)),
        scratch_(directory_ + "/" + NewUlid(clock.NowMs()) + ".tmp"),
        clock_(clock),
        max_samples_(std::clamp<size_t>(options.max_samples, 1, UINT32_MAX)) {}
  ~BlockImportImpl() override { (void)RemoveTree(scratch_); }

  base::Status Start() {
    TW_RETURN_IF_ERROR(base::MakeDirectories(scratch_));
    TW_ASSIGN_OR_RETURN(file_, FileWriter::Create(scratch_ + "/runs"));
    return base::Status::Ok();
  }

  base::Status Add(const Labels& labels, int64_t t, double value) override {
    if (labels.empty()) return base::InvalidArgumentError("import: a sample without labels");
    if (t == INT64_MAX) return base::InvalidArgumentError("import: " + std::to_string(t) + " ms is not a time");
    const bool same = last_ < labels_.size() && *labels_[last_] == labels;
    if (!same) {
      auto [place, added] = series_.try_emplace(labels, static_cast<uint32_t>(labels_.size()));
      if (added) labels_.push_back(&place->first);
      last_ = place->second;
    }
    samples_.push_back({last_, static_cast<uint32_t>(samples_.size()), t, value});
    return samples_.size() < max_samples_ ? base::Status::Ok() : WriteRuns();
  }

  base::Result<std::vector<BlockMeta>> Finish() override {
    TW_RETURN_IF_ERROR(WriteRuns());
    TW_RETURN_IF_ERROR(file_->Flush());
    TW_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(file_->path()));
    std::vector<BlockMeta> blocks;
    for (const auto& [window, offsets] : windows_) {
      TW_ASSIGN_OR_RETURN(BlockMeta meta, WriteBlock(file.bytes(), offsets));
      blocks.push_back(std::move(meta));
    }
    return blocks;
  }

 private:
  struct LabelsHash {
    size_t operator()(const Labels& labels) const { return labels.Hash(); }
  };

  // Puts what is held into the file.
  base::Status WriteRuns() {
    // Which series comes first by labels.
    std::vector<uint32_t> by_labels(labels_.size()), rank(labels_.size());
    for (uint32_t i = 0; i < by_labels.size(); ++i) by_labels[i] = i;
    std::sort(by_labels.begin(), by_labels.end(), [&](uint32_t a, uint32_t b) { return *labels_[a] < *labels_[b]; });
    for (uint32_t i = 0; i < by_labels.size(); ++i) rank[by_labels[i]] = i;
    std::sort(samples_.begin(), samples_.end(), [&](const HeldSample& a, const HeldSample& b) {
      return std::tuple(WindowOf(a.t), rank[a.series], a.t, a.order) <
             std::tuple(WindowOf(b.t), rank[b.series], b.t, b.order);
    });
    for (size_t begin = 0; begin < samples_.size();) TW_RETURN_IF_ERROR(WriteRun(&begin));
    samples_.clear();
    labels_.clear();
    series_.clear();
    last_ = UINT32_MAX;
    return base::Status::Ok();
  }

  // Puts the window that begins at samples_[*at], and moves *at behind it.
  base::Status WriteRun(size_t* at) {
    const int64_t window = WindowOf(samples_[*at].t);
    windows_[window].push_back(file_->offset());
    RunWriter run(*file_);
    while (*at < samples_.size() && WindowOf(samples_[*at].t) == window) {
      const size_t begin = *at;
      const uint32_t series = samples_[begin].series;
      while (*at < samples_.size() && samples_[*at].series == series && WindowOf(samples_[*at].t) == window) ++*at;
      TW_RETURN_IF_ERROR(run.Add(
          *labels_[series], Encode(
                                std::span(samples_).subspan(begin, *at - begin),
                                [](const HeldSample& s) { return s.t; }, [](const HeldSample& s) { return s.value; })));
    }
    return run.End();
  }

  // What of the block must be known before its series: its symbols, and its time range.
  base::Result<std::set<std::string, std::less<>>> Survey(Runs runs, BlockMeta* meta) const {
    std::set<std::string, std::less<>> symbols;
    const auto note = [&](std::string_view symbol) {
      if (symbols.find(symbol) == symbols.end()) symbols.emplace(symbol);
    };
    meta->mint = INT64_MAX;
    meta->maxt = INT64_MIN;
    TW_RETURN_IF_ERROR(runs.ForEach([&](const Labels& labels, const std::vector<ChunkView>& chunks, int) {
      for (const Label& label : labels) {
        note(label.name);
        note(label.value);
      }
      for (const ChunkView& chunk : chunks) {
        meta->mint = std::min(meta->mint, chunk.mint);
        meta->maxt = std::max(meta->maxt, chunk.maxt + 1);
      }
      return base::Status::Ok();
    }));
    return symbols;
  }

  base::Result<BlockMeta> WriteBlock(std::string_view bytes, const std::vector<uint64_t>& offsets) {
    BlockMeta meta;
    meta.ulid = NewUlid(clock_.NowMs());
    meta.sources = {meta.ulid};
    TW_ASSIGN_OR_RETURN(const auto symbols, Survey(Runs(bytes, offsets), &meta));
    TW_ASSIGN_OR_RETURN(const std::unique_ptr<BlockWriter> writer, BlockWriter::Create(directory_, meta));
    for (const std::string& symbol : symbols) TW_RETURN_IF_ERROR(writer->AddSymbol(symbol).status());
    const auto add = [&](const Labels& labels, const std::vector<ChunkView>& chunks, int runs) -> base::Status {
      if (runs == 1) return writer->AddSeries(labels, chunks);
      TW_ASSIGN_OR_RETURN(const std::vector<EncodedChunk> merged, Merge(chunks));
      std::vector<ChunkView> views;
      for (const EncodedChunk& chunk : merged) views.push_back(chunk.View());
      return writer->AddSeries(labels, views);
    };
    TW_RETURN_IF_ERROR(Runs(bytes, offsets).ForEach(add));
    return writer->Finish();
  }

  const std::string directory_;
  const std::string scratch_;
  base::Clock& clock_;
  const size_t max_samples_;
  std::unordered_map<Labels, uint32_t, LabelsHash> series_;
  std::vector<const Labels*> labels_;  // Keys of series_, by their values.
  uint32_t last_ = UINT32_MAX;         // The series of the sample before.
  std::vector<HeldSample> samples_;
  std::unique_ptr<FileWriter> file_;
  std::map<int64_t, std::vector<uint64_t>> windows_;  // Where in the file their runs are.
};

}  // namespace

base::Result<std::unique_ptr<BlockImport>> BlockImport::Create(const std::string& directory, base::Clock& clock,
                                                               const BlockImportOptions& options) {
  auto import = std::make_unique<BlockImportImpl>(directory, clock, options);
  TW_RETURN_IF_ERROR(import->Start());
  return std::unique_ptr<BlockImport>(std::move(import));
}

}  // namespace tidewright::tsdb
