// What an informer keeps: objects by key, indexed by namespace and by label. Private to kube.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json_fwd.h"
#include "kube/meta.h"
#include "kube/name_list.h"

namespace tidewright::kube {

// Not thread-safe. The objects are shared with whoever reads them.
class ObjectStore {
 public:
  using ObjectPtr = std::shared_ptr<const base::Json>;

  // Stores or replaces; returns what was there before, or null.
  ObjectPtr Put(const std::string& key, ObjectPtr object);
  ObjectPtr Erase(const std::string& key);
  ObjectPtr Get(const std::string& key) const;
  std::vector<ObjectPtr> List() const;
  // Those of a namespace ("": of all) that match. With a requirement for an equal label it looks only at the objects
  // that have the rarest of these labels, otherwise at all of the namespace.
  std::vector<ObjectPtr> ListMatching(const std::string& ns, const LabelSelector& selector) const;
  // The names of these, sorted. `known` is what an earlier call for the same gave, or null: it is returned again,
  // without looking at any object, as long as none that may matter has come, gone or got other labels.
  NameListPtr NamesMatching(const std::string& ns, const LabelSelector& selector, const NameListPtr& known) const;

  bool Contains(const std::string& key) const { return entries_.count(key) > 0; }
  size_t size() const { return entries_.size(); }
  std::vector<std::string> Keys() const;

 private:
  struct Entry {
    ObjectPtr object;
    std::map<std::string, std::string> labels;
  };
  // The objects with a label.
  struct Posting {
    std::map<std::string_view, const Entry*> entries;  // By their keys in entries_.
    uint64_t version = 0;                              // Of the last change of these or of their labels.
  };
  // `key` is that of the entry, in entries_.
  void Index(const std::string& key, const Entry& entry);
  void Unindex(const std::string& key, const Entry& entry);
  // The smallest of the postings that the selector's equal labels name. Null: it names none, or with `nothing` one that
  // no object is in.
  const Posting* SmallestPosting(const LabelSelector& selector, bool* nothing) const;
  // Calls visit(key, entry) for each that matches.
  template <typename Visit>
  void ForEachMatching(const std::string& ns, const LabelSelector& selector, Visit visit) const;

  std::map<std::string, Entry> entries_;               // By "namespace/name", so a namespace is a range.
  std::unordered_map<std::string, Posting> by_label_;  // By "label=value".
  uint64_t version_ = 0;                               // Grows with each change of what is there, or of its labels.
};

}  // namespace tidewright::kube
