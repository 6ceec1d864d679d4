#include "cmd/timeline.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace tidewright::cmd {

namespace {

using scaler::ScaleRecord;
using scaler::SignalStatus;
using scaler::WorkloadStatus;

std::string Arrow(int32_t from, int32_t to) { return std::to_string(from) + " -> " + std::to_string(to); }

std::string Line(int64_t since_start_ms, const std::string& name, const ScaleRecord& change) {
  std::array<char, 160> head{};
  std::snprintf(head.data(), head.size(), "%+6.1f s  %-20s %-9s ", static_cast<double>(since_start_ms) / 1000,
                name.c_str(), Arrow(change.from, change.to).c_str());
  return head.data() + change.why;
}

}  // namespace

std::vector<std::string> Timeline::Observe(const std::vector<WorkloadStatus>& workloads) {
  std::vector<std::string> lines;
  for (const WorkloadStatus& workload : workloads) {
    std::string name = workload.ns + "/" + workload.name;
    Entry& entry = entries_[name];
    for (const ScaleRecord& change : workload.scales) {
      if (change.t_ms <= entry.last_change_ms) continue;
      entry.last_change_ms = change.t_ms;
      entry.changes.push_back(change);
      Judge(workload, change, entry);
      lines.push_back(Line(change.t_ms - start_ms_, name, change));
    }
  }
  return lines;
}

void Timeline::Judge(const WorkloadStatus& workload, const ScaleRecord& change, Entry& entry) {
  const auto& signals = workload.signals;
  auto fault = [&](const std::string& text) {
    entry.faults.push_back("went " + Arrow(change.from, change.to) + " " + text + " (" + change.why + ")");
  };
  if (change.to > change.from) {
    entry.up = true;
    bool asked = std::any_of(signals.begin(), signals.end(),
                             [&](const SignalStatus& s) { return s.proposal && *s.proposal > change.from; });
    if (!asked) fault("although no signal asked for more");
    return;
  }
  entry.down = true;
  for (const SignalStatus& signal : signals) {
    if (!signal.error.empty()) fault("while " + signal.name + " could not be read");
    if (signal.proposal && *signal.proposal >= change.from) fault("although " + signal.name + " asked for as many");
  }
}

std::vector<std::string> Timeline::Faults() const {
  std::vector<std::string> faults;
  if (entries_.empty()) faults.emplace_back("no workload was seen");
  for (const auto& [name, entry] : entries_) {
    if (!entry.up) faults.push_back(name + " was never scaled up");
    if (!entry.down) faults.push_back(name + " was never scaled down");
    for (const std::string& fault : entry.faults) faults.push_back(name + " " + fault);
  }
  return faults;
}

std::vector<std::string> Timeline::Summary() const {
  std::vector<std::string> lines;
  for (const auto& [name, entry] : entries_) {
    std::array<char, 64> head{};
    std::snprintf(head.data(), head.size(), "%-20s ", name.c_str());
    std::string line = head.data();
    if (entry.changes.empty()) line += "unchanged";
    for (size_t i = 0; i < entry.changes.size(); ++i) {
      if (i == 0) line += std::to_string(entry.changes[i].from);
      line += " -> " + std::to_string(entry.changes[i].to);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace tidewright::cmd
