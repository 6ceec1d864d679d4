// Postings: for each label pair the series that carry it. The index behind Select().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "tsdb/id_map.h"
#include "tsdb/labels.h"
#include "tsdb/posting_list.h"
#include "tsdb/ref_set.h"
#include "tsdb/slab.h"
#include "tsdb/symbol_table.h"

namespace tidewright::tsdb {

// Borrows the slab and the symbols. Not thread-safe; concurrent const calls are fine.
class Postings {
 public:
  Postings(Slab& slab, const SymbolTable& symbols) : slab_(slab), symbols_(symbols) {}
  ~Postings();

  // Adds a series. False when memory is exhausted.
  bool Add(SeriesRef ref, std::span<const SymbolPair> labels);
  // Forgets the series `gone`, whose label pairs are `pairs` (ascending, without repeats).
  void Remove(const RefSet& gone, std::span<const SymbolPair> pairs);

  // The series that satisfy `matchers`, except that matchers which are cheaper to test on the labels of what is left
  // than to look up here are handed back in `untested`.
  RefSet Candidates(const Matchers& matchers, Matchers* untested) const;

  std::vector<std::string> Names() const;  // Sorted, as are the values.
  std::vector<std::string> Values(std::string_view name) const;
  RefSet All() const { return all_.Decode(slab_); }
  // Whether a series has this pair.
  bool Any(std::string_view name, std::string_view value) const;

 private:
  // The values of one label name. Lists keep their place until they are empty; free places are used again.
  struct Name {
    IdMap places;  // Value symbol to index in the two vectors.
    std::vector<PostingList> lists;
    std::vector<Symbol> values;  // 0: a free place.
    std::vector<uint32_t> free;
    // Places in the order of their texts: made when asked for.
    mutable std::vector<uint32_t> order;
    mutable bool order_valid = false;
  };

  const Name* FindName(std::string_view name) const;
  const PostingList* Find(const Name& name, std::string_view value) const;
  PostingList& ListOf(SymbolPair pair);
  void RemoveValue(Name* name, Symbol value, const RefSet& gone);
  std::vector<uint32_t> Order(const Name& name) const;
  RefSet Exact(const Matcher& matcher) const;
  bool NamesItsValues(const Matcher& matcher) const;
  RefSet Union(const Matcher& matcher, bool wanted) const;

  Slab& slab_;
  const SymbolTable& symbols_;
  std::unordered_map<Symbol, std::unique_ptr<Name>> names_;
  PostingList all_;
  mutable base::Mutex order_mu_;  // Guards every Name's order; taken last.
};

}  // namespace tidewright::tsdb
