// Alerting: brings together what finds Alertmanagers (scrape), what sends to them (rules), and receivers of our own
// (notify).
#pragma once

#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "kube/shared_caches.h"
#include "notify/receivers.h"
#include "rules/notifier.h"
#include "scrape/alertmanagers.h"
#include "scrape/config.h"

namespace tidewright::cmd {

// Thread-safe, but for Apply() and Stop(), which are called by one thread at a time.
class Alerting {
 public:
  // Borrows everything; the caches and metrics may be null.
  Alerting(base::Clock& clock, base::Scheduler& scheduler, kube::SharedCaches* caches, base::MetricRegistry* metrics,
           const rules::NotifierOptions& options, const notify::ReceiversOptions& receivers);
  ~Alerting();  // Stop().

  rules::Notifier& notifier() { return notifier_; }

  // Takes over external labels and the section `alerting`.
  void Apply(const scrape::Config& config);
  // Replaces the receivers of our own; null: none.
  void ApplyReceivers(std::shared_ptr<const notify::Config> config) { receivers_.Apply(std::move(config)); }
  // Sends what is queued, within the time that the options say. Idempotent. The scheduler must still be running.
  void Stop();

 private:
  void Found(scrape::AlertmanagerTargets targets);
  rules::Alertmanager Reach(const scrape::AlertmanagerTarget& target);

  base::Clock& clock_;
  base::Scheduler& scheduler_;
  notify::Receivers receivers_;
  rules::Notifier notifier_;
  scrape::AlertmanagerDiscovery discovery_;
};

}  // namespace tidewright::cmd
