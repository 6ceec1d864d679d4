#include "kube/object_reader.h"

#include <algorithm>
#include <map>

#include "base/mutex.h"
#include "kube/informer.h"

namespace tidewright::kube {

namespace {

class CachedReader : public ObjectReader {
 public:
  CachedReader(SharedCaches& caches, int64_t wait_ms) : caches_(caches), wait_ms_(wait_ms) {}

  base::Result<Object> Get(const Resource& resource, const std::string& ns, const std::string& name) override {
    TW_ASSIGN_OR_RETURN(std::shared_ptr<Informer> informer, Synced(resource));
    Object found = informer->Get(ns, name);
    if (found != nullptr) return found;
    return base::NotFoundError(resource.kind + " " + (ns.empty() ? "" : ns + "/") + name + " not found");
  }

  base::Result<std::vector<Object>> List(const Resource& resource, const std::string& ns,
                                         const LabelSelector& selector) override {
    TW_ASSIGN_OR_RETURN(std::shared_ptr<Informer> informer, Synced(resource));
    return informer->ListMatching(ns, selector);
  }

  base::Result<NameListPtr> Names(const Resource& resource, const std::string& ns, const LabelSelector& selector,
                                  const NameListPtr& known) override {
    TW_ASSIGN_OR_RETURN(std::shared_ptr<Informer> informer, Synced(resource));
    return informer->NamesMatching(ns, selector, known);
  }

  void Follow(const Resource& resource) override { (void)Open(resource); }

 private:
  std::shared_ptr<Informer> Open(const Resource& resource) {
    base::MutexLock lock(mu_);
    std::shared_ptr<Informer>& informer = informers_[resource.Path("", "")];
    if (informer == nullptr) informer = caches_.Get(resource);
    return informer;
  }

  base::Result<std::shared_ptr<Informer>> Synced(const Resource& resource) {
    std::shared_ptr<Informer> informer = Open(resource);
    if (informer->HasSynced()) return informer;
    base::Status synced = informer->WaitForSync(wait_ms_);
    if (synced.ok()) return informer;
    base::Status reason = informer->last_error();
    std::string text = "the " + resource.plural + " have not been listed yet: ";
    if (reason.ok()) return base::FailedPreconditionError(text + synced.message());
    if (reason.code() == base::Code::kPermissionDenied) return base::PermissionDeniedError(text + reason.message());
    return base::UnavailableError(text + reason.message());
  }

  SharedCaches& caches_;
  const int64_t wait_ms_;
  base::Mutex mu_;
  std::map<std::string, std::shared_ptr<Informer>> informers_ GUARDED_BY(mu_);  // By the path of all objects.
};

}  // namespace

base::Result<NameListPtr> ObjectReader::Names(const Resource& resource, const std::string& ns,
                                              const LabelSelector& selector, const NameListPtr& known) {
  TW_ASSIGN_OR_RETURN(std::vector<Object> objects, List(resource, ns, selector));
  auto list = std::make_shared<NameList>();
  for (const Object& object : objects) list->names.push_back(NameOf(*object));
  std::sort(list->names.begin(), list->names.end());
  if (known != nullptr && known->names == list->names) return known;
  return NameListPtr(std::move(list));
}

std::unique_ptr<ObjectReader> NewCachedReader(SharedCaches& caches, int64_t wait_ms) {
  return std::make_unique<CachedReader>(caches, wait_ms);
}

}  // namespace tidewright::kube
