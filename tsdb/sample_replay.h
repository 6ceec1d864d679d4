// SampleReplay: how the samples of a log get into series fast.
//
// A log has a record per scrape, and replaying it record by record would touch every series once for every sample. So
// the records of a scrape target, which name the same series each time, are gathered, up to 32 of them, and then taken
// apart series by series: what is looked up or decoded per series is paid once for 32 samples.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "tsdb/log_codec.h"
#include "tsdb/timeline.h"

namespace tidewright::tsdb {

// Where one record's samples belong.
struct ReplayStep {
  int64_t t = 0;
  CommitSequence sequence = 0;
};

// Takes samples, ascending in time per series.
class ReplayTarget {
 public:
  virtual ~ReplayTarget() = default;
  // The steps of the series that follow.
  virtual void BeginSteps(std::span<const ReplayStep> steps) = 0;
  // One value for each step.
  virtual void TakeSeries(SeriesRef ref, std::span<const double> values) = 0;
};

// Not thread-safe.
class SampleReplay {
 public:
  static constexpr size_t kMaxSteps = 32;

  explicit SampleReplay(ReplayTarget& target) : target_(target) {}

  // Samples that follow do not refer to those before. Flush() first.
  void StartSegment();
  // Gathers the samples of one record. kDataLoss when earlier ones turn out to be no samples, as for Flush().
  base::Status Add(const PackedSamples& samples, CommitSequence sequence);
  // Hands over what was gathered.
  base::Status Flush();

 private:
  struct Record {
    size_t bitmap = 0;  // Positions in Group::bytes.
    size_t codes = 0;
    size_t end = 0;
  };
  // Series that records name together, and the records that were gathered.
  struct Group {
    std::string runs;  // As in the record.
    std::vector<SeriesRef> refs;
    std::vector<SeriesRef> run_begins;
    std::vector<ReplayStep> steps;
    std::vector<Record> records;
    std::string bytes;
  };
  struct RunEnd {
    SeriesRef end = 0;
    Group* group = nullptr;
  };
  // The last values of neighbouring series in the segment.
  struct Values {
    std::array<uint64_t, 4> known{};
    std::array<double, 256> last{};
  };

  base::Result<Group*> GroupOf(const PackedSamples& samples);
  base::Status Claim(Group* group, SeriesRef begin, SeriesRef end);
  void Disband(Group* group);
  base::Status FlushGroup(Group* group, bool absolute);

  ReplayTarget& target_;
  std::unordered_map<std::string_view, std::unique_ptr<Group>> groups_;  // By runs.
  std::map<SeriesRef, RunEnd> owners_;  // The groups' runs by their beginning; no two overlap.
  std::unordered_map<uint64_t, std::unique_ptr<Values>> values_;
  size_t gathered_bytes_ = 0;
};

}  // namespace tidewright::tsdb
