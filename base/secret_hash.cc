#include "base/secret_hash.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace tidewright::base {
namespace {

constexpr uint64_t kFactorA = 0x9e3779b97f4a7c15;
constexpr uint64_t kFactorB = 0xd1342543de82ef95;

uint64_t Secret() {
  static const uint64_t secret = [] {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  }();
  return secret;
}

uint64_t Fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t Load(const char* data, size_t size) {
  uint64_t word = 0;
  std::memcpy(&word, data, size);
  return word;
}

}  // namespace

uint64_t SecretHash(std::string_view text) {
  const uint64_t seed = Secret();
  const char* data = text.data();
  size_t left = text.size();
  uint64_t hash = seed ^ left * kFactorA;
  // Two lanes, because each multiplication waits for the one before it in its lane.
  if (left > 32) {
    uint64_t other = hash ^ kFactorB;
    for (; left > 32; left -= 32, data += 32) {
      hash = Fold(hash ^ Load(data, 8), Load(data + 8, 8) ^ kFactorB ^ seed);
      other = Fold(other ^ Load(data + 16, 8), Load(data + 24, 8) ^ kFactorA ^ seed);
    }
    hash = Fold(hash ^ kFactorA, other ^ seed);
  }
  for (; left > 16; left -= 16, data += 16) {
    hash = Fold(hash ^ Load(data, 8), Load(data + 8, 8) ^ kFactorB ^ seed);
  }
  uint64_t low = Load(data, std::min<size_t>(left, 8)), high = left > 8 ? Load(data + 8, left - 8) : 0;
  return Fold(Fold(hash ^ low, high ^ kFactorB ^ seed), kFactorA);
}

}  // namespace tidewright::base
