// Histogram chunks: encodings 2 (integer counts) and 3 (counts as doubles), and 5 and 6, which are the same with start
// timestamps. The format is described, with worked examples, in tsdb/docs/histogram_chunk.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tsdb/bits.h"
#include "tsdb/chunk.h"
#include "tsdb/histogram.h"
#include "tsdb/histogram_layout.h"
#include "tsdb/start_times.h"

namespace tidewright::tsdb {

// What a chunk says about its first sample, or of all for gauges; two bits.
enum class CounterHeader : uint8_t { kUnknown = 0, kNotReset = 1, kReset = 2, kGauge = 3 };

// The state that samples of a chunk are differences to. One for each kind of counts, with the same functions.
template <class H>
class HistogramCodec;

template <>
class HistogramCodec<Histogram> {
 public:
  void Write(uint32_t sample, int64_t t, const Histogram& h, BitWriter* out);
  // Reads the next sample of a chunk with so many buckets.
  void Read(uint32_t sample, size_t positive, size_t negative, BitReader* in);
  int64_t time() const { return static_cast<int64_t>(t_); }
  double sum() const { return sum_.value(); }
  uint64_t count() const { return count_.value; }
  uint64_t zero_count() const { return zero_count_.value; }
  const std::vector<int64_t>& positive() const { return positive_.values; }
  const std::vector<int64_t>& negative() const { return negative_.values; }

 private:
  struct Number {
    uint64_t value = 0;
    uint64_t delta = 0;
  };
  struct Buckets {
    std::vector<int64_t> values;
    std::vector<int64_t> deltas;
  };
  static void WriteBuckets(uint32_t sample, const std::vector<int64_t>& values, Buckets* state, BitWriter* out);
  static void ReadBuckets(uint32_t sample, size_t count, Buckets* state, BitReader* in);

  uint64_t t_ = 0;  // Unsigned, as all sums here, so that no pair of values overflows.
  uint64_t t_delta_ = 0;
  Number count_;
  Number zero_count_;
  XorValue sum_;
  Buckets positive_;
  Buckets negative_;
};

template <>
class HistogramCodec<FloatHistogram> {
 public:
  void Write(uint32_t sample, int64_t t, const FloatHistogram& h, BitWriter* out);
  void Read(uint32_t sample, size_t positive, size_t negative, BitReader* in);
  int64_t time() const { return static_cast<int64_t>(t_); }
  double sum() const { return sum_.value(); }
  double count() const { return count_.value(); }
  double zero_count() const { return zero_count_.value(); }
  std::vector<double> positive() const { return Values(positive_); }
  std::vector<double> negative() const { return Values(negative_); }

 private:
  static std::vector<double> Values(const std::vector<XorValue>& buckets);

  uint64_t t_ = 0;
  uint64_t t_delta_ = 0;
  XorValue count_;
  XorValue zero_count_;
  XorValue sum_;
  std::vector<XorValue> positive_;
  std::vector<XorValue> negative_;
};

// Builds one chunk of histograms. Times must ascend. Not thread-safe.
template <class H>
class HistogramChunkWriter {
 public:
  explicit HistogramChunkWriter(bool start_times = false, CounterHeader header = CounterHeader::kUnknown);
  HistogramChunkWriter(const HistogramChunkWriter&) = delete;
  HistogramChunkWriter& operator=(const HistogramChunkWriter&) = delete;

  // Appends the sample, inserting empty buckets into the chunk or into it where that makes them alike. False when it
  // needs a chunk of its own: other layout, counter reset, gauge after counter, or the chunk is full. `next` is then
  // the header of that chunk.
  bool Append(int64_t t, const H& h, int64_t start_time, CounterHeader* next);
  // The header of a chunk that begins with `h`, though it would have fit here.
  CounterHeader HeaderAfter(const H& h) const;

  uint32_t count() const { return count_; }
  int64_t mint() const { return mint_; }
  int64_t maxt() const { return codec_.time(); }
  const std::string& bytes() const { return bytes_; }
  ChunkEncoding encoding() const;

 private:
  struct Fit;
  Fit FitOf(const H& h) const;
  bool SameKind(const H& h) const;
  bool CountsFell(const H& h, const Fit& fit) const;
  void AppendFitting(int64_t t, const H& h, int64_t start_time);
  void Recode(const Fit& fit);
  void WriteHeader();

  const bool with_start_times_;
  CounterHeader header_;
  HistogramLayout layout_;
  HistogramCodec<H> codec_;
  StartTimesWriter start_times_;
  std::string bytes_;
  BitWriter out_;
  uint32_t count_ = 0;
  int64_t mint_ = 0;
};

extern template class HistogramChunkWriter<Histogram>;
extern template class HistogramChunkWriter<FloatHistogram>;

// A reader for a chunk of `encoding`, which is one of the four.
std::unique_ptr<ChunkReader> NewHistogramChunkReader(ChunkEncoding encoding, std::string_view bytes);

}  // namespace tidewright::tsdb
