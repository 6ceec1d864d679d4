// The monitoring objects of a cluster and the scrape configurations that they stand for, kept up to date object by
// object.
//
//   registry.Upsert(object);                        // from a watch of ServiceMonitors, PodMonitors, Probes,
//   ScrapeConfigs registry.UpsertReference("Secret", secret);     // from watches of what they may refer to if
//   (registry.TakeChanged()) { manager.ApplyConfig(own configuration + registry.ScrapeConfigs()); }
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "scrape/config.h"
#include "scrape/operator_objects.h"

namespace tidewright::scrape {

// What became of one object.
struct OperatorObjectStatus {
  std::string kind, ns, name;
  std::string uid;
  int64_t generation = 0;
  base::Status error;  // Why it is not scraped; OK when it is.
  size_t jobs = 0;     // Scrape configurations that it stands for.
  std::vector<std::string> warnings;
};

// Thread-safe. An object that makes no sense contributes nothing and takes nothing from the others; one that made sense
// before does not keep its earlier configuration, as with prometheus-operator.
class OperatorRegistry {
 public:
  // `prometheus` as for OperatorConverter.
  OperatorRegistry(const base::Json& prometheus, GlobalConfig global);
  ~OperatorRegistry();

  // Of one of the four kinds; others are ignored.
  void Upsert(const base::Json& object);
  void Remove(const std::string& kind, const std::string& ns, const std::string& name);

  // A Secret or ConfigMap; only objects that refer to it are converted again. Its values are kept in memory while an
  // object refers to it or not, because an object may come later than what it refers to.
  void UpsertReference(const std::string& kind, const base::Json& object);
  void RemoveReference(const std::string& kind, const std::string& ns, const std::string& name);

  // Whether the result may have changed since the last call.
  bool TakeChanged();
  // Of all objects, in the order of kind, namespace and name. Job names are unique: they contain all three.
  std::vector<ScrapeConfig> ScrapeConfigs() const;
  std::vector<OperatorObjectStatus> Statuses() const;

 private:
  struct Entry;
  using Key = std::string;  // kind/namespace/name.

  base::Result<std::string> Lookup(const std::string& kind, const std::string& ns, const std::string& name,
                                   const std::string& key) REQUIRES_LOCK(mu_);
  void Convert(Entry* entry) REQUIRES_LOCK(mu_);
  void ReferenceChanged(const Key& reference) REQUIRES_LOCK(mu_);

  const GlobalConfig global_;
  const std::unique_ptr<const OperatorConverter> converter_;
  mutable base::Mutex mu_;
  std::map<Key, std::unique_ptr<Entry>> entries_ GUARDED_BY(mu_);
  std::map<Key, std::map<std::string, std::string>> references_ GUARDED_BY(mu_);  // Decoded values by key.
  std::set<Key>* looked_up_ GUARDED_BY(mu_) = nullptr;                            // By the conversion under way.
  bool changed_ GUARDED_BY(mu_) = false;
};

}  // namespace tidewright::scrape
