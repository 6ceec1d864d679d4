#include "base/gate.h"

namespace tidewright::base {

std::optional<Gate::Pass> Gate::TryEnter() {
  MutexLock lock(mu_);
  if (closed_) return std::nullopt;
  ++inside_;
  return std::optional<Pass>(std::in_place, this);
}

void Gate::CloseAndWait() {
  MutexLock lock(mu_);
  closed_ = true;
  while (inside_ > 0) empty_.Wait(mu_);
}

void Gate::Leave() {
  MutexLock lock(mu_);
  if (--inside_ == 0) empty_.NotifyAll();
}

}  // namespace tidewright::base
