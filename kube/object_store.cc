#include "kube/object_store.h"

#include <utility>

#include "base/json.h"

namespace tidewright::kube {

namespace {

std::string LabelKey(const std::string& label, const std::string& value) { return label + "=" + value; }

bool InNamespace(const std::string& key, const std::string& prefix) {
  return key.compare(0, prefix.size(), prefix) == 0;
}

}  // namespace

void ObjectStore::Index(const std::string& key, const Entry& entry) {
  for (const auto& [label, value] : entry.labels) by_label_[LabelKey(label, value)].insert(key);
}

void ObjectStore::Unindex(const std::string& key, const Entry& entry) {
  for (const auto& [label, value] : entry.labels) {
    auto found = by_label_.find(LabelKey(label, value));
    found->second.erase(key);
    if (found->second.empty()) by_label_.erase(found);
  }
}

ObjectStore::ObjectPtr ObjectStore::Put(const std::string& key, ObjectPtr object) {
  Entry& entry = entries_[key];
  auto labels = LabelsOf(*object);
  if (entry.object == nullptr || labels != entry.labels) {
    Unindex(key, entry);
    entry.labels = std::move(labels);
    Index(key, entry);
  }
  return std::exchange(entry.object, std::move(object));
}

ObjectStore::ObjectPtr ObjectStore::Erase(const std::string& key) {
  auto it = entries_.find(key);
  if (it == entries_.end()) return nullptr;
  Unindex(key, it->second);
  ObjectPtr object = std::move(it->second.object);
  entries_.erase(it);
  return object;
}

ObjectStore::ObjectPtr ObjectStore::Get(const std::string& key) const {
  auto it = entries_.find(key);
  return it == entries_.end() ? nullptr : it->second.object;
}

std::vector<ObjectStore::ObjectPtr> ObjectStore::List() const {
  std::vector<ObjectPtr> all;
  all.reserve(entries_.size());
  for (const auto& [key, entry] : entries_) all.push_back(entry.object);
  return all;
}

std::vector<std::string> ObjectStore::Keys() const {
  std::vector<std::string> keys;
  keys.reserve(entries_.size());
  for (const auto& [key, entry] : entries_) keys.push_back(key);
  return keys;
}

std::vector<ObjectStore::ObjectPtr> ObjectStore::ListMatching(const std::string& ns,
                                                              const LabelSelector& selector) const {
  const std::string prefix = ns.empty() ? "" : ns + "/";
  std::vector<ObjectPtr> matching;
  const std::set<std::string>* rarest = nullptr;
  for (const Requirement& requirement : selector.requirements()) {
    const bool one_value = requirement.op == Requirement::Op::kEquals ||
                           (requirement.op == Requirement::Op::kIn && requirement.values.size() == 1);
    if (!one_value || requirement.values.size() != 1) continue;
    auto found = by_label_.find(LabelKey(requirement.key, requirement.values[0]));
    if (found == by_label_.end()) return matching;
    if (rarest == nullptr || found->second.size() < rarest->size()) rarest = &found->second;
  }
  if (rarest != nullptr) {
    for (auto key = rarest->lower_bound(prefix); key != rarest->end() && InNamespace(*key, prefix); ++key) {
      const Entry& entry = entries_.at(*key);
      if (selector.Matches(entry.labels)) matching.push_back(entry.object);
    }
    return matching;
  }
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && InNamespace(it->first, prefix); ++it) {
    if (selector.Matches(it->second.labels)) matching.push_back(it->second.object);
  }
  return matching;
}

}  // namespace tidewright::kube
