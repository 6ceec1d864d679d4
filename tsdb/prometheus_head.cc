#include "tsdb/prometheus_head.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "tsdb/frame.h"
#include "tsdb/mapped_file.h"
#include "tsdb/prometheus_head_chunks.h"
#include "tsdb/record.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSnapshotPrefix = "chunk_snapshot.";

std::string WalPath(const std::string& data) { return data + "/wal"; }
std::string OutOfOrderPath(const std::string& data) { return data + "/wbl"; }
std::string ChunksPath(const std::string& data) { return data + "/chunks_head"; }

// Reads the records of a log into a sink.
class Replay {
 public:
  Replay(int64_t min_valid_time, const HeadChunks& chunks, PrometheusHeadSink& sink)
      : min_valid_time_(min_valid_time), chunks_(chunks.chunks()), sink_(sink) {
    stats_.corruptions = chunks.corruptions();
  }

  // All segments of a directory, or of its newest checkpoint and what follows it.
  base::Status ReadLog(const std::string& directory) {
    std::error_code error;
    if (!fs::exists(directory, error)) return base::Status::Ok();
    TW_ASSIGN_OR_RETURN(const WalListing listing, ListWal(directory));
    int covered = -1;
    if (!listing.checkpoints.empty()) {
      covered = listing.checkpoints.back();
      TW_RETURN_IF_ERROR(ReadLog(CheckpointDirectory(directory, covered)));
    }
    for (int segment : listing.segments) {
      if (segment > covered) TW_RETURN_IF_ERROR(ReadSegment(SegmentFile(directory, segment)));
    }
    return base::Status::Ok();
  }

  base::Status ReadOutOfOrder(const std::string& directory) {
    out_of_order_ = true;
    for (const HeadChunk& chunk : chunks_) {
      if (!chunk.out_of_order) continue;
      TW_RETURN_IF_ERROR(AddChunk(chunk));
    }
    return ReadLog(directory);
  }

  base::Status Finish() {
    for (const auto& [series, interval] : deleted_) TW_RETURN_IF_ERROR(sink_.Delete(own_[series].ref, interval));
    return base::Status::Ok();
  }

  const PrometheusHeadStats& stats() const { return stats_; }

 private:
  // A series of the sink.
  struct Own {
    SeriesRef ref = 0;
    int64_t newest = INT64_MIN;
    bool any = false;  // Whether it has a sample in order.
  };
  // A reference of the log. It has no series of the sink until there is a sample.
  struct Known {
    std::unique_ptr<SeriesRecord> pending;
    std::unique_ptr<MetadataRecord> metadata;
    size_t own = 0;  // In own_, when there is nothing pending.
  };

  base::Status ReadSegment(const std::string& path) {
    TW_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
    FrameReader reader(FrameReader::PagesOf(file.bytes()));
    std::string record;
    for (;;) {
      base::Result<bool> more = reader.Next(&record);
      base::Status status = more.status();
      if (more.ok()) {
        if (!*more) return base::Status::Ok();
        ++stats_.records;
        status = Apply(record);
      }
      if (status.code() == base::Code::kDataLoss) return Damaged(path, status);
      TW_RETURN_IF_ERROR(status);
    }
  }

  base::Status Damaged(const std::string& path, const base::Status& status) {
    ++stats_.corruptions;
    base::LogError("tsdb", "a log file of Prometheus is damaged; what stands before the damage is used",
                   {{"file", path}, {"reason", status.message()}});
    return base::Status::Ok();
  }

  base::Status Apply(std::string_view record) {
    if (record.empty()) return base::DataLossError("an empty record");
    switch (static_cast<RecordType>(record[0])) {
      case RecordType::kSeries: return ApplyEach(DecodeSeries(record));
      case RecordType::kSamples:
      case RecordType::kSamplesV2: return ApplyEach(DecodeSamples(record));
      case RecordType::kTombstones: return ApplyEach(DecodeTombstones(record));
      case RecordType::kExemplars: return ApplyEach(DecodeExemplars(record));
      case RecordType::kMetadata: return ApplyEach(DecodeMetadata(record));
      case RecordType::kHistograms:
      case RecordType::kCustomHistograms:
      case RecordType::kHistogramsV2: return ApplyEach(DecodeHistograms<Histogram>(record));
      case RecordType::kFloatHistograms:
      case RecordType::kCustomFloatHistograms:
      case RecordType::kFloatHistogramsV2: return ApplyEach(DecodeHistograms<FloatHistogram>(record));
      case RecordType::kMarkers: return base::Status::Ok();  // Samples in chunks and log alike are only repeated.
    }
    ++stats_.unknown_records;
    return base::Status::Ok();
  }

