// The verbs of the API on stored objects: admission, subresources, deletion and garbage collection. It knows no HTTP,
// so that controllers and tests in the same process use exactly what remote clients use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "sandbox/resource_type.h"
#include "sandbox/schema.h"
#include "sandbox/selector.h"
#include "sandbox/store.h"

namespace tidewright::sandbox {

enum class PatchKind { kMerge, kJson, kStrategic, kApply };

// What to do with members that a custom resource's schema does not name. They are never stored. Built-in kinds are not
// checked for unknown members.
enum class FieldValidation { kIgnore, kWarn, kStrict };

// Options of one write, and what it has to say besides its status.
struct WriteContext {
  bool dry_run = false;
  FieldValidation field_validation = FieldValidation::kIgnore;
  std::vector<FieldError> causes;     // Out: set iff the status is kFailedPrecondition (HTTP 422).
  std::vector<std::string> warnings;  // Out.
};

enum class Propagation { kBackground, kForeground, kOrphan };

struct DeleteOptions {
  Propagation propagation = Propagation::kBackground;
  std::optional<int64_t> grace_seconds;
  std::string precondition_uid;
  std::string precondition_resource_version;
};

// Where an object is: its type, namespace ("" for cluster-wide) and name.
struct ObjectRef {
  ResourceTypePtr type;
  std::string ns;
  std::string name;
};

struct RestOptions {
  // Service addresses are 127.20.<service_block>.1 onwards, so that two sandboxes on one machine do not meet.
  int service_block = 0;
  int64_t event_ttl_ms = 3'600'000;
  size_t max_events = 5'000;
};

// Thread-safe. Objects that go in are in the version of the type; those that come out are in their stored version
// (FromStorage converts). Errors: kNotFound, kAlreadyExists, kAborted (409 Conflict), kInvalidArgument (400),
// kFailedPrecondition (422 with causes), kPermissionDenied (namespace is terminating). Borrows store and registry.
class Rest {
 public:
  Rest(Store& store, ResourceRegistry& registry, RestOptions options = {});

  base::Result<ObjectPtr> Get(const ObjectRef& ref) const;
  std::vector<ObjectPtr> List(const ResourceType& type, const std::string& ns, const ObjectFilter& filter,
                              uint64_t* version) const;

  // Reviews (TokenReview, SubjectAccessReview, ...) are answered in `object`'s status and not stored: everyone who
  // shows a token is sandbox-admin, and everything is allowed.
  base::Result<ObjectPtr> Create(const ObjectRef& ref, base::Json object, WriteContext& context);
  // `subresource`: "" or "status". Spec and status are isolated for types with a status subresource.
  base::Result<ObjectPtr> Update(const ObjectRef& ref, const std::string& subresource, const base::Json& object,
                                 WriteContext& context);
  base::Result<ObjectPtr> Patch(const ObjectRef& ref, const std::string& subresource, PatchKind kind,
                                const base::Json& patch, WriteContext& context);
  // Marks the object as being deleted, or removes it if nothing keeps it. Returns its last state.
  base::Result<ObjectPtr> Delete(const ObjectRef& ref, const DeleteOptions& options, WriteContext& context);

  // The autoscaling/v1 Scale of an object, and writing one back.
  base::Result<base::Json> GetScale(const ObjectRef& ref) const;
  base::Result<base::Json> UpdateScale(const ObjectRef& ref, const base::Json& scale, WriteContext& context);
  base::Result<base::Json> PatchScale(const ObjectRef& ref, PatchKind kind, const base::Json& patch,
                                      WriteContext& context);

  // Deletes dependents whose owners are gone, the content of terminating namespaces and CRDs, and old events; lets go
  // owners whose dependents are gone. Cheap when nothing has changed since the last call.
  void CollectGarbage();

  Store& store() { return store_; }
  ResourceRegistry& registry() { return registry_; }

 private:
  base::Status CheckNamespace(const ObjectRef& ref) const;
  base::Status Admit(const ResourceType& type, base::Json& object, const base::Json* previous, WriteContext& context);
  base::Status Prune(const ResourceType& type, base::Json& object, WriteContext& context) const;
  base::Status PrepareCreate(const ObjectRef& ref, base::Json& object);
  base::Status Replace(const ObjectRef& ref, const std::string& subresource, const base::Json& current,
                       base::Json& object, WriteContext& context);
  void AfterWrite(const ResourceType& type, const ObjectPtr& object, bool dry_run);
  base::Result<std::string> AllocateServiceAddress();
  base::Result<base::Json> ScaleOf(const ResourceType& type, const base::Json& object) const;
  base::Status ApplyScale(const ResourceType& type, const base::Json& scale, base::Json& object,
                          WriteContext& context) const;

  bool CollectOnce();
  bool CollectDependents();
  bool ReleaseOwners();
  bool EmptyNamespaces();
  bool EmptyCrds();
  void ExpireEvents();
  void DeleteQuietly(const std::string& resource, const ObjectPtr& object);
  void OrphanDependents(const std::string& uid);

  Store& store_;
  ResourceRegistry& registry_;
  const RestOptions options_;
  base::Mutex mu_;
  int next_service_ GUARDED_BY(mu_) = 1;
  base::Mutex collecting_;  // One collection at a time; taken before any other lock.
  uint64_t collected_version_ GUARDED_BY(collecting_) = 0;
};

}  // namespace tidewright::sandbox
