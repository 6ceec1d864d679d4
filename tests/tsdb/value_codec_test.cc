#include "tsdb/value_codec.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tsdb/labels.h"

namespace tidewright::tsdb {
namespace {

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

// Encodes as a chunk does: blocks of 16, then single values.
struct Encoded {
  std::vector<uint8_t> bytes;
  size_t tail = 0;
};

Encoded Encode(const std::vector<double>& values) {
  Encoded result;
  double previous = 0;
  size_t at = 0;
  for (; at + kBlockValues <= values.size(); at += kBlockValues) {
    uint8_t codes[kBlockValues * kMaxCodeBytes], block[kMaxBlockBytes];
    size_t size = 0;
    double last = previous;
    for (size_t i = 0; i < kBlockValues; ++i) {
      size += EncodeValue(last, values[at + i], codes + size);
      last = values[at + i];
    }
    size_t packed = EncodeBlock(&values[at], previous, codes, size, block);
    EXPECT_LE(packed, kMaxBlockBytes);
    uint8_t same[kMaxBlockBytes];
    EXPECT_EQ(EncodeBlock(&values[at], previous, same), packed);
    EXPECT_EQ(std::memcmp(same, block, packed), 0);
    ValueCursor cursor(previous);
    const uint8_t* code = codes;
    for (size_t i = 0; i < kBlockValues; ++i) {
      EXPECT_TRUE(cursor.Next(&code, codes + size));
      EXPECT_EQ(std::bit_cast<uint64_t>(cursor.value()), std::bit_cast<uint64_t>(values[at + i]));
    }
    result.bytes.insert(result.bytes.end(), block, block + packed);
    previous = last;
  }
  result.tail = result.bytes.size();
  for (; at < values.size(); ++at) {
    uint8_t code[kMaxCodeBytes];
    size_t size = EncodeValue(previous, values[at], code);
    EXPECT_LE(size, kMaxCodeBytes);
    result.bytes.insert(result.bytes.end(), code, code + size);
    previous = values[at];
  }
  return result;
}

std::vector<double> Decode(const Encoded& encoded, size_t count) {
  std::vector<double> values((count + 15) / 16 * 16 + 16);
  const uint8_t* codes = encoded.bytes.data() + encoded.tail;
  const size_t codes_size = encoded.bytes.size() - encoded.tail;
  if (!DecodeValues(encoded.bytes.data(), encoded.tail, codes, codes_size, 0.0, count, values.data())) return {};
  values.resize(count);
  return values;
}

double Special(uint64_t random) {
  static const double kValues[] = {0.0,
                                   -0.0,
                                   StaleNan(),
                                   NormalNan(),
                                   std::bit_cast<double>(uint64_t{0xfff8000000001234}),
                                   std::numeric_limits<double>::infinity(),
                                   -std::numeric_limits<double>::infinity(),
                                   std::numeric_limits<double>::denorm_min(),
                                   std::numeric_limits<double>::max(),
                                   9007199254740991.0,
                                   9007199254740992.0,
                                   -9007199254740993.0,
                                   0.1,
                                   1e-9,
                                   123456.789};
  return kValues[random % std::size(kValues)];
}

// Each makes a stream of values out of random numbers.
struct Kind {
  std::string name;
  std::function<double(double previous, uint64_t random)> next;
};

const std::vector<Kind>& Kinds() {
  static const std::vector<Kind> kinds = {
      {"constant", [](double, uint64_t) { return 17.0; }},
      {"counter", [](double v, uint64_t r) { return v + static_cast<double>(r % 100); }},
      {"counter, half unchanged", [](double v, uint64_t r) { return v + (r % 2 != 0 ? 0.0 : r % 7); }},
      {"large counter", [](double v, uint64_t r) { return v + static_cast<double>(r % 1'000'000'007); }},
      {"steady", [](double v, uint64_t) { return v + 15; }},
      {"gauge, two decimals", [](double, uint64_t r) { return static_cast<double>(r % 10000) / 100; }},
      {"gauge, nine decimals", [](double, uint64_t r) { return static_cast<double>(r % 1'000'000'000'000) / 1e9; }},
      {"full mantissa", [](double, uint64_t r) { return static_cast<double>(r) / 3.0; }},
      {"slow drift", [](double v, uint64_t r) { return v + static_cast<double>(r % 3) * 1e-7; }},
      {"any bits", [](double, uint64_t r) { return std::bit_cast<double>(r * 0x9e3779b97f4a7c15); }},
      {"special", [](double, uint64_t r) { return Special(r); }},
      {"mixed", [](double v, uint64_t r) { return r % 9 == 0 ? Special(r / 9) : v + static_cast<double>(r % 5); }},
      {"huge steps", [](double, uint64_t r) { return (r % 2 == 0 ? 1 : -1) * 9007199254740991.0; }},
  };
  return kinds;
}

TEST(ValueCodec, KeepsEveryBit) {
  for (const Kind& kind : Kinds()) {
    std::mt19937_64 random(42);
    for (int round = 0; round < 200; ++round) {
      std::vector<double> values;
      double value = round % 3 == 0 ? 0 : static_cast<double>(random() % 1'000'000);
      size_t count = random() % 130;
      for (size_t i = 0; i < count; ++i) values.push_back(value = kind.next(value, random() >> 11));
      Encoded encoded = Encode(values);
      for (size_t part : {count, count / 2, count > 0 ? count - 1 : 0}) {
        std::vector<double> decoded = Decode(encoded, part);
        ASSERT_EQ(decoded.size(), part) << kind.name;
        for (size_t i = 0; i < part; ++i) ASSERT_EQ(Bits(decoded[i]), Bits(values[i])) << kind.name << " at " << i;
      }
    }
  }
}

TEST(ValueCodec, IsSmallOnWhatMonitoringProduces) {
  struct Row {
    std::string name;
    double bytes_per_value;
  };
  const Row rows[] = {
      {"constant", 0.2},
      {"counter", 1.2},
      {"counter, half unchanged", 0.75},
      {"steady", 0.4},
      {"gauge, two decimals", 2.3},
  };
  for (const Row& row : rows) {
    for (const Kind& kind : Kinds()) {
      if (kind.name != row.name) continue;
      std::mt19937_64 random(1);
      std::vector<double> values;
      double value = 123456;
      for (int i = 0; i < 128; ++i) values.push_back(value = kind.next(value, random() >> 11));
      EXPECT_LE(static_cast<double>(Encode(values).bytes.size()) / 128, row.bytes_per_value) << row.name;
    }
  }
}

// The example of tsdb/docs/head.md.
TEST(ValueCodec, WritesTheBytesOnThePage) {
  std::vector<double> values(16, 106);
  values[0] = 100, values[1] = 101, values[2] = 103;
  const Encoded encoded = Encode(values);
  EXPECT_EQ(encoded.bytes, (std::vector<uint8_t>{0x82, 0xc8, 0x01, 0x00, 0xe4, 0x00, 0x00, 0x00}));
}

TEST(ValueCodec, ArbitraryBytesDoNoHarm) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<double> values;
    for (int i = 0; i < 40; ++i) values.push_back(Kinds()[random() % Kinds().size()].next(1, random() >> 11));
    Encoded encoded = Encode(values);
    for (int change = 0; change < 3; ++change) {
      encoded.bytes[random() % encoded.bytes.size()] ^= static_cast<uint8_t>(random());
    }
    if (round % 2 == 0) encoded.bytes.resize(random() % encoded.bytes.size());
    // An allocation of its own, so that a sanitizer sees a read past the end.
    const auto tail = encoded.bytes.begin() + static_cast<ptrdiff_t>(std::min(encoded.tail, encoded.bytes.size()));
    std::vector<uint8_t> blocks(encoded.bytes.begin(), tail), codes(tail, encoded.bytes.end());
    std::vector<double> out(64);
    DecodeValues(blocks.data(), blocks.size(), codes.data(), codes.size(), 0.0, 40, out.data());
  }
}

// What the processor decodes several values at a time is what it decodes one by one, of whatever bytes.
TEST(ValueCodec, DecodesBlocksTogetherAsOneByOne) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 20'000; ++round) {
    const Kind& kind = Kinds()[random() % Kinds().size()];
    std::vector<double> values;
    double value = static_cast<double>(random() % 1'000'000);
    for (int i = 0; i < 48; ++i) values.push_back(value = kind.next(value, random() >> 11));
    std::vector<uint8_t> blocks = Encode(values).bytes;
    for (size_t change = random() % 4; change > 0; --change) {
      blocks[random() % blocks.size()] ^= static_cast<uint8_t>(1 << random() % 8);
    }
    if (round % 4 == 0) blocks.resize(random() % blocks.size());
    std::vector<double> one_by_one(values.size()), together(values.size());
    double previous = 0;
    size_t at = 0, done = 0;
    while (done < values.size() && at < blocks.size()) {
      const size_t used = DecodeBlock(blocks.data() + at, blocks.size() - at, previous, &one_by_one[done]);
      if (used == 0) break;
      at += used;
      done += kBlockValues;
      previous = one_by_one[done - 1];
    }
    const bool whole = DecodeValues(blocks.data(), blocks.size(), nullptr, 0, 0.0, values.size(), together.data());
    ASSERT_EQ(whole, done == values.size()) << kind.name;
    for (size_t i = 0; i < done; ++i) ASSERT_EQ(Bits(together[i]), Bits(one_by_one[i])) << kind.name << " at " << i;
  }
}

}  // namespace
}  // namespace tidewright::tsdb
