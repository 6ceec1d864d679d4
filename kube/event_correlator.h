// Which events are written, and which are folded into others: the rules of client-go's EventCorrelator. Private to
// kube.
#pragma once

#include <cstdint>
#include <list>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

namespace tidewright::kube {

// What is to be said about which object.
struct EventNote {
  std::string object_key;  // Names the object: API version, kind, namespace, name, uid.
  std::string type;
  std::string reason;
  std::string message;
};

// How it is to be written.
struct EventVerdict {
  bool skip = false;    // The object has been talked about too much.
  std::string key;      // What counts as the same event.
  std::string message;  // Perhaps marked as combined from several.
  std::string name;     // Of the existing event to raise the count of; "" creates one.
  int64_t count = 1;
  int64_t first_ms = 0;  // When it was first seen.
};

// A map that forgets what was used least recently. Not thread-safe.
template <typename Value>
class RecentlyUsed {
 public:
  explicit RecentlyUsed(size_t max_entries) : max_entries_(max_entries) {}

  // The value at `key`, made if there is none.
  Value& Use(const std::string& key) {
    auto found = index_.find(key);
    if (found != index_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
    } else {
      entries_.emplace_front(key, Value());
      index_[key] = entries_.begin();
    }
    if (entries_.size() > max_entries_) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
    return entries_.front().second;
  }
  void Erase(const std::string& key) {
    auto found = index_.find(key);
    if (found == index_.end()) return;
    entries_.erase(found->second);
    index_.erase(found);
  }
  size_t size() const { return entries_.size(); }

 private:
  const size_t max_entries_;
  std::list<std::pair<std::string, Value>> entries_;
  std::unordered_map<std::string, typename std::list<std::pair<std::string, Value>>::iterator> index_;
};

// Not thread-safe. Bounded: it forgets what has not been talked about for long.
class EventCorrelator {
 public:
  EventVerdict Correlate(const EventNote& note, int64_t now_ms);
  // The event was written, under this name.
  void Written(const EventVerdict& verdict, const std::string& name);
  // The event could not be written, or is not there any more: the next one is created.
  void Forget(const std::string& key);

 private:
  struct Similar {  // Events that differ in nothing but the message.
    std::set<std::string> messages;
    int64_t last_ms = 0;
  };
  struct Seen {
    std::string name;
    int64_t count = 0;
    int64_t first_ms = 0;
  };
  struct Allowance {     // Token bucket of an object.
    double tokens = -1;  // Not yet filled.
    int64_t filled_ms = 0;
  };
  bool Allowed(const std::string& object_key, int64_t now_ms);

  RecentlyUsed<Similar> similar_{4096};
  RecentlyUsed<Seen> seen_{4096};
  RecentlyUsed<Allowance> allowances_{4096};
};

}  // namespace tidewright::kube
