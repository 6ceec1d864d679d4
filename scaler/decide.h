// Decide: how many replicas a workload should have, as a pure function.
//
// Everything that matters goes in (spec, signal values, history, state, now); a Decision with its reasons comes out. No
// I/O, no clock, no threads: live control, dry run and replay call the same function, and what it returns is what
// `kubectl describe`, the API and the web page show. ScaledObjects and HorizontalPodAutoscalers are both brought into
// this form.
//
// Sources: the HPA controller's algorithm (Kubernetes documentation "Algorithm details", autoscaling/v2) and KEDA's
// ScaledObject semantics; docs/decisions.md states the formulas.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "scaler/formula.h"

namespace tidewright::scaler {

// One rule of autoscaling/v2 behavior.
struct ScalingPolicy {
  enum class Type { kPods, kPercent };
  Type type = Type::kPods;
  int32_t value = 0;
  int32_t period_s = 15;
};

enum class SelectPolicy { kMax, kMin, kDisabled };

// How fast replicas may move in one direction.
struct ScalingRules {
  int32_t stabilization_s = 0;
  SelectPolicy select = SelectPolicy::kMax;
  std::vector<ScalingPolicy> policies;
  double tolerance = 0.1;
};

// The defaults of autoscaling/v2: up at most 4 pods or 100 % per 15 s without delay; down 100 % per 15 s after 300 s.
ScalingRules DefaultScaleUp();
ScalingRules DefaultScaleDown();

// How a signal's value turns into replicas.
enum class TargetType {
  kAverageValue,  // ceil(value / target): a total shared by all replicas (queue length, total rate, cron).
  kValue,         // ceil(value / target * ready pods): a value that more replicas bring down (a latency).
  kPerPod,        // Average over pods against the target (HPA type Pods, Resource averageValue).
  kUtilization,   // Sum over pods as a percentage of their requests (HPA type Resource).
};

// scalingModifiers: a formula over the signals' values takes the place of the highest proposal, and its value that of
// the single triggers for what is active.
struct Composite {
  std::shared_ptr<const Formula> formula;
  TargetType type = TargetType::kAverageValue;  // Or kValue.
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
};

// What a workload's replicas follow.
struct ScaleSpec {
  int32_t min_replicas = 1;
  int32_t max_replicas = 1;
  // ScaledObjects: replicas while no trigger is active; unset keeps min_replicas. 0 when min_replicas is 0.
  std::optional<int32_t> idle_replicas;
  int64_t cooldown_ms = 0;          // How long after the last activity before going to idle_replicas.
  int64_t initial_cooldown_ms = 0;  // The same after creation while never active.
  ScalingRules scale_up;
  ScalingRules scale_down;
  // HorizontalPodAutoscalers without spec.behavior: scale_down.stabilization_s and the tolerances apply, the policies
  // do not; instead one step up ends at max(2 * current, 4).
  bool no_behavior = false;
  bool pause_scale_in = false;
  bool pause_scale_out = false;
  bool force_activation = false;
  std::optional<Composite> composite;
};

// How one pod stands with regard to one signal; filled for kPerPod and kUtilization only.
struct PodSample {
  enum class State { kReady, kUnready, kMissing };  // kMissing: running, but no value.
  std::string name;
  State state = State::kReady;
  int64_t value_milli = 0;
  int64_t request_milli = 0;  // kUtilization.
};

// One trigger or metric, as read at one time. Exactly one of error and the values is meaningful.
struct Signal {
  std::string name;   // "redis orders", "Pods http_requests_per_second": for reasons.
  std::string id;     // What a formula calls it, or "".
  std::string error;  // Not empty: it could not be read; it never scales anything down.
  TargetType type = TargetType::kAverageValue;
  int64_t value_milli = 0;           // kAverageValue, kValue.
  int64_t target_milli = 0;          // > 0. kUtilization: percent * 1000.
  bool counts_for_activity = false;  // ScaledObject triggers: takes part in waking up from idle.
  int64_t activation_milli = 0;      // Active when value > activation (strictly).
  bool exact = false;                // No tolerance: a cron window asks for a number, not for a load.
  std::vector<PodSample> pods;
  std::optional<int32_t> max_replicas;  // The most that it may ask for.
  // While it can be read it bounds the whole workload, on top of ScaleSpec: the highest floor and the lowest ceiling of
  // all signals count, and where they contradict each other the ceiling.
  std::optional<int32_t> floor;
  std::optional<int32_t> ceiling;
  bool in_fallback = false;  // It could not be read; value and `exact` are the fallback's. A formula steps back then.
  bool absent = false;       // It could not be read, and a formula may say what then counts (`queue ?? 10`).
  std::string detail;        // Shown with the reason: "list orders = 42", "window 08:00-18:00 Europe/Rome is open".
};

// Something that happened in the past.
struct Recommendation {
  int64_t t_ms = 0;
  int32_t replicas = 0;
};
struct ScaleEvent {
  int64_t t_ms = 0;
  int32_t change = 0;  // Positive: added. Negative: removed.
};

// What the function remembers between calls. The caller keeps it and passes it back; Decide() returns the next one.
struct History {
  std::vector<Recommendation> recommendations;  // Oldest first, pruned to the longest window.
  std::vector<ScaleEvent> events;
  std::optional<int64_t> last_active_ms;
  // When it was last unknown whether a trigger is active (a failed read, a start of the controller). The cooldown runs
  // from the later of the two: time during which nobody looked does not count.
  std::optional<int64_t> last_unknown_ms;
  int64_t created_ms = 0;
};

// The workload right now.
struct CurrentState {
  int32_t spec_replicas = 0;    // What it was told last.
  int32_t status_replicas = 0;  // What exists.
  int32_t ready_replicas = 0;
};

struct DecisionInput {
  ScaleSpec spec;
  std::vector<Signal> signals;
  History history;
  CurrentState current;
  int64_t now_ms = 0;
};

// One step of the reasoning, in order. `stage` is a fixed word: "bounds", "signal", "formula", "combine", "activity",
// "stabilize", "policy", "limit", "hold". `replicas` is the number after this step.
struct Step {
  std::string stage;
  std::string signal;  // Which signal, for stage "signal".
  int32_t replicas = 0;
  std::string text;  // A sentence for people.
};

// What one signal measured, as the status of an autoscaler shows it.
struct Measured {
  int64_t value_milli = 0;  // kValue: the value. kAverageValue: per existing replica. Pods: the average over pods.
  int32_t utilization = 0;  // kUtilization: percent of the requests.
};

enum class Limiting { kNone, kMin, kMax, kStabilized, kUpPolicy, kDownPolicy };

struct Decision {
  int32_t replicas = 0;  // What the workload should be set to.
  bool hold = false;     // Nothing may be changed: `why` says which input is missing.
  bool active = false;   // Some trigger is active (ScaledObjects).
  bool woke_up = false;  // From idle: the caller adds no ScaleEvent, so that policies do not count the first step.
  bool any_error = false;
  bool all_failed = false;
  bool stabilized = false;  // The stabilization window changed the recommendation.
  int32_t recommended = 0;  // What the signals asked for, before windows, policies and limits. Unset while `hold`.
  Limiting limiting = Limiting::kNone;
  std::string why;  // One line: the deciding signal and what bounded it.
  std::string deciding_signal;
  std::vector<Step> steps;
  std::vector<std::optional<int32_t>> proposals;  // Per signal; empty where it failed, or feeds a formula.
  std::vector<Measured> measured;                 // Per signal; zero where it failed.
  History history;  // Pass to the next call. The caller adds a ScaleEvent once the write succeeded.
};

// Signals that count for activity (or a forced activation) bring ScaledObject semantics: with idle_replicas set, or
// min_replicas 0, the workload rests while nothing is active and wakes up directly to the number of replicas that its
// signals ask for. Without them the function is the HPA controller's algorithm. Pure and thread-safe; linear in its
// input.
Decision Decide(const DecisionInput& input);

// A milli-value as people write it: 42000 -> "42", 450 -> "0.45".
std::string FormatMilli(int64_t milli);
// "1 replica", "9 replicas".
std::string FormatReplicas(int32_t replicas);

}  // namespace tidewright::scaler
