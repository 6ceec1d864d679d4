#include "kube/object_store.h"

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace tidewright::kube {

namespace {

std::string LabelKey(const std::string& label, const std::string& value) { return label + "=" + value; }

bool InNamespace(std::string_view key, const std::string& prefix) { return key.starts_with(prefix); }

}  // namespace

void ObjectStore::Index(const std::string& key, const Entry& entry) {
  ++version_;
  for (const auto& [label, value] : entry.labels) {
    Posting& posting = by_label_[LabelKey(label, value)];
    posting.entries.emplace(key, &entry);
    posting.version = ++version_;
  }
}

void ObjectStore::Unindex(const std::string& key, const Entry& entry) {
  ++version_;
  for (const auto& [label, value] : entry.labels) {
    auto found = by_label_.find(LabelKey(label, value));
    found->second.entries.erase(key);
    found->second.version = ++version_;
    if (found->second.entries.empty()) by_label_.erase(found);
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

const ObjectStore::Posting* ObjectStore::SmallestPosting(const LabelSelector& selector, bool* nothing) const {
  const Posting* smallest = nullptr;
  for (const Requirement& requirement : selector.requirements()) {
    const bool one_value = requirement.op == Requirement::Op::kEquals ||
                           (requirement.op == Requirement::Op::kIn && requirement.values.size() == 1);
    if (!one_value || requirement.values.size() != 1) continue;
    auto found = by_label_.find(LabelKey(requirement.key, requirement.values[0]));
    *nothing = found == by_label_.end();
    if (*nothing) return nullptr;
    if (smallest == nullptr || found->second.entries.size() < smallest->entries.size()) smallest = &found->second;
  }
  return smallest;
}

template <typename Visit>
void ObjectStore::ForEachMatching(const std::string& ns, const LabelSelector& selector, Visit visit) const {
  const std::string prefix = ns.empty() ? "" : ns + "/";
  bool nothing = false;
  const Posting* posting = SmallestPosting(selector, &nothing);
  if (nothing) return;
  if (posting != nullptr) {
    const bool said_all = selector.requirements().size() == 1;
    const auto& entries = posting->entries;
    for (auto it = entries.lower_bound(prefix); it != entries.end() && InNamespace(it->first, prefix); ++it) {
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

NameListPtr ObjectStore::NamesMatching(const std::string& ns, const LabelSelector& selector,
                                       const NameListPtr& known) const {
  // No two postings ever have the same version, so one says which posting it is, too. 0: there is none.
  bool nothing = false;
  const Posting* posting = SmallestPosting(selector, &nothing);
  const uint64_t version = posting != nullptr ? posting->version : nothing ? 0 : version_;
  if (known != nullptr && known->version == version) return known;
  auto list = std::make_shared<NameList>();
  list->version = version;
  ForEachMatching(ns, selector, [&](std::string_view key, const Entry&) {
    list->names.emplace_back(key.substr(key.find('/') + 1));  // Of a cluster-wide object the whole key.
  });
  if (ns.empty()) std::sort(list->names.begin(), list->names.end());  // They came one namespace after the other.
  return list;
}

}  // namespace tidewright::kube
