// Framing of Prometheus' write-ahead log: records as checksummed fragments on pages, and back.
// The grammar is in tsdb/docs/wal.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tidewright::tsdb {

inline constexpr size_t kWalPageBytes = 32 * 1024;
inline constexpr size_t kWalFragmentHeaderBytes = 7;
inline constexpr size_t kMaxWalRecordBytes = 256 << 20;  // Uncompressed. One that claims more is corrupt.

// Appends `record`, framed for position `offset` of a segment, to `out`; padding in front of it included.
void FrameRecord(uint64_t offset, std::string_view record, bool compress, std::string* out);

// Takes the records out of one segment. Not thread-safe.
class FrameReader {
 public:
  // Reads up to kWalPageBytes at `offset` into `page`; 0 at the end of the segment.
  using ReadPage = std::function<base::Result<size_t>(uint64_t offset, char* page)>;

  // The pages of a segment in memory, which is borrowed.
  static ReadPage PagesOf(std::string_view segment);

  explicit FrameReader(ReadPage read_page) : read_page_(std::move(read_page)) {}

  // True: `record` is the next one. False: the segment ended properly. kDataLoss: it is torn or corrupt from
  // valid_end() on. Others: from `read_page`.
  base::Result<bool> Next(std::string* record);
  // The position after the last good record.
  uint64_t valid_end() const { return valid_end_; }

 private:
  struct Fragment;
  base::Result<bool> NextFragment(Fragment* fragment);
  base::Result<bool> LoadPage();
  base::Status Corrupt(const std::string& what) const;

  ReadPage read_page_;
  std::string page_;
  uint64_t page_offset_ = 0;  // Of page_ in the segment.
  size_t position_ = 0;       // In page_.
  uint64_t valid_end_ = 0;
  std::string compressed_;
};

}  // namespace tidewright::tsdb
