// Timeline: what the scaler did during a run, and whether each workload went up and down for the right reason.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "scaler/status_board.h"

namespace tidewright::cmd {

// Watches snapshots of the status board. Not thread-safe.
class Timeline {
 public:
  explicit Timeline(int64_t start_ms) : start_ms_(start_ms) {}

  // Takes the next snapshot; returns one line per replica change that is new in it:
  //   "+23.4 s  shop/web-shop  2 -> 5  Pods http_requests_per_second = ..."
  std::vector<std::string> Observe(const std::vector<scaler::WorkloadStatus>& workloads);

  // What is missing or wrong, one sentence each; empty when every workload seen was scaled up and down, up because one
  // of its signals asked for more, down only while all of them could be read and none asked for as many.
  std::vector<std::string> Faults() const;

  // A line per workload: its changes in short, "shop/web-shop  2 -> 5 -> 9 -> 2".
  std::vector<std::string> Summary() const;

 private:
  struct Entry {
    std::vector<scaler::ScaleRecord> changes;
    int64_t last_change_ms = 0;  // Of the newest change seen.
    bool up = false;
    bool down = false;
    std::vector<std::string> faults;
  };
  static void Judge(const scaler::WorkloadStatus& workload, const scaler::ScaleRecord& change, Entry& entry);

  int64_t start_ms_;
  std::map<std::string, Entry> entries_;  // By "namespace/name".
};

}  // namespace tidewright::cmd