  template <class T>
  base::Status ApplyEach(base::Result<std::vector<T>> decoded) {
    if (!decoded.ok()) return decoded.status();
    for (T& one : *decoded) TW_RETURN_IF_ERROR(ApplyOne(std::move(one)));
    return base::Status::Ok();
  }

  base::Status ApplyOne(SeriesRecord record) {
    const SeriesRef ref = record.ref;
    Known& known = known_[ref];
    if (known.own != 0 || known.pending != nullptr || record.labels.empty()) return base::Status::Ok();
    known.pending = std::make_unique<SeriesRecord>(std::move(record));
    auto chunk = std::lower_bound(chunks_.begin(), chunks_.end(), ref,
                                  [](const HeadChunk& a, SeriesRef wanted) { return a.series < wanted; });
    for (; chunk != chunks_.end() && chunk->series == ref; ++chunk) {
      if (!chunk->out_of_order) TW_RETURN_IF_ERROR(AddChunk(*chunk));
    }
    return base::Status::Ok();
  }

  base::Status ApplyOne(const SampleRecord& record) {
    return AddSample(record.ref, record.sample.t, [&](SeriesRef ref) {
      return sink_.AddFloat(ref, record.sample.t, record.sample.v, out_of_order_);
    });
  }
  base::Status ApplyOne(const HistogramRecord<Histogram>& record) {
    return Add(record.ref, record.t, record.histogram);
  }
  base::Status ApplyOne(const HistogramRecord<FloatHistogram>& record) {
    return Add(record.ref, record.t, record.histogram);
  }

  base::Status ApplyOne(MetadataRecord record) {
    auto known = known_.find(record.ref);
    if (known == known_.end()) return Unknown();
    if (known->second.pending == nullptr) return SetMetadata(known->second, record);
    known->second.metadata = std::make_unique<MetadataRecord>(std::move(record));
    return base::Status::Ok();
  }

  base::Status ApplyOne(const ExemplarRecord& record) {
    auto known = known_.find(record.ref);
    if (known == known_.end()) return Unknown();
    if (known->second.pending != nullptr) return base::Status::Ok();
    return sink_.AddExemplar(own_[known->second.own].ref, record.labels, record.sample.t, record.sample.v);
  }

  base::Status ApplyOne(const TombstoneRecord& record) {
    auto known = known_.find(record.ref);
    if (known == known_.end()) return Unknown();
    if (known->second.pending != nullptr) return base::Status::Ok();
    // What comes later is not deleted, though the labels may come back under another reference.
    const Own& own = own_[known->second.own];
    const TimeInterval interval = {record.interval.mint, std::min(record.interval.maxt, own.newest)};
    if (own.any && interval.mint <= interval.maxt) deleted_.push_back({known->second.own, interval});
    return base::Status::Ok();
  }

  base::Status Unknown() {
    ++stats_.unknown_series;
    return base::Status::Ok();
  }

  base::Status SetMetadata(const Known& known, const MetadataRecord& record) {
    return sink_.SetMetadata(own_[known.own].ref, record.family, record.metadata);
  }

  base::Status Add(SeriesRef ref, int64_t t, const Histogram& h) {
    return AddSample(ref, t, [&](SeriesRef own) { return sink_.AddHistogram(own, t, h, out_of_order_); });
  }
  base::Status Add(SeriesRef ref, int64_t t, const FloatHistogram& h) {
    return AddSample(ref, t, [&](SeriesRef own) { return sink_.AddFloatHistogram(own, t, h, out_of_order_); });
  }

  // Hands a sample over unless it is too old, or known already.
  template <class HandOver>
  base::Status AddSample(SeriesRef ref, int64_t t, HandOver hand_over) {
    auto found = known_.find(ref);
    if (found == known_.end()) return Unknown();
    if (!out_of_order_ && t < min_valid_time_) return base::Status::Ok();
    Known& known = found->second;
    if (known.pending != nullptr) TW_RETURN_IF_ERROR(Introduce(&known));
    Own& own = own_[known.own];
    if (!out_of_order_) {
      if (own.any && t <= own.newest) return base::Status::Ok();
      own.any = true;
      own.newest = t;
    }
    ++stats_.samples;
    return hand_over(own.ref);
  }

