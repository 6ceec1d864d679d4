// Any JSON text as a ScaledObject and as a HorizontalPodAutoscaler: decoding ends in an object or in an error.
#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "scaler/hpa.h"
#include "scaler/scaled_object.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace base = tidewright::base;
  namespace scaler = tidewright::scaler;
  auto json = base::ParseJson(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!json.ok()) return 0;
  auto object = scaler::DecodeScaledObject(*json);
  if (object.ok() && object->scale.min_replicas > object->scale.max_replicas) __builtin_trap();
  if (!object.ok() && object.status().message().empty()) __builtin_trap();
  auto hpa = scaler::DecodeHpa(*json, {});
  if (hpa.ok() && hpa->scale.min_replicas > hpa->scale.max_replicas) __builtin_trap();
  return 0;
}
