#include "scrape/md5.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string>

namespace tidewright::scrape {
namespace {

constexpr int kShifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

// floor(2^32 * |sin(i + 1)|), as RFC 1321 defines them.
const std::array<uint32_t, 64>& SineTable() {
  static const std::array<uint32_t, 64> table = [] {
    std::array<uint32_t, 64> values{};
    for (int i = 0; i < 64; ++i)
      values[i] = static_cast<uint32_t>(std::floor(std::fabs(std::sin(i + 1.0)) * 4294967296));
    return values;
  }();
  return table;
}

void AddBlock(const uint8_t* block, uint32_t (&state)[4]) {
  uint32_t words[16];
  std::memcpy(words, block, sizeof(words));  // Little endian, like every machine that this runs on.
  static_assert(std::endian::native == std::endian::little);
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  for (int i = 0; i < 64; ++i) {
    uint32_t mix = 0;
    int word = 0;
    switch (i / 16) {
      case 0:
        mix = (b & c) | (~b & d);
        word = i;
        break;
      case 1:
        mix = (d & b) | (~d & c);
        word = (5 * i + 1) % 16;
        break;
      case 2:
        mix = b ^ c ^ d;
        word = (3 * i + 5) % 16;
        break;
      default:
        mix = c ^ (b | ~d);
        word = (7 * i) % 16;
        break;
    }
    uint32_t rotated = std::rotl(a + mix + SineTable()[i] + words[word], kShifts[i / 16][i % 4]);
    a = d;
    d = c;
    c = b;
    b += rotated;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}

}  // namespace

std::array<uint8_t, 16> Md5(std::string_view bytes) {
  std::string padded(bytes);
  padded.push_back('\x80');
  while (padded.size() % 64 != 56) padded.push_back('\0');
  uint64_t bits = static_cast<uint64_t>(bytes.size()) * 8;
  padded.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
  uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  for (size_t i = 0; i < padded.size(); i += 64) AddBlock(reinterpret_cast<const uint8_t*>(padded.data()) + i, state);
  std::array<uint8_t, 16> digest{};
  std::memcpy(digest.data(), state, sizeof(state));
  return digest;
}

}  // namespace tidewright::scrape
