// A store of a handful of series for tests of the engine: what a query sees is written next to the query.
#pragma once

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "promql/engine.h"
#include "tsdb/querier.h"

namespace tidewright::promql {

// Series written as {labels, points}. Counts what it is asked for.
class MemoryStorage : public tsdb::Queryable {
 public:
  // Points at 0, interval, 2 * interval, ...; NaN with the stale bits is a stale marker.
  void Add(const Labels& labels, int64_t interval_ms, const std::vector<double>& values) {
    Stored stored{labels, {}};
    for (size_t i = 0; i < values.size(); ++i) {
      stored.samples.push_back({static_cast<int64_t>(i) * interval_ms, values[i]});
    }
    stored_.push_back(std::move(stored));
    std::sort(stored_.begin(), stored_.end(), [](const Stored& a, const Stored& b) { return a.labels < b.labels; });
  }
  void FailWith(base::Status status) { failure_ = std::move(status); }

  base::Result<std::unique_ptr<tsdb::Querier>> NewQuerier(int64_t mint, int64_t maxt) override {
    if (!failure_.ok()) return failure_;
    return std::unique_ptr<tsdb::Querier>(std::make_unique<MemoryQuerier>(*this, mint, maxt));
  }

  int selects() const { return selects_; }
  int64_t last_mint() const { return last_mint_; }
  int64_t last_maxt() const { return last_maxt_; }

 private:
  struct Stored {
    Labels labels;
    std::vector<Point> samples;
  };

  class Iterator : public tsdb::SampleIterator {
   public:
    Iterator(const Stored& stored, int64_t mint, int64_t maxt) : stored_(stored), maxt_(maxt) {
      while (next_ < stored_.samples.size() && stored_.samples[next_].t < mint) ++next_;
    }
    bool Next() override {
      at_ = next_;
      if (!Valid(next_)) return false;
      ++next_;
      return true;
    }
    bool Seek(int64_t t) override {
      if (Valid(at_) && stored_.samples[at_].t >= t) return true;
      while (Next()) {
        if (stored_.samples[at_].t >= t) return true;
      }
      return false;
    }
    Point At() const override { return stored_.samples[at_]; }

   private:
    bool Valid(size_t i) const { return i < stored_.samples.size() && stored_.samples[i].t <= maxt_; }
    const Stored& stored_;
    int64_t maxt_;
    size_t next_ = 0;
    size_t at_ = SIZE_MAX;
  };

  class MemorySeries : public tsdb::Series {
   public:
    MemorySeries(const Stored& stored, int64_t mint, int64_t maxt) : stored_(stored), mint_(mint), maxt_(maxt) {}
    const Labels& labels() const override { return stored_.labels; }
    std::unique_ptr<tsdb::SampleIterator> Iterator() const override {
      return std::make_unique<MemoryStorage::Iterator>(stored_, mint_, maxt_);
    }

   private:
    const Stored& stored_;
    int64_t mint_, maxt_;
  };

  class MemoryQuerier : public tsdb::Querier {
   public:
    MemoryQuerier(MemoryStorage& storage, int64_t mint, int64_t maxt) : storage_(storage), mint_(mint), maxt_(maxt) {
      storage.last_mint_ = mint;
      storage.last_maxt_ = maxt;
    }
    base::Result<std::vector<std::unique_ptr<tsdb::Series>>> Select(const tsdb::SelectHints&,
                                                                    const Matchers& matchers) override {
      ++storage_.selects_;
      std::vector<std::unique_ptr<tsdb::Series>> found;
      for (const Stored& stored : storage_.stored_) {
        bool matches = std::all_of(matchers.begin(), matchers.end(),
                                   [&](const Matcher& m) { return m.Matches(stored.labels.Get(m.name())); });
        if (matches) found.push_back(std::make_unique<MemorySeries>(stored, mint_, maxt_));
      }
      return found;
    }
    base::Result<std::vector<std::string>> LabelNames(const Matchers&) override {
      std::set<std::string> names;
      for (const Stored& stored : storage_.stored_) {
        for (const auto& label : stored.labels) names.insert(label.name);
      }
      return std::vector<std::string>(names.begin(), names.end());
    }
    base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers&) override {
      std::set<std::string> values;
      for (const Stored& stored : storage_.stored_) values.emplace(stored.labels.Get(name));
      return std::vector<std::string>(values.begin(), values.end());
    }

   private:
    MemoryStorage& storage_;
    int64_t mint_, maxt_;
  };

  std::vector<Stored> stored_;
  base::Status failure_;
  int selects_ = 0;
  int64_t last_mint_ = 0;
  int64_t last_maxt_ = 0;
};

}  // namespace tidewright::promql
