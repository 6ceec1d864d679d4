// The three patch formats: no input may crash, hang, or make an object that cannot be written out and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/json.h"
#include "sandbox/patch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using tidewright::base::Json;
  // Target and patch are separated by the first NUL.
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t split = text.find('\0');
  auto target = tidewright::base::ParseJson(text.substr(0, split));
  auto patch = tidewright::base::ParseJson(split == std::string_view::npos ? text : text.substr(split + 1));
  if (!target.ok() || !patch.ok()) return 0;
  Json merged = *target;
  tidewright::sandbox::ApplyMergePatch(merged, *patch);
  Json patched = *target;
  if (tidewright::sandbox::ApplyJsonPatch(patched, *patch).ok()) {
    if (!tidewright::base::ParseJson(tidewright::base::DumpJson(patched)).ok()) abort();
  }
  Json strategic = *target;
  (void)tidewright::sandbox::ApplyStrategicMergePatch(strategic, *patch);
  Json applied = *target;
  (void)tidewright::sandbox::ApplyConfiguration(applied, *patch);
  return 0;
}
