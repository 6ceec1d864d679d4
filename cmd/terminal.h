// The live table that `tidewright sandbox` shows.
#pragma once

#include <string>
#include <vector>

#include "scaler/status_board.h"

namespace tidewright::cmd {

// Cells of each workload: workload, signal, value / target, current -> desired replicas, why. Lines are cut at `width`
// columns (bytes outside ASCII count as one each); `colors` adds ANSI colours.
std::string RenderTable(const std::vector<scaler::WorkloadStatus>& workloads, int width, bool colors);

// Columns of the terminal on standard output; 0 when it is none.
int TerminalWidth();

// Moves the cursor home and clears what is below: what is printed next replaces the screen.
std::string ClearScreen();

// "31.2", "1.3k": at most four significant digits.
std::string ShortNumber(double value);

}  // namespace tidewright::cmd
