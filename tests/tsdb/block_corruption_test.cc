// Every single-byte change and every shortening of every file of a block: it is noticed or does no harm.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/tsdb/blocks.h"
#include "tests/tsdb/index_checksums.h"
#include "tests/tsdb/store.h"
#include "tsdb/block_reader.h"
#include "tsdb/tombstones.h"

namespace tidewright::tsdb {
namespace {

using testing::BlockContents;

class BlockCorruption : public ::testing::Test {
 protected:
  void SetUp() override {
    Histogram h;
    h.schema = 1;
    h.count = 3;
    h.sum = 4;
    h.positive_spans = {{0, 2}};
    h.positive_buckets = {1, 1};
    testing::BlockBuilder builder;
    for (int i = 0; i < 40; ++i) {
      builder.Floats(Labels::Of({{"__name__", "a"}, {"i", std::to_string(i)}}), {{10, 1.0 * i}, {20, 2.5}, {30, 3}});
    }
    builder.Histograms(Labels::Of({{"__name__", "h"}}), {{10, h}, {20, h}});
    auto block = builder.Write(root_.path());
    directory_ = block->directory();
    ASSERT_EQ(*block->Delete(15, 25, {Matcher::Equal("i", "7")}), 1u);
    contents_ = testing::ReadBlock(*block);
    ASSERT_EQ(contents_.size(), 41u);
    ASSERT_TRUE(block->Verify().ok()) << block->Verify().ToString();
  }

  std::string Path(const std::string& file) const { return directory_ + "/" + file; }
  std::string File(const std::string& file) const { return *base::ReadFile(Path(file)); }
  void Overwrite(const std::string& file, const std::string& bytes) const {
    std::ofstream(Path(file), std::ios::binary | std::ios::trunc) << bytes;
  }

  // Opens the block and reads all of it in several ways; whether everything said that it is well.
  bool ReadAll(BlockContents* contents) const {
    auto block = Block::Open(directory_);
    if (!block.ok()) return false;
    *contents = testing::ReadBlock(**block);
    (void)testing::ReadBlock(**block, 12, 22, {*Matcher::Create(Matcher::Type::kRegex, "i", "1.*|.*5")});
    (void)testing::ReadBlock(**block, 12, 22, {*Matcher::Create(Matcher::Type::kNotEqual, "i", "3")});
    (void)(*block)->NewQuerier(0, 100)->LabelValues("i", {Matcher::Equal("__name__", "a")});
    ColumnBuffer buffer;
    SampleColumns columns;
    auto querier = (*block)->NewQuerier(0, 100);
    if (auto selected = querier->Select({}, {}); selected.ok()) {
      for (const auto& series : *selected) (void)series->Columns(&buffer, &columns);
    }
    return (*block)->Verify().ok();
  }

  // What may be done with each damaged form of a file.
  using Check = std::function<void(const std::string& what, bool ok, const BlockContents& contents)>;

  void ForEachDamage(const std::string& file, const Check& check) const {
    const std::string whole = File(file);
    for (size_t i = 0; i < whole.size(); ++i) {
      for (unsigned char flip : {0x01, 0xff}) {
        std::string damaged = whole;
        damaged[i] = static_cast<char>(damaged[i] ^ flip);
        Try(file, damaged, "byte " + std::to_string(i) + " ^ " + std::to_string(flip), check);
      }
      Try(file, whole.substr(0, i), "the first " + std::to_string(i) + " bytes", check);
    }
    Overwrite(file, whole);
  }

  void Try(const std::string& file, const std::string& damaged, const std::string& what, const Check& check) const {
    Overwrite(file, damaged);
    BlockContents contents;
    const bool ok = ReadAll(&contents);
    check(file + ": " + what, ok, contents);
  }

