#include "tsdb/record.h"

#include <bit>

#include "tsdb/encoding.h"
#include "tsdb/record_fields.h"

namespace tidewright::tsdb {

namespace {

// Fields of a metadata record. FAMILY is ours; readers skip names that they do not know.
constexpr std::string_view kUnitField = "UNIT";
constexpr std::string_view kHelpField = "HELP";
constexpr std::string_view kFamilyField = "FAMILY";

constexpr int kMetricTypes = static_cast<int>(MetricType::kStateset) + 1;

uint8_t Byte(RecordType type) { return static_cast<uint8_t>(type); }

base::Status Malformed(std::string_view what) { return MalformedRecord(what); }

}  // namespace

SeriesEncoder::SeriesEncoder() { PutU8(&bytes_, Byte(RecordType::kSeries)); }

void SeriesEncoder::Add(SeriesRef ref, const Labels& labels) {
  PutU64(&bytes_, ref);
  PutLabels(labels, &bytes_);
}

SamplesEncoder::SamplesEncoder() { PutU8(&bytes_, Byte(RecordType::kSamples)); }

void SamplesEncoder::Add(SeriesRef ref, const Sample& sample) {
  if (first_) {
    first_ = false;
    first_ref_ = ref;
    first_t_ = sample.t;
    PutU64(&bytes_, ref);
    PutU64(&bytes_, static_cast<uint64_t>(sample.t));
  }
  PutVarint(&bytes_, Delta(ref, first_ref_));
  PutVarint(&bytes_, Delta(static_cast<uint64_t>(sample.t), static_cast<uint64_t>(first_t_)));
  PutU64(&bytes_, std::bit_cast<uint64_t>(sample.v));
}

MetadataEncoder::MetadataEncoder() { PutU8(&bytes_, Byte(RecordType::kMetadata)); }

void MetadataEncoder::Add(const MetadataRecord& record) {
  PutUvarint(&bytes_, record.ref);
  PutU8(&bytes_, static_cast<uint8_t>(record.metadata.type));
  PutUvarint(&bytes_, record.family.empty() ? 2 : 3);
  PutString(&bytes_, kUnitField);
  PutString(&bytes_, record.metadata.unit);
  PutString(&bytes_, kHelpField);
  PutString(&bytes_, record.metadata.help);
  if (record.family.empty()) return;
  PutString(&bytes_, kFamilyField);
  PutString(&bytes_, record.family);
}

base::Result<std::vector<SeriesRecord>> DecodeSeries(std::string_view record) {
  ByteReader in(record);
  if (in.U8() != Byte(RecordType::kSeries)) return Malformed("series");
  std::vector<SeriesRecord> all;
  while (!in.empty()) {
    SeriesRecord one;
    one.ref = in.U64();
    if (!ReadLabels(&in, &one.labels)) return Malformed("series");
    all.push_back(std::move(one));
  }
  if (!in.ok()) return Malformed("series");
  return all;
}

namespace {

base::Result<std::vector<SampleRecord>> DecodeSamplesV1(ByteReader in) {
  std::vector<SampleRecord> all;
  if (in.empty()) return all;
  SeriesRef first_ref = in.U64();
  uint64_t first_t = in.U64();
  all.reserve(in.remaining() / 10);
  while (!in.empty()) {
    SampleRecord one;
    one.ref = Plus(first_ref, in.Varint());
    one.sample.t = static_cast<int64_t>(Plus(first_t, in.Varint()));
    one.sample.v = std::bit_cast<double>(in.U64());
    if (!in.ok()) return Malformed("samples");
    all.push_back(one);
  }
  if (!in.ok()) return Malformed("samples");
  return all;
}

base::Result<std::vector<SampleRecord>> DecodeSamplesV2(ByteReader in) {
  std::vector<SampleRecord> all;
  RecordPosition position;
  while (!in.empty()) {
    SampleRecord one;
    if (!position.Read(&in, &one.ref, &one.sample.t, &one.start_time)) return Malformed("samples v2");
    one.sample.v = std::bit_cast<double>(in.U64());
    if (!in.ok()) return Malformed("samples v2");
    all.push_back(one);
  }
  if (!in.ok()) return Malformed("samples v2");
  return all;
}

}  // namespace

base::Result<std::vector<SampleRecord>> DecodeSamples(std::string_view record) {
  ByteReader in(record);
  uint8_t type = in.U8();
  if (type == Byte(RecordType::kSamples)) return DecodeSamplesV1(in);
  if (type == Byte(RecordType::kSamplesV2)) return DecodeSamplesV2(in);
  return Malformed("samples");
}

base::Result<std::vector<MetadataRecord>> DecodeMetadata(std::string_view record) {
  ByteReader in(record);
  if (in.U8() != Byte(RecordType::kMetadata)) return Malformed("metadata");
  std::vector<MetadataRecord> all;
  while (!in.empty()) {
    MetadataRecord one;
    one.ref = in.Uvarint();
    uint8_t type = in.U8();
    if (type < kMetricTypes) one.metadata.type = static_cast<MetricType>(type);
    uint64_t fields = in.Uvarint();
    for (uint64_t i = 0; i < fields && in.ok(); ++i) {
      std::string_view name = in.String();
      std::string_view value = in.String();
      if (name == kUnitField) one.metadata.unit = value;
      if (name == kHelpField) one.metadata.help = value;
      if (name == kFamilyField) one.family = value;
    }
    if (!in.ok()) return Malformed("metadata");
    all.push_back(std::move(one));
  }
  if (!in.ok()) return Malformed("metadata");
  return all;
}

}  // namespace tidewright::tsdb
