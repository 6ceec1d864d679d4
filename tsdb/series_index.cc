#include "tsdb/series_index.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/hash.h"

namespace tidewright::tsdb {

namespace {

constexpr size_t kUsualPairBytes = 6;

void PutVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) *out += static_cast<char>(value | 0x80);
  *out += static_cast<char>(value);
}

uint64_t GetVarint(const char** at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    auto byte = static_cast<unsigned char>(*(*at)++);
    value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
}

}  // namespace

void SeriesIndex::Encode(std::span<const SymbolPair> pairs, std::string* out) {
  out->clear();
  out->reserve(pairs.size() * kUsualPairBytes);
  for (const SymbolPair& pair : pairs) {
    PutVarint(pair.name, out);
    PutVarint(pair.value, out);
  }
}

// A label set in the slab: its length, then the pairs.
std::string_view SeriesIndex::Bytes(Slab::Handle labels) const {
  const char* at = slab_.At(labels);
  size_t size = GetVarint(&at);
  return {at, size};
}

void SeriesIndex::Decode(Slab::Handle labels, Pairs* pairs) const {
  pairs->clear();
  std::string_view bytes = Bytes(labels);
  const char* at = bytes.data();
  for (const char* end = at + bytes.size(); at < end;) {
    SymbolPair pair;
    pair.name = static_cast<Symbol>(GetVarint(&at));
    pair.value = static_cast<Symbol>(GetVarint(&at));
    pairs->push_back(pair);
  }
}

// Up to the first that is not known.
bool SeriesIndex::FindSymbols(const Labels& labels, Pairs* pairs) const {
  pairs->clear();
  pairs->reserve(labels.size());
  for (const Label& label : labels) {
    SymbolPair pair{symbols_.Find(label.name), symbols_.Find(label.value)};
    if (pair.name == 0 || pair.value == 0) return false;
    pairs->push_back(pair);
  }
  return true;
}

IndexedSeries SeriesIndex::FindEncoded(std::string_view encoded, uint64_t hash) const {
  Slab::Handle found = 0;
  SeriesRef ref = index_.Find(hash, [&](SeriesRef candidate) {
    found = labels_of_(candidate);
    return found != 0 && Bytes(found) == encoded;
  });
  return ref == 0 ? IndexedSeries() : IndexedSeries{ref, found};
}

IndexedSeries SeriesIndex::Find(const Labels& labels) const {
  Pairs pairs;
  std::string encoded;
  base::ReaderLock lock(mu_);
  if (!FindSymbols(labels, &pairs)) return {};
  Encode(pairs, &encoded);
  return FindEncoded(encoded, base::HashBytes(encoded));
}

// What was found with the lock shared holds with it alone, unless a text was forgotten or a series made in between.
IndexedSeries SeriesIndex::GetOrCreate(const Labels& labels, SeriesRef wanted, bool* created, const Publish& publish) {
  *created = false;
  Pairs pairs;
  std::string encoded;
  uint64_t hash = 0, seen_epoch = 0, seen_forgotten = 0;
  bool known = false;
  {
    base::ReaderLock lock(mu_);
    known = FindSymbols(labels, &pairs);
    if (known) {
      Encode(pairs, &encoded);
      hash = base::HashBytes(encoded);
      if (IndexedSeries found = FindEncoded(encoded, hash); found.ref != 0) return found;
    }
    seen_epoch = epoch();
    seen_forgotten = symbols_.forgotten();
  }
  base::WriterLock lock(mu_);
  const bool same_symbols = symbols_.forgotten() == seen_forgotten;
  if (!same_symbols) pairs.clear();
  AcquireSymbols(labels, &pairs);
  IndexedSeries series;
  if (known && same_symbols && epoch() == seen_epoch) {
    series = Create(pairs, encoded, hash, wanted, publish);
    *created = series.ref != 0;
  } else {
    series = GetOrCreateLocked(pairs, wanted, created, publish);
  }
  if (*created) return series;
  for (const SymbolPair& pair : pairs) {
    symbols_.Release(pair.name);
    symbols_.Release(pair.value);
  }
  return series;
}

