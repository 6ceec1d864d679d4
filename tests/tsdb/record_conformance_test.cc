// Log records recorded from Prometheus: read to the stated content, and written to the same bytes.
#include <gtest/gtest.h>

#include <set>

#include "tests/tsdb/conformance.h"
#include "tsdb/record.h"

namespace tidewright::tsdb {
namespace {

using base::Json;
using testing::Bits;
using testing::ConformanceTest;
using testing::Describe;
using testing::DescribeJson;
using testing::FromHex;
using testing::ParseLabels;
using testing::ParseValue;
using testing::ToHex;

using RecordConformance = ConformanceTest;

int64_t Optional(const Json& object, const char* name) {
  return object.contains(name) ? object[name].get<int64_t>() : 0;
}

std::string CheckSeries(const Json& content, const std::string& bytes) {
  auto decoded = DecodeSeries(bytes);
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  SeriesEncoder encoder;
  for (size_t i = 0; i < decoded->size(); ++i) {
    EXPECT_EQ((*decoded)[i].ref, content[i]["ref"].get<uint64_t>());
    EXPECT_EQ((*decoded)[i].labels, ParseLabels(content[i]["labels"]));
    encoder.Add((*decoded)[i].ref, (*decoded)[i].labels);
  }
  return encoder.bytes();
}

std::string CheckSamples(const Json& content, const std::string& bytes) {
  auto decoded = DecodeSamples(bytes);
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  SamplesEncoder encoder;
  EXPECT_EQ(decoded->size(), content.size());
  for (size_t i = 0; i < decoded->size(); ++i) {
    const SampleRecord& record = (*decoded)[i];
    EXPECT_EQ(record.ref, content[i]["ref"].get<uint64_t>());
    EXPECT_EQ(record.sample.t, content[i]["t"].get<int64_t>());
    EXPECT_EQ(Bits(record.sample.v), Bits(ParseValue(content[i]["v"])));
    EXPECT_EQ(record.start_time, Optional(content[i], "st"));
    encoder.Add(record.ref, record.sample);
  }
  return bytes[0] == static_cast<char>(RecordType::kSamples) ? encoder.bytes() : EncodeSamplesV2(*decoded);
}

std::string CheckTombstones(const Json& content, const std::string& bytes) {
  auto decoded = DecodeTombstones(bytes);
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  size_t i = 0;
  for (const Json& series : content) {
    for (const Json& interval : series["intervals"]) {
      const TombstoneRecord& record = decoded->at(i++);
      EXPECT_EQ(record.ref, series["ref"].get<uint64_t>());
      EXPECT_EQ(record.interval, (TimeInterval{interval[0].get<int64_t>(), interval[1].get<int64_t>()}));
    }
  }
  EXPECT_EQ(i, decoded->size());
  return EncodeTombstoneRecord(*decoded);
}

std::string CheckExemplars(const Json& content, const std::string& bytes) {
  auto decoded = DecodeExemplars(bytes);
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->size(), content.size());
  for (size_t i = 0; i < decoded->size(); ++i) {
    EXPECT_EQ((*decoded)[i].ref, content[i]["ref"].get<uint64_t>());
    EXPECT_EQ((*decoded)[i].sample.t, content[i]["t"].get<int64_t>());
    EXPECT_EQ(Bits((*decoded)[i].sample.v), Bits(ParseValue(content[i]["v"])));
    EXPECT_EQ((*decoded)[i].labels, ParseLabels(content[i]["labels"]));
  }
  return EncodeExemplars(*decoded);
}

std::string CheckMarkers(const Json& content, const std::string& bytes) {
  auto decoded = DecodeMarkers(bytes);
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->size(), content.size());
  for (size_t i = 0; i < decoded->size(); ++i) {
    EXPECT_EQ((*decoded)[i].ref, content[i]["ref"].get<uint64_t>());
    EXPECT_EQ((*decoded)[i].chunk, content[i]["mmap_ref"].get<uint64_t>());
  }
  return EncodeMarkers(*decoded);
}

std::string CheckMetadata(const Json& content, const std::string& bytes) {
  auto decoded = DecodeMetadata(bytes);
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  MetadataEncoder encoder;
  EXPECT_EQ(decoded->size(), content.size());
  for (size_t i = 0; i < decoded->size(); ++i) {
    const MetadataRecord& record = (*decoded)[i];
    EXPECT_EQ(record.ref, content[i]["ref"].get<uint64_t>());
    EXPECT_EQ(static_cast<int>(record.metadata.type), content[i]["metric_type_byte"].get<int>());
    EXPECT_EQ(record.metadata.unit, content[i]["unit"].get<std::string>());
    EXPECT_EQ(record.metadata.help, content[i]["help"].get<std::string>());
    encoder.Add(record);
  }
  return encoder.bytes();
}

