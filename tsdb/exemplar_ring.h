// ExemplarRing: the newest exemplars of all series together, up to a number that is given; the oldest gives way to the
// next. Kept by the labels of their series, so that they outlive it, as in Prometheus.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "tsdb/appender.h"
#include "tsdb/exemplar.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

// Thread-safe. Memory is taken as exemplars come.
class ExemplarRing {
 public:
  enum class Admission { kNew, kRepeated, kOutOfOrder, kTooLong, kDisabled };

  explicit ExemplarRing(size_t capacity) : capacity_(capacity) {}

  // What Add() would do with an exemplar of this series. An exemplar is out of order when time, value or labels, in
  // this order, are less than those of the series' newest; the same again is repeated.
  Admission Check(SeriesRef ref, const Exemplar& exemplar) const;
  // Takes what Check() says is new, and nothing else. `series` are the labels of `ref`; a series that the head has
  // forgotten has none (0).
  void Add(SeriesRef ref, const Labels& series, Exemplar exemplar);

  // Between `start` and `end` (ms, inclusive), of the series that satisfy all matchers of any of the lists; sorted by
  // series.
  std::vector<SeriesExemplars> Select(int64_t start, int64_t end, std::span<const Matchers> any) const;
  // Every exemplar in the order they came.
  void ForEach(const std::function<void(SeriesRef ref, const Labels& series, const Exemplar&)>& use) const;

  // Keeps the newest up to `capacity`; 0 takes no more.
  void Resize(size_t capacity);
  size_t size() const;

 private:
  static constexpr size_t kNone = SIZE_MAX;

  struct Group {
    SeriesRef ref = 0;
    size_t oldest = kNone;
    size_t newest = kNone;
  };
  using Groups = std::map<Labels, Group>;
  struct Slot {
    Groups::iterator group;  // series_.end(): the slot is empty.
    size_t next = kNone;     // Of the same series.
    Exemplar exemplar;
  };

  Admission Compare(const Group& group, const Exemplar& exemplar) const REQUIRES_LOCK(mu_);
  void AddLocked(SeriesRef ref, const Labels& series, Exemplar exemplar) REQUIRES_LOCK(mu_);
  void Clear(Slot* slot) REQUIRES_LOCK(mu_);

  mutable base::Mutex mu_;
  size_t capacity_ GUARDED_BY(mu_);
  std::vector<Slot> slots_ GUARDED_BY(mu_);  // Grows to the capacity, then goes round.
  size_t next_ GUARDED_BY(mu_) = 0;          // Where the next goes.
  Groups series_ GUARDED_BY(mu_);
  std::unordered_map<SeriesRef, Groups::iterator> by_ref_ GUARDED_BY(mu_);
};

// For the log: reference, labels of the series when that is 0, time, value, labels. Decoding any bytes is safe.
std::string EncodeExemplar(SeriesRef ref, const Labels& series, const Exemplar& exemplar);
struct LoggedExemplar {
  SeriesRef ref = 0;
  Labels series;
  Exemplar exemplar;
};
base::Result<LoggedExemplar> DecodeExemplar(std::string_view bytes);

}  // namespace tidewright::tsdb