// Adds a reference to the symbols of each label; those of the first ones are in `pairs` already.
void SeriesIndex::AcquireSymbols(const Labels& labels, Pairs* pairs) {
  for (const SymbolPair& pair : *pairs) {
    symbols_.Retain(pair.name);
    symbols_.Retain(pair.value);
  }
  for (auto label = labels.begin() + static_cast<ptrdiff_t>(pairs->size()); label != labels.end(); ++label) {
    pairs->push_back({symbols_.Acquire(label->name), symbols_.Acquire(label->value)});
  }
}

IndexedSeries SeriesIndex::GetOrCreate(std::span<const SymbolPair> labels, SeriesRef wanted, bool* created,
                                       const Publish& publish) {
  *created = false;
  base::WriterLock lock(mu_);
  const IndexedSeries series = GetOrCreateLocked(labels, wanted, created, publish);
  if (!*created) return series;
  for (const SymbolPair& pair : labels) {
    symbols_.Retain(pair.name);
    symbols_.Retain(pair.value);
  }
  return series;
}

// A new series takes over the caller's references to its symbols.
IndexedSeries SeriesIndex::GetOrCreateLocked(std::span<const SymbolPair> labels, SeriesRef wanted, bool* created,
                                             const Publish& publish) {
  for (const SymbolPair& pair : labels) {
    if (pair.name == 0 || pair.value == 0) return {};
  }
  std::string encoded;
  Encode(labels, &encoded);
  const uint64_t hash = base::HashBytes(encoded);
  IndexedSeries series = FindEncoded(encoded, hash);
  if (series.ref != 0) return series;
  series = Create(labels, encoded, hash, wanted, publish);
  *created = series.ref != 0;
  return series;
}

IndexedSeries SeriesIndex::Create(std::span<const SymbolPair> pairs, std::string_view encoded, uint64_t hash,
                                  SeriesRef wanted, const Publish& publish) {
  IndexedSeries series{wanted != 0 && labels_of_(wanted) == 0 ? wanted : next_ref_, 0};
  if (series.ref > LabelIndex::kMaxRef) return {};
  std::string size;
  PutVarint(encoded.size(), &size);
  series.labels = slab_.Allocate(size.size() + encoded.size());
  if (series.labels == 0) return {};
  char* place = slab_.At(series.labels);
  std::memcpy(place, size.data(), size.size());
  std::memcpy(place + size.size(), encoded.data(), encoded.size());
  if (!publish(series)) {
    slab_.Free(series.labels, size.size() + encoded.size());
    return {};
  }
  index_.Insert(hash, series.ref);
  if (postponing_) {
    postponed_.push_back(series.ref);
  } else {
    postings_.Add(series.ref, pairs);
  }
  next_ref_ = std::max(next_ref_, series.ref + 1);
  epoch_.fetch_add(1, std::memory_order_release);
  return series;
}

void SeriesIndex::PostponePostings() {
  base::WriterLock lock(mu_);
  postponing_ = true;
}

void SeriesIndex::AddPostponed() {
  base::WriterLock lock(mu_);
  std::sort(postponed_.begin(), postponed_.end());
  Pairs pairs;
  for (SeriesRef ref : postponed_) {
    Decode(labels_of_(ref), &pairs);
    postings_.Add(ref, pairs);
  }
  postponed_ = {};
  postponing_ = false;
}

size_t SeriesIndex::Remove(std::span<const SeriesRef> candidates, const std::function<bool(SeriesRef)>& remove) {
  base::WriterLock lock(mu_);
  std::vector<RefRange> gone;
  std::vector<SymbolPair> touched;
  Pairs pairs;
  for (SeriesRef ref : candidates) {
    Slab::Handle labels = labels_of_(ref);
    if (labels == 0 || !remove(ref)) continue;
    index_.Erase(base::HashBytes(Bytes(labels)), ref);
    Decode(labels, &pairs);
    touched.insert(touched.end(), pairs.begin(), pairs.end());
    gone.push_back({ref, ref + 1});
    removed_.push_back({generation_, labels});
  }
  if (gone.empty()) return 0;
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  const size_t count = gone.size();
  postings_.Remove(RefSet::Union(std::move(gone)), touched);
  epoch_.fetch_add(1, std::memory_order_release);
  return count;
}

