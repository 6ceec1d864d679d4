// An index of any bytes, as they are and with checksums that fit.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "tests/tsdb/index_checksums.h"
#include "tsdb/index_reader.h"

namespace tsdb = tidewright::tsdb;

namespace {

void ReadAll(const tsdb::IndexReader& index) {
  for (uint32_t i = 0; i < index.symbol_count() && i < 100; ++i) (void)index.Symbol(i);
  for (const std::string& name : index.LabelNames()) {
    auto values = index.LabelValues(name);
    if (!values.ok()) continue;
    for (const std::string& value : *values) (void)index.Postings(name, value);
  }
  using Type = tsdb::Matcher::Type;
  (void)index.Select({tsdb::Matcher::Equal("__name__", "up"), *tsdb::Matcher::Create(Type::kRegex, "job", "a.*|b")});
  (void)index.Select({*tsdb::Matcher::Create(Type::kNotRegex, "job", "a.*"), tsdb::Matcher::Equal("x", "")});
  auto ids = index.Select({});
  if (!ids.ok()) return;
  tsdb::Labels labels;
  std::vector<tsdb::IndexedChunk> chunks;
  for (uint32_t id : *ids) (void)index.Series(id, &labels, &chunks);
}

void Open(const std::string& bytes) {
  const int fd = memfd_create("index", MFD_CLOEXEC);
  if (write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size())) {
    auto index = tsdb::IndexReader::Open("/proc/self/fd/" + std::to_string(fd));
    if (index.ok()) ReadAll(**index);
  }
  close(fd);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  Open(bytes);
  tsdb::testing::RepairIndexChecksums(&bytes);
  Open(bytes);
  return 0;
}
