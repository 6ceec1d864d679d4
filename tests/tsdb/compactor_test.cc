// Which blocks are merged, and what comes out.
#include "tsdb/compactor.h"

#include <gtest/gtest.h>

#include "tests/tsdb/blocks.h"
#include "tests/tsdb/conformance.h"
#include "tests/tsdb/store.h"
#include "tsdb/block_writer.h"

namespace tidewright::tsdb {
namespace {

using testing::BlockBuilder;
using testing::ReadBlock;

constexpr int64_t kHour = 3600 * 1000;
const std::string kUlid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

class CompactionConformance : public testing::ConformanceTest {};

TEST_F(CompactionConformance, RecordedCompaction) {
  const std::string root = testing::ConformanceDirectory() + "/blocks/";
  std::vector<std::shared_ptr<Block>> blocks;
  std::vector<BlockMeta> metas;
  for (const char* name : {"compact-in-2", "compact-in-3", "compact-in-1"}) {
    blocks.push_back(*Block::Open(root + name));
    metas.push_back(blocks.back()->meta());
  }
  const BlockMeta expected = *ReadBlockMeta(root + "compact-out");
  auto directory = testing::FastTempDir("tsdb-compact");
  auto meta = CompactBlocks(directory.path(), blocks, expected.ulid);
  ASSERT_TRUE(meta.ok()) << meta.status().ToString();
  ASSERT_TRUE(meta->has_value());
  int identical = 0;
  for (const char* file : {"/index", "/chunks/000001", "/tombstones", "/meta.json"}) {
    const std::string written = *base::ReadFile(directory.path() + "/" + expected.ulid + file);
    EXPECT_EQ(testing::ToHex(written), testing::ToHex(*base::ReadFile(root + "compact-out" + file))) << file;
    ++identical;
  }
  EXPECT_EQ(identical, 4);
  printf("compact-in -> compact-out: %d files identical\n", identical);
}

struct PlanCase {
  const char* name;
  std::vector<BlockMeta> blocks;
  std::vector<std::string> chosen;  // First letters of their names.
};

// A block named by a letter, over hours [from, to).
BlockMeta Hours(char letter, int64_t from, int64_t to, uint64_t series = 100, uint64_t tombstones = 0) {
  BlockMeta meta;
  meta.ulid = std::string(1, letter);
  meta.mint = from * kHour;
  meta.maxt = to * kHour;
  meta.stats.series = series;
  meta.stats.tombstones = tombstones;
  return meta;
}

BlockMeta Failed(BlockMeta meta) {
  meta.failed = true;
  return meta;
}

BlockMeta Hinted(BlockMeta meta, const char* hint) {
  meta.hints = {hint};
  return meta;
}

const PlanCase kPlans[] = {
    {"nothing", {}, {}},
    {"one block stays", {Hours('a', 0, 2)}, {}},
    {"the newest is left out", {Hours('a', 0, 2), Hours('b', 2, 4), Hours('c', 4, 6)}, {}},
    {"a full range with a newer block",
     {Hours('d', 6, 8), Hours('a', 0, 2), Hours('b', 2, 4), Hours('c', 4, 6)},
     {"a", "b", "c"}},
    {"a gap inside a full range", {Hours('a', 0, 2), Hours('c', 4, 6), Hours('d', 6, 8)}, {"a", "c"}},
    {"a part of a range behind the newest",
     {Hours('a', 0, 2), Hours('b', 2, 4), Hours('d', 6, 8), Hours('e', 8, 10)},
     {"a", "b"}},
    {"an incomplete range waits", {Hours('a', 6, 8), Hours('b', 8, 10), Hours('c', 10, 12)}, {}},
    {"the smaller range comes first",
     {Hours('a', 0, 6), Hours('b', 6, 12), Hours('c', 12, 14), Hours('d', 14, 16), Hours('e', 16, 18),
      Hours('f', 18, 20)},
     {"c", "d", "e"}},
    {"then the larger one",
     {Hours('a', 0, 6), Hours('b', 6, 12), Hours('c', 12, 18), Hours('f', 18, 20)},
     {"a", "b", "c"}},
    {"a block wider than the range is passed over",
     {Hours('a', 1, 8), Hours('b', 12, 14), Hours('c', 14, 16), Hours('d', 18, 20), Hours('e', 20, 22)},
     {"b", "c"}},
    {"a failed block holds its group back",
     {Hours('a', 0, 2), Failed(Hours('b', 2, 4)), Hours('c', 4, 6), Hours('d', 6, 8)},
     {}},
    {"before 1970", {Hours('a', -6, -4), Hours('b', -4, -2), Hours('c', -2, 0), Hours('d', 0, 2)}, {"a", "b", "c"}},
    {"overlapping blocks come first",
     {Hours('a', 0, 2), Hours('b', 2, 4), Hours('c', 4, 6), Hours('x', 6, 8), Hours('y', 7, 9)},
     {"x", "y"}},
    {"overlap by way of another",
     {Hours('a', 0, 6), Hours('b', 1, 2), Hours('c', 5, 7), Hours('d', 7, 9)},
     {"a", "b", "c"}},
    {"touching is not overlapping", {Hours('a', 0, 2), Hours('b', 2, 4)}, {}},
    {"many tombstones in a large block", {Hours('a', 0, 18, 100, 6), Hours('b', 18, 20)}, {"a"}},
    {"few tombstones", {Hours('a', 0, 18, 100, 5), Hours('b', 18, 20)}, {}},
    {"a small block with some tombstones ends the search",
     {Hours('a', 0, 18, 100, 50), Hours('b', 18, 20, 100, 50), Hours('c', 20, 22)},
     {}},
    {"a small block with nothing left", {Hours('b', 18, 20, 100, 100), Hours('c', 20, 22)}, {"b"}},
    {"classes do not mix", {Hours('a', 0, 2), Hinted(Hours('b', 0, 2), "from-stale-series"), Hours('c', 2, 4)}, {}},
    {"a class by itself",
     {Hours('a', 0, 2), Hinted(Hours('b', 0, 2), "from-stale-series"), Hinted(Hours('c', 1, 2), "from-stale-series")},
     {"b", "c"}},
};

TEST(CompactionPlan, Table) {
  const std::vector<int64_t> ranges = CompactionRanges(2 * kHour, 54 * kHour);
  for (const PlanCase& test : kPlans) {
    std::vector<std::string> chosen;
    for (const BlockMeta& meta : PlanCompaction(test.blocks, ranges)) chosen.push_back(meta.ulid);
    EXPECT_EQ(chosen, test.chosen) << test.name;
  }
}

TEST(CompactionPlan, Ranges) {
  EXPECT_EQ(CompactionRanges(2, 100), (std::vector<int64_t>{2, 6, 18, 54}));
  EXPECT_EQ(CompactionRanges(2, 54), (std::vector<int64_t>{2, 6, 18, 54}));
  EXPECT_EQ(CompactionRanges(2, 1), (std::vector<int64_t>{2}));
}

class Compaction : public ::testing::Test {
 protected:
  std::shared_ptr<Block> Build(BlockBuilder builder) { return builder.Write(directory_.path()); }

