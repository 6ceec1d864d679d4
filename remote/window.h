// Window: a stretch of the store's log, cut into batches that are sent as one request each.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "remote/outgoing_labels.h"
#include "tsdb/log_tail.h"

namespace tidewright::remote {

// What one request says. Series are the log's references: labels are looked up when the request is made.
struct Batch {
  tsdb::LogCommit content;
  int64_t newest_ms = 0;
};

struct WindowLimits {
  size_t samples_per_send = 1;
  size_t shards = 1;
  bool histograms = false;  // Whether they are sent.
  bool exemplars = false;
  int64_t oldest_ms = INT64_MIN;  // Samples before are left out.
};

// Samples of a series are in one shard, in the order of the log. Not thread-safe.
class Window {
 public:
  // How many were left out, and why.
  struct LeftOut {
    struct Kinds {
      size_t samples = 0;
      size_t histograms = 0;
      size_t exemplars = 0;
    };
    Kinds dropped;  // By write_relabel_configs.
    Kinds too_old;
    Kinds unknown;  // The log does not explain the series.
  };

  // Borrows the labels.
  Window(const WindowLimits& limits, OutgoingLabels& labels)
      : limits_(limits), labels_(labels), shards_(limits.shards) {}

  // Takes what is in the commit.
  void Add(tsdb::LogCommit* commit, const tsdb::LogTail& tail);
  size_t samples() const { return samples_; }  // To be sent, histograms included.
  bool full() const { return samples_ >= limits_.samples_per_send * limits_.shards; }
  bool empty() const { return samples_ == 0 && exemplars_ == 0; }
  const LeftOut& left_out() const { return left_out_; }
  // Batches of one turn may be sent at the same time; turns one after the other. Empties the window.
  std::vector<std::vector<Batch>> TakeTurns();

 private:
  struct Shard {
    std::vector<Batch> batches;
    std::unordered_map<tsdb::SeriesRef, size_t> last_batch;  // Of a series: its exemplars go there.
  };

  bool Wanted(tsdb::SeriesRef ref, int64_t t, const tsdb::LogTail& tail, size_t LeftOut::Kinds::*kind);
  Batch& BatchFor(tsdb::SeriesRef ref, int64_t t);
  Batch& BatchOfExemplar(tsdb::SeriesRef ref);

  const WindowLimits limits_;
  OutgoingLabels& labels_;
  std::vector<Shard> shards_;
  size_t samples_ = 0;
  size_t exemplars_ = 0;
  LeftOut left_out_;
};

}  // namespace tidewright::remote
