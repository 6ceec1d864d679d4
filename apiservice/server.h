// ApiService: the aggregated API server behind custom.metrics.k8s.io, external.metrics.k8s.io and metrics.k8s.io.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apiservice/authn.h"
#include "apiservice/authz.h"
#include "apiservice/discovery_documents.h"
#include "apiservice/negotiation.h"
#include "apiservice/provider.h"
#include "apiservice/route.h"
#include "apiservice/serving_certificate.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/server.h"

namespace tidewright::apiservice {

// A part of the program that can be well or not.
struct HealthCheck {
  std::string name;
  std::function<base::Status()> check;
};

struct ApiServiceOptions {
  std::string address = "0.0.0.0";
  uint16_t port = 6443;  // 0 picks a free one.
  int worker_threads = 8;
  ServingCertificateOptions certificate;
  std::string version = "v0.1.0";      // Of the program, for /version.
  size_t max_listed_metrics = 10'000;  // Per discovery list; requests are not limited by it.
  // The parts of /readyz, in order; /readyz/<name> asks one of them. They must be quick.
  std::vector<HealthCheck> ready;
};

// Which providers to serve from; asked for each request, so that a reload of the rules can add and remove APIs.
using ProviderSource = std::function<Providers()>;

// Serves over TLS. Every request but health checks is authenticated and authorized; who is refused is logged, a few
// lines a second at most. Discovery and OpenAPI documents are made once and answered from memory, whatever the state of
// the store. A value that stands in for a missing one is announced in a Warning header, which kubectl prints.
// Thread-safe. Borrows everything it is given. Counts as k8s.io/apiserver does:
//   authentication_attempts {result}         success, failure (nobody that we know), error (could not be found out)
//   authorization_attempts_total {result}    allowed, denied, error
//   apiserver_request_total {code, group, resource, verb, version}; every request, refused ones included. `resource` is
//     what a custom metric describes, or "*" for external metrics, whose number has no bound.
// and tidewright_apiservice_request_duration_seconds {api}.
class ApiService {
 public:
  ApiService(ApiServiceOptions options, ProviderSource providers, Authenticator& authenticator, Authorizer& authorizer,
             base::Clock& clock, base::MetricRegistry& metrics);
  ~ApiService();  // Stop().

  // Makes or reads the certificate and begins to listen.
  base::Status Start();
  void Stop();  // Idempotent.
  uint16_t port() const { return port_; }
  // What kube-apiserver should trust (PEM), for the registration. After Start().
  std::string ca_bundle() const;

  // Takes changed certificate files, a renewed certificate and changed client CAs into use; call every few seconds.
  // Changes that the authenticator announces are taken at once.
  base::Status Maintain();
  // The registration's part in a change of the CA, see ServingCertificate: whether one waits to be published, and which
  // bundle has been. After Start().
  bool certificate_waits() const;
  void BundlePublished(const std::string& ca_bundle);

  // Answers one request, including authentication and authorization. Needs no Start().
  http::Response Handle(const http::ServerRequest& request);

 private:
  http::Response Admit(const http::ServerRequest& request, const Route& route);
  http::Response Health(const http::ServerRequest& request);
  http::Response Dispatch(const http::ServerRequest& request, const Route& route);
  http::Response Document(const http::ServerRequest& request, const Route& route, const Providers& providers);
  void LogRefusal(const http::ServerRequest& request, const std::string& user, const base::Status& status);
  http::Response Custom(const http::ServerRequest& request, const Route& route, Form form,
                        CustomMetricsProvider& provider);
  http::Response External(const http::ServerRequest& request, const Route& route, Form form,
                          ExternalMetricsProvider& provider);
  http::Response Pods(const http::ServerRequest& request, const Route& route, Form form,
                      ResourceMetricsProvider& provider);
  http::Response Nodes(const http::ServerRequest& request, const Route& route, Form form,
                       ResourceMetricsProvider& provider);
  base::Status ShowCertificate(const http::KeyPair& pair) REQUIRES_LOCK(tls_mu_);
  void Count(const http::ServerRequest& request, const Route& route, int code, int64_t begin_ns);
  void CountAttempt(const char* metric, const char* help, const char* result);

  const ApiServiceOptions options_;
  const ProviderSource providers_;
  Authenticator& authenticator_;
  Authorizer& authorizer_;
  base::Clock& clock_;
  base::MetricRegistry& metrics_;
  uint16_t port_ = 0;

  DiscoveryDocuments documents_;
  base::Mutex refusals_mu_;
  int64_t refusals_second_ GUARDED_BY(refusals_mu_) = 0;
  int refusals_ GUARDED_BY(refusals_mu_) = 0;  // Logged in that second.

  base::Mutex tls_mu_;                               // One SetTls at a time.
  std::unique_ptr<ServingCertificate> certificate_;  // Written by Start() only.
  std::string client_ca_ GUARDED_BY(tls_mu_);
  // Where the authenticator's announcements arrive; outlives this object as long as the authenticator calls.
  struct ChangeRelay;
  std::shared_ptr<ChangeRelay> relay_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace tidewright::apiservice
