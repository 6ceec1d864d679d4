#include "tsdb/sample_replay.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tsdb/value_codec.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kMaxGatheredBytes = 16 << 20;

base::Status Corrupt(std::string_view what) {
  return base::DataLossError("record of the head's log: " + std::string(what));
}

}  // namespace

void SampleReplay::StartSegment() { values_.clear(); }

// Makes the run the group's. Another group that has some of its series gives up: its samples come first.
base::Status SampleReplay::Claim(Group* group, SeriesRef begin, SeriesRef end) {
  auto overlapping = [&] {
    auto at = owners_.lower_bound(end);
    return at != owners_.begin() && std::prev(at)->second.end > begin ? std::prev(at) : owners_.end();
  };
  for (auto other = overlapping(); other != owners_.end(); other = overlapping()) {
    if (other->second.group == group) return Corrupt("a series twice at one time");
    TW_RETURN_IF_ERROR(FlushGroup(other->second.group, /*absolute=*/false));
    Disband(other->second.group);
  }
  owners_[begin] = {end, group};
  group->run_begins.push_back(begin);
  return base::Status::Ok();
}

void SampleReplay::Disband(Group* group) {
  for (SeriesRef begin : group->run_begins) owners_.erase(begin);
  groups_.erase(groups_.find(group->runs));
}

base::Result<SampleReplay::Group*> SampleReplay::GroupOf(const PackedSamples& samples) {
  auto known = groups_.find(samples.runs);
  if (known != groups_.end()) return known->second.get();
  auto made = std::make_unique<Group>();
  Group* group = made.get();
  group->runs = samples.runs;
  group->refs.reserve(samples.count);
  groups_.emplace(group->runs, std::move(made));
  base::Status status = ForEachRun(samples.runs, [&](SeriesRef begin, uint64_t length) {
    for (uint64_t i = 0; i < length; ++i) group->refs.push_back(begin + i);
    return Claim(group, begin, begin + length);
  });
  if (status.ok()) return group;
  Disband(group);
  return status;
}

base::Status SampleReplay::Add(const PackedSamples& samples, CommitSequence sequence) {
  TW_ASSIGN_OR_RETURN(Group * group, GroupOf(samples));
  const bool ascends = group->steps.empty() || samples.t > group->steps.back().t;
  if (samples.absolute || !ascends) TW_RETURN_IF_ERROR(FlushGroup(group, /*absolute=*/false));
  Record record;
  record.bitmap = group->bytes.size();
  record.codes = record.bitmap + samples.bitmap.size();
  record.end = record.codes + samples.codes.size();
  group->bytes += samples.bitmap;
  group->bytes += samples.codes;
  group->records.push_back(record);
  group->steps.push_back({samples.t, sequence});
  gathered_bytes_ += record.end - record.bitmap;
  if (samples.absolute || group->steps.size() == kMaxSteps) return FlushGroup(group, samples.absolute);
  return gathered_bytes_ < kMaxGatheredBytes ? base::Status::Ok() : Flush();
}

base::Status SampleReplay::Flush() {
  for (auto& [runs, group] : groups_) TW_RETURN_IF_ERROR(FlushGroup(group.get(), /*absolute=*/false));
  return base::Status::Ok();
}

base::Status SampleReplay::FlushGroup(Group* group, bool absolute) {
  const size_t steps = group->steps.size();
  if (steps == 0) return base::Status::Ok();
  const std::string bytes = std::exchange(group->bytes, {});
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  std::array<const uint8_t*, kMaxSteps> bitmaps, codes, ends;
  for (size_t k = 0; k < steps; ++k) {
    bitmaps[k] = data + group->records[k].bitmap;
    codes[k] = data + group->records[k].codes;
    ends[k] = data + group->records[k].end;
  }
  target_.BeginSteps(group->steps);
  group->steps.clear();
  group->records.clear();
  gathered_bytes_ -= bytes.size();
  std::array<double, kMaxSteps> values;
  uint64_t page_number = UINT64_MAX;
  Values* page = nullptr;
  for (size_t i = 0; i < group->refs.size(); ++i) {
    const SeriesRef ref = group->refs[i];
    if (ref / 256 != page_number) {
      page_number = ref / 256;
      std::unique_ptr<Values>& place = values_[page_number];
      if (place == nullptr) place = std::make_unique<Values>();
      page = place.get();
    }
    uint64_t& known = page->known[ref % 256 / 64];
    ValueCursor cursor((known >> (ref % 64) & 1) != 0 && !absolute ? page->last[ref % 256] : 0.0);
    for (size_t k = 0; k < steps; ++k) {
      const bool changed = (bitmaps[k][i / 8] >> (i % 8) & 1) != 0;
      if (changed && !cursor.Next(&codes[k], ends[k])) return Corrupt("values of samples");
      values[k] = cursor.value();
    }
    known |= uint64_t{1} << (ref % 64);
    page->last[ref % 256] = cursor.value();
    target_.TakeSeries(ref, {values.data(), steps});
  }
  for (size_t k = 0; k < steps; ++k) {
    if (codes[k] != ends[k]) return Corrupt("values of samples");
  }
  return base::Status::Ok();
}

}  // namespace tidewright::tsdb
