#include "promql/plan_cache.h"

#include <iterator>
#include <utility>

namespace tidewright::promql {
namespace {

constexpr size_t kTreeBytesPerLetter = 32;  // About what a tree takes for its text.

}  // namespace

std::unique_ptr<Plan> PlanCache::Take(const std::string& expr) {
  base::MutexLock lock(mu_);
  auto found = by_text_.find(expr);
  return found == by_text_.end() ? nullptr : Remove(found);
}

void PlanCache::Put(std::unique_ptr<Plan> plan) {
  std::list<std::unique_ptr<Plan>> gone;  // Destroyed without the lock.
  base::MutexLock lock(mu_);
  size_t bytes = plan->expr.size() * kTreeBytesPerLetter + plan->memory.bytes();
  std::string_view text = plan->expr;
  bytes_ += bytes;
  entries_.push_front({std::move(plan), bytes});
  by_text_.emplace(text, entries_.begin());
  while (entries_.size() > most_plans_ || bytes_ > most_bytes_) {
    auto last = std::prev(entries_.end());
    auto place = by_text_.find(last->plan->expr);
    while (place->second != last) ++place;
    gone.push_back(Remove(place));
  }
}

std::unique_ptr<Plan> PlanCache::Remove(ByText::iterator place) {
  auto entry = place->second;
  by_text_.erase(place);
  std::unique_ptr<Plan> plan = std::move(entry->plan);
  bytes_ -= entry->bytes;
  entries_.erase(entry);
  return plan;
}

}  // namespace tidewright::promql
