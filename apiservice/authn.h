// Delegated authentication: who made a request, as the aggregation layer of Kubernetes defines it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "apiservice/authz.h"
#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/server.h"
#include "kube/client.h"
#include "kube/informer.h"

namespace tidewright::apiservice {

// Thread-safe.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // kUnauthenticated: nobody that we know. Anything else: could not be found out.
  virtual base::Result<UserInfo> Authenticate(const http::ServerRequest& request) = 0;
  // The roots that client certificates may chain to (PEM); "" asks clients for none.
  virtual std::string ClientCaPem() const { return ""; }
  // Calls `changed` whenever ClientCaPem() may have changed, on any thread, until the authenticator goes.
  virtual void OnChange(std::function<void()> changed) { (void)changed; }
};

// How clients prove who they are: the content of the ConfigMap kube-system/extension-apiserver-authentication.
struct AuthenticationConfig {
  std::string client_ca_pem;
  std::string requestheader_ca_pem;
  std::set<std::string> client_ca_sha256;  // Fingerprints, as http::Peer::issuer_ca_sha256 spells them.
  std::set<std::string> requestheader_ca_sha256;
  std::vector<std::string> allowed_names;  // Of the front proxy's certificate; empty allows any.
  std::vector<std::string> username_headers;
  std::vector<std::string> uid_headers;
  std::vector<std::string> group_headers;
  std::vector<std::string> extra_header_prefixes;

  // kInvalidArgument names the key that is wrong.
  static base::Result<AuthenticationConfig> FromConfigMap(const base::Json& config_map);
};

// In this order:
//   1. Identity headers, only from a peer whose verified certificate chains to the requestheader CA and whose common
//   name
//      is allowed. Nobody else's headers are looked at.
//   2. A verified certificate that chains to the client CA: common name and organizations.
//   3. A bearer token that the API server confirms by TokenReview; answers are kept for 10 s.
// The ConfigMap is watched, so that rotated CAs count at once; a faulty one is logged and the last good one stays.
// Until it has been read, 1 and 2 accept nobody. Borrows client and clock.
class DelegatedAuthenticator : public Authenticator {
 public:
  DelegatedAuthenticator(kube::Client& client, base::Clock& clock);
  ~DelegatedAuthenticator() override;  // Stop().

  void Start();
  void Stop();  // Idempotent.
  // Waits for the ConfigMap's first arrival; the error says why it has not come.
  base::Status WaitForConfig(int64_t timeout_ms);
  void SetConfig(AuthenticationConfig config);

  base::Result<UserInfo> Authenticate(const http::ServerRequest& request) override;
  std::string ClientCaPem() const override;
  void OnChange(std::function<void()> changed) override;

 private:
  struct TokenVerdict {
    int64_t expires_ms = 0;
    base::Status status;
    UserInfo user;
  };
  void OnConfigMap(kube::EventType type, const base::Json& object);
  std::shared_ptr<const AuthenticationConfig> config() const;
  base::Result<UserInfo> ReviewToken(const std::string& token);
  base::Result<UserInfo> FromToken(const std::string& token);

  kube::Client& client_;
  base::Clock& clock_;
  kube::Informer informer_;

  base::Mutex announce_mu_;  // Whoever sets a configuration returns when it has been announced, by whomsoever.
  mutable base::Mutex mu_;
  std::shared_ptr<const AuthenticationConfig> config_ GUARDED_BY(mu_);
  std::map<std::string, TokenVerdict> tokens_ GUARDED_BY(mu_);
  base::Mutex handlers_mu_;
  std::vector<std::function<void()>> handlers_ GUARDED_BY(handlers_mu_);
};

}  // namespace tidewright::apiservice
