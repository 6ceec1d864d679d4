// XOR chunks: float samples compressed by delta-of-delta times and xor-ed values (Prometheus' chunk encoding 1).
// The format is described, with a worked example, in tsdb/docs/xor_chunk.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tsdb/labels.h"

namespace tidewright::tsdb {

// Builds one chunk. Not thread-safe. Any times may be appended in any order, at most 65535 of them.
class XorChunkWriter {
 public:
  XorChunkWriter() : bytes_(2, '\0') {}

  void Append(int64_t t, double value);

  uint16_t count() const { return count_; }
  // The chunk's bytes so far: a valid chunk at any time.
  const std::string& bytes() const { return bytes_; }
  // The bytes, given up; the writer must not be used afterwards.
  std::string Take();

 private:
  void WriteBits(uint64_t value, int bits);
  void WriteTimeDod(int64_t dod);
  void WriteValueXor(uint64_t value_bits);

  std::string bytes_;
  int free_bits_ = 0;  // Unused low bits of the last byte.
  uint16_t count_ = 0;
  int64_t t_ = 0;
  uint64_t value_bits_ = 0;
  uint64_t delta_ = 0;  // Modulo 2^64, so that no pair of times overflows.
  int leading_ = -1;    // Zero bits around the last explicit window; -1: there is none.
  int trailing_ = 0;
};

// Reads a chunk. Bytes that are not a chunk end the walk early with corrupt() set; they never cause harm. Borrows the
// bytes. Not thread-safe.
class XorChunkReader {
 public:
  // Reads at most `limit` samples.
  explicit XorChunkReader(std::string_view bytes, size_t limit = SIZE_MAX);

  bool Next();
  Sample At() const;
  size_t read() const { return read_; }
  bool corrupt() const { return corrupt_; }

 private:
  uint64_t ReadBits(int bits);
  uint64_t ReadUvarint();
  int64_t ReadTimeDod();
  void ReadValueXor();

  std::string_view bytes_;
  size_t bit_ = 16;  // Position of the next bit.
  size_t count_ = 0;
  size_t read_ = 0;
  bool corrupt_ = false;
  int64_t t_ = 0;
  uint64_t value_bits_ = 0;
  uint64_t delta_ = 0;
  int leading_ = -1;
  int trailing_ = 0;
};

}  // namespace tidewright::tsdb
