// KubernetesView: the objects of one kind that a kubernetes_sd_config may see, out of caches that are shared with
// everybody. Private to scrape/kubernetes_*.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "kube/informer.h"
#include "kube/meta.h"
#include "kube/shared_caches.h"

namespace tidewright::scrape {

// Follows the kind in all namespaces, so that any number of jobs share one watch, and applies namespaces and label
// selector to what is in the cache. Only a field selector is for the API server to apply: a watch of its own. An
// account that may not list all namespaces gets a watch for each of them instead; see Narrow().
//
// Find and Shows are thread-safe beside each other; everything else is for one owner at a time.
class KubernetesView {
 public:
  using Object = std::shared_ptr<const base::Json>;

  struct Options {
    kube::Resource resource;
    std::set<std::string> namespaces;  // Empty: all.
    std::string label_selector;        // A valid one.
    std::string field_selector;
  };
  KubernetesView(kube::SharedCaches& caches, Options options);
  ~KubernetesView();  // Close().

  // `changed` gets the namespace and name of every object that may have changed, also of those that are not shown, on
  // a thread of the cache, until Close().
  using Changed = std::function<void(const std::string& ns, const std::string& name)>;
  void Open(Changed changed);
  void Close();  // Idempotent.

  bool HasSynced() const;
  // Whether the API server refuses to list all namespaces, but perhaps not those that are asked for.
  bool ShouldNarrow() const;
  // Follows the namespaces one by one from now on.
  void Narrow();

  // Null when there is no such object, or it is not shown.
  Object Find(const std::string& ns, const std::string& name) const;

 private:
  struct Followed {
    std::shared_ptr<kube::Informer> informer;
    kube::Informer::HandlerId handler;
  };
  void Follow(const std::string& ns);
  bool ShowsNamespace(const std::string& ns) const;

  kube::SharedCaches& caches_;
  const Options options_;
  const kube::LabelSelector labels_;
  Changed changed_;
  std::vector<Followed> followed_;
  bool narrow_ = false;
};

}  // namespace tidewright::scrape
