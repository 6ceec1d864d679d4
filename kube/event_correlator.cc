#include "kube/event_correlator.h"

#include <algorithm>

namespace tidewright::kube {

namespace {

constexpr size_t kMaxSimilar = 10;
constexpr int64_t kSimilarMs = 600'000;
constexpr double kBurst = 25;
constexpr double kMsPerToken = 300'000;
constexpr char kSeparator = '\0';  // Occurs in none of the parts.

}  // namespace

EventVerdict EventCorrelator::Correlate(const EventNote& note, int64_t now_ms) {
  EventVerdict verdict;
  verdict.message = note.message;
  const std::string group = note.object_key + kSeparator + note.type + kSeparator + note.reason;
  verdict.key = group + kSeparator + note.message;
  Similar& similar = similar_.Use(group);
  if (now_ms - similar.last_ms > kSimilarMs) similar.messages.clear();
  similar.last_ms = now_ms;
  similar.messages.insert(note.message);
  if (similar.messages.size() >= kMaxSimilar) {
    similar.messages.erase(similar.messages.begin());
    verdict.message = "(combined from similar events): " + note.message;
    verdict.key = group;
  }
  Seen& seen = seen_.Use(verdict.key);
  if (seen.count == 0) seen.first_ms = now_ms;
  ++seen.count;
  verdict.name = seen.name;
  verdict.count = seen.count;
  verdict.first_ms = seen.first_ms;
  verdict.skip = !Allowed(note.object_key, now_ms);
  return verdict;
}

bool EventCorrelator::Allowed(const std::string& object_key, int64_t now_ms) {
  Allowance& allowance = allowances_.Use(object_key);
  if (allowance.tokens < 0) allowance = {kBurst, now_ms};
  const double gathered = static_cast<double>(std::max<int64_t>(now_ms - allowance.filled_ms, 0)) / kMsPerToken;
  allowance.tokens = std::min(allowance.tokens + gathered, kBurst);
  allowance.filled_ms = now_ms;
  if (allowance.tokens < 1) return false;
  allowance.tokens -= 1;
  return true;
}

void EventCorrelator::Written(const EventVerdict& verdict, const std::string& name) {
  seen_.Use(verdict.key) = {name, verdict.count, verdict.first_ms};
}

void EventCorrelator::Forget(const std::string& key) { seen_.Erase(key); }

}  // namespace tidewright::kube
