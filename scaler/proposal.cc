#include "scaler/proposal.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace tidewright::scaler {

namespace {

constexpr char kNoPodMetrics[] = "did not receive metrics for targeted pods (pods might be unready)";

// The sums of the pods that have both a value and, for utilization, a request.
struct PodSums {
  int64_t value = 0;
  int64_t request = 0;
  int64_t pods = 0;
};

int64_t AddSaturated(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return b > 0 ? std::numeric_limits<int64_t>::max() : 0;
  return sum;
}

int64_t MultiplySaturated(int64_t a, int64_t b) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::numeric_limits<int64_t>::max();
  return product;
}

void Add(PodSums& sums, int64_t value, int64_t request) {
  sums.value = AddSaturated(sums.value, value);
  sums.request = AddSaturated(sums.request, request);
  ++sums.pods;
}

// ceil() into the range of replica counts. Negative proposals mean "none needed".
int32_t CeilReplicas(double replicas) {
  if (!(replicas > 0)) return 0;
  double up = std::ceil(replicas);
  if (up >= std::numeric_limits<int32_t>::max()) return std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(up);
}

bool WithinTolerance(double ratio, const ScaleSpec& spec) {
  return (1.0 - spec.scale_down.tolerance) <= ratio && ratio <= (1.0 + spec.scale_up.tolerance);
}

std::string Arrow(const std::string& measured, int32_t replicas, bool kept) {
  return measured + " -> " + FormatReplicas(replicas) + (kept ? " (within the tolerance, kept)" : "");
}

std::string PodsText(int64_t pods) { return std::to_string(pods) + (pods == 1 ? " pod" : " pods"); }

Proposal ProposeExact(const Signal& signal) {
  Proposal result;
  result.replicas = CeilReplicas(static_cast<double>(signal.value_milli) / static_cast<double>(signal.target_milli));
  result.measured.value_milli = signal.value_milli;
  std::string subject = signal.detail.empty() ? signal.name : signal.name + ": " + signal.detail;
  result.text = Arrow(subject, result.replicas, false);
  return result;
}

Proposal ProposeAverageValue(const Signal& signal, const ScaleSpec& spec, const CurrentState& current) {
  Proposal result;
  double usage = static_cast<double>(signal.value_milli);
  double target = static_cast<double>(signal.target_milli);
  // The ratio is taken against the replicas that exist, as the HPA controller does; 0 of them give infinity or NaN,
  // which are outside any tolerance.
  double ratio = usage / (target * static_cast<double>(current.status_replicas));
  bool kept = current.status_replicas > 0 && WithinTolerance(ratio, spec);
  result.replicas = kept ? current.status_replicas : CeilReplicas(usage / target);
  result.measured.value_milli = current.status_replicas > 0
                                    ? static_cast<int64_t>(std::ceil(usage / current.status_replicas))
                                    : signal.value_milli;
  std::string measured = signal.name + " = " + FormatMilli(signal.value_milli) + ", target " +
                         FormatMilli(signal.target_milli) + " per replica";
  result.text = Arrow(measured, result.replicas, kept);
  return result;
}

Proposal ProposeValue(const Signal& signal, const ScaleSpec& spec, const CurrentState& current) {
  Proposal result;
  double ratio = static_cast<double>(signal.value_milli) / static_cast<double>(signal.target_milli);
  result.measured.value_milli = signal.value_milli;
  std::string measured =
      signal.name + " = " + FormatMilli(signal.value_milli) + ", target " + FormatMilli(signal.target_milli);
  if (current.spec_replicas == 0) {
    result.replicas = CeilReplicas(ratio);
    result.text = Arrow(measured + ", from 0", result.replicas, false);
    return result;
  }
  bool kept = WithinTolerance(ratio, spec);
  result.replicas = kept ? current.spec_replicas : CeilReplicas(ratio * current.ready_replicas);
  result.text = Arrow(measured + ", " + std::to_string(current.ready_replicas) + " ready", result.replicas, kept);
  return result;
}

