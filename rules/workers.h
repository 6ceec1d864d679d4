// Workers: threads that help to evaluate the rules of groups. Private to rules.
#pragma once

#include <cstddef>
#include <functional>

#include "base/thread_pool.h"

namespace tidewright::rules {

// Thread-safe.
class Workers {
 public:
  // At most `threads` (at least 1) help at any one time, in all groups together.
  explicit Workers(int threads) : pool_("rules", threads), threads_(static_cast<size_t>(threads)) {}

  // Calls `task` with 0 to `count` - 1, on this thread and on whatever workers are free, and returns when all calls
  // have ended. So it also comes to an end when every worker is busy elsewhere.
  void ForEach(size_t count, const std::function<void(size_t)>& task);

 private:
  base::ThreadPool pool_;
  const size_t threads_;
};

}  // namespace tidewright::rules
