#include "tsdb/exemplar_ring.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "tsdb/encoding.h"

namespace tidewright::tsdb {

namespace {

constexpr uint64_t kMaxLabels = 4096;

// UTF-8 characters: bytes that do not continue one.
size_t Characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool TooLong(const Labels& labels) {
  size_t total = 0;
  for (const Label& label : labels) total += Characters(label.name) + Characters(label.value);
  return total > kMaxExemplarCharacters;
}

bool Satisfies(const Labels& series, const Matchers& matchers) {
  return std::all_of(matchers.begin(), matchers.end(),
                     [&](const Matcher& matcher) { return matcher.Matches(series.Get(matcher.name())); });
}

void PutLabels(const Labels& labels, std::string* out) {
  PutUvarint(out, labels.size());
  for (const Label& label : labels) {
    PutString(out, label.name);
    PutString(out, label.value);
  }
}

bool ReadLabels(ByteReader* reader, Labels* labels) {
  const uint64_t count = reader->Uvarint();
  if (!reader->ok() || count > kMaxLabels) return false;
  std::vector<Label> pairs;
  for (uint64_t i = 0; i < count && reader->ok(); ++i) {
    std::string name(reader->String());
    pairs.push_back({std::move(name), std::string(reader->String())});
  }
  *labels = Labels::FromPairs(std::move(pairs));
  return reader->ok();
}

}  // namespace

ExemplarRing::Admission ExemplarRing::Compare(const Group& group, const Exemplar& exemplar) const {
  const Exemplar& newest = slots_[group.newest].exemplar;
  if (exemplar.t != newest.t) return exemplar.t > newest.t ? Admission::kNew : Admission::kOutOfOrder;
  const bool same_value = std::bit_cast<uint64_t>(exemplar.v) == std::bit_cast<uint64_t>(newest.v);
  if (!same_value && exemplar.v != newest.v) return exemplar.v < newest.v ? Admission::kOutOfOrder : Admission::kNew;
  if (exemplar.labels == newest.labels) return Admission::kRepeated;
  return exemplar.labels < newest.labels ? Admission::kOutOfOrder : Admission::kNew;
}

ExemplarRing::Admission ExemplarRing::Check(SeriesRef ref, const Exemplar& exemplar) const {
  base::MutexLock lock(mu_);
  if (capacity_ == 0) return Admission::kDisabled;
  if (TooLong(exemplar.labels)) return Admission::kTooLong;
  auto known = by_ref_.find(ref);
  return known == by_ref_.end() ? Admission::kNew : Compare(known->second->second, exemplar);
}

void ExemplarRing::Add(SeriesRef ref, const Labels& series, Exemplar exemplar) {
  base::MutexLock lock(mu_);
  AddLocked(ref, series, std::move(exemplar));
}

void ExemplarRing::AddLocked(SeriesRef ref, const Labels& series, Exemplar exemplar) {
  if (capacity_ == 0 || TooLong(exemplar.labels)) return;
  auto group = series_.find(series);
  if (group != series_.end() && Compare(group->second, exemplar) != Admission::kNew) return;
  const size_t place = next_;
  next_ = (next_ + 1) % capacity_;
  if (place == slots_.size()) {
    slots_.push_back({series_.end(), kNone, {}});
  } else {
    Clear(&slots_[place]);  // Which may have been the last of the same series.
  }
  group = series_.try_emplace(series).first;
  Group& one = group->second;
  if (ref != 0 && one.ref != ref) {
    by_ref_.erase(one.ref);
    one.ref = ref;
    by_ref_[ref] = group;
  }
  (one.newest == kNone ? one.oldest : slots_[one.newest].next) = place;
  one.newest = place;
  slots_[place] = {group, kNone, std::move(exemplar)};
}

// The exemplars of a series are in the ring in the order they came, so that what gives way is its oldest.
void ExemplarRing::Clear(Slot* slot) {
  if (slot->group == series_.end()) return;
  Group& group = slot->group->second;
  group.oldest = slot->next;
  if (group.oldest == kNone) {
    by_ref_.erase(group.ref);
    series_.erase(slot->group);
  }
  slot->group = series_.end();
}

std::vector<SeriesExemplars> ExemplarRing::Select(int64_t start, int64_t end, std::span<const Matchers> any) const {
  std::vector<SeriesExemplars> result;
  base::MutexLock lock(mu_);
  for (const auto& [series, group] : series_) {
    if (slots_[group.oldest].exemplar.t > end || slots_[group.newest].exemplar.t < start) continue;
    if (std::none_of(any.begin(), any.end(),
                     [&, &labels = series](const Matchers& all) { return Satisfies(labels, all); })) {
      continue;
    }
    SeriesExemplars one{series, {}};
    for (size_t place = group.oldest; place != kNone; place = slots_[place].next) {
      const Exemplar& exemplar = slots_[place].exemplar;
      if (exemplar.t >= start && exemplar.t <= end) one.exemplars.push_back(exemplar);
    }
    if (!one.exemplars.empty()) result.push_back(std::move(one));
  }
  return result;
}

void ExemplarRing::ForEach(const std::function<void(SeriesRef, const Labels&, const Exemplar&)>& use) const {
  base::MutexLock lock(mu_);
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[(next_ + i) % slots_.size()];
    if (slot.group != series_.end()) use(slot.group->second.ref, slot.group->first, slot.exemplar);
  }
}

void ExemplarRing::Resize(size_t capacity) {
  base::MutexLock lock(mu_);
  if (capacity == capacity_) return;
  struct Kept {
    SeriesRef ref;
    Labels series;
    Exemplar exemplar;
  };
  std::vector<Kept> kept;
  const size_t size = slots_.size();
  for (size_t i = size - std::min(size, capacity); i < size; ++i) {
    Slot& slot = slots_[(next_ + i) % size];
    if (slot.group == series_.end()) continue;
    kept.push_back({slot.group->second.ref, slot.group->first, std::move(slot.exemplar)});
  }
  slots_ = {};
  series_.clear();
  by_ref_.clear();
  next_ = 0;
  capacity_ = capacity;
  for (Kept& one : kept) AddLocked(one.ref, one.series, std::move(one.exemplar));
}

size_t ExemplarRing::size() const {
  base::MutexLock lock(mu_);
  return slots_.size();
}

std::string EncodeExemplar(SeriesRef ref, const Labels& series, const Exemplar& exemplar) {
  std::string bytes;
  PutUvarint(&bytes, ref);
  if (ref == 0) PutLabels(series, &bytes);
  PutVarint(&bytes, exemplar.t);
  PutU64(&bytes, std::bit_cast<uint64_t>(exemplar.v));
  PutLabels(exemplar.labels, &bytes);
  return bytes;
}

base::Result<LoggedExemplar> DecodeExemplar(std::string_view bytes) {
  ByteReader reader(bytes);
  LoggedExemplar logged;
  logged.ref = reader.Uvarint();
  bool good = logged.ref != 0 || ReadLabels(&reader, &logged.series);
  logged.exemplar.t = reader.Varint();
  logged.exemplar.v = std::bit_cast<double>(reader.U64());
  good = good && ReadLabels(&reader, &logged.exemplar.labels);
  if (!good) return base::DataLossError("exemplar of the head's log cannot be decoded");
  return logged;
}

}  // namespace tidewright::tsdb