// Pods metrics and utilization differ only in how a sum becomes a ratio and in what a missing pod counts as.
class PodsFormula {
 public:
  PodsFormula(const Signal& signal, const ScaleSpec& spec, const CurrentState& current)
      : signal_(signal), spec_(spec), current_(current), utilization_(signal.type == TargetType::kUtilization) {}

  Proposal Run() {
    PodSums ready = SumReady();
    if (ready.pods == 0) return Failed(kNoPodMetrics);
    if (utilization_ && ready.request <= 0) return Failed("no pod has a request for the resource to compare with");
    double ratio = Ratio(ready);
    Measure(ready);
    bool count_unready = unready_ > 0 && ratio > 1.0;
    if (!count_unready && missing_ == 0) {
      bool kept = WithinTolerance(ratio, spec_);
      return Done(kept ? current_.spec_replicas : CeilReplicas(ratio * static_cast<double>(ready.pods)), kept);
    }
    return Rebalance(ready, ratio, count_unready);
  }

 private:
  PodSums SumReady() {
    PodSums sums;
    for (const PodSample& pod : signal_.pods) {
      if (pod.state == PodSample::State::kReady) Add(sums, pod.value_milli, pod.request_milli);
      if (pod.state == PodSample::State::kUnready) ++unready_;
      if (pod.state == PodSample::State::kMissing) ++missing_;
    }
    return sums;
  }

  // Truncated to whole percent before it is compared: this is what the HPA controller does and what its status shows.
  static int32_t Utilization(const PodSums& sums) {
    int64_t percent = MultiplySaturated(sums.value, 100) / std::max<int64_t>(sums.request, 1);
    return static_cast<int32_t>(std::clamp<int64_t>(percent, 0, std::numeric_limits<int32_t>::max()));
  }

  double Ratio(const PodSums& sums) const {
    if (utilization_) {
      return static_cast<double>(Utilization(sums)) / static_cast<double>(signal_.target_milli / 1000);
    }
    return static_cast<double>(sums.value / sums.pods) / static_cast<double>(signal_.target_milli);
  }

  // Missing pods are assumed to need the most on the way down and nothing on the way up, unready ones nothing on the
  // way up: whatever is not known works against the change.
  Proposal Rebalance(PodSums sums, double ratio, bool count_unready) {
    int64_t percent = std::max<int64_t>(100, signal_.target_milli / 1000);
    for (const PodSample& pod : signal_.pods) {
      if (pod.state == PodSample::State::kMissing && ratio != 1.0) {
        int64_t assumed = utilization_ ? MultiplySaturated(pod.request_milli, percent) / 100 : signal_.target_milli;
        Add(sums, ratio < 1.0 ? assumed : 0, pod.request_milli);
      }
      if (pod.state == PodSample::State::kUnready && count_unready) Add(sums, 0, pod.request_milli);
    }
    double rebalanced = Ratio(sums);
    bool flipped = (ratio < 1.0 && rebalanced > 1.0) || (ratio > 1.0 && rebalanced < 1.0);
    if (WithinTolerance(rebalanced, spec_) || flipped) return Done(current_.spec_replicas, true);
    int32_t replicas = CeilReplicas(rebalanced * static_cast<double>(sums.pods));
    bool contradicts = (rebalanced < 1.0 && replicas > current_.spec_replicas) ||
                       (rebalanced > 1.0 && replicas < current_.spec_replicas);
    if (contradicts) return Done(current_.spec_replicas, true);
    return Done(replicas, false);
  }

  void Measure(const PodSums& ready) {
    result_.measured.value_milli = ready.value / ready.pods;
    if (utilization_) result_.measured.utilization = Utilization(ready);
    measured_ = signal_.name;
    if (utilization_) {
      measured_ += " at " + std::to_string(result_.measured.utilization) + "% of requests over " +
                   PodsText(ready.pods) + ", target " + std::to_string(signal_.target_milli / 1000) + "%";
    } else {
      measured_ += " averages " + FormatMilli(result_.measured.value_milli) + " over " + PodsText(ready.pods) +
                   ", target " + FormatMilli(signal_.target_milli);
    }
    if (missing_ > 0) measured_ += ", " + std::to_string(missing_) + " without a value";
    if (unready_ > 0) measured_ += ", " + std::to_string(unready_) + " not ready";
  }

