// Plans of queries that were evaluated lately. Dashboards, rules and autoscalers ask the same again and again.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/mutex.h"
#include "promql/ast.h"
#include "promql/plan_memory.h"

namespace tidewright::promql {

// An expression with its tree and what its evaluations leave behind. A tree is resolved anew for each evaluation, so
// that only one may be under way.
struct Plan {
  std::string expr;
  ExprPtr tree;
  PlanMemory memory;
};

// Idle plans, several of one expression where evaluations overlapped. The least recently used ones go. Thread-safe.
class PlanCache {
 public:
  // Keeps at most so many plans, of about so many bytes together.
  PlanCache(size_t most_plans, size_t most_bytes) : most_plans_(most_plans), most_bytes_(most_bytes) {}

  // Null when there is none.
  std::unique_ptr<Plan> Take(const std::string& expr);
  void Put(std::unique_ptr<Plan> plan);

 private:
  struct Entry {
    std::unique_ptr<Plan> plan;
    size_t bytes = 0;
  };
  using Entries = std::list<Entry>;  // The one used last first.
  using ByText = std::unordered_multimap<std::string_view, Entries::iterator>;

  std::unique_ptr<Plan> Remove(ByText::iterator place) REQUIRES_LOCK(mu_);

  const size_t most_plans_, most_bytes_;
  base::Mutex mu_;
  Entries entries_ GUARDED_BY(mu_);
  ByText by_text_ GUARDED_BY(mu_);
  size_t bytes_ GUARDED_BY(mu_) = 0;
};

}  // namespace tidewright::promql
