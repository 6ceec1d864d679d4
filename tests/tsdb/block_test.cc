// Writing blocks and querying them.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "tests/tsdb/blocks.h"
#include "tests/tsdb/store.h"
#include "tsdb/block_reader.h"
#include "tsdb/block_writer.h"
#include "tsdb/tombstones.h"

namespace tidewright::tsdb {
namespace {

using testing::BlockBuilder;
using testing::BlockContents;
using testing::ReadBlock;

class BlockTest : public ::testing::Test {
 protected:
  base::TempDir directory_ = testing::FastTempDir("tsdb-block");
};

Labels Pod(int i) {
  LabelsBuilder labels(Labels::Of({{"__name__", i % 2 == 0 ? "up" : "requests_total"}, {"pod", std::to_string(i)}}));
  if (i % 3 == 0) labels.Set("zone", i % 6 == 0 ? "eu-west" : "eu-east");
  return labels.Build();
}

TEST_F(BlockTest, SelectGivesWhatTestingEachSeriesGives) {
  constexpr int kSeries = 150;  // More values of a label than one step of the table in memory.
  BlockBuilder builder;
  for (int i = 0; i < kSeries; ++i) builder.Floats(Pod(i), {{10, 1.0 * i}});
  auto block = builder.Write(directory_.path());
  using Type = Matcher::Type;
  const std::vector<Matchers> all = {
      {},
      {Matcher::Equal("__name__", "up")},
      {Matcher::Equal("__name__", "up"), Matcher::Equal("pod", "100")},
      {Matcher::Equal("__name__", "up"), Matcher::Equal("pod", "101")},
      {Matcher::Equal("zone", "")},
      {*Matcher::Create(Type::kNotEqual, "zone", "")},
      {*Matcher::Create(Type::kNotEqual, "zone", "eu-west")},
      {*Matcher::Create(Type::kRegex, "zone", "eu-.*")},
      {*Matcher::Create(Type::kRegex, "zone", "eu-west|nowhere")},
      {*Matcher::Create(Type::kRegex, "zone", "|eu-west")},
      {*Matcher::Create(Type::kRegex, "zone", ".*")},
      {*Matcher::Create(Type::kRegex, "zone", ".+")},
      {*Matcher::Create(Type::kNotRegex, "zone", "eu-.*")},
      {*Matcher::Create(Type::kNotRegex, "zone", "eu-west|eu-east")},
      {*Matcher::Create(Type::kNotRegex, "zone", "")},
      {*Matcher::Create(Type::kRegex, "pod", "1[0-4].*"), *Matcher::Create(Type::kNotRegex, "pod", ".*7")},
      {*Matcher::Create(Type::kRegex, "pod", "14.*"), *Matcher::Create(Type::kRegex, "pod", ".*4")},
      {*Matcher::Create(Type::kRegex, "pod", "9.*"), Matcher::Equal("__name__", "up"),
       Matcher::Equal("zone", "eu-west")},
      {Matcher::Equal("nothing", "x")},
      {Matcher::Equal("nothing", "")},
      {*Matcher::Create(Type::kNotEqual, "nothing", "x")},
  };
  for (const Matchers& matchers : all) {
    std::vector<std::string> expected, selected;
    std::string text;
    for (const Matcher& matcher : matchers) text += matcher.ToString() + " ";
    for (int i = 0; i < kSeries; ++i) {
      const Labels labels = Pod(i);
      const bool matches = std::all_of(matchers.begin(), matchers.end(), [&](const Matcher& matcher) {
        return matcher.Matches(labels.Get(matcher.name()));
      });
      if (matches) expected.push_back(labels.ToString());
    }
    for (const auto& [name, samples] : ReadBlock(*block, 0, 100, matchers)) selected.push_back(name);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(selected, expected) << text;
  }
  auto querier = block->NewQuerier(0, 100);
  EXPECT_EQ(*querier->LabelNames({}), (std::vector<std::string>{"__name__", "pod", "zone"}));
  EXPECT_EQ(*querier->LabelNames({Matcher::Equal("pod", "1")}), (std::vector<std::string>{"__name__", "pod"}));
  EXPECT_EQ(querier->LabelValues("pod", {})->size(), 150u);
  EXPECT_EQ(*querier->LabelValues("zone", {Matcher::Equal("pod", "6")}), (std::vector<std::string>{"eu-west"}));
}

TEST_F(BlockTest, QueriesSeeTheirRange) {
  const Labels a = Labels::Of({{"__name__", "a"}});
  std::vector<Sample> samples;
  for (int i = 0; i < 300; ++i) samples.push_back({i * 10, 1.0 * i});
  auto block = BlockBuilder().Floats(a, samples).Write(directory_.path());
  ASSERT_EQ(block->meta().stats.chunks, 3u);
  ASSERT_EQ(*block->Delete(1005, 1205, {}), 1u);
  struct Case {
    int64_t mint, maxt;
    size_t samples;
  };
  for (const Case& test : {Case{0, 2990, 280}, Case{0, 0, 1}, Case{1, 9, 0}, Case{995, 1215, 2}, Case{1195, 1215, 1},
                           Case{2990, 9000, 1}, Case{2991, 9000, 0}, Case{-10, -1, 0}}) {
    SCOPED_TRACE(std::to_string(test.mint) + " to " + std::to_string(test.maxt));
    auto querier = block->NewQuerier(test.mint, test.maxt);
    auto selected = *querier->Select({}, {});
    size_t iterated = 0;
    size_t columns_size = 0;
    if (!selected.empty()) {
      ColumnBuffer buffer;
      SampleColumns columns;
      ASSERT_TRUE(selected[0]->Columns(&buffer, &columns));
      columns_size = columns.t.size();
      for (auto it = selected[0]->Iterator(); it->Next(); ++iterated) {
        EXPECT_EQ(it->At().t, columns.t[iterated]);
        EXPECT_EQ(it->At().v, columns.v[iterated]);
      }
    }
    EXPECT_EQ(iterated, test.samples);
    EXPECT_EQ(columns_size, test.samples);
  }
}

TEST_F(BlockTest, SeekGoesForwardAcrossChunksAndDeletions) {
  std::vector<Sample> samples;
  for (int i = 0; i < 300; ++i) samples.push_back({i * 10, 1.0 * i});
  auto block = BlockBuilder().Floats(Labels::Of({{"__name__", "a"}}), samples).Write(directory_.path());
  ASSERT_EQ(*block->Delete(2000, 2100, {}), 1u);
  auto querier = block->NewQuerier(50, 2900);
  auto selected = *querier->Select({}, {});
  auto it = selected[0]->Iterator();
  ASSERT_TRUE(it->Seek(-5));
  EXPECT_EQ(it->At().t, 50);
  ASSERT_TRUE(it->Seek(50));
  EXPECT_EQ(it->At().t, 50) << "not beyond what is sought";
  ASSERT_TRUE(it->Seek(1195));
  EXPECT_EQ(it->At().t, 1200);
  ASSERT_TRUE(it->Seek(2000));
  EXPECT_EQ(it->At().t, 2110);
  ASSERT_TRUE(it->Next());
  EXPECT_EQ(it->At().t, 2120);
  EXPECT_FALSE(it->Seek(2901));
  EXPECT_FALSE(it->Next());
}

TEST_F(BlockTest, ChunkFilesAreCut) {
  BlockBuilder builder;
  for (int i = 0; i < 50; ++i) builder.Floats(Pod(i), {{10, 1.0 * i}, {20, 2}});
  auto whole = builder.Write(directory_.path());
  base::TempDir other = testing::FastTempDir("tsdb-block");
  auto cut = builder.Write(other.path(), {.chunk_segment_bytes = 100});
  EXPECT_TRUE(std::filesystem::exists(cut->directory() + "/chunks/000007"));
  EXPECT_EQ(ReadBlock(*cut), ReadBlock(*whole));
  EXPECT_TRUE(cut->Verify().ok());
  for (const auto& file : std::filesystem::directory_iterator(cut->directory() + "/chunks")) {
    EXPECT_LE(file.file_size(), 100u);
  }
}

TEST_F(BlockTest, WhatAWriterRefuses) {
  BlockMeta meta;
  meta.ulid = NewUlid(1);
  EXPECT_EQ(BlockWriter::Create(directory_.path(), {}).status().code(), base::Code::kInvalidArgument);
  EXPECT_FALSE(BlockWriter::Create(directory_.path() + "/nowhere", meta).ok());
  auto writer = *BlockWriter::Create(directory_.path(), meta);
  EXPECT_EQ(*writer->AddSymbol(""), 0u);
  EXPECT_EQ(*writer->AddSymbol("a"), 1u);
  EXPECT_EQ(*writer->AddSymbol("b"), 2u);
  EXPECT_FALSE(writer->AddSymbol("b").ok()) << "twice";
  EXPECT_FALSE(writer->AddSymbol("a").ok()) << "out of order";
  ChunkEncoder encoder;
  encoder.Append(10, 1.0);
  encoder.Append(20, 1.0);
  encoder.Cut();
  encoder.Append(15, 1.0);
  const std::vector<EncodedChunk> chunks = encoder.Take();
  const ChunkView first[] = {chunks[0].View()};
  const ChunkView overlapping[] = {chunks[0].View(), chunks[1].View()};
  const ChunkView empty[] = {{10, 20, ChunkEncoding::kXor, std::string_view("\0\0", 2)}};
  const LabelSymbols ab[] = {{1, 2}};
  const LabelSymbols none[] = {{1, 3}};
  const LabelSymbols twice[] = {{1, 2}, {1, 2}};
  struct Case {
    const char* name;
    std::span<const LabelSymbols> labels;
    std::span<const ChunkView> chunks;
    const char* message;
  };
  const Case cases[] = {{"no labels", {}, first, "no labels"},
                        {"no chunks", ab, {}, "no chunks"},
                        {"unknown symbol", none, first, "was not added"},
                        {"a name twice", twice, first, "do not ascend"},
                        {"overlapping chunks", ab, overlapping, "overlap"},
                        {"empty chunk", ab, empty, "is empty"}};
  for (const Case& test : cases) {
    auto status = writer->AddSeries(test.labels, test.chunks);
    EXPECT_EQ(status.code(), base::Code::kInvalidArgument) << test.name;
    EXPECT_NE(status.message().find(test.message), std::string::npos) << status.ToString();
  }
  EXPECT_EQ(writer->AddSeries(Labels::Of({{"a", "missing"}}), first).code(), base::Code::kInvalidArgument);
  EXPECT_EQ(writer->Finish().status().code(), base::Code::kFailedPrecondition) << "no series";
  EXPECT_TRUE(writer->AddSeries(ab, first).ok());
  EXPECT_FALSE(writer->AddSeries(ab, first).ok()) << "a series twice";
  EXPECT_FALSE(writer->AddSymbol("c").ok()) << "a symbol after series";
  writer.reset();
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path())) << "an unfinished block is removed";
}

