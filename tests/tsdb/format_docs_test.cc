// The worked examples of tsdb/docs on formats that last: the bytes on the page are what the code writes and reads.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "tests/tsdb/blocks.h"
#include "tests/tsdb/conformance.h"
#include "tests/tsdb/store.h"
#include "tsdb/head_chunk_files.h"
#include "tsdb/histogram_chunk.h"
#include "tsdb/prometheus_head_chunks.h"
#include "tsdb/tombstones.h"

namespace tidewright::tsdb {
namespace {

using testing::ToHex;

// The ```hex blocks of a page, as digits.
std::vector<std::string> Examples(const std::string& page) {
  auto text = base::ReadFile(std::string(TIDEWRIGHT_SOURCE_DIR) + "/tsdb/docs/" + page);
  EXPECT_TRUE(text.ok()) << text.status().ToString();
  std::vector<std::string> examples;
  constexpr std::string_view kBegin = "```hex\n";
  for (size_t at = text->find(kBegin); at != std::string::npos; at = text->find(kBegin, at)) {
    at += kBegin.size();
    const size_t end = text->find("```", at);
    examples.emplace_back();
    for (const std::string& line : base::Split(text->substr(at, end - at), '\n')) {
      for (char c : line.substr(0, line.find('#'))) {
        if (c != ' ') examples.back() += c;
      }
    }
    at = end;
  }
  return examples;
}

constexpr int64_t kStart = 1700000000000;
const Sample kSamples[] = {{kStart, 1}, {kStart + 15000, 2}, {kStart + 30000, 2}, {kStart + 45001, 3}};

std::vector<EncodedChunk> ExampleChunk() {
  ChunkEncoder encoder;
  for (const Sample& sample : kSamples) encoder.Append(sample.t, sample.v);
  return encoder.Take();
}

TEST(FormatDocs, FloatChunks) {
  const std::vector<std::string> examples = Examples("xor_chunk.md");
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_EQ(ToHex(ExampleChunk()[0].bytes), examples[0]);
  const Sample stale[] = {{kStart, 1}, {kStart + 15000, 2}, {kStart + 30000, 2}, {kStart + 45000, StaleNan()}};
  constexpr int64_t kCreated = kStart - 10000;
  Xor2ChunkWriter writer;
  for (const Sample& sample : stale) writer.Append(sample.t, sample.v, kCreated);
  EXPECT_EQ(ToHex(writer.bytes()), examples[1]);
  const std::string bytes = testing::FromHex(examples[1]);
  Xor2ChunkReader reader(bytes);
  for (const Sample& sample : stale) {
    ASSERT_TRUE(reader.Next());
    EXPECT_EQ(reader.At().t, sample.t);
    EXPECT_EQ(testing::Bits(reader.At().v), testing::Bits(sample.v));
    EXPECT_EQ(reader.start_time(), kCreated);
  }
  EXPECT_FALSE(reader.Next());
}

Histogram ExampleHistogram(int n) {
  Histogram h;
  h.schema = 1;
  h.zero_threshold = 0.001;
  h.zero_count = static_cast<uint64_t>(n);
  h.count = 6 * h.zero_count;
  h.sum = 10.0 * n;
  h.positive_spans = {{0, 2}};
  h.positive_buckets = {2 * n, n};
  return h;
}

TEST(FormatDocs, HistogramChunks) {
  const std::vector<std::string> examples = Examples("histogram_chunk.md");
  ASSERT_EQ(examples.size(), 2u);
  ChunkEncoder integers, floats;
  for (int n = 1; n <= 3; ++n) integers.Append(1000 * n, ExampleHistogram(n));
  for (int n = 1; n <= 2; ++n) floats.Append(1000 * n, ToFloat(ExampleHistogram(n)));
  EXPECT_EQ(ToHex(integers.Take()[0].bytes), examples[0]);
  EXPECT_EQ(ToHex(floats.Take()[0].bytes), examples[1]);
  const std::string bytes = testing::FromHex(examples[0]);
  auto reader = *NewChunkReader(ChunkEncoding::kHistogram, bytes);
  for (int n = 1; n <= 3; ++n) {
    ASSERT_EQ(reader->Next(), ValueType::kHistogram);
    Histogram h;
    reader->At(&h);
    h.hint = CounterResetHint::kUnknown;
    EXPECT_EQ(h, ExampleHistogram(n));
  }
}

TEST(FormatDocs, Tombstones) {
  const std::vector<std::string> examples = Examples("tombstones.md");
  ASSERT_EQ(examples.size(), 1u);
  auto read = ParseTombstones(testing::FromHex(examples[0]));
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(*read->Of(3), (TimeIntervals{{-5, 100}, {200, 300}}));
  EXPECT_EQ(ToHex(EncodeTombstones(*read)), examples[0]);
}

TEST(FormatDocs, HeadChunks) {
  const std::vector<std::string> examples = Examples("head_chunks.md");
  ASSERT_EQ(examples.size(), 1u);
  const std::string bytes = testing::FromHex(examples[0]);
  std::vector<HeadChunk> chunks;
  ASSERT_TRUE(ParseHeadChunks(bytes, &chunks).ok());
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].chunk.maxt, kSamples[3].t);
  EXPECT_EQ(ToHex(HeadChunksHeader() + EncodeHeadChunk(chunks[0])), examples[0]);
  EXPECT_EQ(chunks[0].chunk.bytes, ExampleChunk()[0].bytes);
}

