// The sandbox's etcd: objects by resource and name, one resource version for all of them, and their recent history.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/mutex.h"
#include "base/status.h"

namespace tidewright::sandbox {

// An object as stored, with its JSON text so that lists and watches need not serialize it again. Immutable.
struct StoredObject {
  base::Json json;
  std::string text;
  uint64_t resource_version = 0;
};

// Shared by the store, its history and everyone who is reading it.
using ObjectPtr = std::shared_ptr<const StoredObject>;

// One write. `previous` is null for kAdded; for kDeleted `object` is the last state with the version of the deletion.
struct Change {
  enum class Type { kAdded, kModified, kDeleted };
  Type type = Type::kAdded;
  uint64_t resource_version = 0;
  ObjectPtr object;
  ObjectPtr previous;
};

struct StoreLimits {
  size_t history_changes = 8192;
  size_t history_bytes = 64u << 20;  // Of the objects' JSON texts.
  size_t objects = 100'000;
};

// Thread-safe. `resource` is ResourceType::QualifiedName(). Borrows `clock`, which must outlive it.
class Store {
 public:
  explicit Store(base::Clock& clock, StoreLimits limits = {});

  // Null when there is none.
  ObjectPtr Get(const std::string& resource, const std::string& ns, const std::string& name) const;
  // By namespace and name; ns "" is all namespaces. `version` receives the resource version of the answer.
  std::vector<ObjectPtr> List(const std::string& resource, const std::string& ns, uint64_t* version = nullptr) const;
  uint64_t resource_version() const;
  // The resources that have objects.
  std::vector<std::string> Resources() const;

  // Sets uid, creationTimestamp, resourceVersion and generation. kAlreadyExists. With `dry_run` nothing is kept.
  base::Result<ObjectPtr> Create(const std::string& resource, base::Json object, bool dry_run = false);

  // Changes the object under the store's lock by way of `mutate`, which gets a copy. kNotFound, kAborted (when
  // `mutate` leaves another metadata.resourceVersion than the current one; removing it asks for no check), or the error
  // of `mutate`. Identity fields cannot change; generation grows with the spec; a change of nothing is not a write. An
  // object that is being deleted and has no finalizer left goes.
  using Mutation = std::function<base::Status(base::Json& object)>;
  base::Result<ObjectPtr> Update(const std::string& resource, const std::string& ns, const std::string& name,
                                 const Mutation& mutate, bool dry_run = false);

  // Removes the object at once, whatever its finalizers. Returns its last state.
  base::Result<ObjectPtr> Remove(const std::string& resource, const std::string& ns, const std::string& name);

  // Calls `observe` for each change of `resource` after `since`, first from the history, then as they happen, in order
  // and under the store's lock: it must be quick and must not call the store. kOutOfRange when the history does not
  // reach back to `since` (or it lies in the future: the client knows another store).
  // With `since` empty, it is first called with kAdded for each existing object; `synced`, if set, is called between
  // the two phases with the version.
  using Observer = std::function<void(const Change&)>;
  base::Result<uint64_t> Subscribe(const std::string& resource, std::optional<uint64_t> since, Observer observe,
                                   const std::function<void(uint64_t)>& synced = nullptr);
  // After Unsubscribe returns the observer does not run any more.
  void Unsubscribe(uint64_t id);

  base::Clock& clock() const { return clock_; }

 private:
  using Key = std::pair<std::string, std::string>;  // Namespace and name.
  struct Entry {
    std::string resource;
    Change change;
  };
  struct Subscriber {
    std::string resource;
    Observer observe;
  };

  ObjectPtr Seal(base::Json object, uint64_t version) const;
  void Publish(const std::string& resource, Change change) REQUIRES_LOCK(mu_);

  base::Clock& clock_;
  const StoreLimits limits_;
  mutable base::Mutex mu_;
  std::map<std::string, std::map<Key, ObjectPtr>> objects_ GUARDED_BY(mu_);
  size_t object_count_ GUARDED_BY(mu_) = 0;
  uint64_t version_ GUARDED_BY(mu_) = 1;
  std::deque<Entry> history_ GUARDED_BY(mu_);
  size_t history_bytes_ GUARDED_BY(mu_) = 0;
  uint64_t forgotten_ GUARDED_BY(mu_) = 1;  // The newest version whose change may have left the history.
  std::map<uint64_t, Subscriber> subscribers_ GUARDED_BY(mu_);
  uint64_t next_subscriber_ GUARDED_BY(mu_) = 1;
};

}  // namespace tidewright::sandbox
