// An in-memory Kubernetes API server over HTTP: the embedded default for trying Tidewright without a cluster, and the
// peer of hermetic tests.
//
// Models: get, list, create, update, delete, deletecollection, patch (merge, JSON, strategic merge, a simplified
// server-side apply), watch with history, bookmarks and 410 Gone, resource versions and conflicts, generation,
// finalizers and owner references, status and scale subresources, server-side tables, discovery,
// CustomResourceDefinitions with schema validation, the aggregation layer, dry run. Does not model: authentication and
// authorization (everyone is an administrator; reviews allow everything), admission webhooks, CEL rules, field
// ownership, paging (`limit` is ignored), protobuf beyond what
// kubectl's commands send, unknown fields of built-in kinds, pod subresources (logs, exec).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/status.h"
#include "http/server.h"
#include "sandbox/aggregator.h"
#include "sandbox/api_request.h"
#include "sandbox/resource_type.h"
#include "sandbox/rest.h"
#include "sandbox/store.h"
#include "sandbox/watch.h"

namespace tidewright::sandbox {

struct ApiServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;  // 0 picks a free one.
  StoreLimits store;
  RestOptions rest;
  size_t max_body_bytes = 3u << 20;
};

// Thread-safe. Borrows `clock`, which must outlive it.
class ApiServer {
 public:
  ApiServer(ApiServerOptions options, base::Clock& clock);
  ~ApiServer();  // Stop().
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  // Creates the namespaces default, kube-system, kube-public and kube-node-lease, and begins to listen.
  base::Status Start();
  void Stop();  // Idempotent.

  // "http://127.0.0.1:40123"; valid after Start().
  std::string Url() const;
  uint16_t port() const { return port_; }

  // Writes a kubeconfig file whose current context is this server.
  base::Status WriteKubeconfig(const std::string& path) const;

  // What the server's own thread does every 200 ms of the clock: end watches, collect garbage, probe APIServices. With
  // a FakeClock tests may call it themselves.
  void Tick();

  Store& store() { return store_; }
  const Store& store() const { return store_; }
  ResourceRegistry& registry() { return registry_; }
  Rest& rest() { return rest_; }
  size_t active_watches() const { return watches_.active(); }

 private:
  using ResponderPtr = std::shared_ptr<http::Responder>;
  struct Call;

  void Loop();
  base::Status CreateNamespaces();
  void Handle(const http::ServerRequest& request, const ResponderPtr& responder);
  void Route(const http::ServerRequest& request, const ResponderPtr& responder);
  bool RouteDocument(const http::ServerRequest& request, http::Responder& responder);
  bool RouteDiscovery(const http::ServerRequest& request, http::Responder& responder);
  void RouteResource(Call& call, const ResponderPtr& responder);
  base::Result<std::string> Dispatch(Call& call);
  base::Result<std::string> Collection(Call& call);
  base::Result<std::string> Item(Call& call);
  base::Result<std::string> Scale(Call& call);
  base::Result<std::string> ListText(Call& call);
  base::Result<std::string> DeleteCollection(Call& call);
  base::Result<std::string> DeleteItem(Call& call);
  base::Status StartWatch(Call& call, const ResponderPtr& responder);
  std::string ObjectText(const Call& call, const ObjectPtr& object) const;

  const ApiServerOptions options_;
  base::Clock& clock_;
  Store store_;
  ResourceRegistry registry_;
  Rest rest_;
  WatchHub watches_;
  Aggregator aggregator_;
  base::StopSignal stop_;
  uint16_t port_ = 0;                     // Set by Start().
  std::unique_ptr<http::Server> server_;  // Set by Start().
  std::thread loop_;                      // Set by Start().
};

}  // namespace tidewright::sandbox
