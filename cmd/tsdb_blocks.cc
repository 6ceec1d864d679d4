#include "cmd/tsdb_blocks.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <utility>

#include "base/clock.h"
#include "base/document.h"
#include "cmd/go_text.h"
#include "promql/engine.h"
#include "scrape/exposition.h"
#include "tsdb/block_analysis.h"
#include "tsdb/block_import.h"
#include "tsdb/mapped_file.h"

namespace tidewright::cmd {

namespace {

constexpr size_t kDropBytes = 16 << 20;  // Of a file that was read, between two looks back.

using BlockPtr = std::shared_ptr<tsdb::Block>;

// Ascending by time.
base::Result<std::vector<BlockPtr>> OpenBlocks(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::exists(directory, error)) {
    return base::NotFoundError("open " + directory + ": there is no such directory");
  }
  TW_ASSIGN_OR_RETURN(const std::vector<std::string> names, tsdb::ListBlocks(directory, /*clean=*/false));
  std::vector<BlockPtr> blocks;
  for (const std::string& name : names) {
    TW_ASSIGN_OR_RETURN(BlockPtr block, tsdb::Block::Open(directory + "/" + name));
    blocks.push_back(std::move(block));
  }
  std::stable_sort(blocks.begin(), blocks.end(),
                   [](const BlockPtr& a, const BlockPtr& b) { return a->meta().mint < b->meta().mint; });
  return blocks;
}

void PrintBlocks(const std::vector<BlockPtr>& blocks, bool header, bool human_readable) {
  std::vector<std::vector<std::string>> rows;
  if (header) {
    rows.push_back(
        {"BLOCK ULID", "MIN TIME", "MAX TIME", "DURATION", "NUM SAMPLES", "NUM CHUNKS", "NUM SERIES", "SIZE"});
  }
  const auto time = [&](int64_t ms) { return human_readable ? GoTime(ms) : std::to_string(ms); };
  for (const BlockPtr& block : blocks) {
    const tsdb::BlockMeta meta = block->meta();
    const uint64_t size = block->size_bytes();
    rows.push_back({meta.ulid, time(meta.mint), time(meta.maxt), GoDuration(meta.maxt - meta.mint),
                    std::to_string(meta.stats.samples), std::to_string(meta.stats.chunks),
                    std::to_string(meta.stats.series), human_readable ? BinarySize(size) : std::to_string(size)});
  }
  std::fputs(AlignColumns(rows).c_str(), stdout);
}

base::Result<BlockPtr> FindBlock(const AnalyzeFlags& flags) {
  TW_ASSIGN_OR_RETURN(std::vector<BlockPtr> blocks, OpenBlocks(flags.directory));
  if (blocks.empty()) return base::NotFoundError(flags.directory + ": there are no blocks");
  if (flags.block.empty()) {
    // The one that was made last.
    return *std::max_element(blocks.begin(), blocks.end(),
                             [](const BlockPtr& a, const BlockPtr& b) { return a->meta().ulid < b->meta().ulid; });
  }
  for (BlockPtr& block : blocks) {
    if (block->meta().ulid == flags.block) return std::move(block);
  }
  return base::NotFoundError(flags.directory + ": there is no block " + flags.block);
}

void PrintCounts(const char* title, const std::vector<tsdb::NamedCount>& counts) {
  std::printf("\n%s:\n", title);
  for (const tsdb::NamedCount& one : counts) {
    std::printf("%llu %s\n", static_cast<unsigned long long>(one.count), one.name.c_str());
  }
}

// The numbers in about ten steps of equal, round size; `total` is a hundred marks.
void PrintDistribution(const char* what, std::vector<uint32_t> numbers, size_t total) {
  if (numbers.empty()) {
    std::printf("%s: N/A\n\n", what);
    return;
  }
  std::sort(numbers.begin(), numbers.end());
  const int64_t least = numbers.front(), most = numbers.back();
  int64_t step = 10;
  while (step < (most - least) / 10 && step <= 10'000) step *= 10;
  const int64_t start = least - least % step, end = most - most % step + step;
  std::vector<size_t> buckets(static_cast<size_t>((end - start) / step + 1));
  for (uint32_t number : numbers) ++buckets[static_cast<size_t>((number - start) / step)];
  const uint64_t sum = std::accumulate(numbers.begin(), numbers.end(), uint64_t{0});
  std::printf("%s (min/avg/max): %lld/%llu/%lld\n", what, static_cast<long long>(least),
              static_cast<unsigned long long>(sum / numbers.size()), static_cast<long long>(most));
  const auto width = [](auto number) { return static_cast<int>(std::to_string(number).size()); };
  const int count_width = width(*std::max_element(buckets.begin(), buckets.end()));
  for (size_t i = 0; i < buckets.size(); ++i) {
    const long long low = start + static_cast<int64_t>(i) * step;
    const std::string marks(buckets[i] * 100 / total, '#');
    std::printf("[%*lld, %*lld]: %*zu %s\n", width(end), low + 1, width(end + step), low + step, count_width,
                buckets[i], marks.c_str());
  }
  std::printf("\n");
}

void PrintChunks(const tsdb::ChunkFigures& figures) {
  const size_t total = figures.float_samples.size() + figures.histogram_samples.size();
  std::printf("\nCompaction analysis:\n\n");
  PrintDistribution("samples per float chunk", figures.float_samples, total);
  PrintDistribution("bytes per float chunk", figures.float_bytes, total);
  PrintDistribution("samples per histogram chunk", figures.histogram_samples, total);
  PrintDistribution("bytes per histogram chunk", figures.histogram_bytes, total);
  PrintDistribution("buckets per histogram chunk", figures.histogram_buckets, total);
}

void PrintAnalysis(const AnalyzeFlags& flags, const tsdb::BlockMeta& meta, const tsdb::BlockAnalysis& analysis) {
  const auto number = [](uint64_t count) { return static_cast<unsigned long long>(count); };
  std::printf("Block ID: %s\n", meta.ulid.c_str());
  std::printf("Duration: %s\n", GoDuration(meta.maxt - meta.mint).c_str());
  std::printf("Total Series: %llu\n", number(meta.stats.series));
  if (!flags.match.empty()) std::printf("Matcher: %s\n", flags.match.c_str());
  std::printf("Label names: %llu\n", number(analysis.label_names));
  if (!flags.match.empty()) std::printf("Matched series: %llu\n", number(analysis.series));
  std::printf("Postings (unique label pairs): %llu\n", number(analysis.label_pairs));
  std::printf("Postings entries (total label pairs): %llu\n", number(analysis.entries));
  PrintCounts("Label pairs most involved in churning", analysis.churning_pairs);
  PrintCounts("Label names most involved in churning", analysis.churning_names);
  PrintCounts("Most common label pairs", analysis.common_pairs);
  PrintCounts("Label names with highest cumulative label value length", analysis.value_lengths);
  PrintCounts("Highest cardinality labels", analysis.cardinalities);
  PrintCounts("Highest cardinality metric names", analysis.metric_names);
}

base::Result<std::vector<tsdb::Label>> ParseLabels(const std::vector<std::string>& texts) {
  std::vector<tsdb::Label> labels;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return base::InvalidArgumentError("--label " + base::Quoted(text) + ": write name=value");
    }
    labels.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  return labels;
}

// Hands the samples of OpenMetrics text over.
base::Status ReadOpenMetrics(const tsdb::MappedFile& file, const std::vector<tsdb::Label>& extra,
                             tsdb::BlockImport& import) {
  auto parser = scrape::NewExpositionParser(file.bytes(), scrape::ExpositionFormat::kOpenMetricsText, {});
  size_t dropped = 0;
  std::string_view series;  // Of `labels`.
  tsdb::Labels labels;
  for (;;) {
    const scrape::Entry entry = parser->Next();
    if (entry == scrape::Entry::kEnd) return base::Status::Ok();
    if (entry == scrape::Entry::kError) return parser->status();
    if (entry != scrape::Entry::kSeries) continue;
    const auto position = static_cast<size_t>(parser->series().data() - file.bytes().data());
    if (position - dropped > kDropBytes) file.DropPages(dropped = position);
    if (parser->series() != series) {
      series = parser->series();
      std::vector<tsdb::Label> pairs;
      parser->AppendLabels(&pairs);
      pairs.insert(pairs.end(), extra.begin(), extra.end());
      labels = tsdb::Labels::FromPairs(std::move(pairs));
    }
    if (!parser->has_timestamp()) {
      return base::InvalidArgumentError("expected timestamp for series " + labels.ToString() + ", got none");
    }
    TW_RETURN_IF_ERROR(import.Add(labels, parser->timestamp_ms(), parser->value()));
  }
}

}  // namespace

