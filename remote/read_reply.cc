#include "remote/read_reply.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "base/wire_reader.h"
#include "base/wire_writer.h"
#include "remote/write_request.h"
#include "tsdb/chunk.h"
#include "tsdb/encoding.h"

namespace tidewright::remote {

namespace {

using base::WireReader;

constexpr uint32_t kResults = 1;               // Of ReadResponse.
constexpr uint32_t kLabels = 1, kChunks = 2;   // Of ChunkedSeries.
constexpr uint32_t kEncoding = 3, kBytes = 4;  // Of Chunk.

base::Status Damaged(const std::string& what) { return base::DataLossError("the reply is damaged: " + what); }

// Puts samples into series, within the range and the limits.
class Collector {
 public:
  Collector(int64_t mint, int64_t maxt, const ReadLimits& limits) : mint_(mint), maxt_(maxt), left_(limits.samples) {}

  base::Status Begin(std::string_view label_bytes) {
    TW_ASSIGN_OR_RETURN(tsdb::Labels labels, DecodeLabels(label_bytes));
    if (series_.empty() || !(series_.back().labels == labels)) series_.push_back({std::move(labels), {}, {}});
    return base::Status::Ok();
  }
  base::Status Add(int64_t t, double v) {
    TW_ASSIGN_OR_RETURN(const bool wanted, Admit(t));
    if (!wanted) return base::Status::Ok();
    ReadSeries& series = series_.back();
    series.samples.push_back({t, v});
    if (!series.histograms.empty()) series.histograms.emplace_back();
    return base::Status::Ok();
  }
  base::Status Add(int64_t t, tsdb::FloatHistogram histogram) {
    TW_ASSIGN_OR_RETURN(const bool wanted, Admit(t));
    if (!wanted) return base::Status::Ok();
    ReadSeries& series = series_.back();
    series.histograms.resize(series.samples.size());
    series.samples.push_back({t, histogram.sum});
    series.histograms.push_back(std::make_unique<tsdb::FloatHistogram>(std::move(histogram)));
    return base::Status::Ok();
  }
  std::vector<ReadSeries> Take() {
    std::erase_if(series_, [](const ReadSeries& series) { return series.samples.empty(); });
    std::stable_sort(series_.begin(), series_.end(),
                     [](const ReadSeries& a, const ReadSeries& b) { return a.labels < b.labels; });
    return std::move(series_);
  }

 private:
  // Whether a sample is in the range. One that is not newer than the one before is passed over, as chunks may overlap.
  base::Result<bool> Admit(int64_t t) {
    const std::vector<tsdb::Sample>& samples = series_.back().samples;
    if (t < mint_ || t > maxt_ || (!samples.empty() && samples.back().t >= t)) return false;
    if (left_ == 0) return base::ResourceExhaustedError("the reply has too many samples; ask for less");
    --left_;
    return true;
  }

