// What the manifests of ScaledObjects and ScaledJobs have in common. Private to scaler.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/document.h"
#include "base/json_fwd.h"
#include "scaler/trigger.h"

namespace tidewright::scaler {

// The annotations by which autoscaling is paused or forced, under either prefix: autoscaling.keda.sh/ and
// autoscaling.tidewright.dev/.
class ScalingAnnotations {
 public:
  explicit ScalingAnnotations(const base::Json& object);

  // The text under a name without its prefix, or "".
  std::string Text(const std::string& name) const;
  // Present and not a spelling of false: whoever writes "yes" means it.
  bool Flag(const std::string& name) const;

 private:
  std::map<std::string, std::string> annotations_;
};

// Whether two documents say the same at a path, or both nothing.
bool SameMember(const base::Json& a, const base::Json& b, std::initializer_list<std::string_view> path);

// Reads a number from `min` on, if it is present; returns whether it is, and valid. Errors go to the reader's list.
bool ReadCount(base::ObjectReader& reader, const char* key, int32_t min, int32_t* out);
// The same for whole seconds, as milliseconds, of a year at most.
void ReadSeconds(base::ObjectReader& reader, const char* key, int64_t min, int64_t* ms);

// Reads pollingInterval (seconds) or pollingIntervalMilliseconds (from 100) into `ms`, if one is present.
void ReadPollingInterval(base::ObjectReader& spec, int64_t* ms);

// Reads spec.triggers and checks each trigger. `in_formula`: see TriggerSpec. `errors` is that of the reader.
void ReadTriggers(base::ObjectReader& spec, const std::string& ns, bool in_formula, base::ErrorList& errors,
                  std::vector<TriggerSpec>* triggers);

}  // namespace tidewright::scaler
