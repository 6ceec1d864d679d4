// The aggregation layer: requests for the groups of APIService objects go to the extension servers behind them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "http/client.h"
#include "http/server.h"
#include "http/tls.h"
#include "sandbox/discovery.h"
#include "sandbox/rest.h"

namespace tidewright::sandbox {

// Keeps the Available condition of every APIService with a service by probing GET /apis/<group>/<version>: each second
// until it answers 2xx, then every 30 s. A service is reached at a ready address of its Endpoints object, or without
// one at spec.clusterIP and the APIService's port, over TLS with the name <service>.<namespace>.svc verified against
// caBundle, and with a client certificate of the common name front-proxy-client whose CA is published in ConfigMap
// kube-system/extension-apiserver-authentication. Thread-safe. Borrows `rest`.
class Aggregator {
 public:
  explicit Aggregator(Rest& rest);
  ~Aggregator();  // Stop().

  // Makes the certificates and the ConfigMap. Namespace kube-system must exist.
  base::Status Start();
  void Stop();  // Idempotent; waits for probes.

  // Notices new and changed APIServices and starts the probes that are due. Call it regularly.
  void Tick();

  // The versions that are proxied, for discovery.
  std::vector<ProxiedVersion> Versions() const;
  bool Handles(std::string_view group, std::string_view version) const;
  // Forwards a request for a version that Handles() is true for; 503 while its server is down.
  void Forward(std::string_view group, std::string_view version, const http::ServerRequest& request,
               http::Responder& responder);

 private:
  struct Backend {
    std::string spec_text;  // To notice changes.
    ProxiedVersion version;
    std::string service_ns;
    std::string service_name;
    int64_t port = 443;
    std::shared_ptr<http::Client> client;  // Shared with the requests under way.
    std::string failure;                   // Why there is no client.
    int64_t next_probe_ms = 0;
    bool probing = false;
  };
  // What the probe of a backend found.
  struct Outcome {
    bool available = false;
    std::string reason;
    std::string message;
    std::string resources;
  };

  base::Status PublishAuthentication(const http::KeyPair& ca);
  void Refresh(const ObjectPtr& service) REQUIRES_LOCK(mu_);
  void Probe(const std::string& name);
  Outcome Ask(const Backend& backend) const;
  base::Result<std::string> BaseUrl(const Backend& backend, std::string* reason) const;
  void SetAvailable(const std::string& name, const Outcome& outcome);

  Rest& rest_;
  std::unique_ptr<base::ThreadPool> probes_;
  http::KeyPair front_proxy_;  // Set by Start().
  mutable base::Mutex mu_;
  std::map<std::string, Backend> backends_ GUARDED_BY(mu_);  // By the APIService's name.
};

}  // namespace tidewright::sandbox
