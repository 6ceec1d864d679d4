// Log records other than series, samples and metadata: histograms of all kinds, tombstones, exemplars, markers.
#include <bit>
#include <type_traits>

#include "tsdb/record_fields.h"

namespace tidewright::tsdb {

namespace {

uint8_t Byte(RecordType type) { return static_cast<uint8_t>(type); }
RecordType TypeOf(std::string_view record) { return static_cast<RecordType>(record.empty() ? 0 : record[0]); }

void PutDouble(double value, std::string* out) { PutU64(out, std::bit_cast<uint64_t>(value)); }
double ReadDouble(ByteReader* in) { return std::bit_cast<double>(in->U64()); }

void PutSpans(const BucketSpans& spans, std::string* out) {
  PutUvarint(out, spans.size());
  for (const BucketSpan& span : spans) {
    PutVarint(out, span.offset);
    PutUvarint(out, span.length);
  }
}

bool ReadSpans(ByteReader* in, BucketSpans* spans) {
  const uint64_t count = in->Uvarint();
  if (count > in->remaining() / 2) return false;
  for (uint64_t i = 0; i < count && in->ok(); ++i) {
    const int64_t offset = in->Varint();
    const uint64_t length = in->Uvarint();
    if (offset < INT32_MIN || offset > INT32_MAX || length > UINT32_MAX) return false;
    spans->push_back({static_cast<int32_t>(offset), static_cast<uint32_t>(length)});
  }
  return in->ok();
}

void PutDoubles(const std::vector<double>& values, std::string* out) {
  PutUvarint(out, values.size());
  for (double value : values) PutDouble(value, out);
}

bool ReadDoubles(ByteReader* in, std::vector<double>* values) {
  const uint64_t count = in->Uvarint();
  if (count > in->remaining() / 8) return false;
  values->reserve(count);
  for (uint64_t i = 0; i < count; ++i) values->push_back(ReadDouble(in));
  return in->ok();
}

void PutCounts(const Histogram& h, std::string* out) {
  PutUvarint(out, h.zero_count);
  PutUvarint(out, h.count);
}
void PutCounts(const FloatHistogram& h, std::string* out) {
  PutDouble(h.zero_count, out);
  PutDouble(h.count, out);
}
void ReadCounts(ByteReader* in, Histogram* h) {
  h->zero_count = in->Uvarint();
  h->count = in->Uvarint();
}
void ReadCounts(ByteReader* in, FloatHistogram* h) {
  h->zero_count = ReadDouble(in);
  h->count = ReadDouble(in);
}

void PutBuckets(const std::vector<double>& counts, std::string* out) { PutDoubles(counts, out); }
void PutBuckets(const std::vector<int64_t>& deltas, std::string* out) {
  PutUvarint(out, deltas.size());
  for (int64_t delta : deltas) PutVarint(out, delta);
}
bool ReadBuckets(ByteReader* in, std::vector<double>* counts) { return ReadDoubles(in, counts); }
bool ReadBuckets(ByteReader* in, std::vector<int64_t>* deltas) {
  const uint64_t count = in->Uvarint();
  if (count > in->remaining()) return false;
  deltas->reserve(count);
  for (uint64_t i = 0; i < count && in->ok(); ++i) deltas->push_back(in->Varint());
  return in->ok();
}

template <class H>
void PutHistogram(const H& h, std::string* out) {
  PutU8(out, static_cast<uint8_t>(h.hint));
  PutVarint(out, h.schema);
  PutDouble(h.zero_threshold, out);
  PutCounts(h, out);
  PutDouble(h.sum, out);
  PutSpans(h.positive_spans, out);
  PutSpans(h.negative_spans, out);
  PutBuckets(h.positive_buckets, out);
  PutBuckets(h.negative_buckets, out);
  if (h.schema == kCustomBucketsSchema) PutDoubles(h.custom_values, out);
}

template <class H>
bool ReadHistogram(ByteReader* in, H* h) {
  h->hint = static_cast<CounterResetHint>(in->U8() & 3);
  const int64_t schema = in->Varint();
  if (schema < INT32_MIN || schema > INT32_MAX) return false;
  h->schema = static_cast<int32_t>(schema);
  h->zero_threshold = ReadDouble(in);
  ReadCounts(in, h);
  h->sum = ReadDouble(in);
  if (!ReadSpans(in, &h->positive_spans) || !ReadSpans(in, &h->negative_spans)) return false;
  if (!ReadBuckets(in, &h->positive_buckets) || !ReadBuckets(in, &h->negative_buckets)) return false;
  return h->schema != kCustomBucketsSchema || ReadDoubles(in, &h->custom_values);
}

template <class H>
constexpr RecordType kPlainType = std::is_same_v<H, Histogram> ? RecordType::kHistograms : RecordType::kFloatHistograms;
template <class H>
constexpr RecordType kCustomType =
    std::is_same_v<H, Histogram> ? RecordType::kCustomHistograms : RecordType::kCustomFloatHistograms;
template <class H>
constexpr RecordType kSecondType =
    std::is_same_v<H, Histogram> ? RecordType::kHistogramsV2 : RecordType::kFloatHistogramsV2;

}  // namespace

template <class H>
std::string EncodeHistograms(RecordType type, std::span<const HistogramRecord<H>> histograms) {
  std::string bytes(1, static_cast<char>(Byte(type)));
  FirstPosition first;
  RecordPosition second;
  for (const HistogramRecord<H>& one : histograms) {
    if (type == kSecondType<H>) {
      second.Put(one.ref, one.t, one.start_time, &bytes);
    } else {
      first.Put(one.ref, one.t, &bytes);
    }
    PutHistogram(one.histogram, &bytes);
  }
  return bytes;
}

template <class H>
base::Result<std::vector<HistogramRecord<H>>> DecodeHistograms(std::string_view record) {
  const RecordType type = TypeOf(record);
  if (type != kPlainType<H> && type != kCustomType<H> && type != kSecondType<H>) return MalformedRecord("histograms");
  ByteReader in(record.substr(1));
  FirstPosition first;
  RecordPosition second;
  std::vector<HistogramRecord<H>> all;
  while (!in.empty()) {
    HistogramRecord<H> one;
    if (type == kSecondType<H>) {
      if (!second.Read(&in, &one.ref, &one.t, &one.start_time)) return MalformedRecord("histograms v2");
    } else {
      first.Read(&in, &one.ref, &one.t);
    }
    if (!in.ok() || !ReadHistogram(&in, &one.histogram) || !in.ok()) return MalformedRecord("histograms");
    all.push_back(std::move(one));
  }
  if (!in.ok()) return MalformedRecord("histograms");
  return all;
}

template std::string EncodeHistograms(RecordType, std::span<const HistogramRecord<Histogram>>);
template std::string EncodeHistograms(RecordType, std::span<const HistogramRecord<FloatHistogram>>);
template base::Result<std::vector<HistogramRecord<Histogram>>> DecodeHistograms(std::string_view);
template base::Result<std::vector<HistogramRecord<FloatHistogram>>> DecodeHistograms(std::string_view);

std::string EncodeSamplesV2(std::span<const SampleRecord> samples) {
  std::string bytes(1, static_cast<char>(Byte(RecordType::kSamplesV2)));
  RecordPosition position;
  for (const SampleRecord& one : samples) {
    position.Put(one.ref, one.sample.t, one.start_time, &bytes);
    PutDouble(one.sample.v, &bytes);
  }
  return bytes;
}

std::string EncodeTombstoneRecord(std::span<const TombstoneRecord> tombstones) {
  std::string bytes(1, static_cast<char>(Byte(RecordType::kTombstones)));
  for (const TombstoneRecord& one : tombstones) {
    PutU64(&bytes, one.ref);
    PutVarint(&bytes, one.interval.mint);
    PutVarint(&bytes, one.interval.maxt);
  }
  return bytes;
}

base::Result<std::vector<TombstoneRecord>> DecodeTombstones(std::string_view record) {
  if (TypeOf(record) != RecordType::kTombstones) return MalformedRecord("tombstones");
  ByteReader in(record.substr(1));
  std::vector<TombstoneRecord> all;
  while (!in.empty()) {
    TombstoneRecord one;
    one.ref = in.U64();
    one.interval.mint = in.Varint();
    one.interval.maxt = in.Varint();
    if (!in.ok()) return MalformedRecord("tombstones");
    all.push_back(one);
  }
  if (!in.ok()) return MalformedRecord("tombstones");
  return all;
}

std::string EncodeExemplars(std::span<const ExemplarRecord> exemplars) {
  std::string bytes(1, static_cast<char>(Byte(RecordType::kExemplars)));
  FirstPosition position;
  for (const ExemplarRecord& one : exemplars) {
    position.Put(one.ref, one.sample.t, &bytes);
    PutDouble(one.sample.v, &bytes);
    PutLabels(one.labels, &bytes);
  }
  return bytes;
}

base::Result<std::vector<ExemplarRecord>> DecodeExemplars(std::string_view record) {
  if (TypeOf(record) != RecordType::kExemplars) return MalformedRecord("exemplars");
  ByteReader in(record.substr(1));
  FirstPosition position;
  std::vector<ExemplarRecord> all;
  while (!in.empty()) {
    ExemplarRecord one;
    position.Read(&in, &one.ref, &one.sample.t);
    one.sample.v = ReadDouble(&in);
    if (!ReadLabels(&in, &one.labels)) return MalformedRecord("exemplars");
    all.push_back(std::move(one));
  }
  if (!in.ok()) return MalformedRecord("exemplars");
  return all;
}

std::string EncodeMarkers(std::span<const MarkerRecord> markers) {
  std::string bytes(1, static_cast<char>(Byte(RecordType::kMarkers)));
  for (const MarkerRecord& one : markers) {
    PutU64(&bytes, one.ref);
    PutU64(&bytes, one.chunk);
  }
  return bytes;
}

base::Result<std::vector<MarkerRecord>> DecodeMarkers(std::string_view record) {
  if (TypeOf(record) != RecordType::kMarkers) return MalformedRecord("markers");
  ByteReader in(record.substr(1));
  std::vector<MarkerRecord> all;
  while (!in.empty()) {
    MarkerRecord one;
    one.ref = in.U64();
    one.chunk = in.U64();
    if (!in.ok()) return MalformedRecord("markers");
    all.push_back(one);
  }
  if (!in.ok()) return MalformedRecord("markers");
  return all;
}

}  // namespace tidewright::tsdb
