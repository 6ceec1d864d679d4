// Chunks recorded from Prometheus: read to the same samples, and written to the same bytes.
#include <gtest/gtest.h>

#include <map>

#include "tests/tsdb/conformance.h"
#include "tsdb/chunk.h"
#include "tsdb/histogram_chunk.h"

namespace tidewright::tsdb {
namespace {

using base::Json;
using testing::Bits;
using testing::ConformanceTest;
using testing::Describe;
using testing::DescribeJson;
using testing::FromHex;
using testing::ParseFloatHistogram;
using testing::ParseHistogram;
using testing::ParseValue;
using testing::ToHex;

using ChunkConformance = ConformanceTest;

int64_t StartTime(const Json& sample) { return sample.size() > 2 ? sample[2].get<int64_t>() : 0; }

std::string WriteFloats(ChunkEncoding encoding, const Json& samples) {
  XorChunkWriter xor1;
  Xor2ChunkWriter xor2;
  for (const Json& sample : samples) {
    xor1.Append(sample[0].get<int64_t>(), ParseValue(sample[1]));
    xor2.Append(sample[0].get<int64_t>(), ParseValue(sample[1]), StartTime(sample));
  }
  return encoding == ChunkEncoding::kXor ? xor1.bytes() : xor2.bytes();
}

void ReadFloats(ChunkEncoding encoding, const std::string& bytes, const Json& samples) {
  auto reader = *NewChunkReader(encoding, bytes);
  std::vector<int64_t> times;
  std::vector<double> values;
  EXPECT_TRUE(DecodeFloatChunk(encoding, bytes, &times, &values));
  ASSERT_EQ(times.size(), samples.size());
  ASSERT_EQ(values.size(), samples.size());
  EXPECT_EQ(ChunkSampleCount(encoding, bytes), samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    ASSERT_EQ(reader->Next(), ValueType::kFloat);
    EXPECT_EQ(reader->time(), samples[i][0].get<int64_t>());
    EXPECT_EQ(Bits(reader->value()), Bits(ParseValue(samples[i][1])));
    if (encoding == ChunkEncoding::kXor2) {
      EXPECT_EQ(reader->start_time(), StartTime(samples[i]));
    }
    EXPECT_EQ(times[i], reader->time());
    EXPECT_EQ(Bits(values[i]), Bits(reader->value()));
  }
  EXPECT_EQ(reader->Next(), ValueType::kNone);
  EXPECT_FALSE(reader->corrupt());
}

TEST_F(ChunkConformance, Floats) {
  std::map<std::string, int> checked;
  const Json file = Load("float-chunks.json");
  for (const Json& test : file["cases"]) {
    SCOPED_TRACE(test["encoding"].get<std::string>() + " " + test["name"].get<std::string>());
    const auto encoding = static_cast<ChunkEncoding>(test["encoding_byte"].get<int>());
    EXPECT_EQ(EncodingName(encoding), test["encoding"].get<std::string>());
    ReadFloats(encoding, FromHex(test["data_hex"]), test["samples"]);
    EXPECT_EQ(ToHex(WriteFloats(encoding, test["samples"])), test["data_hex"].get<std::string>());
    ++checked[test["encoding"]];
  }
  EXPECT_EQ(checked["XOR"] + checked["XOR2"], static_cast<int>(file["cases"].size()));
  EXPECT_GE(checked["XOR"], 38);
  EXPECT_GE(checked["XOR2"], 50);
  printf("float-chunks.json: %d XOR and %d XOR2 chunks identical both ways\n", checked["XOR"], checked["XOR2"]);
}

// What comes out when the samples of a case are appended in turn.
template <class H>
std::vector<std::string> WriteHistograms(const Json& appended, bool start_times, H (*parse)(const Json&)) {
  std::vector<std::string> chunks;
  auto writer = std::make_unique<HistogramChunkWriter<H>>(start_times);
  for (const Json& sample : appended) {
    const H h = parse(sample);
    const int64_t t = sample["t"];
    const int64_t start = sample.contains("st") ? sample["st"].get<int64_t>() : 0;
    CounterHeader next;
    if (writer->Append(t, h, start, &next)) continue;
    chunks.push_back(ToHex(writer->bytes()));
    writer = std::make_unique<HistogramChunkWriter<H>>(start_times, next);
    EXPECT_TRUE(writer->Append(t, h, start, &next));
  }
  chunks.push_back(ToHex(writer->bytes()));
  return chunks;
}

// The samples of one chunk as text.
std::vector<std::string> ReadHistograms(ChunkEncoding encoding, const std::string& bytes, const Json& appended,
                                        size_t first) {
  std::vector<std::string> samples;
  auto reader = *NewChunkReader(encoding, bytes);
  for (ValueType type = reader->Next(); type != ValueType::kNone; type = reader->Next()) {
    const Json& source = appended[first + samples.size()];
    EXPECT_EQ(reader->time(), source["t"].get<int64_t>());
    EXPECT_EQ(reader->start_time(), source.contains("st") ? source["st"].get<int64_t>() : 0);
    Histogram integers;
    FloatHistogram floats;
    if (type == ValueType::kHistogram) reader->At(&integers);
    reader->At(&floats);
    samples.push_back(type == ValueType::kHistogram ? Describe(integers) : Describe(floats));
  }
  EXPECT_FALSE(reader->corrupt());
  return samples;
}

void CheckHistogramCase(const Json& test) {
  const auto encoding = static_cast<ChunkEncoding>(test["encoding_byte"].get<int>());
  EXPECT_EQ(EncodingName(encoding), test["encoding"].get<std::string>());
  const bool start_times = encoding == ChunkEncoding::kHistogramSt || encoding == ChunkEncoding::kFloatHistogramSt;
  std::vector<std::string> expected;
  size_t read = 0;
  for (const Json& chunk : test["chunks"]) {
    expected.push_back(chunk["data_hex"]);
    const auto samples = ReadHistograms(encoding, FromHex(expected.back()), test["appended"], read);
    if (chunk.contains("reads_back")) {
      ASSERT_EQ(samples.size(), chunk["reads_back"].size());
      for (size_t i = 0; i < samples.size(); ++i) EXPECT_EQ(samples[i], DescribeJson(chunk["reads_back"][i]));
    }
    read += samples.size();
  }
  EXPECT_EQ(read, test["appended"].size());
  const bool integers = ValueTypeOf(encoding) == ValueType::kHistogram;
  EXPECT_EQ(integers ? WriteHistograms<Histogram>(test["appended"], start_times, ParseHistogram)
                     : WriteHistograms<FloatHistogram>(test["appended"], start_times, ParseFloatHistogram),
            expected);
}

TEST_F(ChunkConformance, Histograms) {
  int checked = 0;
  int chunks = 0;
  const Json file = Load("histogram-chunks.json");
  for (const Json& test : file["cases"]) {
    SCOPED_TRACE(test["encoding"].get<std::string>() + " " + test["name"].get<std::string>());
    CheckHistogramCase(test);
    ++checked;
    chunks += static_cast<int>(test["chunks"].size());
  }
  EXPECT_EQ(checked, static_cast<int>(file["cases"].size()));
  EXPECT_GE(checked, 66);
  printf("histogram-chunks.json: %d cases, %d chunks identical both ways\n", checked, chunks);
}

}  // namespace
}  // namespace tidewright::tsdb
