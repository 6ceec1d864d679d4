// Signals as values: the main thread waits for them, no handler ever runs.
#pragma once

#include <cstdint>

namespace tidewright::cmd {

// Blocks SIGINT, SIGTERM and SIGHUP, and ignores SIGPIPE. Call it before any thread starts: threads inherit the mask.
void BlockSignals();

// Waits at most `timeout_ms` for one of the blocked signals; 0 when none came.
int WaitForSignal(int64_t timeout_ms);

}  // namespace tidewright::cmd
