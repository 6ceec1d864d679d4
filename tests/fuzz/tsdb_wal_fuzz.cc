// A log segment of any bytes: framing and the decoders of records.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tsdb/encoding.h"
#include "tsdb/frame.h"
#include "tsdb/record.h"

using tidewright::base::Result;
namespace tsdb = tidewright::tsdb;

namespace {

// What decodes must survive being encoded again.
void Check(bool condition) {
  if (!condition) std::abort();
}

template <class H>
void DecodeHistograms(const std::string& record) {
  auto all = tsdb::DecodeHistograms<H>(record);
  if (!all.ok()) return;
  auto again = tsdb::DecodeHistograms<H>(tsdb::EncodeHistograms<H>(static_cast<tsdb::RecordType>(record[0]), *all));
  Check(again.ok() && again->size() == all->size());
  for (size_t i = 0; i < all->size(); ++i) Check((*again)[i].histogram == (*all)[i].histogram);
}

void Decode(const std::string& record) {
  if (auto series = tsdb::DecodeSeries(record); series.ok()) {
    tsdb::SeriesEncoder encoder;
    for (const auto& one : *series) encoder.Add(one.ref, one.labels);
    auto again = tsdb::DecodeSeries(encoder.bytes());
    Check(again.ok() && again->size() == series->size());
  }
  if (auto samples = tsdb::DecodeSamples(record); samples.ok()) {
    tsdb::SamplesEncoder encoder;
    for (const auto& one : *samples) encoder.Add(one.ref, one.sample);
    auto again = tsdb::DecodeSamples(encoder.bytes());
    Check(again.ok() && again->size() == samples->size());
    for (size_t i = 0; i < samples->size(); ++i) {
      Check((*again)[i].ref == (*samples)[i].ref && (*again)[i].sample.t == (*samples)[i].sample.t);
    }
  }
  (void)tsdb::DecodeMetadata(record);
  if (auto all = tsdb::DecodeTombstones(record); all.ok()) {
    Check(tsdb::DecodeTombstones(tsdb::EncodeTombstoneRecord(*all)).ok());
  }
  if (auto all = tsdb::DecodeExemplars(record); all.ok()) {
    Check(tsdb::DecodeExemplars(tsdb::EncodeExemplars(*all)).ok());
  }
  if (auto all = tsdb::DecodeMarkers(record); all.ok()) {
    Check(tsdb::EncodeMarkers(*all) == record);
  }
  DecodeHistograms<tsdb::Histogram>(record);
  DecodeHistograms<tsdb::FloatHistogram>(record);
}

// Reads a segment to its end or first damage.
void ReadSegment(const std::string& segment) {
  tsdb::FrameReader reader([&](uint64_t offset, char* page) -> Result<size_t> {
    if (offset >= segment.size()) return size_t{0};
    size_t part = std::min(tsdb::kWalPageBytes, segment.size() - offset);
    std::memcpy(page, segment.data() + offset, part);
    return part;
  });
  std::string record;
  while (true) {
    auto more = reader.Next(&record);
    if (!more.ok() || !*more) break;
    Decode(record);
  }
  Check(reader.valid_end() <= segment.size());
}

// A segment of one record, said to be compressed, whose checksum fits.
std::string Compressed(uint8_t flag, std::string_view bytes) {
  std::string segment(1, static_cast<char>(1 | flag));
  bytes = bytes.substr(0, tsdb::kWalPageBytes - tsdb::kWalFragmentHeaderBytes);
  tsdb::PutU16(&segment, static_cast<uint16_t>(bytes.size()));
  tsdb::PutU32(&segment, tsdb::Crc32c(bytes));
  return segment.append(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Decode(bytes);
  ReadSegment(bytes);
  ReadSegment(Compressed(0x08, bytes));
  ReadSegment(Compressed(0x10, bytes));
  return 0;
}
