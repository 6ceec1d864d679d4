// QueryCache: the queries of requests that come again and again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "adapter/rule.h"
#include "base/mutex.h"
#include "base/status.h"
#include "kube/name_list.h"
#include "promql/engine.h"

namespace tidewright::adapter {

// A rendered query, prepared for evaluation.
class RenderedQuery {
 public:
  RenderedQuery(promql::QueryEngine& engine, std::string text);

  const std::string& text() const { return text_; }
  // The longest range in it, in seconds (WindowSeconds).
  std::optional<int64_t> window_s() const { return window_s_; }
  // The value at `now_ms` for the rule called title(). The error names rule and query; one that is the rule's fault and
  // not the requester's, such as PromQL that does not parse, is kInternal. Thread-safe; evaluations take turns.
  base::Result<promql::Value> Ask(int64_t now_ms, const std::function<std::string()>& title) const;
  // The same for the elements of an instant vector; false: it gives none (PreparedQuery::Visit).
  base::Result<bool> Visit(int64_t now_ms, const std::string& label, const promql::ElementSink& sink,
                           const std::function<std::string()>& title) const;

 private:
  const std::string text_;
  const std::optional<int64_t> window_s_;
  std::unique_ptr<promql::PreparedQuery> prepared_;  // Null: unparsable_ says why.
  base::Status unparsable_;
};
using RenderedQueryPtr = std::shared_ptr<const RenderedQuery>;

// An autoscaler asks the same every few seconds, and to render and parse a query for a thousand pods takes longer than
// to evaluate it. Keeps queries until they take about `most_bytes`; those asked for longest ago go first. Thread-safe.
// Borrows engine.
class QueryCache {
 public:
  explicit QueryCache(promql::QueryEngine& engine, size_t most_bytes = 48 << 20)
      : engine_(engine), most_bytes_(most_bytes) {}

  // The names that the question `key` was about the last time; null when it is not kept.
  kube::NameListPtr NamesOf(const std::string& key);
  // The query of `rule` for the question `key` about `names` (null: about none): the one that is kept, if it was made
  // for the same rule and, where the query `spells` the names out, the same names; else the one that `render` makes.
  // Cheapest with the very list of NamesOf().
  base::Result<RenderedQueryPtr> Get(const std::string& key, const std::shared_ptr<const Rule>& rule,
                                     const kube::NameListPtr& names, bool spells,
                                     const std::function<base::Result<std::string>()>& render);

  size_t size() const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Rule> rule;
    kube::NameListPtr names;
    RenderedQueryPtr query;
    size_t bytes = 0;
  };
  using EntryPtr = std::shared_ptr<const Entry>;

  EntryPtr Find(const std::string& key);
  void Keep(EntryPtr entry);
  EntryPtr Remove(std::list<EntryPtr>::iterator at) REQUIRES_LOCK(mu_);

  promql::QueryEngine& engine_;
  const size_t most_bytes_;
  mutable base::Mutex mu_;
  std::list<EntryPtr> entries_ GUARDED_BY(mu_);  // The one asked for last first.
  std::unordered_map<std::string_view, std::list<EntryPtr>::iterator> by_key_ GUARDED_BY(mu_);  // Of entries' keys.
  size_t bytes_ GUARDED_BY(mu_) = 0;
};

}  // namespace tidewright::adapter
