// Delegated authorization: asks the API server whether a user may make a request.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "kube/client.h"

namespace tidewright::apiservice {

// An authenticated identity.
struct UserInfo {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
  // kube-apiserver vouches for it, which has authorized the very same request before it passed it on.
  bool proxied = false;
};

// What a request wants to do, in the authorizer's terms.
struct Attributes {
  std::string verb;
  std::string path;
  bool is_resource = false;  // Else only verb and path count.
  std::string group, version, resource, subresource, name, ns;
};

// Thread-safe.
class Authorizer {
 public:
  virtual ~Authorizer() = default;
  // OK: allowed. kPermissionDenied: not. Anything else: could not be found out, which callers treat as a refusal.
  virtual base::Status Authorize(const UserInfo& user, const Attributes& attributes) = 0;
};

// Allows the group system:masters; asks by SubjectAccessReview about everyone else. Answers are kept for 10 s, except
// that what is allowed to a proxied user is kept for five minutes, as kube-apiserver does with its own authorization
// webhooks: it asks for each request anyway, and thousands of autoscalers in hundreds of namespaces must not turn into
// as many reviews every 15 s. Failures to ask are not kept. Borrows client and clock.
class DelegatedAuthorizer : public Authorizer {
 public:
  DelegatedAuthorizer(kube::Client& client, base::Clock& clock);
  base::Status Authorize(const UserInfo& user, const Attributes& attributes) override;

 private:
  struct Verdict {
    int64_t expires_ms = 0;
    base::Status status;
  };
  base::Status Review(const UserInfo& user, const Attributes& attributes);
  void Remember(const std::string& key, base::Status status, int64_t ttl_ms);

  kube::Client& client_;
  base::Clock& clock_;
  base::Mutex mu_;
  std::map<std::string, Verdict> cache_ GUARDED_BY(mu_);
};

}  // namespace tidewright::apiservice
