#include "tsdb/verify.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>
#include <utility>

#include "tsdb/block_meta.h"
#include "tsdb/block_reader.h"
#include "tsdb/chunk_files.h"
#include "tsdb/frame.h"
#include "tsdb/head_chunk_files.h"
#include "tsdb/log.h"
#include "tsdb/log_codec.h"
#include "tsdb/mapped_file.h"
#include "tsdb/prometheus_head_chunks.h"
#include "tsdb/record.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCheckpointPrefix = "checkpoint.";

// Accepts all that a log can say.
class AnyRecord : public LogHandler {
 public:
  Symbol OnSymbol(std::string_view) override { return ++symbols_; }
  base::Status OnSeries(SeriesRef, std::span<const SymbolPair>) override { return base::Status::Ok(); }
  base::Status OnMetadata(std::string, Metadata) override { return base::Status::Ok(); }
  base::Status OnSamples(int64_t, std::span<const SeriesRef>, std::span<const double>) override {
    return base::Status::Ok();
  }
  base::Status OnOther(LogPart, std::string_view) override { return base::Status::Ok(); }

 private:
  Symbol symbols_ = 0;
};

// Whether a record of Prometheus' log can be decoded.
base::Status CheckRecord(std::string_view record) {
  if (record.empty()) return base::DataLossError("an empty record");
  switch (static_cast<RecordType>(record[0])) {
    case RecordType::kSeries: return DecodeSeries(record).status();
    case RecordType::kSamples:
    case RecordType::kSamplesV2: return DecodeSamples(record).status();
    case RecordType::kTombstones: return DecodeTombstones(record).status();
    case RecordType::kExemplars: return DecodeExemplars(record).status();
    case RecordType::kMarkers: return DecodeMarkers(record).status();
    case RecordType::kMetadata: return DecodeMetadata(record).status();
    case RecordType::kHistograms:
    case RecordType::kCustomHistograms:
    case RecordType::kHistogramsV2: return DecodeHistograms<Histogram>(record).status();
    case RecordType::kFloatHistograms:
    case RecordType::kCustomFloatHistograms:
    case RecordType::kFloatHistogramsV2: return DecodeHistograms<FloatHistogram>(record).status();
  }
  return base::DataLossError("record type " + std::to_string(static_cast<uint8_t>(record[0])) + " is not known");
}

bool IsNumber(const std::string& name) {
  return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
}

class Verification {
 public:
  explicit Verification(std::string directory) : directory_(std::move(directory)) {}

  base::Result<VerifyReport> Run() {
    std::error_code error;
    if (!fs::is_directory(directory_, error)) {
      return base::NotFoundError("verify " + directory_ + ": there is no such directory");
    }
    TW_ASSIGN_OR_RETURN(const std::vector<std::string> names, List(directory_));
    for (const std::string& name : names) Dispatch(name, directory_ + "/" + name);
    return std::move(report_);
  }

