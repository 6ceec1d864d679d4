#include "scaler/work_queue.h"

#include <algorithm>

namespace tidewright::scaler {

void WorkQueue::Add(const std::string& key, int64_t delay_ms) {
  base::MutexLock lock(mu_);
  Slot& slot = slots_[key];
  if (slot.running) {
    slot.again = true;
    return;
  }
  Schedule(key, slot, delay_ms);
}

void WorkQueue::Hasten(const std::string& key, int64_t delay_ms) {
  base::MutexLock lock(mu_);
  auto it = slots_.find(key);
  if (it == slots_.end()) return;
  Slot& slot = it->second;
  const int64_t due_ms = scheduler_.clock().NowMs() + delay_ms;
  if (slot.running) {
    slot.hastened_ms = std::min(due_ms, slot.hastened_ms.value_or(due_ms));
  } else if (due_ms < slot.due_ms) {
    Schedule(key, slot, delay_ms);
  }
}

void WorkQueue::Schedule(const std::string& key, Slot& slot, int64_t delay_ms) {
  uint64_t ticket = next_ticket_++;
  slot.ticket = ticket;
  slot.due_ms = scheduler_.clock().NowMs() + delay_ms;
  scheduler_.At(slot.due_ms, [queue = weak_from_this(), key, ticket] {
    if (auto alive = queue.lock()) alive->Run(key, ticket);
  });
}

void WorkQueue::Run(const std::string& key, uint64_t ticket) {
  auto pass = gate_.TryEnter();
  if (!pass) return;
  int64_t due_ms = 0;
  {
    base::MutexLock lock(mu_);
    auto it = slots_.find(key);
    if (it == slots_.end() || it->second.ticket != ticket || it->second.running) return;
    it->second.running = true;
    due_ms = it->second.due_ms;
  }
  if (observe_) observe_(scheduler_.clock().NowMs() - due_ms);
  std::optional<int64_t> delay = work_(key);
  base::MutexLock lock(mu_);
  Slot& slot = slots_[key];
  slot.running = false;
  if (slot.again) delay = 0;
  slot.again = false;
  if (slot.hastened_ms) {
    const int64_t left_ms = std::max<int64_t>(0, *slot.hastened_ms - scheduler_.clock().NowMs());
    delay = std::min(delay.value_or(left_ms), left_ms);
    slot.hastened_ms.reset();
  }
  if (delay) {
    Schedule(key, slot, *delay);
  } else {
    slots_.erase(key);
  }
}

int64_t SpreadOf(const std::string& key, int64_t range) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a.
  for (char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return static_cast<int64_t>((hash >> 16) % static_cast<uint64_t>(range));
}

}  // namespace tidewright::scaler