  // Makes a reference of the log known to the sink.
  base::Status Introduce(Known* known) {
    TW_ASSIGN_OR_RETURN(const SeriesRef ref, sink_.AddSeries(known->pending->labels));
    auto [place, added] = own_by_ref_.try_emplace(ref, own_.size());
    if (added) own_.push_back({ref});
    known->own = place->second;
    known->pending.reset();
    const std::unique_ptr<MetadataRecord> metadata = std::move(known->metadata);
    return metadata == nullptr ? base::Status::Ok() : SetMetadata(*known, *metadata);
  }

  base::Status AddChunk(const HeadChunk& entry) {
    base::Result<std::unique_ptr<ChunkReader>> reader = NewChunkReader(entry.chunk.encoding, entry.chunk.bytes);
    if (!reader.ok()) {
      ++stats_.unknown_records;
      return base::Status::Ok();
    }
    ChunkReader& in = **reader;
    for (ValueType type = in.Next(); type != ValueType::kNone; type = in.Next()) {
      TW_RETURN_IF_ERROR(AddChunkSample(entry.series, in, type));
    }
    if (in.corrupt()) ++stats_.corruptions;
    return base::Status::Ok();
  }

  base::Status AddChunkSample(SeriesRef ref, const ChunkReader& in, ValueType type) {
    if (type == ValueType::kFloat) return ApplyOne(SampleRecord{ref, {in.time(), in.value()}});
    if (type == ValueType::kHistogram) {
      Histogram histogram;
      in.At(&histogram);
      return Add(ref, in.time(), histogram);
    }
    FloatHistogram histogram;
    in.At(&histogram);
    return Add(ref, in.time(), histogram);
  }

  const int64_t min_valid_time_;
  const std::vector<HeadChunk>& chunks_;
  PrometheusHeadSink& sink_;
  PrometheusHeadStats stats_;
  bool out_of_order_ = false;
  std::unordered_map<SeriesRef, Known> known_;
  std::vector<Own> own_ = std::vector<Own>(1);  // Number 0 is none.
  std::unordered_map<SeriesRef, size_t> own_by_ref_;
  std::vector<std::pair<size_t, TimeInterval>> deleted_;
};

bool HasFiles(const std::string& directory) {
  std::error_code error;
  return fs::exists(directory, error) && !fs::is_empty(directory, error);
}

}  // namespace

bool HasPrometheusHead(const std::string& data_directory) {
  return HasFiles(WalPath(data_directory)) || HasFiles(ChunksPath(data_directory)) ||
         HasFiles(OutOfOrderPath(data_directory));
}

base::Result<PrometheusHeadStats> ReadPrometheusHead(const std::string& data_directory, int64_t min_valid_time,
                                                     PrometheusHeadSink& sink) {
  TW_ASSIGN_OR_RETURN(const HeadChunks chunks, HeadChunks::Open(ChunksPath(data_directory)));
  Replay replay(min_valid_time, chunks, sink);
  TW_RETURN_IF_ERROR(replay.ReadLog(WalPath(data_directory)));
  TW_RETURN_IF_ERROR(replay.ReadOutOfOrder(OutOfOrderPath(data_directory)));
  TW_RETURN_IF_ERROR(replay.Finish());
  return replay.stats();
}

base::Status RemovePrometheusHead(const std::string& data_directory) {
  TW_RETURN_IF_ERROR(RemoveTree(OutOfOrderPath(data_directory)));
  TW_RETURN_IF_ERROR(RemoveTree(ChunksPath(data_directory)));
  std::vector<std::string> snapshots;
  std::error_code error;
  for (fs::directory_iterator it(data_directory, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.compare(0, kSnapshotPrefix.size(), kSnapshotPrefix) == 0) snapshots.push_back(it->path().string());
  }
  for (const std::string& snapshot : snapshots) TW_RETURN_IF_ERROR(RemoveTree(snapshot));
  // The log last: while it is there, everything can be read again.
  return RemoveTree(WalPath(data_directory));
}

}  // namespace tidewright::tsdb
