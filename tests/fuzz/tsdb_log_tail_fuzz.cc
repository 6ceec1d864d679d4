// A log of any bytes, followed by a reader: segments with records whose checksums are right, and what comes after them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/file.h"
#include "tsdb/encoding.h"
#include "tsdb/log.h"
#include "tsdb/log_tail.h"

namespace tsdb = tidewright::tsdb;

namespace {

constexpr size_t kMostBytes = 4096;  // A bitmap of zeros says a lot in a few bytes; more of it is no other case.
constexpr size_t kMostSamples = 1 << 20;

const std::string& Directory() {
  static const tidewright::base::TempDir* directory = [] {
    setenv("TMPDIR", "/dev/shm", /*overwrite=*/0);
    return new tidewright::base::TempDir(*tidewright::base::TempDir::Create("log-tail-fuzz"));
  }();
  return directory->path();
}

// The bytes as records, each as long as its first byte says, so that most of them are whole.
std::string Framed(std::string_view bytes, std::string_view magic) {
  std::string file(magic);
  while (bytes.size() > 1) {
    const size_t size = std::min<size_t>(static_cast<unsigned char>(bytes[0]) + 1, bytes.size() - 1);
    const std::string_view record = bytes.substr(1, size);
    tsdb::PutU32(&file, static_cast<uint32_t>(record.size()));
    tsdb::PutU32(&file, tsdb::Crc32c(record));
    file += record;
    bytes.remove_prefix(1 + size);
  }
  return file;
}

void Write(const std::string& path, std::string_view bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// Reads from a position to the end; what it says of series must be readable.
void Follow(const std::optional<tsdb::LogPosition>& from) {
  tsdb::LogTail tail(Directory());
  bool lost = false;
  if (!tail.Start(from, &lost).ok()) return;
  tsdb::LogPosition before = tail.position();
  tsdb::LogCommit commit;
  for (size_t samples = 0; samples < kMostSamples; samples += commit.samples()) {
    commit.Clear();
    auto more = tail.Next(&commit);
    if (more.ok() && !*more) break;
    if (!more.ok() && more.status().code() != tidewright::base::Code::kDataLoss) break;
    if (tail.position() < before) std::abort();
    before = tail.position();
    tsdb::LabelViews labels;
    size_t bytes = 0;
    for (const auto& one : commit.floats) {
      if (!tail.LabelsOf(one.ref, &labels)) continue;
      for (const auto& [name, value] : labels) bytes += name.size() + value.size();
    }
    if (bytes == SIZE_MAX) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4 || size > kMostBytes) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t first = size * data[0] / 256 % size, second = first + (size - first) / 2;
  const std::string log = Directory() + "/log";
  std::error_code ignored;
  std::filesystem::remove_all(log, ignored);
  std::filesystem::create_directories(log + "/retired", ignored);
  Write(log + "/retired/00000000", Framed(bytes.substr(2, first), std::string_view("TWLOG\x01\r\n", 8)));
  if (data[1] % 2 != 0) {
    Write(log + "/checkpoint.00000000", Framed(bytes.substr(2), std::string_view("TWCHK\x01\r\n", 8)));
  }
  Write(log + "/00000001", Framed(bytes.substr(first, second - first), std::string_view("TWLOG\x01\r\n", 8)));
  Write(log + "/00000002", bytes.substr(second));
  Follow(std::nullopt);
  Follow(tsdb::LogPosition{0, 0});
  Follow(tsdb::LogPosition{1, data[1]});
  return 0;
}
