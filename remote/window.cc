#include "remote/window.h"

#include <algorithm>
#include <utility>

namespace tidewright::remote {

bool Window::Wanted(tsdb::SeriesRef ref, int64_t t, const tsdb::LogTail& tail, size_t LeftOut::Kinds::*kind) {
  if (t < limits_.oldest_ms) {
    ++(left_out_.too_old.*kind);
    return false;
  }
  const Fate fate = labels_.FateOf(ref, tail);
  if (fate == Fate::kDropped) ++(left_out_.dropped.*kind);
  if (fate == Fate::kUnknown) ++(left_out_.unknown.*kind);
  return fate == Fate::kSent;
}

Batch& Window::BatchFor(tsdb::SeriesRef ref, int64_t t) {
  Shard& shard = shards_[ref % shards_.size()];
  if (shard.batches.empty() || shard.batches.back().content.samples() >= limits_.samples_per_send) {
    shard.batches.emplace_back();
  }
  if (limits_.exemplars) shard.last_batch[ref] = shard.batches.size() - 1;
  Batch& batch = shard.batches.back();
  batch.newest_ms = std::max(batch.newest_ms, t);
  ++samples_;
  return batch;
}

// With a sample of its series, as version 2.0 has no exemplars without.
Batch& Window::BatchOfExemplar(tsdb::SeriesRef ref) {
  Shard& shard = shards_[ref % shards_.size()];
  if (shard.batches.empty()) shard.batches.emplace_back();
  auto last = shard.last_batch.find(ref);
  ++exemplars_;
  return last != shard.last_batch.end() ? shard.batches[last->second] : shard.batches.back();
}

void Window::Add(tsdb::LogCommit* commit, const tsdb::LogTail& tail) {
  for (const tsdb::LogCommit::Float& one : commit->floats) {
    if (!Wanted(one.ref, one.t, tail, &LeftOut::Kinds::samples)) continue;
    BatchFor(one.ref, one.t).content.floats.push_back(one);
  }
  for (tsdb::LogCommit::OneHistogram& one : commit->histograms) {
    if (!limits_.histograms || !Wanted(one.ref, one.sample.t, tail, &LeftOut::Kinds::histograms)) continue;
    BatchFor(one.ref, one.sample.t).content.histograms.push_back(std::move(one));
  }
  for (tsdb::LoggedExemplar& one : commit->exemplars) {
    if (!limits_.exemplars || !Wanted(one.ref, one.exemplar.t, tail, &LeftOut::Kinds::exemplars)) continue;
    BatchOfExemplar(one.ref).content.exemplars.push_back(std::move(one));
  }
}

std::vector<std::vector<Batch>> Window::TakeTurns() {
  std::vector<std::vector<Batch>> turns;
  for (Shard& shard : shards_) {
    if (shard.batches.size() > turns.size()) turns.resize(shard.batches.size());
    for (size_t i = 0; i < shard.batches.size(); ++i) turns[i].push_back(std::move(shard.batches[i]));
    shard = Shard();
  }
  samples_ = exemplars_ = 0;
  return turns;
}

}  // namespace tidewright::remote
