#include "adapter/query_cache.h"

#include <iterator>
#include <utility>

#include "adapter/metric_query.h"

namespace tidewright::adapter {
namespace {

// About what a plan takes for its text: the names in it are kept as values of a matcher and as labels of the result.
constexpr size_t kPlanBytesPerLetter = 16;
constexpr size_t kEntryBytes = 1024;

size_t BytesOf(const std::string& key, const kube::NameListPtr& names, const std::string& text) {
  size_t bytes = kEntryBytes + key.size() + text.size() * kPlanBytesPerLetter;
  if (names == nullptr) return bytes;
  for (const std::string& name : names->names) bytes += sizeof(name) + name.size();
  return bytes;
}

bool Same(const kube::NameListPtr& a, const kube::NameListPtr& b) {
  return a == b || (a != nullptr && b != nullptr && a->names == b->names);
}

}  // namespace

RenderedQuery::RenderedQuery(promql::QueryEngine& engine, std::string text)
    : text_(std::move(text)), window_s_(WindowSeconds(text_)) {
  auto prepared = engine.Prepare(text_);
  unparsable_ = prepared.status();
  if (prepared.ok()) prepared_ = *std::move(prepared);
}

base::Result<promql::Value> RenderedQuery::Ask(int64_t now_ms, const std::function<std::string()>& title) const {
  using Result = base::Result<promql::QueryResult>;
  Result result = prepared_ != nullptr ? prepared_->Instant(now_ms) : Result(unparsable_);
  if (result.ok()) return std::move(result->value);
  return QueryFailure(title(), text_, result.status());
}

base::Result<bool> RenderedQuery::Visit(int64_t now_ms, const std::string& label, const promql::ElementSink& sink,
                                        const std::function<std::string()>& title) const {
  using Result = base::Result<bool>;
  Result vector = prepared_ != nullptr ? prepared_->Visit(now_ms, label, sink) : Result(unparsable_);
  if (vector.ok()) return vector;
  return QueryFailure(title(), text_, vector.status());
}

kube::NameListPtr QueryCache::NamesOf(const std::string& key) {
  EntryPtr kept = Find(key);
  return kept == nullptr ? nullptr : kept->names;
}

base::Result<RenderedQueryPtr> QueryCache::Get(const std::string& key, const std::shared_ptr<const Rule>& rule,
                                               const kube::NameListPtr& names, bool spells,
                                               const std::function<base::Result<std::string>()>& render) {
  EntryPtr kept = Find(key);
  const bool stays = kept != nullptr && kept->rule == rule && (!spells || Same(kept->names, names));
  if (stays && kept->names == names) return kept->query;
  RenderedQueryPtr query = stays ? kept->query : nullptr;
  if (query == nullptr) {
    TW_ASSIGN_OR_RETURN(std::string text, render());
    query = std::make_shared<const RenderedQuery>(engine_, std::move(text));
  }
  auto entry = std::make_shared<Entry>();
  entry->key = key;
  entry->rule = rule;
  entry->names = names;
  entry->bytes = BytesOf(key, names, query->text());
  entry->query = query;
  Keep(std::move(entry));
  return query;
}

QueryCache::EntryPtr QueryCache::Find(const std::string& key) {
  base::MutexLock lock(mu_);
  auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return *found->second;
}

void QueryCache::Keep(EntryPtr entry) {
  std::vector<EntryPtr> gone;  // Destroyed without the lock.
  base::MutexLock lock(mu_);
  if (auto old = by_key_.find(entry->key); old != by_key_.end()) gone.push_back(Remove(old->second));
  bytes_ += entry->bytes;
  entries_.push_front(std::move(entry));
  by_key_.emplace(entries_.front()->key, entries_.begin());
  while (bytes_ > most_bytes_ && entries_.size() > 1) gone.push_back(Remove(std::prev(entries_.end())));
}

QueryCache::EntryPtr QueryCache::Remove(std::list<EntryPtr>::iterator at) {
  EntryPtr entry = *at;
  by_key_.erase(entry->key);
  bytes_ -= entry->bytes;
  entries_.erase(at);
  return entry;
}

size_t QueryCache::size() const {
  base::MutexLock lock(mu_);
  return entries_.size();
}

}  // namespace tidewright::adapter
