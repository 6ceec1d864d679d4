// The head's own files of any bytes: records of the log, whose checksums fit, replayed into a head that then answers a
// query; and entries of a chunk file.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "tsdb/encoding.h"
#include "tsdb/head.h"
#include "tsdb/head_chunk_files.h"
#include "tsdb/head_querier.h"
#include "tsdb/log_codec.h"

namespace base = tidewright::base;
namespace tsdb = tidewright::tsdb;

namespace {

// Accepts all that a log can say.
class AnyRecord : public tsdb::LogHandler {
 public:
  tsdb::Symbol OnSymbol(std::string_view) override { return ++symbols_; }
  base::Status OnSeries(tsdb::SeriesRef, std::span<const tsdb::SymbolPair>) override { return base::Status::Ok(); }
  base::Status OnMetadata(std::string, tsdb::Metadata) override { return base::Status::Ok(); }
  base::Status OnSamples(int64_t, std::span<const tsdb::SeriesRef> refs, std::span<const double> values) override {
    if (refs.size() != values.size()) std::abort();
    return base::Status::Ok();
  }
  base::Status OnOther(tsdb::LogPart, std::string_view) override { return base::Status::Ok(); }

 private:
  tsdb::Symbol symbols_ = 0;
};

const std::string& Scratch() {
  static const base::TempDir* const directory = [] {
    setenv("TMPDIR", "/dev/shm", /*overwrite=*/0);
    (void)base::LogToFile("/dev/null");
    return new base::TempDir(*base::TempDir::Create("tsdb-head-fuzz"));
  }();
  return directory->path();
}

void Write(const std::string& path, const std::string& bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
  close(fd);
}

// The input as records: each begins with its length in two bytes.
std::string Framed(std::string_view bytes, std::string_view magic) {
  std::string file(magic);
  tsdb::ByteReader in(bytes);
  while (in.remaining() > 2) {
    const std::string_view record = in.Bytes(std::min<uint64_t>(in.U16(), in.remaining()));
    tsdb::PutU32(&file, static_cast<uint32_t>(record.size()));
    tsdb::PutU32(&file, tsdb::Crc32c(record));
    file += record;
  }
  return file;
}

void Replay(std::string_view bytes, bool checkpoint) {
  const std::string& directory = Scratch();
  const std::string segment = directory + "/log/00000001", state = directory + "/log/checkpoint.00000000";
  if (!base::MakeDirectories(directory + "/log").ok()) std::abort();
  unlink(segment.c_str());
  unlink(state.c_str());
  Write(checkpoint ? state : segment, Framed(bytes, checkpoint ? "TWCHK\x01\r\n" : "TWLOG\x01\r\n"));
  base::FakeClock clock(1'700'000'000'000);
  tsdb::DbOptions options;
  options.max_series = 10'000;
  tsdb::Head head(options, clock, nullptr);
  if (!head.OpenLog(directory).ok()) return;
  auto querier = tsdb::NewHeadQuerier(head, INT64_MIN, INT64_MAX);
  auto selected = querier->Select({}, {});
  if (selected.ok()) {
    for (const auto& series : *selected) {
      auto it = series->Iterator();
      while (it->Next()) (void)it->At();
    }
  }
  querier.reset();
  (void)head.CloseLog();
}

// Entries of a chunk file: a tag, the length in a byte, the body.
void Chunks(std::string_view bytes) {
  std::string file = "TWCHUNK\x01";
  tsdb::ByteReader in(bytes);
  while (in.remaining() > 2) {
    const uint8_t tag = in.U8();
    const std::string_view body = in.Bytes(std::min<uint64_t>(in.U8(), in.remaining()));
    tsdb::PutU8(&file, tag % 2 == 0 ? 'T' : 'C');
    tsdb::PutU32(&file, tsdb::Crc32c(body));
    tsdb::PutU32(&file, static_cast<uint32_t>(body.size()));
    file += body;
  }
  const std::string path = Scratch() + "/chunks";
  Write(path, file);
  (void)tsdb::HeadChunkFiles::Verify(path, [](base::Status) {});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 1 << 14) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  tsdb::LogDecoder decoder;
  AnyRecord handler;
  decoder.StartSegment();
  (void)decoder.Decode(bytes, &handler);
  if (data[0] % 4 == 3) {
    Chunks(bytes);
  } else {
    Replay(bytes, data[0] % 2 == 1);
  }
  return 0;
}
