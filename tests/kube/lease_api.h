// LeaseApi: what an API server does with one Lease, for tests of elections between several processes' worth of
// electors. Models: creation, conflicts by resourceVersion, replies that get lost, an outage. Does not model anything
// else.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mutex.h"
#include "kube/client.h"
#include "kube/meta.h"

namespace tidewright::kube {

class LeaseApi : public Client {
 public:
  // Fails every request, or loses the replies of successful writes, until told otherwise.
  void SetDown(bool down) {
    base::MutexLock lock(mu_);
    down_ = down;
  }
  void LoseReplies(bool lose) {
    base::MutexLock lock(mu_);
    lose_replies_ = lose;
  }
  // Null while there is none.
  base::Json Lease() {
    base::MutexLock lock(mu_);
    return lease_;
  }
  void SetSpec(base::Json spec) {
    base::MutexLock lock(mu_);
    lease_ = {{"metadata", {{"name", "tidewright"}, {"resourceVersion", std::to_string(++version_)}}},
              {"spec", std::move(spec)}};
  }
  std::string Holder() { return base::FindString(Lease(), {"spec", "holderIdentity"}); }
  int64_t Transitions() { return base::FindInt(Lease(), {"spec", "leaseTransitions"}); }
  // How many requests there were.
  int requests() {
    base::MutexLock lock(mu_);
    return requests_;
  }

  base::Result<base::Json> Get(const Resource&, std::string_view, std::string_view, std::string_view) override {
    base::MutexLock lock(mu_);
    TW_RETURN_IF_ERROR(Check());
    if (lease_.is_null()) return base::NotFoundError("no lease");
    return lease_;
  }
  base::Result<base::Json> Create(const Resource&, std::string_view, const base::Json& object) override {
    base::MutexLock lock(mu_);
    TW_RETURN_IF_ERROR(Check());
    if (!lease_.is_null()) return base::AlreadyExistsError("lease exists");
    return Store(object);
  }
  base::Result<base::Json> Update(const Resource&, std::string_view, std::string_view, const base::Json& object,
                                  std::string_view) override {
    base::MutexLock lock(mu_);
    TW_RETURN_IF_ERROR(Check());
    if (ResourceVersionOf(object) != ResourceVersionOf(lease_)) return base::AbortedError("conflict");
    return Store(object);
  }
  base::Result<base::Json> List(const Resource&, std::string_view, const ListOptions&) override {
    return base::UnimplementedError("list");
  }
  base::Result<base::Json> Patch(const Resource&, std::string_view, std::string_view, PatchType, const base::Json&,
                                 std::string_view) override {
    return base::Json::object();  // What a leader writes.
  }
  base::Status Delete(const Resource&, std::string_view, std::string_view, Propagation) override {
    return base::UnimplementedError("delete");
  }
  base::Status Watch(const Resource&, std::string_view, const ListOptions&, const WatchHandler&,
                     http::CancelToken*) override {
    return base::UnimplementedError("watch");
  }
  base::Result<base::Json> GetRaw(const std::string&) override { return base::UnimplementedError("raw"); }

 private:
  base::Status Check() REQUIRES_LOCK(mu_) {
    ++requests_;
    return down_ ? base::UnavailableError("connection refused") : base::Status::Ok();
  }
  base::Result<base::Json> Store(const base::Json& object) REQUIRES_LOCK(mu_) {
    lease_ = object;
    lease_["metadata"]["resourceVersion"] = std::to_string(++version_);
    if (lose_replies_) return base::DeadlineExceededError("no reply");
    return lease_;
  }

  base::Mutex mu_;
  base::Json lease_ GUARDED_BY(mu_);
  int64_t version_ GUARDED_BY(mu_) = 0;
  int requests_ GUARDED_BY(mu_) = 0;
  bool down_ GUARDED_BY(mu_) = false;
  bool lose_replies_ GUARDED_BY(mu_) = false;
};

}  // namespace tidewright::kube