base::Status AnalyzeStore(const AnalyzeFlags& flags) {
  tsdb::Matchers matchers;
  if (!flags.match.empty()) {
    TW_ASSIGN_OR_RETURN(matchers, promql::ParseSelector(flags.match));
  }
  TW_ASSIGN_OR_RETURN(const BlockPtr block, FindBlock(flags));
  TW_ASSIGN_OR_RETURN(const tsdb::BlockAnalysis analysis, tsdb::AnalyzeBlock(*block, matchers, flags.limit));
  PrintAnalysis(flags, block->meta(), analysis);
  if (!flags.extended) return base::Status::Ok();
  TW_ASSIGN_OR_RETURN(const tsdb::ChunkFigures figures, tsdb::MeasureChunks(*block, matchers));
  PrintChunks(figures);
  return base::Status::Ok();
}

base::Status ListStore(const ListFlags& flags) {
  TW_ASSIGN_OR_RETURN(const std::vector<BlockPtr> blocks, OpenBlocks(flags.directory));
  PrintBlocks(blocks, /*header=*/true, flags.human_readable);
  return base::Status::Ok();
}

base::Status ImportOpenMetrics(const ImportFlags& flags) {
  TW_ASSIGN_OR_RETURN(const std::vector<tsdb::Label> extra, ParseLabels(flags.labels));
  TW_ASSIGN_OR_RETURN(const tsdb::MappedFile file, tsdb::MappedFile::Open(flags.file));
  TW_ASSIGN_OR_RETURN(const std::unique_ptr<tsdb::BlockImport> import,
                      tsdb::BlockImport::Create(flags.directory, base::SystemClock::Get()));
  base::Status read = ReadOpenMetrics(file, extra, *import);
  if (!read.ok()) return read.Annotate(flags.file);
  TW_ASSIGN_OR_RETURN(const std::vector<tsdb::BlockMeta> metas, import->Finish());
  std::vector<BlockPtr> blocks;
  for (const tsdb::BlockMeta& meta : metas) {
    TW_ASSIGN_OR_RETURN(BlockPtr block, tsdb::Block::Open(flags.directory + "/" + meta.ulid));
    blocks.push_back(std::move(block));
  }
  if (!flags.quiet && !blocks.empty()) PrintBlocks(blocks, /*header=*/true, flags.human_readable);
  return base::Status::Ok();
}

}  // namespace tidewright::cmd
