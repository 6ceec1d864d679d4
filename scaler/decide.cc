#include "scaler/decide.h"

#include <algorithm>
#include <utility>

#include "scaler/behavior.h"
#include "scaler/proposal.h"

namespace tidewright::scaler {

namespace {

std::string SecondsText(int64_t ms) { return std::to_string((ms + 999) / 1000) + " s"; }

// One evaluation. Each stage writes its step, and `why` collects the texts that a person needs to see.
class Evaluation {
 public:
  explicit Evaluation(const DecisionInput& input)
      : in_(input), spec_(input.spec), now_(input.now_ms), current_(input.current.spec_replicas) {
    out_.history = input.history;
    out_.replicas = current_;
  }

  Decision Run() {
    Bound();
    ReadSignals();
    if (!TracksActivity()) {
      ScaleBetween(spec_.min_replicas);
    } else {
      FollowActivity();
    }
    Prune(spec_, now_, out_.history);
    return std::move(out_);
  }

 private:
  void AddStep(const char* stage, int32_t replicas, std::string text, const std::string& signal = "") {
    out_.steps.push_back({stage, signal, replicas, std::move(text)});
  }
  void Because(const std::string& text) { out_.why += (out_.why.empty() ? "" : "; ") + text; }

  // Limits that signals set on the whole workload. A ceiling protects something, so it wins over every floor.
  void Bound() {
    for (const Signal& signal : in_.signals) {
      if (!signal.error.empty()) continue;
      if (signal.floor && *signal.floor > spec_.min_replicas) {
        spec_.min_replicas = *signal.floor;
        AddStep("bounds", spec_.min_replicas, signal.name + " raises the minimum to " + FormatReplicas(*signal.floor),
                signal.name);
      }
      if (signal.ceiling && *signal.ceiling < spec_.max_replicas) {
        spec_.max_replicas = *signal.ceiling;
        AddStep("bounds", spec_.max_replicas, signal.name + " lowers the maximum to " + FormatReplicas(*signal.ceiling),
                signal.name);
      }
    }
    spec_.min_replicas = std::min(spec_.min_replicas, spec_.max_replicas);
    if (spec_.idle_replicas) spec_.idle_replicas = std::min(*spec_.idle_replicas, spec_.max_replicas);
  }

  void ReadSignals() {
    size_t failed = 0;
    for (const Signal& signal : in_.signals) {
      Proposal proposal = spec_.composite ? Variable(signal) : Propose(signal, spec_, in_.current);
      AddStep("signal", proposal.error.empty() ? proposal.replicas : current_, proposal.text, signal.name);
      out_.measured.push_back(proposal.measured);
      if (!proposal.error.empty()) {
        ++failed;
        if (first_error_.empty()) first_error_ = proposal.text;
        out_.proposals.emplace_back();
        continue;
      }
      if (spec_.composite) {
        out_.proposals.emplace_back();
        continue;
      }
      out_.proposals.emplace_back(proposal.replicas);
      if (signal.counts_for_activity && signal.value_milli > signal.activation_milli) out_.active = true;
      Consider(proposal, signal.name);
    }
    out_.any_error = failed > 0;
    out_.all_failed = failed == in_.signals.size();
    if (spec_.composite) Compose(failed);
  }

  // What a formula has of a signal: a value, whatever its target, and no number of replicas.
  Proposal Variable(const Signal& signal) const {
    Proposal result;
    result.replicas = current_;
    result.error = signal.error;
    result.text = signal.name + " = " + FormatMilli(signal.value_milli);
    if (signal.absent) result.text = signal.name + " is " + signal.detail;
    if (!signal.error.empty()) result.text = signal.name + " cannot be read: " + signal.error;
    return result;
  }

  void Consider(const Proposal& proposal, const std::string& name) {
    if (!deciding_text_.empty() && proposal.replicas <= combined_) return;
    combined_ = proposal.replicas;
    deciding_text_ = proposal.text;
    out_.deciding_signal = name;
  }

  // One proposal of the formula in place of those of the signals. While a fallback is in use its number counts.
  void Compose(size_t failed) {
    out_.all_failed = out_.any_error = failed > 0;
    if (failed > 0) return;
    bool fallback = false;
    for (size_t i = 0; i < in_.signals.size(); ++i) {
      if (!in_.signals[i].in_fallback) continue;
      fallback = true;
      out_.active = out_.active || in_.signals[i].value_milli > 0;
      Consider(Propose(in_.signals[i], spec_, in_.current), in_.signals[i].name);
    }
    if (fallback) return;
    Signal composite = EvaluateFormula(*spec_.composite, in_.signals);
    Proposal proposal = Propose(composite, spec_, in_.current);
    AddStep("formula", proposal.error.empty() ? proposal.replicas : current_, proposal.text);
    if (!proposal.error.empty()) {
      first_error_ = proposal.text;
      out_.all_failed = out_.any_error = true;
      return;
    }
    out_.active = composite.value_milli > composite.activation_milli;
    Consider(proposal, composite.name);
  }