template <class H>
std::string CheckHistograms(const Json& content, const std::string& bytes, const char* field) {
  auto decoded = DecodeHistograms<H>(bytes);
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->size(), content.size());
  for (size_t i = 0; i < decoded->size(); ++i) {
    const HistogramRecord<H>& record = (*decoded)[i];
    EXPECT_EQ(record.ref, content[i]["ref"].get<uint64_t>());
    EXPECT_EQ(record.t, content[i]["t"].get<int64_t>());
    EXPECT_EQ(record.start_time, Optional(content[i], "st"));
    EXPECT_EQ(Describe(record.histogram), DescribeJson(content[i][field]));
  }
  return EncodeHistograms<H>(static_cast<RecordType>(bytes[0]), *decoded);
}

// Reads a record, compares it, and writes it again.
std::string Check(const Json& content, const std::string& bytes) {
  switch (static_cast<RecordType>(bytes[0])) {
    case RecordType::kSeries: return CheckSeries(content, bytes);
    case RecordType::kSamples:
    case RecordType::kSamplesV2: return CheckSamples(content, bytes);
    case RecordType::kTombstones: return CheckTombstones(content, bytes);
    case RecordType::kExemplars: return CheckExemplars(content, bytes);
    case RecordType::kMarkers: return CheckMarkers(content, bytes);
    case RecordType::kMetadata: return CheckMetadata(content, bytes);
    case RecordType::kHistograms:
    case RecordType::kCustomHistograms:
    case RecordType::kHistogramsV2: return CheckHistograms<Histogram>(content, bytes, "histogram");
    case RecordType::kFloatHistograms:
    case RecordType::kCustomFloatHistograms:
    case RecordType::kFloatHistogramsV2: return CheckHistograms<FloatHistogram>(content, bytes, "float_histogram");
  }
  ADD_FAILURE() << "unknown type";
  return "";
}

TEST_F(RecordConformance, EveryTypeBothWays) {
  std::set<int> types;
  int identical = 0;
  const Json file = Load("records.json");
  for (const Json& test : file["cases"]) {
    SCOPED_TRACE(test["name"].get<std::string>());
    std::string bytes = FromHex(test["data_hex"]);
    EXPECT_EQ(bytes[0], static_cast<char>(test["type_byte"].get<int>()));
    const std::string written = Check(test["content"], bytes);
    // The recorded series ends with a label that has no value, which reading drops: it is no label to anyone.
    if (bytes[0] == static_cast<char>(RecordType::kSeries)) {
      EXPECT_EQ(ToHex(bytes.substr(bytes.size() - 3)), "017800");
      bytes.resize(bytes.size() - 3);
      bytes[bytes.size() - 13] = 1;
    }
    EXPECT_EQ(ToHex(written), ToHex(bytes));
    types.insert(bytes[0]);
    ++identical;
  }
  EXPECT_EQ(identical, static_cast<int>(file["cases"].size()));
  EXPECT_GE(identical, 15);
  EXPECT_EQ(types.size(), 13u);
  printf("records.json: %d records of %zu types identical both ways\n", identical, types.size());
}

TEST_F(RecordConformance, EveryTruncationAndByteIsHarmless) {
  size_t refused = 0;
  const Json file = Load("records.json");
  for (const Json& test : file["cases"]) {
    const std::string bytes = FromHex(test["data_hex"]);
    const auto decode = [](const std::string& damaged) {
      return DecodeSeries(damaged).ok() || DecodeSamples(damaged).ok() || DecodeTombstones(damaged).ok() ||
             DecodeExemplars(damaged).ok() || DecodeMarkers(damaged).ok() || DecodeMetadata(damaged).ok() ||
             DecodeHistograms<Histogram>(damaged).ok() || DecodeHistograms<FloatHistogram>(damaged).ok();
    };
    for (size_t i = 0; i < bytes.size(); ++i) refused += !decode(bytes.substr(0, i));
    for (size_t i = 0; i < bytes.size() * 8; ++i) {
      std::string damaged = bytes;
      damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << i % 8));
      refused += !decode(damaged);
    }
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace tidewright::tsdb