uint64_t SeriesIndex::Retire() {
  base::WriterLock lock(mu_);
  return generation_++;
}

void SeriesIndex::Reclaim(uint64_t generation, std::vector<Symbol>* freed) {
  base::WriterLock lock(mu_);
  Pairs pairs;
  auto kept = removed_.begin();
  for (const Removed& one : removed_) {
    if (one.generation > generation) {
      *kept++ = one;
      continue;
    }
    Decode(one.labels, &pairs);
    std::string_view bytes = Bytes(one.labels);
    for (const SymbolPair& pair : pairs) {
      if (symbols_.Release(pair.name)) freed->push_back(pair.name);
      if (symbols_.Release(pair.value)) freed->push_back(pair.value);
    }
    slab_.Free(one.labels, static_cast<size_t>(bytes.data() - slab_.At(one.labels)) + bytes.size());
  }
  removed_.erase(kept, removed_.end());
}

// By names, then values, as Labels are ordered.
bool SeriesIndex::Less(Slab::Handle a, Slab::Handle b) const {
  std::string_view one = Bytes(a), other = Bytes(b);
  const char* at = one.data();
  const char* end = at + one.size();
  const char* other_at = other.data();
  const char* other_end = other_at + other.size();
  while (at < end && other_at < other_end) {
    for (int half = 0; half < 2; ++half) {
      auto symbol = static_cast<Symbol>(GetVarint(&at)), other_symbol = static_cast<Symbol>(GetVarint(&other_at));
      if (symbol != other_symbol) return symbols_.Text(symbol) < symbols_.Text(other_symbol);
    }
  }
  return at == end && other_at != other_end;
}

bool SeriesIndex::Matches(Slab::Handle labels, const Matchers& matchers, const std::vector<Symbol>& names) const {
  for (size_t i = 0; i < matchers.size(); ++i) {
    std::string_view bytes = Bytes(labels), value;
    const char* at = bytes.data();
    for (const char* end = at + bytes.size(); at < end;) {
      auto name = static_cast<Symbol>(GetVarint(&at)), symbol = static_cast<Symbol>(GetVarint(&at));
      if (name != names[i]) continue;
      value = symbols_.Text(symbol);
      break;
    }
    if (!matchers[i].Matches(value)) return false;
  }
  return true;
}

// In the order of their references.
std::vector<IndexedSeries> SeriesIndex::Matching(const Matchers& matchers) const {
  std::vector<IndexedSeries> found;
  Matchers untested;
  RefSet candidates = postings_.Candidates(matchers, &untested);
  std::vector<Symbol> names;
  for (const Matcher& matcher : untested) names.push_back(symbols_.Find(matcher.name()));
  found.reserve(candidates.size());
  for (const RefRange& range : candidates.ranges()) {
    for (SeriesRef ref = range.begin; ref < range.end; ++ref) {
      Slab::Handle labels = labels_of_(ref);
      if (labels != 0 && Matches(labels, untested, names)) found.push_back({ref, labels});
    }
  }
  return found;
}

std::vector<IndexedSeries> SeriesIndex::Select(const Matchers& matchers) const {
  base::ReaderLock lock(mu_);
  std::vector<IndexedSeries> found = Matching(matchers);
  std::sort(found.begin(), found.end(),
            [this](const IndexedSeries& a, const IndexedSeries& b)
                NO_THREAD_SAFETY_ANALYSIS { return Less(a.labels, b.labels); });
  return found;
}

uint64_t SeriesIndex::Fingerprint(const Matchers& matchers) const {
  base::ReaderLock lock(mu_);
  return Fingerprint(Matching(matchers));
}

// References are never used again, so that the same references are the same series. A sum does not ask for an order.
uint64_t SeriesIndex::Fingerprint(std::span<const IndexedSeries> series) {
  uint64_t sum = series.size();
  for (const IndexedSeries& one : series) {
    uint64_t mixed = (one.ref ^ (one.ref >> 32)) * 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 29)) * 0xbf58476d1ce4e5b9;
    sum += mixed ^ (mixed >> 32);
  }
  return sum;
}

