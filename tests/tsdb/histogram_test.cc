// Histograms: what is valid, and how a series of them becomes chunks.
#include "tsdb/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tsdb/chunk.h"
#include "tsdb/histogram_chunk.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {
namespace {

Histogram Valid() {
  Histogram h;
  h.schema = 1;
  h.zero_threshold = 0.001;
  h.zero_count = 1;
  h.count = 7;
  h.sum = 10;
  h.positive_spans = {{0, 2}, {3, 1}};
  h.positive_buckets = {2, -1, 1};
  h.negative_spans = {{-2, 1}};
  h.negative_buckets = {1};
  return h;
}

Histogram Custom() {
  Histogram h;
  h.schema = kCustomBucketsSchema;
  h.count = 3;
  h.custom_values = {1, 2.5};
  h.positive_spans = {{0, 3}};
  h.positive_buckets = {1, 0, 0};
  return h;
}

TEST(HistogramTest, Validation) {
  struct Case {
    const char* name;
    std::function<void(Histogram*)> change;
    const char* message;  // "" is valid.
  };
  const Case cases[] = {
      {"as it is", [](Histogram*) {}, ""},
      {"schema", [](Histogram* h) { h->schema = 9; }, "schema 9"},
      {"count", [](Histogram* h) { h->count = 8; }, "the count is 8"},
      {"count with NaN observations", [](Histogram* h) { h->count = 8, h->sum = NAN; }, ""},
      {"too few with NaN", [](Histogram* h) { h->count = 6, h->sum = NAN; }, "the count is 6"},
      {"negative bucket", [](Histogram* h) { h->positive_buckets[1] = -3; }, "negative"},
      {"offset", [](Histogram* h) { h->positive_spans[1].offset = -1; }, "negative offset -1"},
      {"first offset", [](Histogram* h) { h->positive_spans[0].offset = -100; }, ""},
      {"missing bucket", [](Histogram* h) { h->positive_buckets.pop_back(); }, "name 3 buckets, but there are 2"},
      {"span too long", [](Histogram* h) { h->negative_spans[0].length = 1000000000; }, "negative spans name"},
      {"far buckets", [](Histogram* h) { h->positive_spans[1].offset = INT32_MAX; }, "reach beyond"},
      {"overflow",
       [](Histogram* h) {
         h->positive_buckets = {INT64_MAX, 1, 0};
       },
       "negative"},
      {"threshold", [](Histogram* h) { h->zero_threshold = -1; }, "zero threshold"},
      {"bounds without need", [](Histogram* h) { h->custom_values = {1}; }, "custom bounds"},
      {"custom", [](Histogram* h) { *h = Custom(); }, ""},
      {"custom, not sorted",
       [](Histogram* h) {
         (*h = Custom()).custom_values = {2, 1};
       },
       "ascend"},
      {"custom, +Inf",
       [](Histogram* h) {
         (*h = Custom()).custom_values = {1, INFINITY};
       },
       "+Inf"},
      {"custom, NaN",
       [](Histogram* h) {
         (*h = Custom()).custom_values = {1, NAN};
       },
       "NaN"},
      {"custom, beyond the bounds", [](Histogram* h) { (*h = Custom()).custom_values = {1}; }, "beyond the custom"},
      {"custom, zero bucket", [](Histogram* h) { (*h = Custom()).zero_count = 1; }, "no zero bucket"},
      {"custom, offset", [](Histogram* h) { (*h = Custom()).positive_spans[0].offset = -1; }, "negative offset"},
      {"stale", [](Histogram* h) { h->sum = StaleNan(), h->schema = 77; }, ""},
  };
  for (const Case& test : cases) {
    Histogram h = Valid();
    test.change(&h);
    const base::Status status = Validate(h);
    EXPECT_EQ(status.ok(), test.message[0] == '\0') << test.name << ": " << status.ToString();
    EXPECT_NE(status.message().find(test.message), std::string::npos) << test.name << ": " << status.ToString();
  }
  FloatHistogram floats = ToFloat(Valid());
  EXPECT_TRUE(Validate(floats).ok());
  EXPECT_EQ(floats.positive_buckets, (std::vector<double>{2, 1, 2}));
  floats.positive_buckets[0] = -0.5;
  EXPECT_FALSE(Validate(floats).ok());
}

TEST(HistogramTest, EqualityIsByBits) {
  Histogram a = Valid();
  Histogram b = a;
  EXPECT_EQ(a, b);
  a.sum = 0.0;
  b.sum = -0.0;
  EXPECT_FALSE(a == b);
  a.sum = b.sum = NAN;
  EXPECT_EQ(a, b);
}

TEST(ChunkEncoderTest, CutsByCountKindAndRequest) {
  ChunkEncoder encoder({.max_samples = 3});
  for (int i = 0; i < 7; ++i) encoder.Append(i, 1.0);
  encoder.Append(10, Valid());
  encoder.Append(11, ToFloat(Valid()));
  encoder.Append(12, ToFloat(Valid()));
  encoder.Cut();
  EXPECT_EQ(encoder.open_bytes(), 0u);
  encoder.Append(13, ToFloat(Valid()));
  EXPECT_EQ(encoder.OpenChunk().mint, 13);
  const std::vector<EncodedChunk> chunks = encoder.Take();
  std::vector<std::string> described;
  for (const EncodedChunk& chunk : chunks) {
    described.push_back(EncodingName(chunk.encoding) + " " + std::to_string(chunk.mint) + "-" +
                        std::to_string(chunk.maxt) + " " +
                        std::to_string(ChunkSampleCount(chunk.encoding, chunk.bytes)));
  }
  EXPECT_EQ(described, (std::vector<std::string>{"XOR 0-2 3", "XOR 3-5 3", "XOR 6-6 1", "histogram 10-10 1",
                                                 "floathistogram 11-12 2", "floathistogram 13-13 1"}));
  EXPECT_TRUE(encoder.Take().empty());
}

TEST(ChunkEncoderTest, HistogramChunksEndBySizeWithTenSamples) {
  Histogram h = Valid();
  h.positive_spans = {{0, 100}};
  h.positive_buckets.assign(100, 0);
  ChunkEncoder encoder({.max_samples = 240, .max_histogram_bytes = 100});
  for (int i = 0; i < 25; ++i) {
    h.positive_buckets[0] = i;
    h.count = 2 + 100 * static_cast<uint64_t>(i);
    encoder.Append(i, h);
  }
  std::vector<uint32_t> counts;
  for (const EncodedChunk& chunk : encoder.Take()) counts.push_back(ChunkSampleCount(chunk.encoding, chunk.bytes));
  EXPECT_EQ(counts, (std::vector<uint32_t>{10, 10, 5}));
}

TEST(ChunkEncoderTest, ACounterResetBehindAFullChunkIsMarked) {
  Histogram h = Valid();
  ChunkEncoder encoder({.max_samples = 1});
  encoder.Append(1, h);
  h.count = 1;
  h.zero_count = 1;
  h.positive_spans.clear();
  h.positive_buckets.clear();
  h.negative_spans.clear();
  h.negative_buckets.clear();
  encoder.Append(2, h);
  const std::vector<EncodedChunk> chunks = encoder.Take();
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(static_cast<uint8_t>(chunks[0].bytes[2]), 0x00);
  EXPECT_EQ(static_cast<uint8_t>(chunks[1].bytes[2]), 0x80);
}

// Prometheus reads the difference between the first two times as a signed number: 219800 ms takes 25 bits, not 18.
TEST(ChunkEncoderTest, DifferencesOfTimesAreSigned) {
  ChunkEncoder encoder;
  encoder.Append(0, Histogram());
  encoder.Append(219'800, Histogram());
  const std::vector<EncodedChunk> chunks = encoder.Take();
  ASSERT_EQ(chunks.size(), 1u);
  const std::string wanted = {0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x03, char(0xf0), 0x0d, 0x6a, 0x60, 0};
  EXPECT_EQ(chunks[0].bytes, wanted);
}

// Random histograms read back as what was appended, but for empty buckets that recoding put in.
TEST(ChunkEncoderTest, WhatIsReadIsWhatWasAppended) {
  uint64_t random = 1;
  const auto next = [&random](uint64_t below) {
    random = random * 6364136223846793005 + 1442695040888963407;
    return (random >> 33) % below;
  };
  ChunkEncoder encoder;
  std::vector<Histogram> appended;
  std::map<int, int64_t> counts;
  for (int i = 0; i < 500; ++i) {
    if (next(50) == 0) counts.clear();
    for (uint64_t n = next(4); n > 0; --n) counts[static_cast<int>(next(40)) - 20] += static_cast<int64_t>(next(9));
    Histogram h;
    h.schema = 2;
    int index = 0;
    int64_t before = 0;
    for (const auto& [bucket, count] : counts) {
      if (h.positive_spans.empty() || bucket != index) h.positive_spans.push_back({bucket - index, 0});
      ++h.positive_spans.back().length;
      h.positive_buckets.push_back(count - before);
      h.count += static_cast<uint64_t>(count);
      before = count;
      index = bucket + 1;
    }
    h.sum = 0.5 * i;
    ASSERT_TRUE(Validate(h).ok());
    appended.push_back(h);
    encoder.Append(i, h);
  }
  const auto absolute = [](const Histogram& h) {
    std::map<int, int64_t> buckets;
    int bucket = 0;
    size_t position = 0;
    int64_t count = 0;
    for (const BucketSpan& span : h.positive_spans) {
      bucket += span.offset;
      for (uint32_t n = 0; n < span.length; ++n, ++bucket) {
        count += h.positive_buckets[position++];
        if (count != 0) buckets[bucket] = count;
      }
    }
    return buckets;
  };
  size_t read = 0;
  for (const EncodedChunk& chunk : encoder.Take()) {
    auto reader = *NewChunkReader(chunk.encoding, chunk.bytes);
    while (reader->Next() != ValueType::kNone) {
      Histogram h;
      reader->At(&h);
      EXPECT_EQ(absolute(h), absolute(appended[read])) << read;
      EXPECT_EQ(h.count, appended[read].count);
      EXPECT_EQ(h.sum, appended[read].sum);
      ++read;
    }
    EXPECT_FALSE(reader->corrupt());
  }
  EXPECT_EQ(read, appended.size());
}

}  // namespace
}  // namespace tidewright::tsdb