TEST(FormatDocs, TheHeadsChunkFile) {
  const std::vector<std::string> examples = Examples("head.md");
  ASSERT_EQ(examples.size(), 2u);
  base::TempDir directory = testing::FastTempDir("tsdb-docs");
  auto files = HeadChunkFiles::Open(directory.path(), 0);
  ASSERT_TRUE(files.ok()) << files.status().ToString();
  const StoredTimeline timeline{5, {1000, 16'000, 31'000}};
  const ChunkPlace place = (*files)->AddTimeline(timeline);
  const ChunkPlace chunk_place = (*files)->AddChunk({1, place, 0, 3, 0, std::string_view("\x02\0\x02", 3)});
  ASSERT_TRUE((*files)->Flush().ok());
  const std::string path = directory.path() + "/00000001";
  EXPECT_EQ(ToHex(*base::ReadFile(path)), examples[1]);
  StoredTimeline read;
  ASSERT_TRUE(HeadChunkFiles::ReadTimeline(*(*files)->File(1), place, &read).ok());
  EXPECT_EQ(read.times, timeline.times);
  StoredChunk chunk;
  ASSERT_TRUE(HeadChunkFiles::ReadChunk(*(*files)->File(1), chunk_place, &chunk).ok());
  EXPECT_EQ(chunk.ref, 1u);
  EXPECT_TRUE(HeadChunkFiles::Verify(path, [](const base::Status& fault) { ADD_FAILURE() << fault.ToString(); }).ok());
}

TEST(FormatDocs, IndexAndChunkFile) {
  const std::vector<std::string> index = Examples("index.md");
  const std::vector<std::string> chunks = Examples("block.md");
  ASSERT_EQ(index.size(), 1u);
  ASSERT_EQ(chunks.size(), 1u);
  base::TempDir directory = testing::FastTempDir("tsdb-docs");
  auto block = testing::BlockBuilder()
                   .Add(Labels::Of({{"__name__", "up"}, {"job", "node"}}), ExampleChunk())
                   .Write(directory.path());
  EXPECT_EQ(ToHex(*base::ReadFile(block->directory() + "/index")), index[0]);
  EXPECT_EQ(ToHex(*base::ReadFile(block->directory() + "/chunks/000001")), chunks[0]);
  EXPECT_EQ(testing::ReadBlock(*block).at("up{job=\"node\"}").size(), 4u);
}

}  // namespace
}  // namespace tidewright::tsdb
