// Rest's deletion: grace, finalizers, owners and dependents, namespaces and CRDs with content, old events.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "kube/meta.h"
#include "sandbox/conversion.h"
#include "sandbox/rest.h"

namespace tidewright::sandbox {

namespace {

using base::Find;
using base::FindString;
using base::Json;
using base::Status;

constexpr const char* kForeground = "foregroundDeletion";
constexpr const char* kCrdFinalizer = "customresourcecleanup.apiextensions.k8s.io";
constexpr const char* kCrdResource = "customresourcedefinitions.apiextensions.k8s.io";
constexpr int kMaxRounds = 20;  // Owner chains are a few links long; each round deletes one level.

// Pods that run get time to end; everything else goes at once.
int64_t GraceSeconds(const std::string& resource, const Json& object, const DeleteOptions& options) {
  if (resource != "pods" || FindString(object, {"spec", "nodeName"}).empty()) return 0;
  std::string phase = FindString(object, {"status", "phase"});
  if (phase == "Succeeded" || phase == "Failed") return 0;
  return std::max<int64_t>(
      0, options.grace_seconds.value_or(base::FindInt(object, {"spec", "terminationGracePeriodSeconds"}, 30)));
}

void MarkDeleted(const std::string& resource, const DeleteOptions& options, int64_t now_ms, Json& object) {
  const int64_t grace = GraceSeconds(resource, object, options);
  Json& metadata = object["metadata"];
  if (!kube::IsBeingDeleted(object)) {
    metadata["deletionTimestamp"] = base::FormatTime(now_ms + grace * 1000);
    metadata["deletionGracePeriodSeconds"] = grace;
  } else if (options.grace_seconds && *options.grace_seconds == 0) {
    metadata["deletionGracePeriodSeconds"] = 0;
  }
  if (resource == "namespaces") object["status"]["phase"] = "Terminating";
  if (options.propagation == Propagation::kForeground) {
    if (!metadata.contains("finalizers") || !metadata["finalizers"].is_array()) metadata["finalizers"] = Json::array();
    Json& finalizers = metadata["finalizers"];
    if (std::find(finalizers.begin(), finalizers.end(), Json(kForeground)) == finalizers.end()) {
      finalizers.push_back(kForeground);
    }
  }
}

bool HasFinalizer(const Json& object, const char* finalizer) {
  const Json* list = Find(object, {"metadata", "finalizers"});
  return list != nullptr && std::find(list->begin(), list->end(), Json(finalizer)) != list->end();
}

void RemoveFinalizer(Json& list, const char* finalizer) {
  for (size_t i = list.size(); i-- > 0;) {
    if (list[i] == finalizer) list.erase(i);
  }
}

std::vector<std::string> OwnerUids(const Json& object) {
  std::vector<std::string> uids;
  const Json* owners = Find(object, {"metadata", "ownerReferences"});
  if (owners == nullptr || !owners->is_array()) return uids;
  for (const Json& owner : *owners) uids.push_back(FindString(owner, {"uid"}));
  return uids;
}

Status CheckPreconditions(const ObjectRef& ref, const Json& object, const DeleteOptions& options) {
  if (!options.precondition_uid.empty() && options.precondition_uid != kube::UidOf(object)) {
    return base::AbortedError("Operation cannot be fulfilled on " + ref.type->QualifiedName() + " \"" + ref.name +
                              "\": the UID in the precondition (" + options.precondition_uid +
                              ") does not match the UID in record (" + kube::UidOf(object) + ")");
  }
  if (!options.precondition_resource_version.empty() &&
      options.precondition_resource_version != kube::ResourceVersionOf(object)) {
    return base::AbortedError("Operation cannot be fulfilled on " + ref.type->QualifiedName() + " \"" + ref.name +
                              "\": the ResourceVersion in the precondition does not match the one in record");
  }
  return Status::Ok();
}

}  // namespace

base::Result<ObjectPtr> Rest::Delete(const ObjectRef& ref, const DeleteOptions& options, WriteContext& context) {
  const std::string resource = StorageOf(*ref.type);
  TW_ASSIGN_OR_RETURN(ObjectPtr object, Get(ref));
  TW_RETURN_IF_ERROR(CheckPreconditions(ref, object->json, options));
  if (options.propagation == Propagation::kOrphan && !context.dry_run) OrphanDependents(kube::UidOf(object->json));
  auto mark = [&](Json& target) {
    MarkDeleted(resource, options, store_.clock().NowMs(), target);
    return Status::Ok();
  };
  TW_ASSIGN_OR_RETURN(ObjectPtr marked, store_.Update(resource, ref.ns, ref.name, mark, context.dry_run));
  if (!context.dry_run) CollectGarbage();
  return marked;
}

void Rest::DeleteQuietly(const std::string& resource, const ObjectPtr& object) {
  auto mark = [&](Json& target) {
    MarkDeleted(resource, DeleteOptions(), store_.clock().NowMs(), target);
    return Status::Ok();
  };
  // It may have gone in the meantime, which is what was wanted.
  (void)store_.Update(resource, kube::NamespaceOf(object->json), kube::NameOf(object->json), mark);
}

void Rest::OrphanDependents(const std::string& uid) {
  for (const std::string& resource : store_.Resources()) {
    for (const ObjectPtr& object : store_.List(resource, "")) {
      std::vector<std::string> owners = OwnerUids(object->json);
      if (std::find(owners.begin(), owners.end(), uid) == owners.end()) continue;
      auto orphan = [&](Json& target) {
        Json& references = target["metadata"]["ownerReferences"];
        for (size_t i = references.size(); i-- > 0;) {
          if (FindString(references[i], {"uid"}) == uid) references.erase(i);
        }
        if (references.empty()) target["metadata"].erase("ownerReferences");
        return Status::Ok();
      };
      (void)store_.Update(resource, kube::NamespaceOf(object->json), kube::NameOf(object->json), orphan);
    }
  }
}

void Rest::CollectGarbage() {
  base::MutexLock lock(collecting_);
  for (int round = 0; round < kMaxRounds && store_.resource_version() != collected_version_; ++round) {
    const uint64_t seen = store_.resource_version();
    const bool changed = CollectOnce();
    if (!changed) collected_version_ = seen;
  }
}

bool Rest::CollectOnce() {
  bool changed = CollectDependents();
  changed |= ReleaseOwners();
  changed |= EmptyNamespaces();
  changed |= EmptyCrds();
  ExpireEvents();
  return changed;
}

// Deletes objects all of whose owners are gone, or are waiting for their dependents to go first.
bool Rest::CollectDependents() {
  std::unordered_set<std::string> alive;
  std::vector<std::pair<std::string, ObjectPtr>> dependents;
  for (const std::string& resource : store_.Resources()) {
    for (ObjectPtr& object : store_.List(resource, "")) {
      const bool waits = kube::IsBeingDeleted(object->json) && HasFinalizer(object->json, kForeground);
      if (!waits) alive.insert(kube::UidOf(object->json));
      if (!OwnerUids(object->json).empty()) dependents.emplace_back(resource, std::move(object));
    }
  }
  bool changed = false;
  for (const auto& [resource, object] : dependents) {
    if (kube::IsBeingDeleted(object->json)) continue;
    std::vector<std::string> owners = OwnerUids(object->json);
    if (std::any_of(owners.begin(), owners.end(), [&](const std::string& uid) { return alive.count(uid) > 0; })) {
      continue;
    }
    DeleteQuietly(resource, object);
    changed = true;
  }
  return changed;
}

// Removes the foreground finalizer of owners without dependents.
bool Rest::ReleaseOwners() {
  std::unordered_set<std::string> owned;
  std::vector<std::pair<std::string, ObjectPtr>> waiting;
  for (const std::string& resource : store_.Resources()) {
    for (ObjectPtr& object : store_.List(resource, "")) {
      for (std::string& uid : OwnerUids(object->json)) owned.insert(std::move(uid));
      if (kube::IsBeingDeleted(object->json) && HasFinalizer(object->json, kForeground)) {
        waiting.emplace_back(resource, std::move(object));
      }
    }
  }
  bool changed = false;
  for (const auto& [resource, object] : waiting) {
    if (owned.count(kube::UidOf(object->json)) > 0) continue;
    auto release = [](Json& target) {
      RemoveFinalizer(target["metadata"]["finalizers"], kForeground);
      return Status::Ok();
    };
    changed |= store_.Update(resource, kube::NamespaceOf(object->json), kube::NameOf(object->json), release).ok();
  }
  return changed;
}

bool Rest::EmptyNamespaces() {
  bool changed = false;
  for (const ObjectPtr& ns : store_.List("namespaces", "")) {
    if (!kube::IsBeingDeleted(ns->json)) continue;
    const std::string name = kube::NameOf(ns->json);
    size_t left = 0;
    for (const std::string& resource : store_.Resources()) {
      for (const ObjectPtr& object : store_.List(resource, name)) {
        ++left;
        if (kube::IsBeingDeleted(object->json)) continue;
        DeleteQuietly(resource, object);
        changed = true;
      }
    }
    if (left > 0 || Find(ns->json, {"spec", "finalizers"}) == nullptr) continue;
    auto release = [](Json& target) {
      target["spec"]["finalizers"] = Json::array();
      return Status::Ok();
    };
    changed |= store_.Update("namespaces", "", name, release).ok();
  }
  return changed;
}

bool Rest::EmptyCrds() {
  bool changed = false;
  for (const ObjectPtr& crd : store_.List(kCrdResource, "")) {
    if (!kube::IsBeingDeleted(crd->json) || !HasFinalizer(crd->json, kCrdFinalizer)) continue;
    const std::string name = kube::NameOf(crd->json);
    std::vector<ObjectPtr> objects = store_.List(name, "");
    for (const ObjectPtr& object : objects) {
      if (kube::IsBeingDeleted(object->json)) continue;
      DeleteQuietly(name, object);
      changed = true;
    }
    if (!objects.empty()) continue;
    registry_.UnregisterCrd(name);
    auto release = [](Json& target) {
      RemoveFinalizer(target["metadata"]["finalizers"], kCrdFinalizer);
      return Status::Ok();
    };
    changed |= store_.Update(kCrdResource, "", name, release).ok();
  }
  return changed;
}

void Rest::ExpireEvents() {
  std::vector<ObjectPtr> events = store_.List("events", "");
  std::sort(events.begin(), events.end(),
            [](const ObjectPtr& a, const ObjectPtr& b) { return a->resource_version < b->resource_version; });
  const int64_t now_ms = store_.clock().NowMs();
  size_t left = events.size();
  for (const ObjectPtr& event : events) {
    auto created = base::ParseTime(FindString(event->json, {"metadata", "creationTimestamp"}));
    const bool old = created.ok() && now_ms - *created > options_.event_ttl_ms;
    if (!old && left <= options_.max_events) return;
    (void)store_.Remove("events", kube::NamespaceOf(event->json), kube::NameOf(event->json));
    --left;
  }
}

}  // namespace tidewright::sandbox