Labels SeriesIndex::Materialize(Slab::Handle labels) const {
  std::vector<Label> result;
  Pairs pairs;
  base::ReaderLock lock(mu_);
  Decode(labels, &pairs);
  result.reserve(pairs.size());
  for (const SymbolPair& pair : pairs) {
    result.push_back({std::string(symbols_.Text(pair.name)), std::string(symbols_.Text(pair.value))});
  }
  return Labels::FromSorted(std::move(result));
}

Symbol SeriesIndex::ValueSymbol(Slab::Handle labels, Symbol name) const {
  const std::string_view bytes = Bytes(labels);
  const char* at = bytes.data();
  for (const char* end = at + bytes.size(); at < end;) {
    const auto symbol = static_cast<Symbol>(GetVarint(&at)), value = static_cast<Symbol>(GetVarint(&at));
    if (symbol == name) return value;
  }
  return 0;
}

std::string_view SeriesIndex::Value(Slab::Handle labels, std::string_view name) const {
  base::ReaderLock lock(mu_);
  const Symbol value = ValueSymbol(labels, symbols_.Find(name));
  return value == 0 ? std::string_view() : symbols_.Text(value);
}

std::vector<std::string> SeriesIndex::Names() const {
  base::ReaderLock lock(mu_);
  return postings_.Names();
}

std::vector<std::string> SeriesIndex::Values(std::string_view name) const {
  base::ReaderLock lock(mu_);
  return postings_.Values(name);
}

std::vector<std::string> SeriesIndex::NamesOf(std::span<const IndexedSeries> series) const {
  base::ReaderLock lock(mu_);
  std::set<std::string_view> names;
  Pairs pairs;
  for (const IndexedSeries& one : series) {
    Decode(one.labels, &pairs);
    for (const SymbolPair& pair : pairs) names.insert(symbols_.Text(pair.name));
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> SeriesIndex::ValuesOf(std::span<const IndexedSeries> series, std::string_view name) const {
  base::ReaderLock lock(mu_);
  std::vector<Symbol> found;
  const Symbol symbol = symbols_.Find(name);
  if (symbol == 0) return {};
  for (const IndexedSeries& one : series) {
    const Symbol value = ValueSymbol(one.labels, symbol);
    if (value != 0 && (found.empty() || found.back() != value)) found.push_back(value);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  std::vector<std::string> values;
  values.reserve(found.size());
  for (Symbol value : found) values.emplace_back(symbols_.Text(value));
  std::sort(values.begin(), values.end());
  return values;
}

bool SeriesIndex::HasMetric(std::string_view metric) const {
  base::ReaderLock lock(mu_);
  return postings_.Any(kMetricName, metric);
}

void SeriesIndex::WithSymbols(std::span<const IndexedSeries> series,
                              const std::function<void(SeriesRef, std::span<const SymbolPair>)>& use) const {
  Pairs pairs;
  base::ReaderLock lock(mu_);
  for (const IndexedSeries& one : series) {
    Decode(one.labels, &pairs);
    use(one.ref, pairs);
  }
}

Symbol SeriesIndex::AcquireSymbol(std::string_view text) {
  base::WriterLock lock(mu_);
  return symbols_.Acquire(text);
}

void SeriesIndex::ReleaseSymbol(Symbol symbol) {
  base::WriterLock lock(mu_);
  symbols_.Release(symbol);
}

SeriesRef SeriesIndex::next_ref() const {
  base::ReaderLock lock(mu_);
  return next_ref_;
}

void SeriesIndex::ReserveRefs(SeriesRef next) {
  base::WriterLock lock(mu_);
  next_ref_ = std::max(next_ref_, next);
}

size_t SeriesIndex::memory_bytes() const {
  base::ReaderLock lock(mu_);
  return slab_.resident_bytes() + symbols_.table_bytes() + index_.bytes();
}

}  // namespace tidewright::tsdb
