#include "scaler/signal_values.h"

namespace tidewright::scaler {

void SignalValues::Set(const std::string& ns, const std::string& object, std::map<std::string, SignalValue> values) {
  base::MutexLock lock(mu_);
  values_[{ns, object}] = std::move(values);
}

void SignalValues::Remove(const std::string& ns, const std::string& object) {
  base::MutexLock lock(mu_);
  values_.erase({ns, object});
}

std::optional<SignalValue> SignalValues::Get(const std::string& ns, const std::string& object,
                                             const std::string& metric, int64_t now_ms) const {
  base::MutexLock lock(mu_);
  auto known = values_.find({ns, object});
  if (known == values_.end()) return std::nullopt;
  auto found = known->second.find(metric);
  if (found == known->second.end() || found->second.valid_until_ms < now_ms) return std::nullopt;
  return found->second;
}

}  // namespace tidewright::scaler
