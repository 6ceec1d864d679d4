// Runs bytes as an acceptance script: series notation, histogram literals, expressions and their evaluation over what
// was loaded, within small limits.
#include <cstddef>
#include <cstdint>
#include <string>

#include "promqltest/runner.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  tidewright::promqltest::RunnerOptions options;
  options.engine = tidewright::promqltest::ScriptEngine();
  options.engine.max_samples = 2'000;
  options.engine.timeout_ms = 1'000;
  std::string text(reinterpret_cast<const char*>(data), size);
  (void)tidewright::promqltest::RunScript(text, options);
  return 0;
}
