#include "base/json.h"
#include "kube/client.h"

namespace tidewright::kube {

namespace {

// A guard in front of any client. The client over HTTP does better (it asks right before it sends); this is for others.
class GuardedClient : public Client {
 public:
  GuardedClient(Client& inner, RequestGuard& guard) : inner_(inner), guard_(guard) {}

  base::Result<base::Json> Get(const Resource& resource, std::string_view ns, std::string_view name,
                               std::string_view subresource) override {
    TW_RETURN_IF_ERROR(Admit(false));
    return inner_.Get(resource, ns, name, subresource);
  }
  base::Result<base::Json> List(const Resource& resource, std::string_view ns, const ListOptions& options) override {
    TW_RETURN_IF_ERROR(Admit(false));
    return inner_.List(resource, ns, options);
  }
  base::Result<base::Json> Create(const Resource& resource, std::string_view ns, const base::Json& object) override {
    TW_RETURN_IF_ERROR(Admit(true));
    return inner_.Create(resource, ns, object);
  }
  base::Result<base::Json> Update(const Resource& resource, std::string_view ns, std::string_view name,
                                  const base::Json& object, std::string_view subresource) override {
    TW_RETURN_IF_ERROR(Admit(true));
    return inner_.Update(resource, ns, name, object, subresource);
  }
  base::Result<base::Json> Patch(const Resource& resource, std::string_view ns, std::string_view name, PatchType type,
                                 const base::Json& patch, std::string_view subresource) override {
    TW_RETURN_IF_ERROR(Admit(true));
    return inner_.Patch(resource, ns, name, type, patch, subresource);
  }
  base::Status Delete(const Resource& resource, std::string_view ns, std::string_view name,
                      Propagation propagation) override {
    TW_RETURN_IF_ERROR(Admit(true));
    return inner_.Delete(resource, ns, name, propagation);
  }
  base::Status Watch(const Resource& resource, std::string_view ns, const ListOptions& options,
                     const WatchHandler& handler, http::CancelToken* cancel) override {
    TW_RETURN_IF_ERROR(Admit(false));
    return inner_.Watch(resource, ns, options, handler, cancel);
  }
  base::Result<base::Json> GetRaw(const std::string& path_and_query) override {
    TW_RETURN_IF_ERROR(Admit(false));
    return inner_.GetRaw(path_and_query);
  }

 private:
  base::Status Admit(bool write) const { return guard_.Admit(write).status(); }

  Client& inner_;
  RequestGuard& guard_;
};

}  // namespace

std::unique_ptr<Client> Client::Guarded(RequestGuard& guard) { return std::make_unique<GuardedClient>(*this, guard); }

}  // namespace tidewright::kube
