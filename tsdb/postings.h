// Postings: for each label pair the series that carry it. The index behind Select().
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "tsdb/appender.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb {

// Thread-safe.
class Postings {
 public:
  void Add(SeriesRef ref, const Labels& labels);
  // Forgets `refs`, whose label sets are `labels`.
  void Remove(const std::unordered_set<SeriesRef>& refs, const std::vector<const Labels*>& labels);

  // The series that satisfy `matchers`, ascending, except that matchers which are cheaper to test on the labels of what
  // is left than to look up here are handed back in `untested`.
  std::vector<SeriesRef> Candidates(const Matchers& matchers, Matchers* untested) const;

  std::vector<std::string> Names() const;
  std::vector<std::string> Values(const std::string& name) const;
  // A series with this label pair, or 0.
  SeriesRef Any(std::string_view name, std::string_view value) const;

 private:
  using List = std::vector<SeriesRef>;  // Ascending.
  using Values_ = std::map<std::string, List, std::less<>>;

  const Values_* ValuesOf(std::string_view name) const REQUIRES_LOCK(mu_);
  const List& ListOf(std::string_view name, std::string_view value) const REQUIRES_LOCK(mu_);
  List Union(const Matcher& matcher, bool wanted) const REQUIRES_LOCK(mu_);
  bool Exact(const Matcher& matcher, List* list) const REQUIRES_LOCK(mu_);

  mutable base::Mutex mu_;
  std::map<std::string, Values_, std::less<>> lists_ GUARDED_BY(mu_);
  List all_ GUARDED_BY(mu_);
};

}  // namespace tidewright::tsdb
