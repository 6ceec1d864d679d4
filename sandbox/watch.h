// Watches: changes of one resource, streamed to HTTP clients as JSON lines.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "http/server.h"
#include "sandbox/resource_type.h"
#include "sandbox/selector.h"
#include "sandbox/store.h"
#include "sandbox/table.h"

namespace tidewright::sandbox {

struct WatchOptions {
  std::string ns;  // "" for all.
  ObjectFilter filter;
  std::optional<uint64_t> since;  // Empty: begin with an ADDED event for each existing object.
  bool bookmarks = false;
  bool initial_events_end = false;  // sendInitialEvents: mark the end of the existing objects with a bookmark.
  bool table = false;
  IncludeObject include = IncludeObject::kMetadata;
  int64_t timeout_ms = 1'800'000;
};

// The watches of one API server. Thread-safe. Borrows `store`, which must outlive it.
class WatchHub {
 public:
  explicit WatchHub(Store& store);
  ~WatchHub();  // StopAll().

  // Answers with a stream that ends at its timeout, when the client goes, or with StopAll(). A `since` that the history
  // does not reach is answered with an ERROR event of code 410, as the real server does.
  void Start(const ResourceTypePtr& type, WatchOptions options, const std::shared_ptr<http::Responder>& responder);

  // Ends watches whose time is over or whose client is gone, and sends bookmarks (each minute). Call it regularly.
  void Tick();
  void StopAll();
  size_t active() const;

 private:
  class Watch;
  struct Active {
    std::shared_ptr<Watch> watch;  // Shared with the store's observer.
    uint64_t subscription = 0;
  };

  Store& store_;
  mutable base::Mutex mu_;
  std::map<uint64_t, Active> active_ GUARDED_BY(mu_);
  uint64_t next_id_ GUARDED_BY(mu_) = 1;
};

}  // namespace tidewright::sandbox
