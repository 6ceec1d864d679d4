// Float chunks: XOR (Prometheus' encoding 1), delta-of-delta times and xor-ed values, and XOR2 (encoding 4), which has
// start timestamps besides. The formats are described, with worked examples, in tsdb/docs/xor_chunk.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tsdb/bits.h"
#include "tsdb/labels.h"
#include "tsdb/start_times.h"

namespace tidewright::tsdb {

// Builds one XOR chunk. Not thread-safe. Any times may be appended in any order, at most 65535 of them.
class XorChunkWriter {
 public:
  XorChunkWriter() : bytes_(2, '\0') {}
  XorChunkWriter(const XorChunkWriter&) = delete;
  XorChunkWriter& operator=(const XorChunkWriter&) = delete;

  void Append(int64_t t, double value);

  uint16_t count() const { return count_; }
  // The chunk's bytes so far: a valid chunk at any time.
  const std::string& bytes() const { return bytes_; }
  // The bytes, given up; the writer must not be used afterwards.
  std::string Take();

 private:
  void WriteTimeDod(int64_t dod);

  std::string bytes_;
  BitWriter out_{&bytes_};
  XorValue value_;
  uint16_t count_ = 0;
  int64_t t_ = 0;
  uint64_t delta_ = 0;  // Modulo 2^64, so that no pair of times overflows.
};

// Reads a chunk. Bytes that are not a chunk end the walk early with corrupt() set; they never cause harm. Borrows the
// bytes. Not thread-safe.
class XorChunkReader {
 public:
  // Reads at most `limit` samples.
  explicit XorChunkReader(std::string_view bytes, size_t limit = SIZE_MAX);

  bool Next();
  Sample At() const { return {t_, value_.value()}; }
  size_t read() const { return read_; }
  bool corrupt() const { return corrupt_; }

 private:
  BitReader in_;
  size_t count_ = 0;
  size_t read_ = 0;
  bool corrupt_ = false;
  XorValue value_;
  int64_t t_ = 0;
  uint64_t delta_ = 0;
};

// Decodes a whole XOR chunk, appending to both columns: several times as fast as the reader. False when the bytes are
// corrupt; the samples before that point have been appended.
bool DecodeXorChunk(std::string_view bytes, std::vector<int64_t>* t, std::vector<double>* v);
// How many samples a chunk can have: as many as it says, but a sample is two bits at least.
size_t XorChunkRoom(std::string_view bytes);
// Into arrays with that much room. Returns the number of samples, fewer when the bytes are corrupt.
size_t DecodeXorChunk(std::string_view bytes, int64_t* t, double* v);

// Builds one XOR2 chunk, as XorChunkWriter does.
class Xor2ChunkWriter {
 public:
  Xor2ChunkWriter() : bytes_(3, '\0') {}
  Xor2ChunkWriter(const Xor2ChunkWriter&) = delete;
  Xor2ChunkWriter& operator=(const Xor2ChunkWriter&) = delete;

  // `start_time` in ms; 0 when unknown.
  void Append(int64_t t, double value, int64_t start_time = 0);
  uint16_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void WriteLater(uint64_t dod, double value);
  void WriteValue(uint64_t changed, bool stale);

  std::string bytes_;
  BitWriter out_{&bytes_};
  XorValue value_;
  StartTimesWriter start_times_;
  uint16_t count_ = 0;
  int64_t t_ = 0;
  uint64_t delta_ = 0;
};

// Reads an XOR2 chunk, as XorChunkReader does.
class Xor2ChunkReader {
 public:
  explicit Xor2ChunkReader(std::string_view bytes);

  bool Next();
  Sample At() const { return {t_, stale_ ? StaleNan() : value_.value()}; }
  int64_t start_time() const { return start_times_.start(); }
  bool corrupt() const { return corrupt_; }

 private:
  void ReadLater();
  void ReadValue();

  BitReader in_;
  size_t count_ = 0;
  size_t read_ = 0;
  bool corrupt_ = false;
  bool stale_ = false;
  XorValue value_;
  StartTimesReader start_times_;
  int64_t t_ = 0;
  uint64_t delta_ = 0;
};

}  // namespace tidewright::tsdb
