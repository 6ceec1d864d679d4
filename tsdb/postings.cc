#include "tsdb/postings.h"

#include <algorithm>
#include <iterator>

namespace tidewright::tsdb {

namespace {

// References grow, so that a new one nearly always goes to the end.
void InsertSorted(std::vector<SeriesRef>* list, SeriesRef ref) {
  if (list->empty() || list->back() < ref) {
    list->push_back(ref);
  } else {
    list->insert(std::lower_bound(list->begin(), list->end(), ref), ref);
  }
}

// Keeps the elements of `list` that are (or are not) in `other`; both ascending.
void Keep(std::vector<SeriesRef>* list, const std::vector<SeriesRef>& other, bool if_present) {
  auto from = other.begin();
  auto gone = [&](SeriesRef ref) {
    // A few steps, then a binary search: cheap for lists of like and of very different length.
    for (int step = 0; step < 8 && from != other.end() && *from < ref; ++step) ++from;
    if (from != other.end() && *from < ref) from = std::lower_bound(from, other.end(), ref);
    bool present = from != other.end() && *from == ref;
    return present != if_present;
  };
  // Not std::remove_if: it may copy the predicate, whose position must move along the list once.
  auto out = list->begin();
  for (SeriesRef ref : *list) {
    if (!gone(ref)) *out++ = ref;
  }
  list->erase(out, list->end());
}

bool Negated(const Matcher& matcher) {
  return matcher.type() == Matcher::Type::kNotEqual || matcher.type() == Matcher::Type::kNotRegex;
}

}  // namespace

void Postings::Add(SeriesRef ref, const Labels& labels) {
  base::MutexLock lock(mu_);
  for (const Label& label : labels) InsertSorted(&lists_[label.name][label.value], ref);
  InsertSorted(&all_, ref);
}

void Postings::Remove(const std::unordered_set<SeriesRef>& refs, const std::vector<const Labels*>& labels) {
  auto forget = [&refs](List* list) {
    list->erase(std::remove_if(list->begin(), list->end(), [&](SeriesRef ref) { return refs.count(ref) > 0; }),
                list->end());
  };
  // Each pair once, however many series share it.
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  for (const Labels* set : labels) {
    for (const Label& label : *set) pairs.emplace_back(label.name, label.value);
  }
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());

  base::MutexLock lock(mu_);
  for (const auto& [name, value] : pairs) {
    auto values = lists_.find(name);
    if (values == lists_.end()) continue;
    auto list = values->second.find(value);
    if (list == values->second.end()) continue;
    forget(&list->second);
    if (list->second.empty()) values->second.erase(list);
    if (values->second.empty()) lists_.erase(values);
  }
  forget(&all_);
}

const Postings::Values_* Postings::ValuesOf(std::string_view name) const {
  auto it = lists_.find(name);
  return it == lists_.end() ? nullptr : &it->second;
}

const Postings::List& Postings::ListOf(std::string_view name, std::string_view value) const {
  static const List kNone;
  const Values_* values = ValuesOf(name);
  if (values == nullptr) return kNone;
  auto it = values->find(value);
  return it == values->end() ? kNone : it->second;
}

// The series whose value of the matcher's label, which they must have, matches (wanted) or does not match.
Postings::List Postings::Union(const Matcher& matcher, bool wanted) const {
  List result;
  const Values_* values = ValuesOf(matcher.name());
  if (values == nullptr) return result;
  auto from = values->begin();
  bool prefixed = wanted != Negated(matcher) && !matcher.Prefix().empty();
  if (prefixed) from = values->lower_bound(matcher.Prefix());
  for (auto it = from; it != values->end(); ++it) {
    if (prefixed && std::string_view(it->first).substr(0, matcher.Prefix().size()) != matcher.Prefix()) break;
    if (matcher.Matches(it->first) == wanted) result.insert(result.end(), it->second.begin(), it->second.end());
  }
  std::sort(result.begin(), result.end());  // A series has one value per name, so there are no duplicates.
  return result;
}

// When the matcher names its values: the series that have one of them. False when it does not.
bool Postings::Exact(const Matcher& matcher, List* list) const {
  bool equality = matcher.type() == Matcher::Type::kEqual || matcher.type() == Matcher::Type::kNotEqual;
  if (equality) {
    *list = ListOf(matcher.name(), matcher.value());
    return true;
  }
  if (matcher.Literals() == nullptr) return false;
  list->clear();
  for (const std::string& literal : *matcher.Literals()) {
    const List& one = ListOf(matcher.name(), literal);
    list->insert(list->end(), one.begin(), one.end());
  }
  std::sort(list->begin(), list->end());
  return true;
}

std::vector<SeriesRef> Postings::Candidates(const Matchers& matchers, Matchers* untested) const {
  base::MutexLock lock(mu_);
  bool started = false;
  List result;
  auto intersect = [&](List list) {
    if (!started) {
      result = std::move(list);
    } else {
      if (list.size() < result.size()) result.swap(list);
      Keep(&result, list, /*if_present=*/true);
    }
    started = true;
  };
  // First what names its values, then subtractions of what names its values, then the expensive rest.
  std::vector<const Matcher*> subtract, rest;
  for (const Matcher& matcher : matchers) {
    List list;
    if (matcher.MatchesEmpty()) {
      (Negated(matcher) && matcher.value() != "" ? subtract : rest).push_back(&matcher);
    } else if (!Negated(matcher) && Exact(matcher, &list)) {
      intersect(std::move(list));
    } else {
      rest.push_back(&matcher);
    }
  }
  std::stable_sort(rest.begin(), rest.end(), [](const Matcher* a, const Matcher* b) {
    return a->MatchesEmpty() < b->MatchesEmpty();  // What only subtracts goes last.
  });
  for (const Matcher* matcher : rest) {
    const Values_* values = ValuesOf(matcher->name());
    if (started && values != nullptr && values->size() > result.size()) {
      untested->push_back(*matcher);
    } else if (!matcher->MatchesEmpty()) {
      intersect(Union(*matcher, /*wanted=*/true));
    } else {
      if (!started) intersect(all_);
      Keep(&result, Union(*matcher, /*wanted=*/false), /*if_present=*/false);
    }
  }
  if (!started) result = all_;
  for (const Matcher* matcher : subtract) {
    List list;
    if (!Exact(*matcher, &list)) list = Union(*matcher, /*wanted=*/false);
    Keep(&result, list, /*if_present=*/false);
  }
  return result;
}

std::vector<std::string> Postings::Names() const {
  base::MutexLock lock(mu_);
  std::vector<std::string> names;
  names.reserve(lists_.size());
  for (const auto& [name, values] : lists_) names.push_back(name);
  return names;
}

std::vector<std::string> Postings::Values(const std::string& name) const {
  base::MutexLock lock(mu_);
  std::vector<std::string> result;
  if (const Values_* values = ValuesOf(name)) {
    for (const auto& [value, list] : *values) result.push_back(value);
  }
  return result;
}

SeriesRef Postings::Any(std::string_view name, std::string_view value) const {
  base::MutexLock lock(mu_);
  const List& list = ListOf(name, value);
  return list.empty() ? 0 : list.front();
}

}  // namespace tidewright::tsdb
