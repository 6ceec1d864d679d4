#include "base/hash.h"

#include <cstddef>
#include <cstring>

namespace tidewright::base {
namespace {

constexpr uint64_t kFactorA = 0x9e3779b97f4a7c15;
constexpr uint64_t kFactorB = 0xd1342543de82ef95;

uint64_t Fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

template <typename Word>
uint64_t Load(const char* data) {
  Word word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

struct Words {
  uint64_t low = 0;
  uint64_t high = 0;
};

// Up to 16 bytes as two words. Loads of fixed size that may overlap: a copy of variable size costs more than the hash.
Words Tail(const char* data, size_t size) {
  if (size >= 8) return {Load<uint64_t>(data), Load<uint64_t>(data + size - 8)};
  if (size >= 4) return {Load<uint32_t>(data), Load<uint32_t>(data + size - 4)};
  if (size == 0) return {};
  const uint64_t ends = Load<uint8_t>(data) << 8 | Load<uint8_t>(data + size - 1);
  return {ends, Load<uint8_t>(data + size / 2)};
}

}  // namespace

uint64_t HashBytes(std::string_view bytes, uint64_t seed) {
  const char* data = bytes.data();
  size_t left = bytes.size();
  uint64_t hash = seed ^ left * kFactorA;
  // Two lanes, because each multiplication waits for the one before it in its lane.
  if (left > 32) {
    uint64_t other = hash ^ kFactorB;
    for (; left > 32; left -= 32, data += 32) {
      hash = Fold(hash ^ Load<uint64_t>(data), Load<uint64_t>(data + 8) ^ kFactorB ^ seed);
      other = Fold(other ^ Load<uint64_t>(data + 16), Load<uint64_t>(data + 24) ^ kFactorA ^ seed);
    }
    hash = Fold(hash ^ kFactorA, other ^ seed);
  }
  for (; left > 16; left -= 16, data += 16) {
    hash = Fold(hash ^ Load<uint64_t>(data), Load<uint64_t>(data + 8) ^ kFactorB ^ seed);
  }
  const Words tail = Tail(data, left);
  return Fold(Fold(hash ^ tail.low, tail.high ^ kFactorB ^ seed), kFactorA);
}

}  // namespace tidewright::base
