// SignalValues: what the triggers of ScaledObjects with scalingMode hpa gave last, for whoever serves it as external
// metrics.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"

namespace tidewright::scaler {

// One metric of one object.
struct SignalValue {
  base::Result<int64_t> value_milli;  // Or why there is none.
  int64_t t_ms = 0;                   // When it was read.
  int64_t valid_until_ms = 0;
};

// Thread-safe.
class SignalValues {
 public:
  // Replaces what is known of an object, by metric name.
  void Set(const std::string& ns, const std::string& object, std::map<std::string, SignalValue> values);
  void Remove(const std::string& ns, const std::string& object);
  // None when nothing is known that is still valid.
  std::optional<SignalValue> Get(const std::string& ns, const std::string& object, const std::string& metric,
                                 int64_t now_ms) const;

 private:
  mutable base::Mutex mu_;
  std::map<std::pair<std::string, std::string>, std::map<std::string, SignalValue>> values_ GUARDED_BY(mu_);
};

}  // namespace tidewright::scaler