  base::TempDir root_ = testing::FastTempDir("tsdb-block-corruption");
  std::string directory_;
  BlockContents contents_;
};

TEST_F(BlockCorruption, IndexChunksAndTombstones) {
  int noticed = 0, harmless = 0;
  for (const char* file : {"index", "chunks/000001", "tombstones"}) {
    ForEachDamage(file, [&](const std::string& what, bool ok, const BlockContents& contents) {
      // Only bytes that mean nothing may change without notice: padding, and pointers that nobody follows.
      if (ok) {
        EXPECT_EQ(contents, contents_) << what;
      }
      ++(ok ? harmless : noticed);
    });
  }
  printf("damaged forms of a block's files: %d noticed, %d harmless\n", noticed, harmless);
  EXPECT_GT(noticed, 20 * harmless);
}

TEST_F(BlockCorruption, Meta) {
  int opened = 0;
  ForEachDamage("meta.json", [&](const std::string&, bool ok, const BlockContents& contents) {
    if (ok && contents == contents_) ++opened;  // A digit of a statistic, say.
  });
  EXPECT_GT(opened, 0);
}

TEST_F(BlockCorruption, IndexWithChecksumsThatFit) {
  const std::string whole = File("index");
  std::string same = whole;
  testing::RepairIndexChecksums(&same);
  ASSERT_EQ(same, whole);
  const Check nothing = [](const std::string&, bool, const BlockContents&) {};
  for (size_t i = 0; i < whole.size(); ++i) {
    for (unsigned char flip : {0x01, 0x80}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      testing::RepairIndexChecksums(&damaged);
      Try("index", damaged, "byte " + std::to_string(i), nothing);
    }
  }
}

TEST_F(BlockCorruption, AMissingFileIsNamed) {
  for (const char* file : {"index", "meta.json", "chunks/000001"}) {
    const std::string whole = File(file);
    std::filesystem::remove(Path(file));
    auto block = Block::Open(directory_);
    EXPECT_EQ(block.status().code(), base::Code::kNotFound) << file;
    EXPECT_NE(block.status().message().find(file), std::string::npos) << block.status().ToString();
    Overwrite(file, whole);
  }
  std::filesystem::remove(Path("tombstones"));
  EXPECT_TRUE(Block::Open(directory_).ok()) << "no tombstones are no tombstones";
}

TEST(ChunkCorruption, EveryByteOfEveryEncoding) {
  ChunkEncoder encoder;
  Histogram h;
  h.schema = kCustomBucketsSchema;
  h.custom_values = {1, 2.5, 1e10};
  h.positive_spans = {{0, 1}, {1, 2}};
  h.positive_buckets = {1, 0, 3};
  h.count = 6;
  h.sum = 10;
  for (int i = 0; i < 20; ++i) encoder.Append(i * 15000 + i % 3, i * 0.1);
  for (int i = 20; i < 40; ++i) encoder.Append(i * 15000 + i % 3, h);
  for (int i = 40; i < 60; ++i) encoder.Append(i * 15000 + i % 3, ToFloat(h));
  const std::vector<EncodedChunk> chunks = encoder.Take();
  ASSERT_EQ(chunks.size(), 3u);
  const auto read = [](ChunkEncoding encoding, const std::string& bytes) {
    auto reader = *NewChunkReader(encoding, bytes);
    size_t samples = 0;
    for (; reader->Next() != ValueType::kNone; ++samples) {
      Histogram integers;
      FloatHistogram floats;
      reader->At(&integers);
      reader->At(&floats);
    }
    EXPECT_LE(samples, bytes.size() * 8);
    std::vector<int64_t> t;
    std::vector<double> v;
    const bool whole = DecodeFloatChunk(encoding, bytes, &t, &v);
    if (ValueTypeOf(encoding) == ValueType::kFloat) {
      EXPECT_EQ(t.size(), samples) << "both ways of reading give the same";
      EXPECT_EQ(whole, !reader->corrupt());
    }
  };
  for (const EncodedChunk& chunk : chunks) {
    // Bytes of one encoding read as any other, too.
    for (int encoding = 1; encoding <= 6; ++encoding) {
      for (size_t i = 0; i < chunk.bytes.size(); ++i) {
        read(static_cast<ChunkEncoding>(encoding), chunk.bytes.substr(0, i));
        for (unsigned char flip : {0x01, 0x08, 0x80, 0xff}) {
          std::string damaged = chunk.bytes;
          damaged[i] = static_cast<char>(damaged[i] ^ flip);
          read(static_cast<ChunkEncoding>(encoding), damaged);
        }
      }
    }
  }
  EXPECT_EQ(NewChunkReader(static_cast<ChunkEncoding>(77), "x").status().code(), base::Code::kUnimplemented);
}

}  // namespace
}  // namespace tidewright::tsdb