  bool TracksActivity() const {
    return spec_.force_activation || spec_.composite.has_value() ||
           std::any_of(in_.signals.begin(), in_.signals.end(), [](const Signal& s) { return s.counts_for_activity; });
  }

  // Where the workload rests while nothing is active; none keeps it between min and max.
  std::optional<int32_t> IdleReplicas() const {
    if (spec_.idle_replicas) return spec_.idle_replicas;
    if (spec_.min_replicas <= 0) return 0;
    return std::nullopt;
  }

  void FollowActivity() {
    const int32_t floor = std::max(spec_.min_replicas, 1);
    std::optional<int32_t> idle = IdleReplicas();
    if (spec_.force_activation) out_.active = true;
    if (out_.active) {
      out_.history.last_active_ms = now_;
    } else if (out_.any_error) {
      out_.history.last_unknown_ms = now_;
    }
    bool resting = current_ == 0 || (spec_.idle_replicas && current_ < spec_.min_replicas);
    if (out_.active && resting) return WakeUp(floor);
    if (out_.active || !idle) return ScaleBetween(floor);
    if (out_.any_error) return current_ <= *idle ? Hold() : ScaleBetween(floor);
    Rest(*idle, floor);
  }

  // Directly to the number that the signals ask for: windows and policies are about changes of a running workload, and
  // a first step to 1 would only make the queue longer.
  void WakeUp(int32_t floor) {
    int32_t wanted = std::max(deciding_text_.empty() ? 0 : combined_, floor);
    int32_t replicas = std::min(wanted, spec_.max_replicas);
    out_.woke_up = true;
    out_.recommended = wanted;
    AddRecommendation(now_, wanted, out_.history);
    if (!deciding_text_.empty()) Because(deciding_text_);
    if (spec_.force_activation) Because("activation is forced by annotation");
    std::string text = "waking up from " + FormatReplicas(current_) + " directly to " + FormatReplicas(wanted);
    AddStep("activity", wanted, text);
    Because(text);
    LimitWakeUp(wanted, replicas);
    Finish(replicas);
  }

  void LimitWakeUp(int32_t wanted, int32_t replicas) {
    if (replicas < wanted) {
      Limit(Limiting::kMax, "limit", replicas, "limited to max " + std::to_string(replicas));
    } else if (wanted == std::max(spec_.min_replicas, 1) && wanted > combined_) {
      Limit(Limiting::kMin, "limit", replicas, "raised to min " + std::to_string(wanted));
    }
  }

  // Nothing is active: stay at, go to, or wait for the idle count.
  void Rest(int32_t idle, int32_t floor) {
    if (current_ <= idle) {
      std::string text = "no trigger is active: idle at " + FormatReplicas(idle);
      AddStep("activity", idle, text);
      Because(text);
      out_.recommended = idle;
      return Finish(idle);
    }
    int64_t left = CooldownLeftMs();
    if (left >= 0) {
      AddStep("activity", current_,
              "no trigger is active: idle at " + FormatReplicas(idle) + " in " + SecondsText(left + 1));
      return ScaleBetween(floor);
    }
    std::string text = "no trigger is active and the cooldown of " + SecondsText(Cooldown()) + " is over -> idle at " +
                       FormatReplicas(idle);
    AddStep("activity", idle, text);
    Because(text);
    out_.recommended = idle;
    // Above the maximum no policy keeps anything.
    int32_t allowed = std::min(ScaleDownLimit(in_), spec_.max_replicas);
    if (allowed > idle) {
      Limit(Limiting::kDownPolicy, "policy", allowed,
            "the scale-down policies allow no fewer than " + FormatReplicas(allowed) + " now");
    }
    Finish(std::max(idle, allowed));
  }

  int64_t Cooldown() const { return out_.history.last_active_ms ? spec_.cooldown_ms : spec_.initial_cooldown_ms; }

  // Milliseconds until the cooldown is over; negative once it is.
  int64_t CooldownLeftMs() const {
    const History& history = out_.history;
    int64_t since = history.last_active_ms.value_or(history.created_ms);
    int64_t left = since + Cooldown() - now_;
    if (history.last_unknown_ms) left = std::max(left, *history.last_unknown_ms + spec_.cooldown_ms - now_);
    return left;
  }

  // The HPA controller's algorithm between `floor` and max.
  void ScaleBetween(int32_t floor) {
    if (current_ > spec_.max_replicas) return Correct(Limiting::kMax, spec_.max_replicas, "above max");
    if (current_ < floor) return Correct(Limiting::kMin, floor, "below min");
    if (out_.all_failed || (out_.any_error && combined_ < current_)) return Hold();
    out_.recommended = combined_;
    AddStep("combine", combined_,
            in_.signals.size() == 1 ? "one signal asks for " + FormatReplicas(combined_)
                                    : "the highest of " + std::to_string(in_.signals.size()) + " signals, " +
                                          out_.deciding_signal + ", asks for " + FormatReplicas(combined_));
    Because(deciding_text_);
    int32_t stabilized = Stabilize(in_, combined_);
    AddRecommendation(now_, combined_, out_.history);
    if (stabilized != combined_) NoteStabilized(stabilized);
    Finish(spec_.no_behavior ? LimitWithoutBehavior(stabilized, floor) : LimitWithBehavior(stabilized, floor));
  }

