#include "tsdb/memory_series.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace tidewright::tsdb {

namespace {

// Chunks follow Prometheus' rules: about 120 samples, spread evenly, and none crosses a two-hour line, so that blocks
// can be cut from them.
constexpr int64_t kChunkRangeMs = 2 * 3600 * 1000;
constexpr int kSamplesPerChunk = 120;
constexpr int kMaxSamplesPerChunk = 2 * kSamplesPerChunk;

bool SameBits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }

int64_t RangeEnd(int64_t t) {
  if (t > std::numeric_limits<int64_t>::max() - kChunkRangeMs) return std::numeric_limits<int64_t>::max();
  int64_t into = t % kChunkRangeMs;
  return t - into + (into < 0 ? 0 : kChunkRangeMs);
}

// Where a chunk should end so that the chunks of its range come out equally long: with a quarter of the samples in, the
// range is divided into as many parts as chunks are to be expected.
int64_t PredictEnd(int64_t start, int64_t now, int64_t range_end) {
  int64_t chunks = (range_end - start) / ((now - start + 1) * 4);
  return chunks > 1 ? start + (range_end - start) / chunks : range_end;
}

MemorySeries::Admission Compare(const Sample& sample, const Sample& newest) {
  using Admission = MemorySeries::Admission;
  if (sample.t > newest.t) return Admission::kAdmitted;
  if (sample.t < newest.t) return Admission::kOutOfOrder;
  return SameBits(sample.v, newest.v) ? Admission::kRepeated : Admission::kConflict;
}

}  // namespace

MemorySeries::Admission MemorySeries::Admit(const Sample& sample, uint64_t batch) {
  base::MutexLock lock(mu_);
  if (forgotten_) return Admission::kForgotten;
  Admission admission = total_ > 0 ? Compare(sample, last_) : Admission::kAdmitted;
  bool own = pending_ > 0 && pending_batch_ == batch;
  if (admission == Admission::kAdmitted && own) admission = Compare(sample, pending_last_);
  if (admission != Admission::kAdmitted) return admission;
  ++pending_;
  pending_batch_ = batch;
  pending_last_ = sample;
  return Admission::kAdmitted;
}

void MemorySeries::Release() {
  base::MutexLock lock(mu_);
  --pending_;
  // What the batch brought is void; a later sample of it is compared with what the series has.
  pending_batch_ = 0;
}

bool MemorySeries::Commit(const Sample& sample, CommitSequence sequence, CommitSequence oldest_reader) {
  base::MutexLock lock(mu_);
  --pending_;
  uint64_t before = total_;
  if (!Append(sample)) return false;
  if (!marks_.empty() && marks_.back().sequence == sequence) return true;
  marks_.erase(marks_.begin(), std::find_if(marks_.begin(), marks_.end(),
                                            [&](const CommitMark& mark) { return mark.sequence > oldest_reader; }));
  marks_.push_back({sequence, before});
  return true;
}

bool MemorySeries::Replay(const Sample& sample) {
  base::MutexLock lock(mu_);
  return Append(sample);
}

bool MemorySeries::Append(const Sample& sample) {
  if (total_ > 0 && sample.t <= last_.t) return false;
  bool full = open_ != nullptr && (sample.t >= open_->end || open_->writer.count() >= kMaxSamplesPerChunk);
  if (full) {
    size_t count = open_->writer.count();
    full_.push_back(std::make_shared<const Chunk>(Chunk{open_->min_time, last_.t, count, open_->writer.Take()}));
    open_.reset();
  }
  if (open_ == nullptr) {
    open_ = std::make_unique<OpenChunk>();
    open_->min_time = sample.t;
    open_->end = RangeEnd(sample.t);
  }
  if (open_->writer.count() == kSamplesPerChunk / 4) {
    open_->end = PredictEnd(open_->min_time, last_.t, open_->end);
  }
  open_->writer.Append(sample.t, sample.v);
  last_ = sample;
  ++total_;
  return true;
}

uint64_t MemorySeries::VisibleTo(CommitSequence reader) const {
  for (const CommitMark& mark : marks_) {
    if (mark.sequence > reader) return mark.samples;
  }
  return total_;
}

std::vector<MemorySeries::View> MemorySeries::Read(int64_t mint, int64_t maxt, CommitSequence reader) const {
  base::MutexLock lock(mu_);
  std::vector<View> views;
  const uint64_t visible = VisibleTo(reader);
  uint64_t begin = dropped_;
  for (const std::shared_ptr<const Chunk>& chunk : full_) {
    if (begin >= visible || chunk->min_time > maxt) return views;
    if (chunk->max_time >= mint) views.push_back({chunk, std::min<uint64_t>(chunk->count, visible - begin)});
    begin += chunk->count;
  }
  // The open chunk is copied: its bytes go on changing.
  if (open_ != nullptr && begin < visible && open_->min_time <= maxt && last_.t >= mint) {
    auto copy =
        std::make_shared<const Chunk>(Chunk{open_->min_time, last_.t, open_->writer.count(), open_->writer.bytes()});
    size_t count = std::min<uint64_t>(copy->count, visible - begin);
    views.push_back({std::move(copy), count});
  }
  return views;
}

bool MemorySeries::MayHave(int64_t mint, int64_t maxt, CommitSequence reader) const {
  base::MutexLock lock(mu_);
  if (VisibleTo(reader) <= dropped_ || last_.t < mint) return false;
  int64_t first = full_.empty() ? open_->min_time : full_.front()->min_time;
  return first <= maxt;
}

void MemorySeries::Truncate(int64_t mint) {
  base::MutexLock lock(mu_);
  auto keep = full_.begin();
  for (; keep != full_.end() && (*keep)->max_time < mint; ++keep) dropped_ += (*keep)->count;
  full_.erase(full_.begin(), keep);
  if (full_.empty() && open_ != nullptr && last_.t < mint) {
    dropped_ += open_->writer.count();
    open_.reset();
  }
}

bool MemorySeries::ForgetIfEmpty() {
  base::MutexLock lock(mu_);
  forgotten_ = forgotten_ || (pending_ == 0 && Empty());
  return forgotten_;
}

bool MemorySeries::forgotten() const {
  base::MutexLock lock(mu_);
  return forgotten_;
}

std::optional<int64_t> MemorySeries::MinTime() const {
  base::MutexLock lock(mu_);
  if (Empty()) return std::nullopt;
  return full_.empty() ? open_->min_time : full_.front()->min_time;
}

}  // namespace tidewright::tsdb