  Proposal Done(int32_t replicas, bool kept) {
    result_.replicas = replicas;
    result_.text = Arrow(measured_, replicas, kept);
    return result_;
  }

  static Proposal Failed(const std::string& error) {
    Proposal failed;
    failed.error = error;
    return failed;
  }

  const Signal& signal_;
  const ScaleSpec& spec_;
  const CurrentState& current_;
  const bool utilization_;
  int64_t unready_ = 0;
  int64_t missing_ = 0;
  Proposal result_;
  std::string measured_;
};

Proposal ProposeValid(const Signal& signal, const ScaleSpec& spec, const CurrentState& current) {
  if (signal.exact) return ProposeExact(signal);
  switch (signal.type) {
    case TargetType::kAverageValue: return ProposeAverageValue(signal, spec, current);
    case TargetType::kValue: return ProposeValue(signal, spec, current);
    case TargetType::kPerPod:
    case TargetType::kUtilization: return PodsFormula(signal, spec, current).Run();
  }
  return Proposal{"unknown target type", 0, {}, ""};
}

}  // namespace

std::string FormatMilli(int64_t milli) {
  uint64_t magnitude = milli < 0 ? 0 - static_cast<uint64_t>(milli) : static_cast<uint64_t>(milli);
  std::string text = (milli < 0 ? "-" : "") + std::to_string(magnitude / 1000);
  uint64_t fraction = magnitude % 1000;
  if (fraction == 0) return text;
  std::string digits = std::to_string(1000 + fraction).substr(1);
  while (digits.back() == '0') digits.pop_back();
  return text + "." + digits;
}

std::string FormatReplicas(int32_t replicas) {
  return std::to_string(replicas) + (replicas == 1 ? " replica" : " replicas");
}

Proposal Propose(const Signal& signal, const ScaleSpec& spec, const CurrentState& current) {
  Proposal result;
  // Utilization targets are whole percents: anything below one would divide by zero.
  int64_t least = signal.type == TargetType::kUtilization ? 1000 : 1;
  if (!signal.error.empty()) {
    result.error = signal.error;
  } else if (signal.target_milli < least) {
    result.error = "the target " + FormatMilli(signal.target_milli) + " is not positive";
  } else {
    result = ProposeValid(signal, spec, current);
  }
  if (!result.error.empty()) {
    result.text = signal.name + " cannot be read: " + result.error;
  } else if (signal.max_replicas && result.replicas > *signal.max_replicas) {
    result.replicas = *signal.max_replicas;
    result.text += ", of which it may ask for " + std::to_string(result.replicas);
  }
  return result;
}

Signal EvaluateFormula(const Composite& composite, const std::vector<Signal>& signals) {
  Signal result;
  result.name = "formula";
  result.type = composite.type;
  result.target_milli = composite.target_milli;
  result.activation_milli = composite.activation_milli;
  result.counts_for_activity = true;
  Formula::Variables variables;
  for (const Signal& signal : signals) {
    if (signal.id.empty()) continue;
    std::optional<double> value;
    if (!signal.absent) value = static_cast<double>(signal.value_milli) / 1000;
    variables[signal.id] = value;
  }
  auto value = composite.formula->Evaluate(variables);
  if (!value.ok()) {
    result.error = value.status().message();
    return result;
  }
  // Below zero there is no load; a positive value never becomes none by rounding.
  if (*value > 0) result.value_milli = std::max<int64_t>(1, std::llround(std::min(*value, 9e14) * 1000));
  result.detail = composite.formula->text();
  return result;
}

}  // namespace tidewright::scaler