 private:
  static base::Result<std::vector<std::string>> List(const std::string& directory) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) return FileError("list", directory, error.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  void Dispatch(const std::string& name, const std::string& path) {
    if (IsUlid(name)) return CheckBlock(name, path);
    if (name == "log") return CheckEach(path, [this](const auto& one, const auto& file) { CheckLog(one, file); });
    if (name == "head_chunks") {
      return CheckEach(path, [this](const auto& one, const auto& file) { CheckOwnChunks(one, file); });
    }
    if (name == "wal" || name == "wbl" || name.rfind("chunk_snapshot.", 0) == 0) return CheckWal(name, path);
    if (name == "chunks_head") {
      return CheckEach(path, [this](const auto& one, const auto& file) { CheckHeadChunks(one, file); });
    }
    if (name == "lock" || name == "queries.active") return;
    if (name.find(".tmp") != std::string::npos)
      return Note(path, "left behind by an interrupted write; goes at the next start");
    Note(path, "not part of the store, not looked at");
  }

  void CheckEach(const std::string& directory,
                 const std::function<void(const std::string& name, const std::string& path)>& check) {
    base::Result<std::vector<std::string>> names = List(directory);
    if (!names.ok()) return Fault(names.status());
    for (const std::string& name : *names) {
      if (name.find(".tmp") == std::string::npos) {
        check(name, directory + "/" + name);
      } else {
        Note(directory + "/" + name, "left behind by an interrupted write; goes at the next start");
      }
    }
  }

  void CheckLog(const std::string& name, const std::string& path) {
    const bool checkpoint = name.rfind(kCheckpointPrefix, 0) == 0;
    if (!checkpoint && !IsNumber(name)) return Note(path, "not part of the log, not looked at");
    Begin(path);
    LogDecoder decoder;
    AnyRecord handler;
    decoder.StartSegment();
    Fault(ReadLogFile(path, checkpoint, [&](std::string_view record) { return decoder.Decode(record, &handler); }));
  }

  void CheckOwnChunks(const std::string& name, const std::string& path) {
    if (!IsNumber(name)) return Note(path, "no file of chunks, not looked at");
    Begin(path);
    Fault(HeadChunkFiles::Verify(path, [this](base::Status fault) { Fault(fault); }));
  }

  void CheckWal(const std::string& kind, const std::string& directory) {
    const bool records = kind == "wal" || kind == "wbl";  // A snapshot has records of its own.
    CheckEach(directory, [&](const std::string& name, const std::string& path) {
      if (name.rfind(kCheckpointPrefix, 0) == 0) return CheckWal(kind, path);
      if (!IsNumber(name)) return Note(path, "not part of the log, not looked at");
      CheckSegment(path, records);
    });
  }

  void CheckSegment(const std::string& path, bool records) {
    Begin(path);
    base::Result<MappedFile> file = MappedFile::Open(path);
    if (!file.ok()) return Fault(file.status());
    FrameReader reader(FrameReader::PagesOf(file->bytes()));
    std::string record;
    for (;;) {
      const uint64_t begin = reader.valid_end();
      base::Result<bool> more = reader.Next(&record);
      if (!more.ok()) return Fault(more.status().Annotate(path));
      if (!*more) return;
      base::Status status = records ? CheckRecord(record) : base::Status::Ok();
      if (!status.ok()) return Fault(status.Annotate(path + " at byte " + std::to_string(begin)));
    }
  }

  void CheckHeadChunks(const std::string& name, const std::string& path) {
    if (!IsNumber(name)) return Note(path, "no file of chunks, not looked at");
    Begin(path);
    base::Result<MappedFile> file = MappedFile::Open(path);
    if (!file.ok()) return Fault(file.status());
    std::vector<HeadChunk> chunks;
    Fault(ParseHeadChunks(file->bytes(), &chunks).Annotate(path));
    for (const HeadChunk& chunk : chunks) {
      const auto place = static_cast<size_t>(chunk.chunk.bytes.data() - file->bytes().data());
      Fault(VerifyChunk(chunk.chunk).Annotate(path + ": samples at byte " + std::to_string(place)));
    }
  }

  void CheckBlock(const std::string& name, const std::string& path) {
    for (const char* file : {"meta.json", "tombstones", "index"}) Begin(path + "/" + file);
    base::Result<BlockMeta> meta = ReadBlockMeta(path);
    Fault(meta.status());
    if (meta.ok() && meta->ulid != name)
      Fault(base::DataLossError(path + "/meta.json: it describes block " + meta->ulid));
    Fault(ReadTombstones(path).status());
    CheckEach(path + "/chunks", [this](const std::string&, const std::string& file) {
      Begin(file);
      Fault(VerifyChunkFile(file, [this](base::Status fault) { Fault(fault); }));
    });
    Begin("");
    base::Result<std::unique_ptr<IndexReader>> index = IndexReader::Open(path + "/index");
    Fault(index.status());
    if (!index.ok()) return;
    CheckPostings(**index);
    base::Result<std::unique_ptr<ChunkFiles>> chunks = ChunkFiles::Open(path + "/chunks");
    Fault(chunks.status());
    if (chunks.ok()) CheckSeries(path, **index, **chunks, meta.ok() ? &*meta : nullptr);
  }

  void CheckPostings(const IndexReader& index) {
    for (const std::string& name : index.LabelNames()) {
      base::Result<std::vector<std::string>> values = index.LabelValues(name);
      Fault(values.status());
      if (!values.ok()) continue;
      for (const std::string& value : *values) Fault(index.Postings(name, value).status());
    }
  }

  void CheckSeries(const std::string& path, const IndexReader& index, const ChunkFiles& files, const BlockMeta* meta) {
    base::Result<std::vector<uint32_t>> ids = index.Select({});
    Fault(ids.status());
    if (!ids.ok()) return;
    BlockStats found;
    for (uint32_t id : *ids) CheckOneSeries(id, index, files, meta, &found);
    if (meta == nullptr || !report_.faults.empty()) return;
    const auto compare = [&](const char* what, uint64_t there, uint64_t said) {
      if (there == said) return;
      Fault(base::DataLossError(path + "/meta.json: it says " + std::to_string(said) + " " + what + ", and there are " +
                                std::to_string(there)));
    };
    compare("series", ids->size(), meta->stats.series);
    compare("chunks", found.chunks, meta->stats.chunks);
    compare("samples", found.samples, meta->stats.samples);
  }

  void CheckOneSeries(uint32_t id, const IndexReader& index, const ChunkFiles& files, const BlockMeta* meta,
                      BlockStats* found) {
    Labels labels;
    std::vector<IndexedChunk> chunks;
    base::Status status = index.Series(id, &labels, &chunks);
    Fault(status);
    if (!status.ok()) return;
    for (const IndexedChunk& entry : chunks) {
      base::Result<ChunkView> chunk = files.Read(entry.ref);
      Fault(chunk.status());
      if (!chunk.ok()) continue;
      chunk->mint = entry.mint;
      chunk->maxt = entry.maxt;
      ++found->chunks;
      found->samples += ChunkSampleCount(chunk->encoding, chunk->bytes);
      const std::string place =
          "chunk at byte " + std::to_string(entry.ref & UINT32_MAX) + " of " + files.PathOf(entry.ref);
      Fault(VerifyChunk(*chunk).Annotate(place + ", of " + labels.ToString()));
      if (meta == nullptr || (entry.mint >= meta->mint && entry.maxt < meta->maxt)) continue;
      Fault(base::DataLossError(place + ": of another time than its block"));
    }
  }

  // From now on a file's faults are counted.
  void Begin(const std::string& path) {
    faults_of_file_ = 0;
    if (path.empty()) return;
    std::error_code error;
    const uint64_t size = fs::file_size(path, error);
    if (error) return;
    ++report_.files;
    report_.bytes += size;
  }

  void Fault(const base::Status& status) {
    if (status.ok() || !seen_.insert(status.message()).second) return;
    ++faults_of_file_;
    if (faults_of_file_ < VerifyReport::kMaxFaults) {
      report_.faults.push_back(status.message());
    } else if (faults_of_file_ == VerifyReport::kMaxFaults) {
      report_.faults.push_back(status.message() + "; there may be more");
    }
  }
  void Note(const std::string& path, const std::string& what) { report_.notes.push_back(path + ": " + what); }

  const std::string directory_;
  VerifyReport report_;
  size_t faults_of_file_ = 0;
  std::set<std::string> seen_;  // A chunk is looked at by its place in the file and by the index.
};

}  // namespace

base::Result<VerifyReport> VerifyDirectory(const std::string& directory) { return Verification(directory).Run(); }

}  // namespace tidewright::tsdb
