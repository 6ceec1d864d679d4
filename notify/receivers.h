// Receivers: tells webhooks, Slack and mailboxes about alerts, for whoever has no Alertmanager.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "notify/config.h"
#include "rules/manager.h"

namespace tidewright::notify {

struct ReceiversOptions {
  std::string external_url;  // Of this server, for links in messages.
  std::string state_file;    // What was said when; "": forgotten at the end.
  // How long alerts of before a restart count as firing without being heard of: as long as rules may take to find out
  // again that they do.
  int64_t hold_restored_ms = 15 * 60 * 1000;
  // Whether this one of several replicas tells anybody; empty: it does. The others assume that what they would have
  // said has been said a minute later. What one has not assumed yet when its turn comes, it says.
  std::function<bool()> leads;
  int64_t drain_ms = 5'000;  // How long Stop() waits for messages that are under way.
};

// Thread-safe, but for Apply() and Stop(), which are called by one thread at a time. Receivers that do not answer delay
// no others. What fails is logged, counted and tried again, see groups.h.
class Receivers {
 public:
  // Borrows clock and scheduler; the metrics may be null.
  Receivers(base::Clock& clock, base::Scheduler& scheduler, base::MetricRegistry* metrics,
            const ReceiversOptions& options);
  ~Receivers();  // Stop().

  // Replaces the configuration; null: nobody is told anything. The first one brings back what the state file says.
  void Apply(std::shared_ptr<const Config> config);

  // Takes alerts with the labels that they are to show. Does not block.
  void Send(const std::vector<rules::AlertNotice>& alerts);

  // Waits for messages that are under way, as long as the options say. Idempotent. The scheduler must still be running.
  void Stop();

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace tidewright::notify
