// Head: writing blocks.
#include <algorithm>

#include "tsdb/block_writer.h"
#include "tsdb/chunk.h"
#include "tsdb/head.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kSeriesAtATime = 1024;

// Reads what was committed when it was made, until it goes.
class ReadGuard {
 public:
  explicit ReadGuard(Head& head) : head_(head), sequence_(head.BeginRead()) {}
  ~ReadGuard() { head_.EndRead(sequence_); }
  ReadGuard(const ReadGuard&) = delete;
  ReadGuard& operator=(const ReadGuard&) = delete;
  CommitSequence sequence() const { return sequence_; }

 private:
  Head& head_;
  const CommitSequence sequence_;
};

// Gives the writer the symbols of `series` in order; the positions they got, by symbol. Texts of series that a reader
// found stay where they are until it ends.
base::Result<std::vector<uint32_t>> AddSymbols(const SeriesIndex& index, std::span<const IndexedSeries> series,
                                               BlockWriter* writer) {
  std::vector<std::pair<std::string_view, Symbol>> texts;
  std::vector<bool> seen;
  index.WithSymbols(series, [&](SeriesRef, std::span<const SymbolPair> labels) {
    for (const SymbolPair& pair : labels) {
      for (Symbol symbol : {pair.name, pair.value}) {
        if (symbol >= seen.size()) seen.resize(symbol * 2 + 1);
        if (seen[symbol]) continue;
        seen[symbol] = true;
        texts.emplace_back(index.symbols().Text(symbol), symbol);
      }
    }
  });
  std::sort(texts.begin(), texts.end());
  std::vector<uint32_t> positions(seen.size());
  for (const auto& [text, symbol] : texts) {
    TW_ASSIGN_OR_RETURN(positions[symbol], writer->AddSymbol(text));
  }
  return positions;
}

// The labels of some series as positions in a block's symbol table.
std::vector<std::vector<LabelSymbols>> PositionsOf(const SeriesIndex& index, std::span<const IndexedSeries> series,
                                                   const std::vector<uint32_t>& positions) {
  std::vector<std::vector<LabelSymbols>> all;
  all.reserve(series.size());
  index.WithSymbols(series, [&](SeriesRef, std::span<const SymbolPair> labels) {
    std::vector<LabelSymbols>& one = all.emplace_back();
    for (const SymbolPair& pair : labels) one.push_back({positions[pair.name], positions[pair.value]});
  });
  return all;
}

}  // namespace

base::Status Head::WriteSeries(std::span<const IndexedSeries> series, int64_t mint, int64_t maxt, CommitSequence reader,
                               Part part, BlockWriter* writer) {
  TW_ASSIGN_OR_RETURN(std::vector<uint32_t> positions, AddSymbols(index_, series, writer));
  ChunkFileReader files = NewFileReader();
  ColumnBuffer buffer;
  for (size_t at = 0; at < series.size(); at += kSeriesAtATime) {
    std::span<const IndexedSeries> some = series.subspan(at, std::min(kSeriesAtATime, series.size() - at));
    std::vector<std::vector<LabelSymbols>> labels = PositionsOf(index_, some, positions);
    for (size_t i = 0; i < some.size(); ++i) {
      SampleColumns columns;
      Read(some[i].ref, mint, maxt, reader, &files, &buffer, &columns, part);
      std::vector<HistogramSample> histograms = ReadHistograms(some[i].ref, mint, maxt, reader, part);
      if (columns.t.empty() && histograms.empty()) continue;
      ChunkEncoder encoder;
      size_t next = 0;
      auto append_histograms = [&](int64_t before) {
        for (; next < histograms.size() && histograms[next].t < before; ++next) {
          std::visit([&](const auto& value) { encoder.Append(histograms[next].t, value); }, histograms[next].value);
        }
      };
      for (size_t k = 0; k < columns.t.size(); ++k) {
        append_histograms(columns.t[k]);
        if (next < histograms.size() && histograms[next].t == columns.t[k]) ++next;
        encoder.Append(columns.t[k], columns.v[k]);
      }
      append_histograms(INT64_MAX);
      std::vector<EncodedChunk> chunks = encoder.Take();
      std::vector<ChunkView> views;
      for (const EncodedChunk& chunk : chunks) views.push_back(chunk.View());
      TW_RETURN_IF_ERROR(writer->AddSeries(std::span<const LabelSymbols>(labels[i]), views));
    }
  }
  return base::Status::Ok();
}

base::Result<std::optional<BlockMeta>> Head::WriteBlock(const std::string& parent_directory, int64_t mint, int64_t maxt,
                                                        const std::string& ulid, Part part, CommitSequence* seen) {
  ReadGuard guard(*this);
  *seen = guard.sequence();
  std::vector<IndexedSeries> series = Select({}, mint, maxt - 1, guard.sequence(), part);
  if (series.empty()) return std::optional<BlockMeta>();
  BlockMeta meta;
  meta.ulid = ulid;
  meta.mint = mint;
  meta.maxt = maxt;
  meta.sources = {ulid};
  if (part == Part::kLate) meta.hints = {"from-out-of-order"};
  TW_ASSIGN_OR_RETURN(std::unique_ptr<BlockWriter> writer, BlockWriter::Create(parent_directory, meta));
  TW_RETURN_IF_ERROR(WriteSeries(series, mint, maxt - 1, guard.sequence(), part, writer.get()));
  base::Result<BlockMeta> finished = writer->Finish();
  // Chunks that could not be read may have been all there was.
  if (!finished.ok() && finished.status().code() == base::Code::kFailedPrecondition) return std::optional<BlockMeta>();
  if (!finished.ok()) return finished.status();
  return std::optional<BlockMeta>(std::move(finished).value());
}

}  // namespace tidewright::tsdb
