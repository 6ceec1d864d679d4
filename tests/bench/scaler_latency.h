// The second half of scaler_bench: from an event to the write.
#pragma once

namespace tidewright::scaler {

// Prints how long it takes from a message in a list of a real redis-server until a workload is scaled from zero, with
// pollingInterval 1, and which part of that comes after the pass began that read the list. Returns an exit code;
// without redis-server it says so, and that is no failure.
int MeasureLatency();

}  // namespace tidewright::scaler
