// The monitoring objects of a cluster and the scrape configurations that they stand for, kept up to date object by
// object.
//
//   registry.Upsert(object);                        // from a watch of ServiceMonitors, PodMonitors, Probes,
//                                                   // ScrapeConfigs
//   for (auto& r : registry.References()) registry.SetReference(r, what the API server says);
//   if (registry.TakeChanged()) manager.ApplyConfig(own configuration + registry.ScrapeConfigs());
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

  // What an object refers to.
  struct Reference {
    std::string kind, ns, name;  // Of a Secret or a ConfigMap.
    auto operator<=>(const Reference&) const = default;
  };
  // Those of all objects, whether they are known here or not.
  std::set<Reference> References() const;
  // What became of a reference: the object, or why there is none. Only objects that refer to it are converted again.
  // Its values are kept in memory until it is forgotten.
  void SetReference(const Reference& reference, const base::Result<base::Json>& object);
  // To be called when no object refers to it any more.
  void ForgetReference(const Reference& reference);

  // Of the instance; converts everything again if they differ from those before.
  void SetDefaults(const GlobalConfig& global);

  // Whether the result may have changed since the last call.
  bool TakeChanged();
  // Of all objects, in the order of kind, namespace and name. Job names are unique: they contain all three.
  std::vector<ScrapeConfig> ScrapeConfigs() const;
  std::vector<OperatorObjectStatus> Statuses() const;

 private:
  struct Entry;
  using Key = std::string;  // kind/namespace/name.

  using Values = std::map<std::string, std::string>;  // Decoded, by key.

  base::Result<std::string> Lookup(const Reference& reference, const std::string& key) REQUIRES_LOCK(mu_);
  void Convert(Entry* entry) REQUIRES_LOCK(mu_);

  const std::unique_ptr<const OperatorConverter> converter_;
  mutable base::Mutex mu_;
  std::map<Key, std::unique_ptr<Entry>> entries_ GUARDED_BY(mu_);
  GlobalConfig global_ GUARDED_BY(mu_);
  std::map<Reference, base::Result<Values>> references_ GUARDED_BY(mu_);
  std::set<Reference>* looked_up_ GUARDED_BY(mu_) = nullptr;  // By the conversion under way.
  bool changed_ GUARDED_BY(mu_) = false;
};

}  // namespace tidewright::scrape
