#include "tsdb/postings.h"

#include <algorithm>

namespace tidewright::tsdb {

namespace {

bool Negated(const Matcher& matcher) {
  return matcher.type() == Matcher::Type::kNotEqual || matcher.type() == Matcher::Type::kNotRegex;
}

bool IsEquality(const Matcher& matcher) {
  return matcher.type() == Matcher::Type::kEqual || matcher.type() == Matcher::Type::kNotEqual;
}

}  // namespace

Postings::~Postings() {
  for (auto& [symbol, name] : names_) {
    for (PostingList& list : name->lists) list.Free(slab_);
  }
  all_.Free(slab_);
}

PostingList& Postings::ListOf(SymbolPair pair) {
  std::unique_ptr<Name>& name = names_[pair.name];
  if (name == nullptr) name = std::make_unique<Name>();
  uint32_t place = name->places.Find(pair.value);
  if (place != IdMap::kNone) return name->lists[place];
  if (!name->free.empty()) {
    place = name->free.back();
    name->free.pop_back();
    name->values[place] = pair.value;
  } else {
    place = static_cast<uint32_t>(name->lists.size());
    name->lists.emplace_back();
    name->values.push_back(pair.value);
  }
  name->places.Insert(pair.value, place);
  name->order_valid = false;
  return name->lists[place];
}

bool Postings::Add(SeriesRef ref, std::span<const SymbolPair> labels) {
  bool added = all_.Add(slab_, ref);
  for (const SymbolPair& pair : labels) added = ListOf(pair).Add(slab_, ref) && added;
  return added;
}

void Postings::RemoveValue(Name* name, Symbol value, const RefSet& gone) {
  uint32_t place = name->places.Find(value);
  if (place == IdMap::kNone) return;
  name->lists[place].Subtract(slab_, gone);
  if (!name->lists[place].empty()) return;
  name->places.Erase(value);
  name->values[place] = 0;
  name->free.push_back(place);
  name->order_valid = false;
}

void Postings::Remove(const RefSet& gone, std::span<const SymbolPair> pairs) {
  all_.Subtract(slab_, gone);
  for (const SymbolPair& pair : pairs) {
    auto name = names_.find(pair.name);
    if (name == names_.end()) continue;
    RemoveValue(name->second.get(), pair.value, gone);
    if (name->second->places.size() == 0) names_.erase(name);
  }
}

const Postings::Name* Postings::FindName(std::string_view name) const {
  auto it = names_.find(symbols_.Find(name));
  return it == names_.end() ? nullptr : it->second.get();
}

const PostingList* Postings::Find(const Name& name, std::string_view value) const {
  Symbol symbol = symbols_.Find(value);
  uint32_t place = symbol == 0 ? IdMap::kNone : name.places.Find(symbol);
  return place == IdMap::kNone ? nullptr : &name.lists[place];
}

std::vector<uint32_t> Postings::Order(const Name& name) const {
  base::MutexLock lock(order_mu_);
  if (!name.order_valid) {
    name.order.clear();
    for (uint32_t place = 0; place < name.values.size(); ++place) {
      if (name.values[place] != 0) name.order.push_back(place);
    }
    std::sort(name.order.begin(), name.order.end(),
              [&](uint32_t a, uint32_t b) { return symbols_.Text(name.values[a]) < symbols_.Text(name.values[b]); });
    name.order_valid = true;
  }
  return name.order;
}

bool Postings::NamesItsValues(const Matcher& matcher) const {
  return IsEquality(matcher) || matcher.Literals() != nullptr;
}

// For a matcher that names its values: the series that have one of them.
RefSet Postings::Exact(const Matcher& matcher) const {
  const Name* name = FindName(matcher.name());
  if (name == nullptr) return {};
  if (IsEquality(matcher)) {
    const PostingList* list = Find(*name, matcher.value());
    return list == nullptr ? RefSet() : list->Decode(slab_);
  }
  std::vector<RefRange> ranges;
  for (const std::string& literal : *matcher.Literals()) {
    if (const PostingList* list = Find(*name, literal)) list->Decode(slab_, &ranges);
  }
  return RefSet::Union(std::move(ranges));
}

// The series whose value of the matcher's label, which they must have, matches (wanted) or does not match.
RefSet Postings::Union(const Matcher& matcher, bool wanted) const {
  const Name* name = FindName(matcher.name());
  if (name == nullptr) return {};
  std::vector<RefRange> ranges;
  auto text = [&](uint32_t place) { return symbols_.Text(name->values[place]); };
  const std::string_view prefix = wanted != Negated(matcher) ? matcher.Prefix() : std::string_view();
  if (!prefix.empty()) {
    std::vector<uint32_t> order = Order(*name);
    auto at = std::partition_point(order.begin(), order.end(), [&](uint32_t place) { return text(place) < prefix; });
    for (; at != order.end() && text(*at).substr(0, prefix.size()) == prefix; ++at) {
      if (matcher.Matches(text(*at)) == wanted) name->lists[*at].Decode(slab_, &ranges);
    }
  } else {
    for (uint32_t place = 0; place < name->values.size(); ++place) {
      if (name->values[place] == 0) continue;
      if (matcher.Matches(text(place)) == wanted) name->lists[place].Decode(slab_, &ranges);
    }
  }
  return RefSet::Union(std::move(ranges));
}

RefSet Postings::Candidates(const Matchers& matchers, Matchers* untested) const {
  bool started = false;
  RefSet result;
  auto intersect = [&](RefSet set) {
    result = started ? result.Intersect(set) : std::move(set);
    started = true;
  };
  // First what names its values, then the expensive rest, and subtractions of what names its values.
  std::vector<const Matcher*> subtract, rest;
  for (const Matcher& matcher : matchers) {
    if (matcher.MatchesEmpty()) {
      (Negated(matcher) && !matcher.value().empty() ? subtract : rest).push_back(&matcher);
    } else if (!Negated(matcher) && NamesItsValues(matcher)) {
      if (!started || !result.empty()) intersect(Exact(matcher));
    } else {
      rest.push_back(&matcher);
    }
  }
  std::stable_sort(rest.begin(), rest.end(), [](const Matcher* a, const Matcher* b) {
    return a->MatchesEmpty() < b->MatchesEmpty();  // What only subtracts goes last.
  });
  for (const Matcher* matcher : rest) {
    const Name* name = FindName(matcher->name());
    if (started && name != nullptr && name->places.size() > result.size()) {
      untested->push_back(*matcher);
    } else if (!matcher->MatchesEmpty()) {
      intersect(Union(*matcher, /*wanted=*/true));
    } else {
      if (!started) intersect(All());
      result = result.Subtract(Union(*matcher, /*wanted=*/false));
    }
  }
  if (!started) result = All();
  for (const Matcher* matcher : subtract) {
    result = result.Subtract(NamesItsValues(*matcher) ? Exact(*matcher) : Union(*matcher, /*wanted=*/false));
  }
  return result;
}

std::vector<std::string> Postings::Names() const {
  std::vector<std::string> names;
  names.reserve(names_.size());
  for (const auto& [symbol, name] : names_) names.emplace_back(symbols_.Text(symbol));
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> Postings::Values(std::string_view name) const {
  std::vector<std::string> result;
  const Name* known = FindName(name);
  if (known == nullptr) return result;
  for (uint32_t place : Order(*known)) result.emplace_back(symbols_.Text(known->values[place]));
  return result;
}

bool Postings::Any(std::string_view name, std::string_view value) const {
  const Name* known = FindName(name);
  return known != nullptr && Find(*known, value) != nullptr;
}

}  // namespace tidewright::tsdb
