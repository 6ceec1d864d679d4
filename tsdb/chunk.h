// Chunks: samples of one series as compressed bytes, in the encodings of Prometheus' blocks. One interface reads all of
// them, one class writes them. Each encoding has a page in tsdb/docs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tsdb/histogram.h"
#include "tsdb/xor_chunk.h"

namespace tidewright::tsdb {

// The encoding byte of a chunk in a block or a head chunk file.
enum class ChunkEncoding : uint8_t {
  kNone = 0,
  kXor = 1,
  kHistogram = 2,
  kFloatHistogram = 3,
  kXor2 = 4,         // Floats, with start timestamps. Experimental in Prometheus, as the next two are.
  kHistogramSt = 5,  // Histograms with start timestamps.
  kFloatHistogramSt = 6,
};

// What kind of values chunks of an encoding hold; kNone for an encoding that does not exist.
ValueType ValueTypeOf(ChunkEncoding encoding);
// "XOR", "histogram", ...; "unknown (77)" for others.
std::string EncodingName(ChunkEncoding encoding);

// A chunk in someone else's memory. Times in ms, both inclusive.
struct ChunkView {
  int64_t mint = 0;
  int64_t maxt = 0;
  ChunkEncoding encoding = ChunkEncoding::kNone;
  std::string_view bytes;
};

// A chunk that owns its bytes.
struct EncodedChunk {
  int64_t mint = 0;
  int64_t maxt = 0;
  ChunkEncoding encoding = ChunkEncoding::kNone;
  std::string bytes;

  ChunkView View() const { return {mint, maxt, encoding, bytes}; }
};

// The number of samples that a chunk says it has; 0 when the bytes are too short for one.
uint32_t ChunkSampleCount(ChunkEncoding encoding, std::string_view bytes);

// Walks the samples of a chunk. Bytes that are not a chunk end the walk early with corrupt() set and never cause harm.
// Borrows the bytes. Not thread-safe.
class ChunkReader {
 public:
  virtual ~ChunkReader() = default;
  // Moves to the next sample (the first one initially); the kind of its value, or kNone at the end.
  virtual ValueType Next() = 0;
  virtual int64_t time() const = 0;
  // When the counter started, in ms; 0 when unknown.
  virtual int64_t start_time() const { return 0; }
  // The current sample; call the one that fits what Next() returned. A float histogram chunk serves
  // At(FloatHistogram*), a histogram chunk either.
  virtual double value() const { return 0; }
  virtual void At(Histogram*) const {}
  virtual void At(FloatHistogram*) const {}
  virtual bool corrupt() const = 0;
};

// kUnimplemented for an encoding that does not exist.
base::Result<std::unique_ptr<ChunkReader>> NewChunkReader(ChunkEncoding encoding, std::string_view bytes);

// Decodes a chunk of floats (kXor, kXor2) at once, appending to `t` and `v`. Several times as fast as a ChunkReader.
// False when the bytes are corrupt; what was decoded before that point has been appended.
bool DecodeFloatChunk(ChunkEncoding encoding, std::string_view bytes, std::vector<int64_t>* t, std::vector<double>* v);
// Decodes chunks of floats one behind the other, which is faster still: to the beginning of `t` and `v`, which grow
// where they are too short and keep their size otherwise. Returns the number of samples; a corrupt chunk gives those
// before the fault.
size_t DecodeFloatChunks(std::span<const ChunkView> chunks, std::vector<int64_t>* t, std::vector<double>* v);

// Decodes a chunk to the end. kDataLoss when that fails, or when a sample is outside of the chunk's times.
base::Status VerifyChunk(const ChunkView& chunk);

// Where a ChunkEncoder begins a new chunk, besides where the kind of values, the histogram layout or a counter reset
// demands it.
struct ChunkCut {
  uint32_t max_samples = 120;
  // Histogram chunks that reached this size end, if they have 10 samples; 0: the number of samples alone counts.
  size_t max_histogram_bytes = 0;
};

// Turns samples of one series, in ascending order of time, into chunks: kXor, kHistogram and kFloatHistogram.
// Histograms are recoded when buckets appear, and carry the counter reset flags that Prometheus would write. Not
// thread-safe.
class ChunkEncoder {
 public:
  explicit ChunkEncoder(const ChunkCut& cut = {});
  ~ChunkEncoder();
  ChunkEncoder(ChunkEncoder&&) noexcept;

  void Append(int64_t t, double value);
  void Append(int64_t t, const Histogram& histogram);
  void Append(int64_t t, const FloatHistogram& histogram);

  // Ends the chunk under construction, so that the next sample begins another.
  void Cut();
  // Ends the chunk under construction and gives up all chunks.
  std::vector<EncodedChunk> Take();
  // The open chunk: its size so far, and a copy that is a valid chunk ({} when there is none).
  size_t open_bytes() const;
  EncodedChunk OpenChunk() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidewright::tsdb
