// The whole way of a metric in one process, for tests and benchmarks: samples in a store, rules, and the aggregation
// port with mutual TLS, in front of a cluster whose objects a fake client holds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapter/adapter.h"
#include "apiservice/server.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "http/client.h"
#include "http/tls.h"
#include "kube/object_reader.h"
#include "kube/shared_caches.h"
#include "promql/engine.h"
#include "tests/apiservice/fake_kube_client.h"
#include "tsdb/db.h"

namespace tidewright::testing {

// Certificates are checked against the machine's clock, so everything runs on it. Put the cluster's objects into
// cluster() and samples into the store, then Start(). Not thread-safe, but for what it hands out.
class MetricsStack {
 public:
  MetricsStack() : now_(clock_.NowMs()) {
    db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
    engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
    front_ca_ = *http::GenerateCa("front-proxy-ca", now_);
    client_ca_ = *http::GenerateCa("kubernetes", now_);
    cluster_.Put(kube::resources::kConfigMaps,
                 {{"metadata", {{"name", "extension-apiserver-authentication"}, {"namespace", "kube-system"}}},
                  {"data",
                   {{"client-ca-file", client_ca_.certificate_pem},
                    {"requestheader-client-ca-file", front_ca_.certificate_pem},
                    {"requestheader-allowed-names", "[\"front-proxy-client\"]"},
                    {"requestheader-username-headers", "[\"X-Remote-User\"]"},
                    {"requestheader-group-headers", "[\"X-Remote-Group\"]"}}}});
    cluster_.on_create["SubjectAccessReview"] = [](const base::Json&) -> base::Result<base::Json> {
      return base::Json{{"status", {{"allowed", true}}}};
    };
    options_.address = "127.0.0.1";
    options_.port = 0;
    options_.worker_threads = 2;
    options_.certificate.service = "tidewright";
    options_.certificate.ns = "autoscaling";
  }
  ~MetricsStack() { Stop(); }

  FakeKubeClient& cluster() { return cluster_; }
  apiservice::ApiServiceOptions& options() { return options_; }  // Until Start().
  base::MetricRegistry& metrics() { return metrics_; }
  const http::KeyPair& front_ca() const { return front_ca_; }
  const http::KeyPair& client_ca() const { return client_ca_; }
  int64_t start_ms() const { return now_; }

  void PutPod(const std::string& ns, const std::string& name, const std::string& app) {
    cluster_.Put(kube::resources::kPods, {{"metadata", {{"name", name}, {"namespace", ns}, {"labels", {{"app", app}}}}},
                                          {"status", {{"phase", "Running"}}}});
  }

  // A scrape: these values at one time.
  base::Status Store(const std::vector<std::pair<tsdb::Labels, double>>& samples, int64_t time_ms) {
    auto appender = db_->NewAppender();
    for (const auto& [labels, value] : samples) {
      TW_RETURN_IF_ERROR(appender->Append(0, labels, time_ms, value).status());
    }
    return appender->Commit();
  }

  base::Status Start(const std::string& rules) {
    caches_ = std::make_unique<kube::SharedCaches>(cluster_, clock_);
    objects_ = kube::NewCachedReader(*caches_, 60'000);
    adapter::AdapterOptions options;
    options.registry.series_epoch = [this] { return db_->SeriesEpoch(); };
    adapter_ = std::make_unique<adapter::Adapter>(*engine_, cluster_, *objects_, clock_, scheduler_, metrics_, options);
    TW_RETURN_IF_ERROR(adapter_->LoadConfig(rules, "adapter.yaml"));
    adapter_->registry().Relist();
    authenticator_ = std::make_unique<apiservice::DelegatedAuthenticator>(cluster_, clock_);
    authorizer_ = std::make_unique<apiservice::DelegatedAuthorizer>(cluster_, clock_);
    service_ = std::make_unique<apiservice::ApiService>(
        options_, [this] { return adapter_->providers(); }, *authenticator_, *authorizer_, clock_, metrics_);
    TW_RETURN_IF_ERROR(service_->Start());
    // After the port is open, so that the CAs arrive at a running server.
    authenticator_->Start();
    return authenticator_->WaitForConfig(30'000);
  }
  void Stop() {  // Idempotent.
    if (service_ != nullptr) service_->Stop();
    if (adapter_ != nullptr) adapter_->Stop();
    if (authenticator_ != nullptr) authenticator_->Stop();
    if (caches_ != nullptr) caches_->Stop();
  }

  uint16_t port() const { return service_->port(); }
  std::string url() const { return "https://127.0.0.1:" + std::to_string(port()); }

  // For a client with a certificate of `ca` for `name`, or without one.
  http::ClientTls TlsFor(const http::KeyPair* ca, const std::string& name) const {
    http::ClientTls tls;
    tls.ca_pem = service_->ca_bundle();
    tls.server_name = "tidewright.autoscaling.svc";
    if (ca == nullptr) return tls;
    http::CertificateRequest request;
    request.common_name = name;
    request.client = true;
    http::KeyPair pair = *http::IssueCertificate(*ca, request, now_);
    tls.certificate_pem = pair.certificate_pem;
    tls.private_key_pem = pair.private_key_pem;
    return tls;
  }
  // What kube-apiserver connects with.
  http::ClientTls FrontProxyTls() const { return TlsFor(&front_ca_, "front-proxy-client"); }

 private:
  base::SystemClock& clock_ = base::SystemClock::Get();
  const int64_t now_;
  base::MetricRegistry metrics_;
  base::ThreadPool pool_{"stack", 2};
  base::Scheduler scheduler_{clock_, pool_};
  FakeKubeClient cluster_;
  http::KeyPair front_ca_, client_ca_;
  apiservice::ApiServiceOptions options_;
  std::unique_ptr<kube::SharedCaches> caches_;
  std::unique_ptr<kube::ObjectReader> objects_;
  std::unique_ptr<tsdb::Db> db_;
  std::unique_ptr<promql::QueryEngine> engine_;
  std::unique_ptr<adapter::Adapter> adapter_;
  std::unique_ptr<apiservice::DelegatedAuthenticator> authenticator_;
  std::unique_ptr<apiservice::DelegatedAuthorizer> authorizer_;
  std::unique_ptr<apiservice::ApiService> service_;
};

}  // namespace tidewright::testing
