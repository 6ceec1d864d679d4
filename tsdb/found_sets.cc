#include "tsdb/found_sets.h"

#include <algorithm>
#include <utility>

namespace tidewright::tsdb {

namespace {

// Different for different matchers: lengths tell where texts end.
std::string TextOf(const Matchers& matchers) {
  std::string text;
  for (const Matcher& matcher : matchers) {
    text += static_cast<char>('0' + static_cast<int>(matcher.type()));
    for (const std::string* part : {&matcher.name(), &matcher.value()}) {
      text += std::to_string(part->size());
      text += ':';
      text += *part;
    }
  }
  return text;
}

}  // namespace

SeriesSetPtr FoundSets::Find(const Matchers& matchers) {
  const std::string text = TextOf(matchers);
  base::MutexLock lock(mu_);
  auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.matchers == text; });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->set;
}

void FoundSets::Put(const Matchers& matchers, SeriesSetPtr set) {
  std::string text = TextOf(matchers);
  std::list<Entry> gone;  // Destroyed without the lock.
  base::MutexLock lock(mu_);
  auto same =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.matchers == text; });
  if (same != entries_.end()) gone.splice(gone.begin(), entries_, same);
  if (set->bytes() > max_bytes_ / 2) return;
  entries_.push_front({std::move(text), std::move(set)});
  size_t bytes = 0, count = 0;
  auto keep = entries_.begin();
  for (; keep != entries_.end(); ++keep) {
    bytes += keep->set->bytes();
    if (bytes > max_bytes_ || ++count > kMost) break;
  }
  gone.splice(gone.end(), entries_, keep, entries_.end());
}

}  // namespace tidewright::tsdb
