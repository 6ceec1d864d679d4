// Registrar: keeps the aggregation port's certificate current, and the APIServices in step with it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apiservice/discovery.h"
#include "apiservice/registration.h"
#include "apiservice/server.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/thread_pool.h"
#include "kube/client.h"

namespace tidewright::cmd {

// Looks every other second. A change of the CA is published before it is used: while this process leads, it writes the
// APIServices; otherwise it waits until it sees the leader's write. Thread-safe. Borrows everything.
class Registrar {
 public:
  struct Options {
    bool enabled = true;                           // Otherwise only the certificate is looked after.
    apiservice::RegistrationOptions registration;  // ca_bundle is the service's.
  };
  using Groups = std::function<std::vector<apiservice::ServedGroup>()>;

  // `client` writes: where several replicas run, the one that the leader election guards.
  Registrar(Options options, kube::Client& client, apiservice::ApiService& service, Groups groups, base::Clock& clock,
            base::Scheduler& scheduler);

  void Start();
  void Stop();  // Idempotent.
  // Whether this process writes. Afterwards the first write comes at once.
  void Lead(bool leads);

 private:
  void Tick();
  void Look();
  bool IsDue(const std::string& content);
  void Register(const apiservice::RegistrationOptions& registration, const std::vector<apiservice::ServedGroup>& groups,
                const std::string& content);

  const Options options_;
  kube::Client& client_;
  apiservice::ApiService& service_;
  const Groups groups_;
  base::Clock& clock_;
  base::Scheduler& scheduler_;

  base::Mutex mu_;
  bool leads_ GUARDED_BY(mu_) = false;
  bool stopped_ GUARDED_BY(mu_) = false;
  base::Scheduler::TaskId task_ GUARDED_BY(mu_) = 0;
  std::string registered_ GUARDED_BY(mu_);  // The content of the last write that succeeded.
  int64_t next_ms_ GUARDED_BY(mu_) = 0;     // When to write again though nothing changed.
};

}  // namespace tidewright::cmd
