#include "cmd/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace tidewright::cmd {

namespace {

using scaler::SignalStatus;
using scaler::WorkloadStatus;

constexpr int kWorkloadWidth = 20;
constexpr int kSignalWidth = 42;
constexpr int kFiguresWidth = 16;
constexpr int kReplicasWidth = 10;
constexpr const char* kBold = "\x1b[1m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kReset = "\x1b[0m";

std::string Cell(const std::string& text, int width) {
  auto size = static_cast<size_t>(width - 1);
  std::string cell = text.size() > size ? text.substr(0, size - 1) + "~" : text;
  cell.resize(static_cast<size_t>(width), ' ');
  return cell;
}

std::string Figures(const SignalStatus& signal) {
  if (!signal.value_milli) return "? / " + ShortNumber(static_cast<double>(signal.target_milli) / 1000);
  return ShortNumber(static_cast<double>(*signal.value_milli) / 1000) + " / " +
         ShortNumber(static_cast<double>(signal.target_milli) / 1000);
}

std::string Replicas(const WorkloadStatus& workload) {
  return std::to_string(workload.current) + " -> " + std::to_string(workload.desired);
}

const char* ColorOf(const WorkloadStatus& workload) {
  if (workload.held) return kRed;
  return workload.current != workload.desired ? kGreen : "";
}

// One line per signal; the first one also carries the workload's own cells.
std::string WorkloadLines(const WorkloadStatus& workload, int width, bool colors) {
  std::string out;
  size_t lines = std::max<size_t>(workload.signals.size(), 1);
  for (size_t i = 0; i < lines; ++i) {
    bool first = i == 0;
    const SignalStatus none;
    const SignalStatus& signal = workload.signals.empty() ? none : workload.signals[i];
    std::string line = Cell(first ? workload.ns + "/" + workload.name : "", kWorkloadWidth);
    line += Cell(signal.name, kSignalWidth);
    line += Cell(workload.signals.empty() ? "" : Figures(signal), kFiguresWidth);
    line += Cell(first ? Replicas(workload) : "", kReplicasWidth);
    if (first) line += workload.why;
    if (width > 0 && line.size() > static_cast<size_t>(width)) line.resize(static_cast<size_t>(width));
    std::string color = colors && first ? ColorOf(workload) : "";
    out += color + line + (color.empty() ? "" : kReset) + "\n";
  }
  return out;
}

}  // namespace

std::string ShortNumber(double value) {
  static constexpr std::array<const char*, 5> kSuffixes = {"", "k", "M", "G", "T"};
  size_t suffix = 0;
  while (std::fabs(value) >= 10'000 && suffix + 1 < kSuffixes.size()) {
    value /= 1000;
    ++suffix;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4g%s", value, kSuffixes[suffix]);
  return text.data();
}

std::string RenderTable(const std::vector<WorkloadStatus>& workloads, int width, bool colors) {
  std::string header = Cell("WORKLOAD", kWorkloadWidth) + Cell("SIGNAL", kSignalWidth) +
                       Cell("VALUE / TARGET", kFiguresWidth) + Cell("REPLICAS", kReplicasWidth) + "WHY";
  std::string out = colors ? kBold + header + kReset + "\n" : header + "\n";
  for (const WorkloadStatus& workload : workloads) out += WorkloadLines(workload, width, colors);
  return out;
}

int TerminalWidth() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0) return 0;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 120;
  return size.ws_col;
}

std::string ClearScreen() { return "\x1b[H\x1b[J"; }

}  // namespace tidewright::cmd