  // Out of the limits: no signal is needed to know where to go.
  void Correct(Limiting limiting, int32_t replicas, const char* where) {
    out_.recommended = replicas;
    Limit(limiting, "limit", replicas, FormatReplicas(current_) + " is " + where + " " + std::to_string(replicas));
    Finish(replicas);
  }

  void Hold() {
    std::string text = "held: " + (first_error_.empty() ? std::string("there is no signal to follow") : first_error_);
    AddStep("hold", current_, text);
    out_.why = text;
    out_.hold = true;
    out_.replicas = current_;
  }

  void NoteStabilized(int32_t stabilized) {
    bool up = combined_ >= current_ && !spec_.no_behavior;
    int32_t window = up ? spec_.scale_up.stabilization_s : spec_.scale_down.stabilization_s;
    std::string text = "the " + std::string(up ? "lowest" : "highest") + " recommendation of the last " +
                       std::to_string(window) + " s counts: " + FormatReplicas(stabilized);
    out_.stabilized = true;
    Limit(Limiting::kStabilized, "stabilize", stabilized, text);
  }

  void Limit(Limiting limiting, const char* stage, int32_t replicas, const std::string& text) {
    out_.limiting = limiting;
    AddStep(stage, replicas, text);
    Because(text);
  }

  int32_t LimitWithoutBehavior(int32_t wanted, int32_t floor) {
    int32_t step = ScaleUpLimit(in_);
    if (wanted < floor) return Raise(floor);
    if (wanted > step && step < spec_.max_replicas) return SlowDown(Limiting::kUpPolicy, step);
    if (wanted > spec_.max_replicas) return Cap(spec_.max_replicas);
    return wanted;
  }

  int32_t LimitWithBehavior(int32_t wanted, int32_t floor) {
    if (wanted > current_) {
      int32_t allowed = ScaleUpLimit(in_);
      if (wanted > allowed && allowed < spec_.max_replicas) return SlowDown(Limiting::kUpPolicy, allowed);
      if (wanted > spec_.max_replicas) return Cap(spec_.max_replicas);
    } else if (wanted < current_) {
      int32_t allowed = ScaleDownLimit(in_);
      if (wanted < allowed && allowed > floor) return SlowDown(Limiting::kDownPolicy, allowed);
      if (wanted < floor) return Raise(floor);
    }
    return wanted;
  }

  int32_t Raise(int32_t floor) {
    Limit(Limiting::kMin, "limit", floor, "raised to min " + std::to_string(floor));
    return floor;
  }
  int32_t Cap(int32_t max) {
    Limit(Limiting::kMax, "limit", max, "limited to max " + std::to_string(max));
    return max;
  }
  int32_t SlowDown(Limiting limiting, int32_t allowed) {
    bool up = limiting == Limiting::kUpPolicy;
    Limit(limiting, "policy", allowed,
          std::string("the scale-") + (up ? "up" : "down") + " policies allow no " + (up ? "more" : "fewer") +
              " than " + FormatReplicas(allowed) + " now");
    return allowed;
  }

  // The last word: what the annotations forbid.
  void Finish(int32_t replicas) {
    if (replicas < current_ && spec_.pause_scale_in) {
      Limit(Limiting::kDownPolicy, "limit", current_, "scaling in is paused by annotation");
      replicas = current_;
    }
    if (replicas > current_ && spec_.pause_scale_out) {
      Limit(Limiting::kUpPolicy, "limit", current_, "scaling out is paused by annotation");
      replicas = current_;
    }
    out_.replicas = replicas;
  }

  const DecisionInput& in_;
  ScaleSpec spec_;  // With the limits that signals set.
  const int64_t now_;
  const int32_t current_;
  Decision out_;
  int32_t combined_ = 0;       // The highest proposal of the signals that could be read.
  std::string deciding_text_;  // Its sentence; empty when none could be read.
  std::string first_error_;
};

}  // namespace

ScalingRules DefaultScaleUp() {
  ScalingRules rules;
  rules.policies = {{ScalingPolicy::Type::kPods, 4, 15}, {ScalingPolicy::Type::kPercent, 100, 15}};
  return rules;
}

ScalingRules DefaultScaleDown() {
  ScalingRules rules;
  rules.stabilization_s = 300;
  rules.policies = {{ScalingPolicy::Type::kPercent, 100, 15}};
  return rules;
}

Decision Decide(const DecisionInput& input) { return Evaluation(input).Run(); }

}  // namespace tidewright::scaler
