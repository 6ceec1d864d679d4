// FoundSets: the last sets of series that were selected, for who selects the same again. Dashboards ask for the values
// of a label, and autoscalers for the series of a metric, every few seconds.
#pragma once

#include <cstddef>
#include <list>
#include <string>

#include "base/mutex.h"
#include "tsdb/labels.h"
#include "tsdb/querier.h"

namespace tidewright::tsdb {

// Thread-safe. Whether a set is still right is for the caller to find out.
class FoundSets {
 public:
  explicit FoundSets(size_t max_bytes) : max_bytes_(max_bytes) {}

  // What Put() was called with last for these matchers; null when that is unknown or too long ago.
  SeriesSetPtr Find(const Matchers& matchers);
  void Put(const Matchers& matchers, SeriesSetPtr set);

 private:
  struct Entry {
    std::string matchers;
    SeriesSetPtr set;
  };
  static constexpr size_t kMost = 32;

  const size_t max_bytes_;
  base::Mutex mu_;
  std::list<Entry> entries_ GUARDED_BY(mu_);  // The one used last in front.
};

}  // namespace tidewright::tsdb
