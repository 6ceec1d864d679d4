// Notifier: sends alerts to Alertmanagers, by their API v2.
//
// Each Alertmanager has a queue of its own, so that one that does not answer delays no other. What cannot be delivered
// is dropped and counted: the rules hand a firing alert over again after the resend delay, and a resolved one for 15
// minutes. Where Alertmanagers are and how they are reached, the owner says.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "rules/manager.h"
#include "tsdb/labels.h"

namespace tidewright::rules {

// Changes the labels of an alert; false drops it. Must be thread-safe.
using AlertRelabeling = std::function<bool(tsdb::LabelsBuilder* labels)>;

struct Alertmanager {
  std::string key;          // What is queued stays while an Alertmanager of this key does.
  std::string url;          // Without credentials: for metrics and the log.
  AlertRelabeling relabel;  // Of alerts to this one, after that of all; may be null.
  // Posts a JSON body; `done` runs once, at once or on another thread. Any 2xx reply is a success.
  std::function<void(std::string body, std::function<void(base::Status)> done)> post;
};

struct NotifierOptions {
  size_t queue_capacity = 10'000;  // Alerts per Alertmanager; the oldest go first.
  size_t batch_size = 256;         // Alerts per request.
  int64_t drain_ms = 5'000;        // How long Stop() waits for what is queued.
};

// Thread-safe.
class Notifier {
 public:
  // `metrics` may be null; otherwise it is borrowed.
  Notifier(const NotifierOptions& options, base::MetricRegistry* metrics);
  ~Notifier();  // Stop().
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // Labels that every alert gets unless it has them, and the relabelling after that (may be null).
  void SetLabels(const std::map<std::string, std::string>& external_labels, AlertRelabeling relabel);
  // Replaces the Alertmanagers. `dropped` are those that relabelling left out, for show.
  void SetAlertmanagers(std::vector<Alertmanager> alertmanagers, std::vector<std::string> dropped);

  // Hands alerts over to one more, which gets them as Alertmanagers do, before their own relabelling. Must be
  // thread-safe and not block; null: nobody.
  using Sink = std::function<void(const std::vector<AlertNotice>& alerts)>;
  void SetSink(Sink sink);

  // Queues alerts for every Alertmanager. Does not block.
  void Send(const std::vector<AlertNotice>& alerts);

  // Takes no more alerts and waits until what is queued has been sent, at most as long as the options say. Idempotent.
  void Stop();

  // As alerts are posted to them: those that get alerts, and those that relabelling dropped.
  struct Urls {
    std::vector<std::string> active, dropped;
  };
  Urls alertmanagers() const;

 private:
  class Queue;
  using Queues = std::vector<std::shared_ptr<Queue>>;

  const NotifierOptions options_;
  base::MetricRegistry own_registry_;  // Used when the owner gave none.
  base::MetricRegistry& registry_;
  base::Gauge& discovered_;

  mutable base::Mutex mu_;
  std::map<std::string, std::string> external_labels_ GUARDED_BY(mu_);
  AlertRelabeling relabel_ GUARDED_BY(mu_);
  Queues queues_ GUARDED_BY(mu_);
  Sink sink_ GUARDED_BY(mu_);
  std::vector<std::string> dropped_ GUARDED_BY(mu_);
  bool stopped_ GUARDED_BY(mu_) = false;
};

// The body of a request: a JSON array of alerts.
std::string AlertsBody(const std::vector<AlertNotice>& alerts);

}  // namespace tidewright::rules