TEST_F(BlockTest, AFullDiskLeavesNothingBehind) {
  // Files may not grow beyond a limit, as on a volume without space.
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  BlockMeta meta;
  meta.ulid = NewUlid(1);
  auto writer = *BlockWriter::Create(directory_.path(), meta);
  for (int i = 0; i < 100000; ++i) ASSERT_TRUE(writer->AddSymbol("symbol-" + std::to_string(1000000 + i)).ok());
  ChunkEncoder encoder;
  encoder.Append(10, 1.0);
  const std::vector<EncodedChunk> chunks = encoder.Take();
  const ChunkView views[] = {chunks[0].View()};
  const LabelSymbols labels[] = {{1, 2}};
  struct rlimit limit = before;
  limit.rlim_cur = 64 << 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const base::Status status = writer->AddSeries(labels, views);
  const base::Status later = writer->Finish().status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(status.code(), base::Code::kResourceExhausted) << status.ToString();
  EXPECT_FALSE(later.ok());
  writer.reset();
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(BlockTest, ListingAndRemoving) {
  auto block = BlockBuilder().Floats(Pod(0), {{10, 1}}).Write(directory_.path());
  const std::string ulid = block->meta().ulid;
  for (const char* leftover : {".tmp-for-creation", ".tmp-for-deletion", ".tmp", ".other"}) {
    ASSERT_TRUE(base::MakeDirectories(directory_.path() + "/" + ulid + leftover).ok());
  }
  ASSERT_TRUE(base::MakeDirectories(directory_.path() + "/wal").ok());
  EXPECT_EQ(*ListBlocks(directory_.path(), /*clean=*/true), (std::vector<std::string>{ulid}));
  EXPECT_FALSE(std::filesystem::exists(directory_.path() + "/" + ulid + ".tmp-for-creation"));
  EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/" + ulid + ".other")) << "not ours";
  EXPECT_TRUE(RemoveBlock(block->directory()).ok());
  EXPECT_TRUE(ListBlocks(directory_.path(), false)->empty());
  EXPECT_EQ(ReadBlock(*block), (BlockContents{{Pod(0).ToString(), {"10=1"}}})) << "an open block stays readable";
}

TEST(TimeIntervalsTest, AddingJoins) {
  struct Case {
    TimeIntervals before;
    TimeInterval added;
    TimeIntervals after;
  };
  const Case cases[] = {
      {{}, {5, 10}, {{5, 10}}},
      {{}, {10, 5}, {}},
      {{{5, 10}}, {20, 30}, {{5, 10}, {20, 30}}},
      {{{20, 30}}, {5, 10}, {{5, 10}, {20, 30}}},
      {{{5, 10}}, {11, 12}, {{5, 12}}},
      {{{5, 10}}, {12, 13}, {{5, 10}, {12, 13}}},
      {{{5, 10}}, {1, 4}, {{1, 10}}},
      {{{5, 10}, {20, 30}}, {8, 25}, {{5, 30}}},
      {{{5, 10}, {20, 30}, {40, 50}}, {0, 100}, {{0, 100}}},
      {{{5, 10}}, {INT64_MIN, INT64_MAX}, {{INT64_MIN, INT64_MAX}}},
      {{{INT64_MIN, INT64_MAX}}, {5, 10}, {{INT64_MIN, INT64_MAX}}},
  };
  for (const Case& test : cases) {
    TimeIntervals intervals = test.before;
    AddInterval(&intervals, test.added);
    EXPECT_EQ(intervals, test.after) << test.added.mint;
  }
  const TimeIntervals two = {{5, 10}, {20, 30}};
  EXPECT_TRUE(Covers(two, 5) && Covers(two, 10) && Covers(two, 20));
  EXPECT_FALSE(Covers(two, 4) || Covers(two, 11) || Covers(two, 31));
  EXPECT_TRUE(CoversRange(two, 21, 30));
  EXPECT_FALSE(CoversRange(two, 9, 21));
}

TEST(UlidTest, TimeAndForm) {
  const std::string ulid = NewUlid(1704067200000);
  EXPECT_TRUE(IsUlid(ulid));
  EXPECT_EQ(UlidTime(ulid), 1704067200000);
  EXPECT_NE(ulid, NewUlid(1704067200000));
  EXPECT_LT(ulid, NewUlid(1704067200001));
  for (const char* text : {"", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAVX", "81ARZ3NDEKTSV4RRFFQ69G5FAV",
                           "01ARZ3NDEKTSV4RRFFQ69G5FAI", "01arz3ndektsv4rrffq69g5fav"}) {
    EXPECT_FALSE(IsUlid(text)) << text;
  }
}

}  // namespace
}  // namespace tidewright::tsdb
