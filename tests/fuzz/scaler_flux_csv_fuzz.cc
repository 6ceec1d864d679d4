// Anything InfluxDB may answer to a Flux query. No crash; and a value that was read is read from the same bytes with
// more records behind them.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "scaler/trigger/flux_csv.h"

namespace trigger = tidewright::scaler::trigger;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string csv(reinterpret_cast<const char*>(data), size);
  if (trigger::FirstFluxValue(csv).ok() && !trigger::FirstFluxValue(csv + "\n,,1\n").ok()) abort();
  return 0;
}
