// Manager: evaluates recording and alerting rules on schedule, writes what they produce back into the store and hands
// alerts to whoever sends them.
//
// Differences from Prometheus: a rule that a reload did not change is left running, so its ALERTS series have no gap,
// and the series of a removed group are marked stale at once rather than two intervals later.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "promql/engine.h"
#include "rules/rule_file.h"
#include "tsdb/appender.h"

namespace tidewright::rules {

// An alert as it is sent. While it fires, ends_at_ms is when the receiver may take it for resolved unless it hears
// more.
struct AlertNotice {
  tsdb::Labels labels;
  std::map<std::string, std::string> annotations;
  int64_t starts_at_ms = 0;
  int64_t ends_at_ms = 0;
  std::string generator_url;
};

struct ManagerOptions {
  int64_t default_interval_ms = 60 * 1000;  // Of groups that name none.
  int64_t default_query_offset_ms = 0;
  int64_t outage_tolerance_ms = 3600 * 1000;     // How far back a restart looks for the age of alerts.
  int64_t for_grace_period_ms = 10 * 60 * 1000;  // Least time between a restart and an alert that was pending.
  bool legacy_names = false;
  int64_t resend_delay_ms = 60 * 1000;                 // A firing alert is not sent again before this time has passed.
  std::map<std::string, std::string> external_labels;  // As templates see them.
  std::string external_url;                            // Of this server, without a slash at the end.
  // How many threads help to evaluate rules of one group that are independent of each other, side by side; 0: the rules
  // of a group are evaluated in order. The outcome is the same.
  int max_concurrent_evaluations = 0;
  // Takes the alerts of one rule that are due. Called by several threads; must not block. May be null.
  std::function<void(std::vector<AlertNotice> alerts)> notify;
};

enum class AlertState { kInactive, kPending, kFiring };
// "inactive", "pending", "firing".
std::string_view AlertStateName(AlertState state);

// Times are ms since the epoch; 0 where there is none.
struct Alert {
  tsdb::Labels labels;  // Its identity, alertname included.
  std::map<std::string, std::string> annotations;
  AlertState state = AlertState::kInactive;
  double value = 0;
  int64_t active_at_ms = 0;
  int64_t fired_at_ms = 0;
  int64_t keep_firing_since_ms = 0;
  int64_t resolved_at_ms = 0;    // An inactive alert is remembered for 15 minutes.
  int64_t last_sent_at_ms = -1;  // -1: never.
  int64_t valid_until_ms = 0;    // As of when it was last sent.
};

struct RuleStatus {
  RuleSpec spec;
  base::Status last_error;         // OK, or why the last evaluation failed.
  int64_t last_evaluation_ms = 0;  // 0: not evaluated yet.
  double evaluation_seconds = 0;
  std::vector<Alert> alerts;  // Of alerting rules, sorted by labels.

  // The most severe state among the alerts.
  AlertState state() const;
};

struct GroupStatus {
  std::string name;
  std::string file;
  int64_t interval_ms = 0;
  int64_t limit = 0;
  int64_t query_offset_ms = 0;
  int64_t last_evaluation_ms = 0;
  double evaluation_seconds = 0;
  std::vector<RuleStatus> rules;
};

class GroupRunner;

// Thread-safe. A group is evaluated at times t with t mod interval = a hash of its file and name mod interval, so that
// groups spread out and keep their slots over restarts; slots that pass while an evaluation runs are skipped and
// counted. Rules of a group run in order, or as if they did: each sees what the ones before it wrote. A failing rule
// does not stop the group.
class Manager {
 public:
  // Borrows everything, which must outlive the Manager; `metrics` may be null.
  Manager(promql::QueryEngine& engine, tsdb::Appendable& storage, base::Clock& clock, base::Scheduler& scheduler,
          base::MetricRegistry* metrics, const ManagerOptions& options = {});
  ~Manager();  // Stop().
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  // Replaces the rules by those of `files`, which are paths or patterns (glob(7)); what matches nothing is logged. On
  // any error nothing changes and the status lists all errors of all files. Rules that stay keep their state. Waits for
  // evaluations that are under way in groups that change.
  // `objects` are groups from elsewhere, whose file names must be none of the files'.
  base::Status Load(const std::vector<std::string>& files, std::vector<GroupSpec> objects = {});
  // Replaces the defaults that the options gave, for the next Load(): groups that it changes begin anew.
  void SetDefaults(int64_t interval_ms, int64_t query_offset_ms);
  // Replaces the external labels, for the next Load(): alerting groups take them over and keep their state.
  void SetExternalLabels(const std::map<std::string, std::string>& labels);

  // Begins evaluating. Load() may come before or after.
  void Start();
  // Waits for evaluations that are under way. Idempotent, and final: the groups do not start again. Alerts keep their
  // last state in the store.
  void Stop();

  // Sorted by file, in the order of the file within it.
  std::vector<GroupStatus> Groups() const;

 private:
  struct Environment;
  base::Result<std::vector<GroupSpec>> ReadFiles(const std::vector<std::string>& patterns) const;
  std::vector<std::shared_ptr<GroupRunner>> CurrentRunners() const;

  const std::unique_ptr<Environment> environment_;

  base::Mutex load_mu_;  // Serializes Load, Start and Stop.
  bool running_ GUARDED_BY(load_mu_) = false;
  int64_t default_interval_ms_ GUARDED_BY(load_mu_);
  int64_t default_query_offset_ms_ GUARDED_BY(load_mu_);
  std::map<std::string, std::string> external_labels_ GUARDED_BY(load_mu_);

  mutable base::Mutex mu_;
  std::vector<std::shared_ptr<GroupRunner>> runners_ GUARDED_BY(mu_);
};

}  // namespace tidewright::rules
