// A chunk of any bytes, in any encoding: what it yields must survive being written and read again.
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "tsdb/chunk.h"
#include "tsdb/chunk_merge.h"

namespace tsdb = tidewright::tsdb;

namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

bool SameBits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }

// Both ways of decoding floats agree, and writing gives them back.
void Floats(tsdb::ChunkEncoding encoding, std::string_view bytes) {
  auto reader = *tsdb::NewChunkReader(encoding, bytes);
  std::vector<int64_t> t;
  std::vector<double> v;
  const bool whole = tsdb::DecodeFloatChunk(encoding, bytes, &t, &v);
  tsdb::Xor2ChunkWriter writer2;
  tsdb::XorChunkWriter writer;
  size_t count = 0;
  for (; reader->Next() != tsdb::ValueType::kNone; ++count) {
    Check(count < t.size() && t[count] == reader->time() && SameBits(v[count], reader->value()));
    writer.Append(reader->time(), reader->value());
    writer2.Append(reader->time(), reader->value(), reader->start_time());
  }
  Check(count == t.size() && whole == !reader->corrupt());
  tsdb::XorChunkReader again(writer.bytes());
  tsdb::Xor2ChunkReader again2(writer2.bytes());
  for (size_t i = 0; i < count; ++i) {
    Check(again.Next() && again.At().t == t[i] && SameBits(again.At().v, v[i]));
    Check(again2.Next() && again2.At().t == t[i] && SameBits(again2.At().v, v[i]));
  }
  Check(!again.Next() && !again2.Next());
}

void Histograms(tsdb::ChunkEncoding encoding, std::string_view bytes) {
  auto reader = *tsdb::NewChunkReader(encoding, bytes);
  tsdb::ChunkEncoder encoder;
  size_t count = 0;
  for (auto type = reader->Next(); type != tsdb::ValueType::kNone; type = reader->Next(), ++count) {
    tsdb::CopySample(*reader, type, &encoder);
  }
  for (const tsdb::EncodedChunk& chunk : encoder.Take()) {
    auto again = *tsdb::NewChunkReader(chunk.encoding, chunk.bytes);
    while (again->Next() != tsdb::ValueType::kNone) --count;
    Check(!again->corrupt());
  }
  Check(count == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 1 << 12) return 0;  // Each encoding's work grows with the square of it.
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Floats(tsdb::ChunkEncoding::kXor, bytes);
  Floats(tsdb::ChunkEncoding::kXor2, bytes);
  for (auto encoding : {tsdb::ChunkEncoding::kHistogram, tsdb::ChunkEncoding::kFloatHistogram,
                        tsdb::ChunkEncoding::kHistogramSt, tsdb::ChunkEncoding::kFloatHistogramSt}) {
    Histograms(encoding, bytes);
  }
  return 0;
}
