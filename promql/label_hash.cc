#include "promql/label_hash.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string>

namespace tidewright::promql {
namespace {

// The constants of the XXH64 specification.
constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;

template <typename T>
T Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

uint64_t Round(uint64_t accumulator, uint64_t lane) { return std::rotl(accumulator + lane * kPrime2, 31) * kPrime1; }

uint64_t Merge(uint64_t hash, uint64_t accumulator) { return (hash ^ Round(0, accumulator)) * kPrime1 + kPrime4; }

// Consumes whole stripes of 32 bytes.
uint64_t Stripes(std::string_view& rest) {
  uint64_t lanes[4] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
  for (; rest.size() >= 32; rest.remove_prefix(32)) {
    for (int i = 0; i < 4; ++i) lanes[i] = Round(lanes[i], Load<uint64_t>(rest.data() + 8 * i));
  }
  uint64_t hash = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
  for (uint64_t lane : lanes) hash = Merge(hash, lane);
  return hash;
}

void AppendText(std::string_view text, std::string* out) {
  if (text.size() < 255) {
    out->push_back(static_cast<char>(text.size()));
  } else {
    out->push_back(static_cast<char>(0xFF));
    for (int shift = 0; shift < 24; shift += 8) out->push_back(static_cast<char>(text.size() >> shift));
  }
  out->append(text);
}

}  // namespace

uint64_t XxHash64(std::string_view bytes) {
  std::string_view rest = bytes;
  uint64_t hash = rest.size() >= 32 ? Stripes(rest) : kPrime5;
  hash += bytes.size();
  for (; rest.size() >= 8; rest.remove_prefix(8)) {
    hash = std::rotl(hash ^ Round(0, Load<uint64_t>(rest.data())), 27) * kPrime1 + kPrime4;
  }
  if (rest.size() >= 4) {
    hash = std::rotl(hash ^ (Load<uint32_t>(rest.data()) * kPrime1), 23) * kPrime2 + kPrime3;
    rest.remove_prefix(4);
  }
  for (char c : rest) hash = std::rotl(hash ^ (static_cast<unsigned char>(c) * kPrime5), 11) * kPrime1;
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

double HashFraction(const Labels& labels) {
  std::string encoded;
  for (const auto& label : labels) {
    AppendText(label.name, &encoded);
    AppendText(label.value, &encoded);
  }
  return static_cast<double>(XxHash64(encoded)) / std::ldexp(1.0, 64);
}

}  // namespace tidewright::promql
