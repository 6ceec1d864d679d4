// SeriesIndex: which series there are: label sets to references and back, and the postings.
//
// A label set is held once, as pairs of symbols written as varints: about three bytes a label.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/shared_mutex.h"
#include "tsdb/label_index.h"
#include "tsdb/labels.h"
#include "tsdb/postings.h"
#include "tsdb/ref_set.h"
#include "tsdb/slab.h"
#include "tsdb/symbol_table.h"

namespace tidewright::tsdb {

// A series as Select finds it. `labels` names its label set in the index.
struct IndexedSeries {
  SeriesRef ref = 0;
  Slab::Handle labels = 0;
};

// Thread-safe; one lock, shared by readers. Label sets of removed series stay readable until Reclaim(), so that
// whoever found a series may read its labels later.
class SeriesIndex {
 public:
  SeriesIndex() : symbols_(slab_), postings_(slab_, symbols_) {}

  // Puts a new series where LabelsOf finds it. Called with the index locked.
  using Publish = std::function<bool(const IndexedSeries&)>;
  // From a reference to its label set, 0 when there is no such series. Called with the index locked.
  using LabelsOf = std::function<Slab::Handle(SeriesRef)>;

  explicit SeriesIndex(LabelsOf labels_of) : SeriesIndex() { labels_of_ = std::move(labels_of); }

  // The series with these labels, or {}.
  IndexedSeries Find(const Labels& labels) const;
  // As Find(); else makes it, with the next reference (or `wanted`, if that is not 0 and free). `publish` is called
  // for a new one before anybody can find it; when it returns false nothing is made. {} when memory is exhausted.
  IndexedSeries GetOrCreate(const Labels& labels, SeriesRef wanted, bool* created, const Publish& publish);
  IndexedSeries GetOrCreate(std::span<const SymbolPair> labels, SeriesRef wanted, bool* created,
                            const Publish& publish);

  // From here to AddPostponed() new series are found by their labels, but not by matchers; nor may any be removed. For
  // a log, which may define series in an order in which adding each to the postings would cost a pass over all before
  // it.
  void PostponePostings();
  void AddPostponed();

  // Takes series out of the index: those for which `remove` returns true, which must make them unreachable for
  // others. Returns how many.
  size_t Remove(std::span<const SeriesRef> candidates, const std::function<bool(SeriesRef)>& remove);
  // What is removed until the next call of Retire() belongs to the generation that this returns, at the latest.
  // Reclaim() frees what belongs to `generation` or an earlier one; `freed` receives the symbols that are no more.
  uint64_t Retire();
  void Reclaim(uint64_t generation, std::vector<Symbol>* freed);

  // The series that match, sorted by labels.
  std::vector<IndexedSeries> Select(const Matchers& matchers) const;
  // A number that tells whether the series that match are those that an earlier Select() found: its Fingerprint() then.
  // Much cheaper than to select.
  uint64_t Fingerprint(const Matchers& matchers) const;
  static uint64_t Fingerprint(std::span<const IndexedSeries> series);
  Labels Materialize(Slab::Handle labels) const;
  // The value of one label; "" when absent. Valid as long as the label set.
  std::string_view Value(Slab::Handle labels, std::string_view name) const;
  std::vector<std::string> Names() const;
  std::vector<std::string> Values(std::string_view name) const;
  // The names (or the values of `name`) of these series, sorted.
  std::vector<std::string> NamesOf(std::span<const IndexedSeries> series) const;
  std::vector<std::string> ValuesOf(std::span<const IndexedSeries> series, std::string_view name) const;
  bool HasMetric(std::string_view metric) const;

  // Calls `use` with the symbols of each label set; the table is locked for that time.
  void WithSymbols(std::span<const IndexedSeries> series,
                   const std::function<void(SeriesRef, std::span<const SymbolPair>)>& use) const;
  // A text that stays known until ReleaseSymbol(); 0 when memory is exhausted.
  Symbol AcquireSymbol(std::string_view text);
  void ReleaseSymbol(Symbol symbol);
  const SymbolTable& symbols() const { return symbols_; }

  // Changes whenever a series appears or goes.
  uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  SeriesRef next_ref() const;
  // References below this are taken.
  void ReserveRefs(SeriesRef next);
  size_t memory_bytes() const;

 private:
  using Pairs = std::vector<SymbolPair>;
  struct Removed {
    uint64_t generation;
    Slab::Handle labels;
  };

  bool FindSymbols(const Labels& labels, Pairs* pairs) const REQUIRES_SHARED_LOCK(mu_);
  void AcquireSymbols(const Labels& labels, Pairs* pairs) REQUIRES_LOCK(mu_);
  static void Encode(std::span<const SymbolPair> pairs, std::string* out);
  std::string_view Bytes(Slab::Handle labels) const;
  void Decode(Slab::Handle labels, Pairs* pairs) const;
  Symbol ValueSymbol(Slab::Handle labels, Symbol name) const;  // 0 when absent.
  IndexedSeries FindEncoded(std::string_view encoded, uint64_t hash) const REQUIRES_SHARED_LOCK(mu_);
  IndexedSeries GetOrCreateLocked(std::span<const SymbolPair> labels, SeriesRef wanted, bool* created,
                                  const Publish& publish) REQUIRES_LOCK(mu_);
  IndexedSeries Create(std::span<const SymbolPair> pairs, std::string_view encoded, uint64_t hash, SeriesRef wanted,
                       const Publish& publish) REQUIRES_LOCK(mu_);
  std::vector<IndexedSeries> Matching(const Matchers& matchers) const REQUIRES_SHARED_LOCK(mu_);
  bool Less(Slab::Handle a, Slab::Handle b) const REQUIRES_SHARED_LOCK(mu_);
  bool Matches(Slab::Handle labels, const Matchers& matchers, const std::vector<Symbol>& names) const
      REQUIRES_SHARED_LOCK(mu_);

  mutable base::SharedMutex mu_;
  Slab slab_;
  SymbolTable symbols_;
  LabelIndex index_;
  Postings postings_;
  LabelsOf labels_of_;
  SeriesRef next_ref_ = 1;
  bool postponing_ = false;
  std::vector<SeriesRef> postponed_;
  std::vector<Removed> removed_;
  uint64_t generation_ = 0;
  std::atomic<uint64_t> epoch_{1};
};

}  // namespace tidewright::tsdb
