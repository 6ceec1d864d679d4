#include "sandbox/store.h"

#include "base/duration.h"
#include "base/strings.h"

namespace tidewright::sandbox {

namespace {

using base::Json;

std::string Name(const Json& object) { return base::FindString(object, {"metadata", "name"}); }
std::string Namespace(const Json& object) { return base::FindString(object, {"metadata", "namespace"}); }

// Everything but metadata and status is specification.
bool SpecDiffers(const Json& a, const Json& b) {
  auto without = [](Json value) {
    value.erase("metadata");
    value.erase("status");
    return value;
  };
  return without(a) != without(b);
}

// Puts back the fields that no writer may change.
void KeepIdentity(const Json& current, Json& object) {
  if (!object["metadata"].is_object()) object["metadata"] = Json::object();
  for (const char* field : {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "generation"}) {
    const Json* value = base::Find(current, {"metadata", field});
    if (value != nullptr) {
      object["metadata"][field] = *value;
    } else if (std::string_view(field) != "deletionTimestamp") {
      object["metadata"].erase(field);
    }
  }
}

bool FinallyGone(const Json& object) {
  if (base::Find(object, {"metadata", "deletionTimestamp"}) == nullptr) return false;
  const Json* finalizers = base::Find(object, {"metadata", "finalizers"});
  const Json* spec_finalizers = base::Find(object, {"spec", "finalizers"});
  const Json* grace = base::Find(object, {"metadata", "deletionGracePeriodSeconds"});
  auto empty = [](const Json* list) { return list == nullptr || list->empty(); };
  return empty(finalizers) && empty(spec_finalizers) && (grace == nullptr || *grace == 0);
}

}  // namespace

Store::Store(base::Clock& clock, StoreLimits limits) : clock_(clock), limits_(limits) {}

ObjectPtr Store::Seal(Json object, uint64_t version) const {
  auto sealed = std::make_shared<StoredObject>();
  object["metadata"]["resourceVersion"] = std::to_string(version);
  sealed->text = base::DumpJson(object);
  sealed->json = std::move(object);
  sealed->resource_version = version;
  return sealed;
}

ObjectPtr Store::Get(const std::string& resource, const std::string& ns, const std::string& name) const {
  base::MutexLock lock(mu_);
  auto kind = objects_.find(resource);
  if (kind == objects_.end()) return nullptr;
  auto found = kind->second.find({ns, name});
  return found == kind->second.end() ? nullptr : found->second;
}

std::vector<ObjectPtr> Store::List(const std::string& resource, const std::string& ns, uint64_t* version) const {
  std::vector<ObjectPtr> out;
  base::MutexLock lock(mu_);
  if (version != nullptr) *version = version_;
  auto kind = objects_.find(resource);
  if (kind == objects_.end()) return out;
  auto it = ns.empty() ? kind->second.begin() : kind->second.lower_bound({ns, ""});
  for (; it != kind->second.end() && (ns.empty() || it->first.first == ns); ++it) out.push_back(it->second);
  return out;
}

uint64_t Store::resource_version() const {
  base::MutexLock lock(mu_);
  return version_;
}

std::vector<std::string> Store::Resources() const {
  std::vector<std::string> names;
  base::MutexLock lock(mu_);
  for (const auto& [resource, objects] : objects_) {
    if (!objects.empty()) names.push_back(resource);
  }
  return names;
}

base::Result<ObjectPtr> Store::Create(const std::string& resource, Json object, bool dry_run) {
  Key key{Namespace(object), Name(object)};
  Json& metadata = object["metadata"];
  metadata["uid"] = base::NewUuid();
  metadata["creationTimestamp"] = base::FormatTime(clock_.NowMs());
  metadata["generation"] = 1;
  metadata.erase("deletionTimestamp");
  metadata.erase("deletionGracePeriodSeconds");
  base::MutexLock lock(mu_);
  auto& objects = objects_[resource];
  if (objects.count(key) > 0) return base::AlreadyExistsError(resource + " \"" + key.second + "\" already exists");
  if (object_count_ >= limits_.objects) {
    return base::ResourceExhaustedError("the sandbox holds " + std::to_string(object_count_) +
                                        " objects, which is its limit; delete some");
  }
  ObjectPtr sealed = Seal(std::move(object), version_ + 1);
  if (dry_run) return sealed;
  ++version_;
  ++object_count_;
  objects[key] = sealed;
  Publish(resource, {Change::Type::kAdded, version_, sealed, nullptr});
  return sealed;
}

base::Result<ObjectPtr> Store::Update(const std::string& resource, const std::string& ns, const std::string& name,
                                      const Mutation& mutate, bool dry_run) {
  base::MutexLock lock(mu_);
  auto& objects = objects_[resource];
  auto it = objects.find({ns, name});
  if (it == objects.end()) return base::NotFoundError(resource + " \"" + name + "\" not found");
  ObjectPtr current = it->second;
  Json object = current->json;
  TW_RETURN_IF_ERROR(mutate(object));
  std::string seen = base::FindString(object, {"metadata", "resourceVersion"});
  if (!seen.empty() && seen != std::to_string(current->resource_version)) {
    return base::AbortedError("Operation cannot be fulfilled on " + resource + " \"" + name +
                              "\": the object has been modified; please apply your changes to the latest version and "
                              "try again");
  }
  KeepIdentity(current->json, object);
  object["metadata"]["resourceVersion"] = std::to_string(current->resource_version);
  if (object == current->json) return current;
  if (SpecDiffers(object, current->json)) {
    object["metadata"]["generation"] = base::FindInt(current->json, {"metadata", "generation"}) + 1;
  }
  ObjectPtr sealed = Seal(std::move(object), version_ + 1);
  if (dry_run) return sealed;
  ++version_;
  if (FinallyGone(sealed->json)) {
    objects.erase(it);
    --object_count_;
    Publish(resource, {Change::Type::kDeleted, version_, sealed, current});
  } else {
    it->second = sealed;
    Publish(resource, {Change::Type::kModified, version_, sealed, current});
  }
  return sealed;
}

base::Result<ObjectPtr> Store::Remove(const std::string& resource, const std::string& ns, const std::string& name) {
  base::MutexLock lock(mu_);
  auto& objects = objects_[resource];
  auto it = objects.find({ns, name});
  if (it == objects.end()) return base::NotFoundError(resource + " \"" + name + "\" not found");
  ObjectPtr current = it->second;
  objects.erase(it);
  --object_count_;
  ++version_;
  ObjectPtr last = Seal(current->json, version_);
  Publish(resource, {Change::Type::kDeleted, version_, last, current});
  return last;
}

void Store::Publish(const std::string& resource, Change change) {
  for (auto& [id, subscriber] : subscribers_) {
    if (subscriber.resource == resource) subscriber.observe(change);
  }
  history_bytes_ += change.object->text.size();
  history_.push_back({resource, std::move(change)});
  while (history_.size() > limits_.history_changes || history_bytes_ > limits_.history_bytes) {
    forgotten_ = history_.front().change.resource_version;
    history_bytes_ -= history_.front().change.object->text.size();
    history_.pop_front();
  }
}

base::Result<uint64_t> Store::Subscribe(const std::string& resource, std::optional<uint64_t> since, Observer observe,
                                        const std::function<void(uint64_t)>& synced) {
  base::MutexLock lock(mu_);
  if (since && (*since < forgotten_ || *since > version_)) {
    return base::OutOfRangeError("too old resource version: " + std::to_string(*since) + " (" +
                                 std::to_string(forgotten_) + ")");
  }
  if (since) {
    for (const Entry& entry : history_) {
      if (entry.change.resource_version > *since && entry.resource == resource) observe(entry.change);
    }
  } else {
    for (const auto& [key, object] : objects_[resource]) {
      observe({Change::Type::kAdded, object->resource_version, object, nullptr});
    }
  }
  if (synced) synced(version_);
  uint64_t id = next_subscriber_++;
  subscribers_[id] = {resource, std::move(observe)};
  return id;
}

void Store::Unsubscribe(uint64_t id) {
  base::MutexLock lock(mu_);
  subscribers_.erase(id);
}

}  // namespace tidewright::sandbox
