// A chunk of any bytes; what it yields must survive being written and read again.
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "tsdb/xor_chunk.h"

namespace tsdb = tidewright::tsdb;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tsdb::XorChunkReader reader(std::string_view(reinterpret_cast<const char*>(data), size));
  tsdb::XorChunkWriter writer;
  std::vector<tsdb::Sample> samples;
  while (reader.Next()) {
    samples.push_back(reader.At());
    writer.Append(reader.At().t, reader.At().v);
  }
  tsdb::XorChunkReader again(writer.bytes());
  for (const tsdb::Sample& sample : samples) {
    if (!again.Next() || again.At().t != sample.t ||
        std::bit_cast<uint64_t>(again.At().v) != std::bit_cast<uint64_t>(sample.v)) {
      std::abort();
    }
  }
  if (again.Next()) std::abort();
  return 0;
}
