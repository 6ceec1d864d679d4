// Records of the write-ahead log: what a batch of series, samples or metadata looks like in bytes, before framing.
// The grammar, with a worked example, is in tsdb/docs/wal.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

// The first byte of a record. Records of other types are written by other programs.
enum class RecordType : uint8_t { kSeries = 1, kSamples = 2, kMetadata = 6, kSamplesV2 = 11 };

struct SeriesRecord {
  SeriesRef ref = 0;
  Labels labels;
};

struct SampleRecord {
  SeriesRef ref = 0;
  Sample sample;
};

struct MetadataRecord {
  SeriesRef ref = 0;   // A series of the family.
  std::string family;  // "" is the metric name of the series.
  Metadata metadata;
};

// Builds one record of its type; begin with an empty one. bytes() is a complete record at any time.
class SeriesEncoder {
 public:
  SeriesEncoder();
  void Add(SeriesRef ref, const Labels& labels);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class SamplesEncoder {
 public:
  SamplesEncoder();
  void Add(SeriesRef ref, const Sample& sample);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  bool first_ = true;
  SeriesRef first_ref_ = 0;
  int64_t first_t_ = 0;
};

class MetadataEncoder {
 public:
  MetadataEncoder();
  void Add(const MetadataRecord& record);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Decode a record of the named type, type byte included. kDataLoss when the bytes are not such a record. Never reserve
// more memory than a small multiple of the record's size.
base::Result<std::vector<SeriesRecord>> DecodeSeries(std::string_view record);
base::Result<std::vector<SampleRecord>> DecodeSamples(std::string_view record);  // kSamples or kSamplesV2.
base::Result<std::vector<MetadataRecord>> DecodeMetadata(std::string_view record);

}  // namespace tidewright::tsdb
