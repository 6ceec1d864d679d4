// Samples in any order become blocks of two hours, whatever the memory.
#include "tsdb/block_import.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "tests/tsdb/blocks.h"
#include "tests/tsdb/store.h"

namespace tidewright::tsdb {
namespace {

namespace fs = std::filesystem;
using testing::BlockContents;

constexpr int64_t kStart = 1'699'999'200'000;  // A multiple of two hours.

Labels Series(int i) { return Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}}); }

struct Imported {
  std::vector<BlockMeta> metas;
  std::vector<BlockContents> contents;
};

class ImportTest : public ::testing::Test {
 protected:
  Imported Import(const std::vector<testing::NewSample>& samples, size_t max_samples) {
    const std::string directory = directory_.path() + "/" + std::to_string(max_samples);
    Imported imported;
    auto import = BlockImport::Create(directory, clock_, {.max_samples = max_samples});
    EXPECT_TRUE(import.ok()) << import.status().ToString();
    for (const auto& [labels, t, v] : samples) EXPECT_TRUE((*import)->Add(labels, t, v).ok());
    auto metas = (*import)->Finish();
    EXPECT_TRUE(metas.ok()) << metas.status().ToString();
    imported.metas = *metas;
    for (const BlockMeta& meta : imported.metas) {
      auto block = *Block::Open(directory + "/" + meta.ulid);
      EXPECT_TRUE(block->Verify().ok()) << block->Verify().ToString();
      imported.contents.push_back(testing::ReadBlock(*block));
    }
    import->reset();
    size_t entries = 0;
    for (auto it = fs::directory_iterator(directory); it != fs::directory_iterator(); ++it) ++entries;
    EXPECT_EQ(entries, imported.metas.size()) << "nothing but blocks is left";
    return imported;
  }

  base::TempDir directory_ = testing::FastTempDir("tsdb-import");
  base::FakeClock clock_{kStart};
};

TEST_F(ImportTest, AnyOrderInAnyMemory) {
  std::vector<testing::NewSample> samples;
  for (int i = 0; i < 7; ++i) {
    for (int64_t n = 0; n < 500; ++n) samples.push_back({Series(i), kStart - 3'600'000 + n * 30'000, 1.0 * i * n});
  }
  const Imported whole = Import(samples, 1 << 20);
  ASSERT_EQ(whole.metas.size(), 3u);
  EXPECT_EQ(whole.metas[0].mint, kStart - 3'600'000);
  EXPECT_EQ(whole.metas[0].maxt, kStart - 30'000 + 1);
  EXPECT_EQ(whole.metas[1].mint, kStart);
  EXPECT_EQ(whole.metas[1].stats.samples, 7u * 240);
  EXPECT_EQ(whole.metas[1].stats.chunks, 7u * 2);
  EXPECT_EQ(whole.metas[2].level, 1);
  EXPECT_EQ(whole.metas[2].sources, std::vector<std::string>{whole.metas[2].ulid});
  std::shuffle(samples.begin(), samples.end(), std::mt19937(7));
  for (size_t max_samples : {size_t{1}, size_t{13}, size_t{1000}, samples.size()}) {
    SCOPED_TRACE(max_samples);
    const Imported parts = Import(samples, max_samples);
    EXPECT_EQ(parts.contents, whole.contents);
    ASSERT_EQ(parts.metas.size(), 3u);
    EXPECT_EQ(parts.metas[1].stats.chunks, 7u * 2) << "chunks are as full as they would be";
  }
}

TEST_F(ImportTest, OfEqualTimesTheFirstStays) {
  for (size_t max_samples : {2, 100}) {
    const Imported imported =
        Import({{Series(1), kStart + 5, 1}, {Series(1), kStart + 1, 2}, {Series(1), kStart + 5, 3}, {Series(2), 7, 4}},
               max_samples);
    ASSERT_EQ(imported.contents.size(), 2u);
    EXPECT_EQ(imported.contents[1].begin()->second.size(), 2u);
    EXPECT_NE(imported.contents[1].begin()->second[1].find("=1"), std::string::npos);
  }
}

TEST_F(ImportTest, RefusesWhatHasNoPlace) {
  auto import = *BlockImport::Create(directory_.path() + "/x", clock_);
  EXPECT_EQ(import->Add({}, 1, 1).code(), base::Code::kInvalidArgument);
  EXPECT_EQ(import->Add(Series(1), INT64_MAX, 1).code(), base::Code::kInvalidArgument);
  EXPECT_TRUE(import->Finish()->empty());
  import.reset();
  EXPECT_TRUE(fs::is_empty(directory_.path() + "/x"));
}

}  // namespace
}  // namespace tidewright::tsdb
