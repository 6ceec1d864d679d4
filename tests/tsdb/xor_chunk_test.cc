#include "tsdb/xor_chunk.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace tidewright::tsdb {
namespace {

void ExpectRoundTrip(const std::vector<Sample>& samples, const std::string& name) {
  XorChunkWriter writer;
  for (const Sample& sample : samples) writer.Append(sample.t, sample.v);
  EXPECT_EQ(writer.count(), samples.size());
  XorChunkReader reader(writer.bytes());
  for (const Sample& sample : samples) {
    ASSERT_TRUE(reader.Next()) << name;
    ASSERT_EQ(reader.At().t, sample.t) << name;
    ASSERT_EQ(std::bit_cast<uint64_t>(reader.At().v), std::bit_cast<uint64_t>(sample.v)) << name;
  }
  EXPECT_FALSE(reader.Next()) << name;
  EXPECT_FALSE(reader.corrupt()) << name;
}

TEST(XorChunk, RoundTripsExtremes) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const double inf = std::numeric_limits<double>::infinity();
  ExpectRoundTrip({}, "empty");
  ExpectRoundTrip({{kMin, 0}, {kMax, -0.0}, {kMin, inf}, {0, -inf}, {kMax, 1}}, "whole range of time");
  ExpectRoundTrip({{1, StaleNan()}, {2, NormalNan()}, {3, StaleNan()}}, "markers");
  ExpectRoundTrip({{1, 1}, {2, std::bit_cast<double>(~std::bit_cast<uint64_t>(1.0))}, {3, 1}}, "every bit changes");
  // Both sides of every limit of the delta-of-delta classes.
  for (int bits : {14, 17, 20}) {
    int64_t top = int64_t{1} << (bits - 1);
    for (int64_t dod : {top - 1, top, top + 1, -top, -top + 1, -top + 2}) {
      ExpectRoundTrip({{0, 1}, {100, 1}, {200 + dod, 1}, {300 + 2 * dod, 2}}, "dod " + std::to_string(dod));
    }
  }
}

TEST(XorChunk, RoundTripsRandomWalks) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<Sample> samples;
    int64_t t = 1'700'000'000'000;
    double value = 0;
    for (int i = 0; i < 240; ++i) {
      t += 15'000 + static_cast<int64_t>(random() % 7) - 3 +
           (random() % 50 == 0 ? static_cast<int64_t>(random() >> 30) : 0);
      switch (random() % 4) {
        case 0: value += 1; break;
        case 1: value = std::bit_cast<double>(random()); break;
        case 2: value *= 1.5; break;
        default: break;
      }
      samples.push_back({t, value});
    }
    ExpectRoundTrip(samples, "round " + std::to_string(round));
  }
}

TEST(XorChunk, ReadsNoFurtherThanToldAndStopsAtTheEndOfTheBytes) {
  XorChunkWriter writer;
  for (int i = 0; i < 50; ++i) writer.Append(i * 1000 + i % 3, std::sqrt(i));
  XorChunkReader limited(writer.bytes(), 7);
  while (limited.Next()) {
  }
  EXPECT_EQ(limited.read(), 7u);
  EXPECT_FALSE(limited.corrupt());
  for (size_t size = 0; size < writer.bytes().size(); ++size) {
    XorChunkReader reader(std::string_view(writer.bytes()).substr(0, size));
    while (reader.Next()) {
    }
    EXPECT_LT(reader.read(), 50u) << size;
    EXPECT_TRUE(reader.corrupt()) << size;
  }
}

}  // namespace
}  // namespace tidewright::tsdb
