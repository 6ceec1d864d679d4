#include "kube/object_store.h"

#include <utility>

#include "base/json.h"

namespace tidewright::kube {

namespace {

std::string LabelKey(const std::string& label, const std::string& value) { return label + "=" + value; }

bool InNamespace(std::string_view key, const std::string& prefix) { return key.starts_with(prefix); }

}  // namespace

void ObjectStore::Index(const std::string& key, const Entry& entry) {
  for (const auto& [label, value] : entry.labels) by_label_[LabelKey(label, value)].emplace(key, &entry);
}

void ObjectStore::Unindex(const std::string& key, const Entry& entry) {
  for (const auto& [label, value] : entry.labels) {
    auto found = by_label_.find(LabelKey(label, value));
    found->second.erase(key);
    if (found->second.empty()) by_label_.erase(found);
  }
}

ObjectStore::ObjectPtr ObjectStore::Put(const std::string& key, ObjectPtr object) {
  auto place = entries_.try_emplace(key).first;
  Entry& entry = place->second;
  auto labels = LabelsOf(*object);
  if (entry.object == nullptr || labels != entry.labels) {
    Unindex(place->first, entry);
    entry.labels = std::move(labels);
    Index(place->first, entry);
  }
  return std::exchange(entry.object, std::move(object));
}

ObjectStore::ObjectPtr ObjectStore::Erase(const std::string& key) {
  auto it = entries_.find(key);
  if (it == entries_.end()) return nullptr;
  Unindex(it->first, it->second);
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

template <typename Visit>
void ObjectStore::ForEachMatching(const std::string& ns, const LabelSelector& selector, Visit visit) const {
  const std::string prefix = ns.empty() ? "" : ns + "/";
  const std::map<std::string_view, const Entry*>* rarest = nullptr;
  for (const Requirement& requirement : selector.requirements()) {
    const bool one_value = requirement.op == Requirement::Op::kEquals ||
                           (requirement.op == Requirement::Op::kIn && requirement.values.size() == 1);
    if (!one_value || requirement.values.size() != 1) continue;
    auto found = by_label_.find(LabelKey(requirement.key, requirement.values[0]));
    if (found == by_label_.end()) return;
    if (rarest == nullptr || found->second.size() < rarest->size()) rarest = &found->second;
  }
  if (rarest != nullptr) {
    const bool said_all = selector.requirements().size() == 1;
    for (auto it = rarest->lower_bound(prefix); it != rarest->end() && InNamespace(it->first, prefix); ++it) {
      if (said_all || selector.Matches(it->second->labels)) visit(it->first, *it->second);
    }
    return;
  }
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && InNamespace(it->first, prefix); ++it) {
    if (selector.Matches(it->second.labels)) visit(it->first, it->second);
  }
}

std::vector<ObjectStore::ObjectPtr> ObjectStore::ListMatching(const std::string& ns,
                                                              const LabelSelector& selector) const {
  std::vector<ObjectPtr> matching;
  ForEachMatching(ns, selector, [&](std::string_view, const Entry& entry) { matching.push_back(entry.object); });
  return matching;
}

std::vector<std::string> ObjectStore::NamesMatching(const std::string& ns, const LabelSelector& selector) const {
  std::vector<std::string> names;
  ForEachMatching(ns, selector, [&](std::string_view key, const Entry&) {
    names.emplace_back(key.substr(key.find('/') + 1));  // Of a cluster-wide object the whole key.
  });
  return names;
}

}  // namespace tidewright::kube
