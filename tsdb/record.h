// Records of the write-ahead log: what a batch of series, samples or metadata looks like in bytes, before framing.
// The grammar, with a worked example, is in tsdb/docs/wal.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"
#include "tsdb/tombstones.h"

namespace tidewright::tsdb {

// The first byte of a record. The second versions have start timestamps.
enum class RecordType : uint8_t {
  kSeries = 1,
  kSamples = 2,
  kTombstones = 3,
  kExemplars = 4,
  kMarkers = 5,  // In the log of out-of-order samples: what was moved to head chunks.
  kMetadata = 6,
  kHistograms = 7,
  kFloatHistograms = 8,
  kCustomHistograms = 9,  // With custom buckets, which have records of their own.
  kCustomFloatHistograms = 10,
  kSamplesV2 = 11,
  kHistogramsV2 = 12,
  kFloatHistogramsV2 = 13,
};

struct SeriesRecord {
  SeriesRef ref = 0;
  Labels labels;
};

struct SampleRecord {
  SeriesRef ref = 0;
  Sample sample;
  int64_t start_time = 0;  // ms; 0 when unknown. Only in second versions, as below.
};

struct TombstoneRecord {
  SeriesRef ref = 0;
  TimeInterval interval;
};

struct ExemplarRecord {
  SeriesRef ref = 0;
  Sample sample;
  Labels labels;
};

struct MarkerRecord {
  SeriesRef ref = 0;
  uint64_t chunk = 0;  // Reference of a head chunk.
};

template <class H>
struct HistogramRecord {
  SeriesRef ref = 0;
  int64_t t = 0;
  H histogram;
  int64_t start_time = 0;
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

// Complete records. Histogram records are of the type given, which fits H; those of one type and not V2 are all with
// custom buckets or all without.
std::string EncodeSamplesV2(std::span<const SampleRecord> samples);
std::string EncodeTombstoneRecord(std::span<const TombstoneRecord> tombstones);
std::string EncodeExemplars(std::span<const ExemplarRecord> exemplars);
std::string EncodeMarkers(std::span<const MarkerRecord> markers);
template <class H>
std::string EncodeHistograms(RecordType type, std::span<const HistogramRecord<H>> histograms);

// Decode a record of the named type, type byte included. kDataLoss when the bytes are not such a record. Never reserve
// more memory than a small multiple of the record's size.
base::Result<std::vector<SeriesRecord>> DecodeSeries(std::string_view record);
base::Result<std::vector<SampleRecord>> DecodeSamples(std::string_view record);  // kSamples or kSamplesV2.
base::Result<std::vector<MetadataRecord>> DecodeMetadata(std::string_view record);
base::Result<std::vector<TombstoneRecord>> DecodeTombstones(std::string_view record);
base::Result<std::vector<ExemplarRecord>> DecodeExemplars(std::string_view record);
base::Result<std::vector<MarkerRecord>> DecodeMarkers(std::string_view record);
// Of any of the three types that fit H. The histograms are not validated.
template <class H>
base::Result<std::vector<HistogramRecord<H>>> DecodeHistograms(std::string_view record);

extern template std::string EncodeHistograms(RecordType, std::span<const HistogramRecord<Histogram>>);
extern template std::string EncodeHistograms(RecordType, std::span<const HistogramRecord<FloatHistogram>>);
extern template base::Result<std::vector<HistogramRecord<Histogram>>> DecodeHistograms(std::string_view);
extern template base::Result<std::vector<HistogramRecord<FloatHistogram>>> DecodeHistograms(std::string_view);

}  // namespace tidewright::tsdb
