// Gate: lets a service's Stop() wait for the work that is under way.
#pragma once

#include <optional>
#include <utility>

#include "base/mutex.h"

namespace tidewright::base {

// Counts entries until closed. Thread-safe. Must outlive its passes.
//
//   if (auto pass = gate_.TryEnter()) Scrape(target);   // refused after Stop()
//   void Stop() { gate_.CloseAndWait(); }               // idempotent
class Gate {
 public:
  // Held while inside; leaving is its destruction.
  class Pass {
   public:
    explicit Pass(Gate* gate) : gate_(gate) {}
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&&) = delete;
    ~Pass() {
      if (gate_ != nullptr) gate_->Leave();
    }

   private:
    Gate* gate_;
  };

  // Empty once the gate is closed.
  std::optional<Pass> TryEnter();
  // Refuses further entries and returns when everyone has left. Idempotent.
  void CloseAndWait();

 private:
  void Leave();
  Mutex mu_;
  CondVar empty_;
  int inside_ GUARDED_BY(mu_) = 0;
  bool closed_ GUARDED_BY(mu_) = false;
};

}  // namespace tidewright::base
