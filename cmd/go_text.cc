#include "cmd/go_text.h"

#include <algorithm>

namespace tidewright::cmd {

namespace {

constexpr size_t kColumnWidth = 13;
constexpr size_t kColumnGap = 2;

}  // namespace

std::string BinarySize(uint64_t bytes) {
  constexpr const char* kUnits[] = {"EiB", "PiB", "TiB", "GiB", "MiB", "KiB", "B"};
  std::string text;
  for (int i = 0; i < 7; ++i) {
    const uint64_t unit = uint64_t{1} << (10 * (6 - i));
    if (bytes >= unit) text += std::to_string(bytes / unit) + kUnits[i];
    bytes %= unit;
  }
  return text.empty() ? "0B" : text;
}

std::string AlignColumns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), kColumnWidth);
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size() + kColumnGap);
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - row[i].size(), ' ');
    }
    text += '\n';
  }
  return text;
}

}  // namespace tidewright::cmd
