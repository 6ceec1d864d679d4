// A log segment of any bytes: framing and the decoders of records.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tsdb/record.h"
#include "tsdb/wal.h"

using tidewright::base::Result;
namespace tsdb = tidewright::tsdb;

namespace {

// What decodes must survive being encoded again. Series and samples of version 1 only: the others are not canonical.
void Check(bool condition) {
  if (!condition) std::abort();
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
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string segment(reinterpret_cast<const char*>(data), size);
  Decode(segment);
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
  return 0;
}
