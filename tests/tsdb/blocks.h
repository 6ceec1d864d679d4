// Small blocks for tests, and their content as text.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "base/strings.h"
#include "tsdb/block_reader.h"
#include "tsdb/block_writer.h"
#include "tsdb/chunk.h"

namespace tidewright::tsdb::testing {

// Collects series and writes them as a block.
class BlockBuilder {
 public:
  BlockBuilder& Floats(const Labels& labels, const std::vector<Sample>& samples) {
    ChunkEncoder encoder;
    for (const Sample& sample : samples) encoder.Append(sample.t, sample.v);
    return Add(labels, encoder.Take());
  }

  BlockBuilder& Histograms(const Labels& labels, const std::vector<std::pair<int64_t, Histogram>>& samples) {
    ChunkEncoder encoder;
    for (const auto& [t, h] : samples) encoder.Append(t, h);
    return Add(labels, encoder.Take());
  }

  BlockBuilder& Add(const Labels& labels, std::vector<EncodedChunk> chunks) {
    series_[labels] = std::move(chunks);
    return *this;
  }

  // The meta of the block: times from the samples, level 1, a new name.
  BlockMeta Meta() const {
    BlockMeta meta;
    meta.ulid = NewUlid(1700000000000);
    meta.sources = {meta.ulid};
    meta.mint = INT64_MAX;
    meta.maxt = INT64_MIN;
    for (const auto& [labels, chunks] : series_) {
      meta.mint = std::min(meta.mint, chunks.front().mint);
      meta.maxt = std::max(meta.maxt, chunks.back().maxt + 1);
    }
    return meta;
  }

  std::shared_ptr<Block> Write(const std::string& directory, const BlockWriterOptions& options = {}) const {
    auto writer = BlockWriter::Create(directory, Meta(), options);
    EXPECT_TRUE(writer.ok()) << writer.status().ToString();
    std::set<std::string> symbols;
    for (const auto& [labels, chunks] : series_) {
      for (const Label& label : labels) symbols.insert({label.name, label.value});
    }
    for (const std::string& symbol : symbols) EXPECT_TRUE((*writer)->AddSymbol(symbol).ok());
    for (const auto& [labels, chunks] : series_) {
      std::vector<ChunkView> views;
      for (const EncodedChunk& chunk : chunks) views.push_back(chunk.View());
      auto status = (*writer)->AddSeries(labels, views);
      EXPECT_TRUE(status.ok()) << status.ToString();
    }
    auto meta = (*writer)->Finish();
    EXPECT_TRUE(meta.ok()) << meta.status().ToString();
    auto block = Block::Open(directory + "/" + meta->ulid);
    EXPECT_TRUE(block.ok()) << block.status().ToString();
    return *block;
  }

 private:
  std::map<Labels, std::vector<EncodedChunk>> series_;
};

using BlockContents = std::map<std::string, std::vector<std::string>>;

// By series, the samples as "t=value"; of histograms "t=histogram:sum".
inline BlockContents ReadBlock(const Block& block, int64_t mint = INT64_MIN, int64_t maxt = INT64_MAX,
                               const Matchers& matchers = {}) {
  BlockContents contents;
  auto querier = block.NewQuerier(mint, maxt);
  auto selected = querier->Select({}, matchers);
  if (!selected.ok()) return {{"error: " + selected.status().ToString(), {}}};
  for (const auto& series : *selected) {
    auto& samples = contents[series->labels().ToString()];
    auto it = series->Iterator();
    while (it->Next()) {
      const Sample sample = it->At();
      const char* kind = it->type() == ValueType::kFloat ? "" : "histogram:";
      samples.push_back(std::to_string(sample.t) + "=" + kind + base::FormatDouble(sample.v));
    }
  }
  return contents;
}

}  // namespace tidewright::tsdb::testing
