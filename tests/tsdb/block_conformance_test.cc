// Blocks recorded from Prometheus: read to the stated content, and written to the same bytes.
#include <gtest/gtest.h>

#include <map>

#include "base/clock.h"
#include "tests/tsdb/conformance.h"
#include "tests/tsdb/store.h"
#include "tsdb/block_reader.h"
#include "tsdb/block_writer.h"

namespace tidewright::tsdb {
namespace {

using base::Json;
using testing::ConformanceDirectory;
using testing::ConformanceTest;
using testing::Describe;
using testing::DescribeJson;
using testing::FastTempDir;
using testing::ParseHistogram;
using testing::ParseLabels;
using testing::ToHex;

class BlockConformance : public ConformanceTest {
 protected:
  static std::string Directory(const std::string& name) { return ConformanceDirectory() + "/blocks/" + name; }

  static std::shared_ptr<Block> OpenBlock(const std::string& directory) {
    auto block = Block::Open(directory);
    EXPECT_TRUE(block.ok()) << block.status().ToString();
    return block.ok() ? *block : nullptr;
  }

  static std::string File(const std::string& path) {
    auto bytes = base::ReadFile(path);
    EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
    return bytes.ok() ? *bytes : "";
  }
};

void CheckSymbols(const IndexReader& index, const Json& expected) {
  ASSERT_EQ(index.symbol_count(), expected.size());
  for (uint32_t i = 0; i < index.symbol_count(); ++i) {
    EXPECT_EQ(*index.Symbol(i), expected[i].get<std::string>());
  }
  EXPECT_FALSE(index.Symbol(index.symbol_count()).ok());
}

void CheckPostings(const IndexReader& index, const Json& expected) {
  std::vector<std::string> names;
  for (const auto& [name, values] : expected.items()) {
    names.push_back(name);
    EXPECT_EQ(index.LabelValues(name)->size(), values.size());
    for (const auto& [value, ids] : values.items()) {
      auto list = index.Postings(name, value);
      ASSERT_TRUE(list.ok()) << list.status().ToString();
      ASSERT_EQ(list->size(), ids.size()) << name << "=" << value;
      for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ((*list)[i], ids[i].get<uint32_t>());
    }
  }
  EXPECT_EQ(index.LabelNames(), names);
  EXPECT_EQ(index.Postings("__name__", "no such value")->size(), 0u);
  EXPECT_EQ(index.Postings("no such name", "a")->size(), 0u);
}

void CheckSeries(const IndexReader& index, const Json& expected) {
  ASSERT_EQ(index.Select({})->size(), expected.size());
  for (const Json& series : expected) {
    Labels labels;
    std::vector<IndexedChunk> chunks;
    auto status = index.Series(series["series_id"].get<uint32_t>(), &labels, &chunks);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(labels, ParseLabels(series["labels"]));
    ASSERT_EQ(chunks.size(), series["chunks"].size());
    for (size_t i = 0; i < chunks.size(); ++i) {
      EXPECT_EQ(chunks[i].mint, series["chunks"][i]["min_time"].get<int64_t>());
      EXPECT_EQ(chunks[i].maxt, series["chunks"][i]["max_time"].get<int64_t>());
      EXPECT_EQ(chunks[i].ref, series["chunks"][i]["ref"].get<uint64_t>());
    }
  }
}

// All samples of the chunks that the index lists, without those that are deleted; integer histograms as such.
std::vector<std::string> RawSamples(const Block& block, uint32_t id) {
  std::vector<std::string> samples;
  std::vector<IndexedChunk> chunks;
  EXPECT_TRUE(block.index().Series(id, nullptr, &chunks).ok());
  const auto tombstones = block.tombstones();
  const TimeIntervals* deleted = tombstones->Of(id);
  for (const IndexedChunk& entry : chunks) {
    auto chunk = block.Chunk(entry);
    EXPECT_TRUE(chunk.ok()) << chunk.status().ToString();
    auto reader = *NewChunkReader(chunk->encoding, chunk->bytes);
    for (ValueType type = reader->Next(); type != ValueType::kNone; type = reader->Next()) {
      if (deleted != nullptr && Covers(*deleted, reader->time())) continue;
      Histogram integers;
      FloatHistogram floats;
      reader->At(&integers);
      reader->At(&floats);
      samples.push_back(std::to_string(reader->time()) + " " +
                        (type == ValueType::kFloat       ? Describe(reader->value())
                         : type == ValueType::kHistogram ? Describe(integers)
                                                         : Describe(floats)));
    }
  }
  return samples;
}

// The same through a querier, which hands out integer histograms as float histograms.
std::vector<std::string> QueriedSamples(const Series& series) {
  std::vector<std::string> samples;
  auto it = series.Iterator();
  while (it->Next()) {
    const Sample sample = it->At();
    samples.push_back(std::to_string(sample.t) + " " +
                      (it->type() == ValueType::kFloat ? Describe(sample.v) : Describe(*it->AtHistogram())));
  }
  return samples;
}

std::string DescribeAsFloat(const Json& value) {
  const bool integers = value.is_object() && value.contains("positive_deltas");
  return integers ? Describe(ToFloat(ParseHistogram(value))) : DescribeJson(value);
}

void CheckData(const Block& block, const Json& expected, const Json& series, int* samples) {
  auto querier = block.NewQuerier(INT64_MIN, INT64_MAX);
  auto selected = querier->Select({}, {});
  ASSERT_TRUE(selected.ok()) << selected.status().ToString();
  ASSERT_EQ(selected->size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const Json& one = expected[i];
    std::vector<std::string> raw, queried;
    for (const Json& sample : one["samples"]) {
      const std::string t = std::to_string(sample[0].get<int64_t>()) + " ";
      raw.push_back(t + DescribeJson(sample[1]));
      queried.push_back(t + DescribeAsFloat(sample[1]));
    }
    EXPECT_EQ((*selected)[i]->labels(), ParseLabels(one["labels"]));
    EXPECT_EQ(QueriedSamples(*(*selected)[i]), queried);
    EXPECT_EQ(RawSamples(block, series[i]["series_id"].get<uint32_t>()), raw);
    *samples += static_cast<int>(raw.size());
  }
}

TEST_F(BlockConformance, Read) {
  const Json expected = Load("blocks/expected.json");
  int blocks = 0;
  int samples = 0;
  for (const auto& [name, content] : expected.items()) {
    SCOPED_TRACE(name);
    auto block = OpenBlock(Directory(name));
    ASSERT_NE(block, nullptr);
    CheckSymbols(block->index(), content["symbols"]);
    CheckPostings(block->index(), content["postings"]);
    CheckSeries(block->index(), content["series"]);
    CheckData(*block, content["data"], content["series"], &samples);
    EXPECT_TRUE(block->Verify().ok()) << block->Verify().ToString();
    ++blocks;
  }
  EXPECT_GE(blocks, 7);
  printf("blocks/: %d read, %d samples identical\n", blocks, samples);
}

// Writes what a block holds into another directory, either by positions of symbols or by labels.
void Copy(const Block& block, const std::string& directory, const BlockWriterOptions& options, bool by_labels) {
  auto writer = BlockWriter::Create(directory, block.meta(), options);
  ASSERT_TRUE(writer.ok()) << writer.status().ToString();
  const IndexReader& index = block.index();
  for (uint32_t i = 0; i < index.symbol_count(); ++i) ASSERT_EQ(*(*writer)->AddSymbol(*index.Symbol(i)), i);
  const std::vector<uint32_t> ids = *index.Select({});
  for (uint32_t id : ids) {
    Labels labels;
    std::vector<std::pair<uint32_t, uint32_t>> symbols;
    std::vector<IndexedChunk> entries;
    ASSERT_TRUE(index.Series(id, &labels, &entries).ok());
    ASSERT_TRUE(index.SeriesSymbols(id, &symbols, &entries).ok());
    std::vector<ChunkView> chunks;
    for (const IndexedChunk& entry : entries) chunks.push_back(*block.Chunk(entry));
    std::vector<LabelSymbols> positions;
    for (const auto& [name, value] : symbols) positions.push_back({name, value});
    auto status = by_labels ? (*writer)->AddSeries(labels, chunks) : (*writer)->AddSeries(positions, chunks);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  auto meta = (*writer)->Finish();
  ASSERT_TRUE(meta.ok()) << meta.status().ToString();
}

TEST_F(BlockConformance, Write) {
  const Json expected = Load("blocks/expected.json");
  struct Way {
    const char* name;
    BlockWriterOptions options;
    bool by_labels;
  };
  const Way ways[] = {{"by positions", {}, false},
                      {"by labels", {}, true},
                      {"one list of postings at a time", {.postings_buffer_bytes = 1}, false}};
  int identical = 0;
  for (const auto& [name, content] : expected.items()) {
    auto block = OpenBlock(Directory(name));
    ASSERT_NE(block, nullptr);
    for (const Way& way : ways) {
      SCOPED_TRACE(name + " " + way.name);
      auto directory = FastTempDir("tsdb-blocks");
      Copy(*block, directory.path(), way.options, way.by_labels);
      const std::string copy = directory.path() + "/" + block->meta().ulid;
      for (const char* file : {"/index", "/chunks/000001"}) {
        EXPECT_EQ(ToHex(File(copy + file)), ToHex(File(Directory(name) + file))) << file;
      }
      // Deletions come after writing.
      EXPECT_TRUE(WriteTombstones(copy, *block->tombstones()).ok());
      EXPECT_TRUE(WriteBlockMeta(copy, block->meta()).ok());
      EXPECT_EQ(ToHex(File(copy + "/tombstones")), ToHex(File(Directory(name) + "/tombstones")));
      EXPECT_EQ(File(copy + "/meta.json"), File(Directory(name) + "/meta.json"));
    }
    ++identical;
  }
  EXPECT_GE(identical, 7);
  printf("blocks/: %d written, index, chunks, tombstones and meta.json identical\n", identical);
}

// Appends the sample that a reader is at.
void Append(const ChunkReader& reader, ValueType type, ChunkEncoder* encoder) {
  if (type == ValueType::kFloat) return encoder->Append(reader.time(), reader.value());
  if (type == ValueType::kHistogram) {
    Histogram h;
    reader.At(&h);
    return encoder->Append(reader.time(), h);
  }
  FloatHistogram h;
  reader.At(&h);
  encoder->Append(reader.time(), h);
}

TEST_F(BlockConformance, SamplesAreEncodedToTheSameChunks) {
  int identical = 0;
  const Json expected_blocks = Load("blocks/expected.json");
  for (const auto& [name, content] : expected_blocks.items()) {
    auto block = OpenBlock(Directory(name));
    ASSERT_NE(block, nullptr);
    for (const Json& series : content["series"]) {
      std::vector<IndexedChunk> entries;
      ASSERT_TRUE(block->index().Series(series["series_id"].get<uint32_t>(), nullptr, &entries).ok());
      ChunkEncoder encoder;
      std::vector<std::string> expected, encoded;
      for (const IndexedChunk& entry : entries) {
        const ChunkView chunk = *block->Chunk(entry);
        expected.push_back(ToHex(chunk.bytes));
        auto reader = *NewChunkReader(chunk.encoding, chunk.bytes);
        for (ValueType type = reader->Next(); type != ValueType::kNone; type = reader->Next()) {
          Append(*reader, type, &encoder);
        }
        // Floats are cut by the clock, and histograms were recorded one chunk at a time: those behind a counter reset
        // do not say so.
        encoder.Cut();
      }
      for (const EncodedChunk& chunk : encoder.Take()) encoded.push_back(ToHex(chunk.bytes));
      EXPECT_EQ(encoded, expected) << name << " " << series["labels"];
      identical += static_cast<int>(expected.size());
    }
  }
  EXPECT_GE(identical, 33);
  printf("blocks/: %d chunks encoded from their samples, identical\n", identical);
}

TEST_F(BlockConformance, MetaOfAWrittenBlockIsCounted) {
  for (const char* name : {"floats", "histograms", "compact-out"}) {
    auto block = OpenBlock(Directory(name));
    ASSERT_NE(block, nullptr);
    auto directory = FastTempDir("tsdb-blocks");
    Copy(*block, directory.path(), {}, /*by_labels=*/false);
    EXPECT_EQ(File(directory.path() + "/" + block->meta().ulid + "/meta.json"), File(Directory(name) + "/meta.json"));
  }
}

TEST_F(BlockConformance, DeletingGivesTheSameTombstones) {
  // What was deleted is in the recorded file; the same deletions of an untouched copy give the same bytes.
  auto original = OpenBlock(Directory("tombstones"));
  ASSERT_NE(original, nullptr);
  auto directory = FastTempDir("tsdb-blocks");
  Copy(*original, directory.path(), {}, /*by_labels=*/false);
  auto copy = OpenBlock(directory.path() + "/" + original->meta().ulid);
  ASSERT_NE(copy, nullptr);
  for (const auto& [id, intervals] : *original->tombstones()) {
    Labels labels;
    ASSERT_TRUE(original->index().Series(static_cast<uint32_t>(id), &labels, nullptr).ok());
    Matchers matchers;
    for (const Label& label : labels) matchers.push_back(Matcher::Equal(label.name, label.value));
    for (const TimeInterval& interval : intervals) {
      EXPECT_EQ(*copy->Delete(interval.mint, interval.maxt, matchers), 1u);
    }
  }
  EXPECT_EQ(ToHex(File(copy->directory() + "/tombstones")), ToHex(File(Directory("tombstones") + "/tombstones")));
  EXPECT_EQ(File(copy->directory() + "/meta.json"), File(Directory("tombstones") + "/meta.json"));
}

}  // namespace
}  // namespace tidewright::tsdb
