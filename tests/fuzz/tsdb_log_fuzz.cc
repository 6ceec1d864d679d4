// Records of the head's log of any bytes: decoded one by one, and gathered as a replay does.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "tsdb/exemplar_ring.h"
#include "tsdb/histogram_store.h"
#include "tsdb/log_codec.h"
#include "tsdb/sample_replay.h"

namespace tsdb = tidewright::tsdb;
using tidewright::base::Result;
using tidewright::base::Status;

namespace {

constexpr uint64_t kMostSamples = 4096;  // A bitmap of zeros says a lot in a few bytes; more of it is no other case.

class Handler : public tsdb::LogHandler, public tsdb::ReplayTarget {
 public:
  explicit Handler(bool gather) : replay_(*this), gather_(gather) {}

  Status Read(const std::vector<std::string>& records) {
    decoder_.StartSegment();
    for (const std::string& record : records) {
      Status status = decoder_.Decode(record, this);
      if (!status.ok()) return status;
    }
    return replay_.Flush();
  }
  std::map<tsdb::SeriesRef, std::vector<std::pair<int64_t, double>>> samples;

 private:
  tsdb::Symbol OnSymbol(std::string_view text) override { return text.empty() ? 0 : 1; }
  Status OnSeries(tsdb::SeriesRef, std::span<const tsdb::SymbolPair> labels) override {
    return labels.empty() ? tidewright::base::InternalError("a series without labels") : Status::Ok();
  }
  Status OnMetadata(std::string, tsdb::Metadata) override { return Status::Ok(); }
  Result<bool> OnPackedSamples(const tsdb::PackedSamples& samples) override {
    if (samples.count > kMostSamples) return tidewright::base::DataLossError("too many");
    if (!gather_) return false;
    Status added = replay_.Add(samples, ++sequence_);
    if (!added.ok()) return added;
    return true;
  }
  Status OnSamples(int64_t t, std::span<const tsdb::SeriesRef> refs, std::span<const double> values) override {
    if (refs.size() != values.size()) std::abort();
    for (size_t i = 0; i < refs.size(); ++i) samples[refs[i]].emplace_back(t, values[i]);
    return Status::Ok();
  }
  Status OnOther(tsdb::LogPart, std::string_view bytes) override {
    (void)tsdb::DecodeHistogramSample(bytes);
    auto exemplar = tsdb::DecodeExemplar(bytes);
    if (exemplar.ok() &&
        !tsdb::DecodeExemplar(tsdb::EncodeExemplar(exemplar->ref, exemplar->series, exemplar->exemplar)).ok()) {
      std::abort();
    }
    return Status::Ok();
  }
  void BeginSteps(std::span<const tsdb::ReplayStep> steps) override { steps_.assign(steps.begin(), steps.end()); }
  void TakeSeries(tsdb::SeriesRef ref, std::span<const double> values) override {
    if (values.size() != steps_.size()) std::abort();
    for (size_t i = 0; i < values.size(); ++i) samples[ref].emplace_back(steps_[i].t, values[i]);
  }

  tsdb::LogDecoder decoder_;
  tsdb::SampleReplay replay_;
  const bool gather_;
  tsdb::CommitSequence sequence_ = 0;
  std::vector<tsdb::ReplayStep> steps_;
};

}  // namespace

// The first byte of each record is its length.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> records;
  for (size_t at = 0; at < size;) {
    const size_t length = std::min<size_t>(data[at], size - at - 1);
    records.emplace_back(reinterpret_cast<const char*>(data + at + 1), length);
    at += 1 + length;
  }
  Handler one_by_one(false), gathered(true);
  const bool good = one_by_one.Read(records).ok();
  // A group with a series twice at one time is refused by the second only.
  if (gathered.Read(records).ok() && good && gathered.samples.size() != one_by_one.samples.size()) std::abort();
  return 0;
}
