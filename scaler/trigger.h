// Triggers: where a ScaledObject's signals come from.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiservice/provider.h"
#include "base/clock.h"
#include "base/document.h"
#include "base/status.h"
#include "http/client.h"
#include "kube/object_reader.h"
#include "promql/arrivals.h"
#include "promql/engine.h"
#include "scaler/decide.h"

namespace tidewright::scaler {

// Hours outside of which a trigger rests: spec.triggers[].when. Texts as in the manifest, checked by CheckTrigger().
struct TriggerHours {
  std::string timezone, start, end, exclude;
};

class SourcePool;

// One entry of spec.triggers. The metadata's values are texts, as in the manifest.
struct TriggerSpec {
  int index = 0;       // Position in spec.triggers: part of the metric's name.
  std::string ns;      // Of the object.
  std::string object;  // Its name; unknown, and so "", while its manifest is checked.
  std::string type;    // "cron"
  std::string name;    // Optional, unique in the object.
  std::map<std::string, std::string> metadata;
  TargetType target_type = TargetType::kAverageValue;  // metricType: AverageValue, Value or Utilization.
  std::string authentication;                          // authenticationRef.name, or "".
  bool cluster_authentication = false;                 // It is a ClusterTriggerAuthentication.
  std::optional<int32_t> max_replicas;                 // maxReplicaCount: the most that this trigger may ask for.
  std::string pod_selector;                            // Of the target's pods, once that is known: for cpu and memory.
  std::optional<TriggerHours> when;
  bool in_formula = false;  // The object scales by a formula over the values of its triggers, without their targets.
  int64_t max_age_ms = 0;  // How old a value may be that another trigger has read; 0: only one that is being read.
};

// What one reading said.
struct Reading {
  int64_t value_milli = 0;
  std::string detail;  // "list orders = 42", "window is open until Mon 2026-11-23 18:00 Europe/Rome"
  // Limits of the object that hold as long as this is read: a cron window's.
  std::optional<int32_t> min_replicas;
  std::optional<int32_t> max_replicas;
  std::vector<PodSample> pods;  // Of cpu and memory, which have no value of their own.
  std::optional<bool> active;   // The source's own word, in place of a value above the activation.
};

// What a trigger is, apart from its value.
struct TriggerInfo {
  std::string type;         // "redis"; "" until a source that says itself what it measures was asked (external).
  std::string name;         // For reasons: "redis orders".
  std::string metric_name;  // As KEDA names it: "s0-redis-orders".
  TargetType target_type = TargetType::kAverageValue;
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
  bool exact = false;     // A number of replicas rather than a load.
  std::string container;  // Of cpu and memory: the only one that counts; "": all.
  // Who is asked, without secrets: "10.0.0.7:6379"; "": nobody outside of this program. Readings of the same source are
  // shared, and it is left alone while it fails (scaler/source_pool.h).
  std::string source;
  bool own_reading = false;  // The same settings read something else for another object: never shared.
};

// A source of one value. Not thread-safe: one reading at a time. Keeps its connection between readings and renews it
// after a failure. Error texts say what could not be read and why, and never contain a secret.
class Trigger {
 public:
  explicit Trigger(TriggerInfo info) : info_(std::move(info)) {}
  virtual ~Trigger() = default;

  // May change with a reading.
  const TriggerInfo& info() const { return info_; }

  // Blocks for a few seconds at most (each trigger has its timeout). Any failure is an error, never a value. kNotFound:
  // the source could be asked and has no value at present; that is no failure of the trigger, which stays in use.
  // kCancelled: the source was not asked, because it keeps failing; the trigger stays in use, too. kUnavailable and
  // kDeadlineExceeded: the source did not answer; everything else is an answer.
  virtual base::Result<Reading> Read() = 0;

  // Asks for a reading within `delay_ms` at the latest. Thread-safe, never blocks.
  using Hasten = std::function<void(int64_t delay_ms)>;
  // A source that can push begins to: it calls `hasten` when a reading would be worthwhile, from any thread, until the
  // trigger is destroyed. Others do nothing.
  virtual void Push(Hasten /*hasten*/) {}

 protected:
  void SetInfo(TriggerInfo info) { info_ = std::move(info); }

 private:
  TriggerInfo info_;
};

// What triggers read with. Borrows everything; all of it, and the context itself, must outlive the triggers.
struct TriggerContext {
  base::Clock* control = nullptr;              // The time of samples.
  base::Clock* calendar = nullptr;             // The time of cron windows; in the sandbox it runs faster.
  promql::QueryEngine* engine = nullptr;       // The embedded store, for prometheus triggers without serverAddress.
  promql::SampleArrivals* arrivals = nullptr;  // What tells them of new samples; may be null.
  http::Client* http = nullptr;                // For everything that is asked by HTTP.
  SourcePool* sources = nullptr;               // What triggers share; null: each reads by itself.
  kube::ObjectReader* objects = nullptr;       // For kubernetes-workload, cpu and memory.
  kube::Client* client = nullptr;              // For cpu and memory: metrics.k8s.io.
  // What serves metrics.k8s.io in this program; empty, or null: the API server is asked. Called for each reading.
  std::function<apiservice::ResourceMetricsProvider*()> resource_metrics;
  // Maps a host name to what to connect to instead; empty is the identity. The sandbox uses it for service names.
  std::function<std::string(const std::string& host)> resolve_host;

  std::string Resolve(const std::string& host) const { return resolve_host ? resolve_host(host) : host; }
};

// Where the values of secrets come from: the environment of the target's container for <key>FromEnv, and the parameters
// of an authenticationRef. Called on creation only.
struct TriggerSecrets {
  std::function<base::Result<std::string>(const std::string& variable)> env;
  std::map<std::string, std::string> parameters;
};

// Checks a trigger as far as its manifest goes: type, keys, values. Errors go to `errors` below `path`
// ("spec.triggers[0]"), each with the value and the remedy.
void CheckTrigger(const TriggerSpec& spec, const std::string& path, base::ErrorList& errors);

// Builds a trigger of a checked spec. kInvalidArgument when a value from the environment or from an authenticationRef
// is not what the key needs; other codes are the lookup's. Connects to nothing yet.
base::Result<std::unique_ptr<Trigger>> NewTrigger(const TriggerSpec& spec, const TriggerSecrets& secrets,
                                                  const TriggerContext& context);

// Whether a type measures the target's own pods. Such a trigger says how many are needed, never whether any are: with
// no other one beside it the object is always active, and next to others it does not count for activity.
bool MeasuresPods(const std::string& type);

// The trigger types that this build reads, sorted.
std::vector<std::string> TriggerTypes();

// The reference page of a type in Markdown, made from the table that its settings are read by: docs/triggers/<type>.md.
std::string TriggerReference(const std::string& type);

// "s<index>-<type>-<text>" with the characters that a metric name may not have replaced, as KEDA does.
std::string MetricName(int index, const std::string& text);

}  // namespace tidewright::scaler
