// Texts as programs written in Go print them, so that what is printed here can be compared with what promtool prints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/go_text.h"

namespace tidewright::cmd {

using base::GoDuration;
using base::GoFloat;
using base::GoQuote;
using base::GoTime;

// In units of 1024: "3KiB723B".
std::string BinarySize(uint64_t bytes);
// Rows of cells as lines, columns aligned at the left, at least 13 wide, two blanks apart.
std::string AlignColumns(const std::vector<std::vector<std::string>>& rows);

}  // namespace tidewright::cmd