  // The content of the merged block, or what it failed with.
  testing::BlockContents Merge(const std::vector<std::shared_ptr<Block>>& blocks) {
    auto meta = CompactBlocks(directory_.path(), blocks, kUlid);
    if (!meta.ok()) return {{meta.status().ToString(), {}}};
    if (!meta->has_value()) return {{"no block", {}}};
    merged_ = *Block::Open(directory_.path() + "/" + kUlid);
    EXPECT_TRUE(merged_->Verify().ok()) << merged_->Verify().ToString();
    return ReadBlock(*merged_);
  }

  base::TempDir directory_ = testing::FastTempDir("tsdb-compaction");
  std::shared_ptr<Block> merged_;
};

const Labels kA = Labels::Of({{"__name__", "a"}});
const Labels kB = Labels::Of({{"__name__", "b"}});

TEST_F(Compaction, OverlappingSamplesAreMergedByTime) {
  auto one = Build(BlockBuilder().Floats(kA, {{10, 1}, {30, 3}, {50, 5}}).Floats(kB, {{10, 7}}));
  auto two = Build(BlockBuilder().Floats(kA, {{20, 2}, {30, 99}, {40, 4}}));
  EXPECT_EQ(Merge({two, one}),
            (testing::BlockContents{{"a", {"10=1", "20=2", "30=3", "40=4", "50=5"}}, {"b", {"10=7"}}}));
  EXPECT_EQ(merged_->meta().stats.samples, 6u);
  EXPECT_EQ(merged_->meta().stats.chunks, 2u);
}

TEST_F(Compaction, LongOverlapsAreCutEvery120Samples) {
  std::vector<Sample> even, odd;
  for (int i = 0; i < 300; ++i) (i % 2 == 0 ? even : odd).push_back({i, i * 0.5});
  auto one = Build(BlockBuilder().Floats(kA, even));
  auto two = Build(BlockBuilder().Floats(kA, odd));
  const auto contents = Merge({one, two});
  ASSERT_EQ(contents.at("a").size(), 300u);
  EXPECT_EQ(contents.at("a")[299], "299=149.5");
  EXPECT_EQ(merged_->meta().stats.chunks, 3u);
}

TEST_F(Compaction, ReplicasGiveOneCopy) {
  auto one = Build(BlockBuilder().Floats(kA, {{10, 1}, {20, 2}}));
  auto two = Build(BlockBuilder().Floats(kA, {{10, 1}, {20, 2}}));
  EXPECT_EQ(Merge({one, two}), (testing::BlockContents{{"a", {"10=1", "20=2"}}}));
  EXPECT_EQ(merged_->meta().stats.samples, 2u);
}

TEST_F(Compaction, DeletedSamplesAreLeftOut) {
  auto one = Build(BlockBuilder().Floats(kA, {{10, 1}, {20, 2}, {30, 3}}).Floats(kB, {{10, 1}}));
  ASSERT_EQ(*one->Delete(15, 25, {Matcher::Equal("__name__", "a")}), 1u);
  ASSERT_EQ(*one->Delete(0, 25, {Matcher::Equal("__name__", "b")}), 1u);
  EXPECT_EQ(ReadBlock(*one), (testing::BlockContents{{"a", {"10=1", "30=3"}}}));
  EXPECT_EQ(one->meta().stats.tombstones, 2u);
  EXPECT_EQ(Merge({one}), (testing::BlockContents{{"a", {"10=1", "30=3"}}}));
  EXPECT_EQ(merged_->meta().stats.tombstones, 0u);
  EXPECT_EQ(merged_->meta().stats.series, 1u);
}

TEST_F(Compaction, NothingLeftGivesNoBlock) {
  auto one = Build(BlockBuilder().Floats(kA, {{10, 1}}));
  ASSERT_EQ(*one->Delete(0, 100, {}), 1u);
  EXPECT_EQ(Merge({one}), (testing::BlockContents{{"no block", {}}}));
  EXPECT_EQ(ListBlocks(directory_.path(), false)->size(), 1u) << "nothing was left behind";
}

TEST_F(Compaction, CancelledLeavesNothing) {
  auto one = Build(BlockBuilder().Floats(kA, {{10, 1}}));
  auto meta = CompactBlocks(directory_.path(), {one}, kUlid, {.cancelled = [] { return true; }});
  EXPECT_EQ(meta.status().code(), base::Code::kCancelled);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);
}

TEST_F(Compaction, HistogramsOverlap) {
  Histogram h;
  h.schema = 1;
  h.count = 3;
  h.sum = 4;
  h.positive_spans = {{0, 2}};
  h.positive_buckets = {1, 1};
  Histogram wider = h;
  wider.count = 6;
  wider.positive_spans = {{0, 3}};
  wider.positive_buckets = {2, 0, 0};
  auto one = Build(BlockBuilder().Histograms(kA, {{10, h}, {30, wider}}));
  auto two = Build(BlockBuilder().Histograms(kA, {{20, h}}).Floats(kB, {{1, 1}}));
  const auto contents = Merge({one, two});
  ASSERT_EQ(contents.at("a").size(), 3u);
  EXPECT_EQ(merged_->meta().stats.histogram_samples, 3u);
  EXPECT_EQ(merged_->meta().stats.float_samples, 1u);
  auto querier = merged_->NewQuerier(0, 100);
  auto selected = *querier->Select({}, {Matcher::Equal("__name__", "a")});
  auto it = selected[0]->Iterator();
  ASSERT_TRUE(it->Seek(20));
  EXPECT_EQ(it->AtHistogram()->positive_buckets, (std::vector<double>{1, 2, 0})) << "the chunk was recoded";
  ASSERT_TRUE(it->Next());
  EXPECT_EQ(it->AtHistogram()->positive_buckets, (std::vector<double>{2, 2, 2}));
  EXPECT_FALSE(it->Next());
}

}  // namespace
}  // namespace tidewright::tsdb
