// Log codec: what a record of the head's log says. The bytes are described in tsdb/docs/log.md.
//
// A record is one commit: the series that are new, metadata, and the samples. Samples of one time are a group: which
// series, as runs of neighbouring references; which of them changed, as a bitmap; and the changes, as the value codec
// writes them. A value refers to the one before it of the same series in the same segment of the log, or to 0.0 when it
// is the first there, so that each segment can be read without those before it as far as values go.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/encoding.h"
#include "tsdb/id_map.h"
#include "tsdb/symbol_table.h"

namespace tidewright::tsdb {

// More labels than this in a record are damage; the head takes no series that has more.
inline constexpr size_t kMaxSeriesLabels = 4096;

// What the parts of a record are.
enum class LogPart : uint8_t {
  kSeries = 1,
  kSamples = 2,
  kMetadata = 3,
  kInfo = 4,  // The next three only in checkpoints.
  kTimeline = 5,
  kState = 6,
  kHistogram = 7,
  kExemplar = 8,
  kLate = 9,  // Samples out of order.
  kLateHistogram = 10,
};

// A set of references, one bit each, for references that lie close together.
class RefBits {
 public:
  bool Test(SeriesRef ref) const {
    auto it = words_.find(ref / 64);
    return it != words_.end() && (it->second >> (ref % 64) & 1) != 0;
  }
  // Sets the bit; returns whether it was set before.
  bool TestAndSet(SeriesRef ref) {
    uint64_t* word = ref / 64 == last_ && last_word_ != nullptr ? last_word_ : &words_[ref / 64];
    last_ = ref / 64;
    last_word_ = word;
    bool before = (*word >> (ref % 64) & 1) != 0;
    *word |= uint64_t{1} << (ref % 64);
    return before;
  }
  void Clear() {
    words_.clear();
    last_word_ = nullptr;
  }

 private:
  std::unordered_map<uint64_t, uint64_t> words_;
  uint64_t last_ = 0;
  uint64_t* last_word_ = nullptr;  // Elements of an unordered_map stay where they are.
};

// Writes records. Holds what a reader of the segment will know by then; call StartSegment() when a segment begins, and
// when a record that was built was not written after all. Not thread-safe.
class LogEncoder {
 public:
  explicit LogEncoder(const SymbolTable& symbols) : symbols_(symbols) {}

  void StartSegment();
  void StartRecord();
  // A symbol may name another text from now on.
  void ForgetSymbol(Symbol symbol) {
    if (known_symbols_.Find(symbol) != IdMap::kNone) known_symbols_.Erase(symbol);
  }

  // Each appends one part to record(). Labels are ascending by name; their symbols must be referenced by a series.
  void AddSeries(SeriesRef ref, std::span<const SymbolPair> labels);
  void AddMetadata(const std::string& family, const Metadata& metadata);
  // Samples at `t`. `previous` are the newest values that the head has of the series. With `absolute` the values do not
  // refer to any before: for batches that hold a series more than once.
  void AddSamples(int64_t t, std::span<const SeriesRef> refs, std::span<const double> values,
                  std::span<const double> previous, bool absolute);

  void AddHistogram(LogPart part, SeriesRef ref, std::string_view sample);
  // A part that LogHandler::OnOther() gets.
  void AddPart(LogPart part, std::string_view bytes);

  std::string& record() { return record_; }

 private:
  void PutSymbol(Symbol symbol);
  void PutRuns(std::span<const SeriesRef> refs);

  const SymbolTable& symbols_;
  std::string record_;
  IdMap known_symbols_;
  uint32_t symbol_count_ = 0;
  RefBits known_values_;
  std::vector<SymbolPair> last_labels_;
  SeriesRef last_ref_ = 0;
};

// The samples of one time as a record has them: the parts say what tsdb/docs/log.md says. Lengths fit each other; what
// the codes say was not looked at.
struct PackedSamples {
  int64_t t = 0;
  uint64_t count = 0;
  bool absolute = false;
  std::string_view runs;
  std::string_view bitmap;
  std::string_view codes;
};

// Calls `use(first reference, length)` for each run, until it fails. `runs` are those of PackedSamples.
template <typename Use>
base::Status ForEachRun(std::string_view runs, Use&& use) {
  ByteReader reader(runs);
  for (SeriesRef at = 0; !reader.empty();) {
    at += static_cast<SeriesRef>(reader.Varint());
    const uint64_t length = reader.Uvarint();
    TW_RETURN_IF_ERROR(use(at, length));
    at += length;
  }
  return base::Status::Ok();
}

// What a LogDecoder finds, in order. Each may return an error, which ends decoding.
class LogHandler {
 public:
  virtual ~LogHandler() = default;
  // A text that following series name by the symbol that this returns; 0 refuses it, and the series with it.
  virtual Symbol OnSymbol(std::string_view text) = 0;
  virtual base::Status OnSeries(SeriesRef ref, std::span<const SymbolPair> labels) = 0;
  virtual base::Status OnMetadata(std::string family, Metadata metadata) = 0;
  // Samples before they are decoded. True when that is enough, which needs no sample to be decoded by the LogDecoder.
  virtual base::Result<bool> OnPackedSamples(const PackedSamples& samples);
  virtual base::Status OnSamples(int64_t t, std::span<const SeriesRef> refs, std::span<const double> values) = 0;
  // Parts that this file does not interpret: `bytes` are theirs.
  virtual base::Status OnOther(LogPart part, std::string_view bytes) = 0;
};

// Reads the records of one segment after the other. Any bytes are safe; kDataLoss for what is no record. Not
// thread-safe.
class LogDecoder {
 public:
  void StartSegment();
  // `record` need not outlive the call.
  base::Status Decode(std::string_view record, LogHandler* handler);

 private:
  struct Values {
    std::array<uint64_t, 4> known{};
    std::array<double, 256> last{};
  };

  base::Status DecodeSeries(ByteReader* reader, LogHandler* handler);
  base::Status DecodeMetadata(ByteReader* reader, LogHandler* handler);
  base::Status DecodeSamples(std::string_view record, ByteReader* reader, LogHandler* handler);
  bool DecodeValues(std::string_view bitmap, std::string_view codes, bool absolute);
  bool ReadSymbol(ByteReader* reader, LogHandler* handler, Symbol* symbol);
  void LoadPage(uint64_t number);

  std::vector<Symbol> symbols_;
  std::vector<SymbolPair> last_labels_;
  SeriesRef last_ref_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<Values>> values_;
  uint64_t page_number_ = UINT64_MAX;
  Values* page_ = nullptr;
  std::vector<SeriesRef> refs_;
  std::vector<double> decoded_;
};

}  // namespace tidewright::tsdb