  const int64_t mint_, maxt_;
  size_t left_;
  std::vector<ReadSeries> series_;
};

// Floats and histograms come in lists of their own, each in order of time.
base::Status AddSeries(const WriteRequestReader& series, Collector* collector) {
  TW_RETURN_IF_ERROR(collector->Begin(series.label_bytes()));
  auto sample = series.samples().begin();
  const auto end = series.samples().end();
  for (std::string_view bytes : series.histograms()) {
    TW_ASSIGN_OR_RETURN(WrittenHistogram one, DecodeHistogram(bytes));
    for (; sample != end && sample->t < one.t; ++sample) TW_RETURN_IF_ERROR(collector->Add(sample->t, sample->v));
    TW_RETURN_IF_ERROR(collector->Add(one.t, one.is_float ? std::move(one.fractions) : tsdb::ToFloat(one.integer)));
  }
  for (; sample != end; ++sample) TW_RETURN_IF_ERROR(collector->Add(sample->t, sample->v));
  return base::Status::Ok();
}

base::Status AddChunk(std::string_view message, Collector* collector) {
  uint64_t encoding = 0;
  std::string_view bytes;
  WireReader fields(message);
  while (fields.Next()) {
    if (fields.field() == kEncoding) encoding = fields.Varint();
    if (fields.field() == kBytes) bytes = fields.Bytes();
  }
  if (!fields.ok() || encoding > UINT8_MAX) return Damaged("a chunk");
  TW_ASSIGN_OR_RETURN(auto reader, tsdb::NewChunkReader(static_cast<tsdb::ChunkEncoding>(encoding), bytes));
  for (tsdb::ValueType type = reader->Next(); type != tsdb::ValueType::kNone; type = reader->Next()) {
    if (type == tsdb::ValueType::kFloat) {
      TW_RETURN_IF_ERROR(collector->Add(reader->time(), reader->value()));
      continue;
    }
    tsdb::FloatHistogram histogram;
    reader->At(&histogram);
    TW_RETURN_IF_ERROR(collector->Add(reader->time(), std::move(histogram)));
  }
  return reader->corrupt() ? Damaged("the samples of a chunk") : base::Status::Ok();
}

base::Status AddChunkedSeries(std::string_view message, Collector* collector) {
  std::string labels;
  std::vector<std::string_view> chunks;
  WireReader fields(message);
  while (fields.Next()) {
    if (fields.field() == kLabels) {
      labels.push_back(kLabels << 3 | 2);
      base::WireWriter::AppendVarint(fields.Bytes().size(), &labels);
      labels += fields.Bytes();
    }
    if (fields.field() == kChunks) chunks.push_back(fields.Bytes());
  }
  if (!fields.ok()) return Damaged("a series");
  TW_RETURN_IF_ERROR(collector->Begin(labels));
  for (std::string_view chunk : chunks) TW_RETURN_IF_ERROR(AddChunk(chunk, collector));
  return base::Status::Ok();
}

// Length, checksum, message.
base::Result<std::string_view> NextFrame(std::string_view* bytes, size_t most) {
  tsdb::ByteReader reader(*bytes);
  const uint64_t size = reader.Uvarint();
  const uint32_t checksum = reader.U32();
  if (!reader.ok()) return Damaged("a frame");
  if (size > most) return base::ResourceExhaustedError("a frame is longer than chunked_read_limit");
  const std::string_view message = reader.Bytes(size);
  if (!reader.ok() || tsdb::Crc32c(message) != checksum) return Damaged("a frame is cut short or has a wrong checksum");
  bytes->remove_prefix(bytes->size() - reader.remaining());
  return message;
}

}  // namespace

base::Result<std::vector<ReadSeries>> ParseSampledReply(std::string_view bytes, int64_t mint, int64_t maxt,
                                                        const ReadLimits& limits) {
  Collector collector(mint, maxt, limits);
  WireReader response(bytes);
  while (response.Next()) {
    if (response.field() != kResults) continue;
    WriteRequestReader result(response.Bytes(), 2 * limits.samples);
    while (result.Next()) TW_RETURN_IF_ERROR(AddSeries(result, &collector));
    if (!result.ok()) return Damaged(result.error());
  }
  if (!response.ok()) return Damaged("not a ReadResponse");
  return collector.Take();
}

base::Result<std::vector<ReadSeries>> ParseStreamedReply(std::string_view bytes, int64_t mint, int64_t maxt,
                                                         const ReadLimits& limits) {
  Collector collector(mint, maxt, limits);
  while (!bytes.empty()) {
    TW_ASSIGN_OR_RETURN(const std::string_view message, NextFrame(&bytes, limits.frame_bytes));
    WireReader frame(message);
    while (frame.Next()) {
      if (frame.field() == 1) TW_RETURN_IF_ERROR(AddChunkedSeries(frame.Bytes(), &collector));
    }
    if (!frame.ok()) return Damaged("not a ChunkedReadResponse");
  }
  return collector.Take();
}

}  // namespace tidewright::remote
