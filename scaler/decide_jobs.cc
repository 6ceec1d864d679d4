#include "scaler/decide_jobs.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tidewright::scaler {

namespace {

std::string JobsText(int32_t jobs) { return std::to_string(jobs) + (jobs == 1 ? " Job" : " Jobs"); }

class JobEvaluation {
 public:
  JobEvaluation(const JobScaling& scaling, const std::vector<Signal>& signals, const JobCounts& jobs)
      : scaling_(scaling), signals_(signals), jobs_(jobs) {}

  JobDecision Run() {
    ReadSignals();
    out_.active = out_.active || scaling_.min_jobs > 0;
    if (jobs_.running < scaling_.min_jobs) {
      Start(scaling_.min_jobs - jobs_.running, "strategy",
            JobsText(jobs_.running) + " of at least " + std::to_string(scaling_.min_jobs) + " run");
    } else if (Unknown()) {
      out_.held = true;
      Step("hold", jobs_.running, "held: " + first_error_);
      out_.why = "held: " + first_error_;
    } else {
      Combine();
      FollowStrategy();
    }
    return std::move(out_);
  }

 private:
  void Step(const char* stage, int32_t jobs, std::string text, const std::string& signal = "") {
    out_.steps.push_back({stage, signal, jobs, std::move(text)});
  }
  void Because(const std::string& text) { out_.why += (out_.why.empty() ? "" : "; ") + text; }

  void ReadSignals() {
    size_t failed = 0;
    for (const Signal& signal : signals_) {
      if (!signal.error.empty() || signal.target_milli <= 0) {
        ++failed;
        std::string text = signal.name + " cannot be read: " + signal.error;
        if (first_error_.empty()) first_error_ = text;
        Step("signal", jobs_.running, text, signal.name);
        out_.proposals.emplace_back();
        continue;
      }
      const bool active = signal.value_milli > signal.activation_milli;
      const double load = static_cast<double>(signal.value_milli) / static_cast<double>(signal.target_milli);
      const int32_t wanted = active ? Whole(load) : 0;
      std::string text = signal.name + " = " + FormatMilli(signal.value_milli) + ", target " +
                         FormatMilli(signal.target_milli) + " per Job -> " + JobsText(wanted) +
                         (active ? "" : " (not active)");
      Step("signal", wanted, text, signal.name);
      out_.proposals.emplace_back(wanted);
      if (!active) continue;
      out_.active = true;
      loads_.push_back({std::min(load, Room()), text, signal.name});
    }
    out_.any_error = failed > 0;
    out_.all_failed = failed == signals_.size();
  }

  bool Unknown() const {
    bool bound_from_below =
        scaling_.combination == JobCombination::kMax || scaling_.combination == JobCombination::kSum;
    return out_.all_failed || (out_.any_error && !bound_from_below);
  }

  // What is there for the load, besides the Jobs that always run.
  double Room() const { return static_cast<double>(scaling_.max_jobs - scaling_.min_jobs); }
  int32_t Whole(double load) const { return static_cast<int32_t>(std::ceil(std::min(load, 1e9))); }

  void Combine() {
    double load = 0;
    const Load* deciding = nullptr;
    for (const Load& one : loads_) {
      const bool least = scaling_.combination == JobCombination::kMin;
      if (deciding == nullptr || (least ? one.value < deciding->value : one.value > deciding->value)) deciding = &one;
      load += one.value;
    }
    if (deciding == nullptr) {
      Step("combine", 0, "no trigger is active");
      Because("no trigger is active");
      return;
    }
    const char* how = "the sum";
    if (scaling_.combination == JobCombination::kAverage) {
      load /= static_cast<double>(loads_.size());
      how = "the average";
    } else if (scaling_.combination != JobCombination::kSum) {
      load = deciding->value;
      how = scaling_.combination == JobCombination::kMin ? "the lowest" : "the highest";
    }
    out_.deciding_signal = deciding->signal;
    wanted_ = Whole(std::min(load, Room()));
    if (loads_.size() > 1) {
      Step(
          "combine", wanted_,
          std::string(how) + " of " + std::to_string(loads_.size()) + " active triggers asks for " + JobsText(wanted_));
    } else {
      Step("combine", wanted_, "one active trigger asks for " + JobsText(wanted_));
    }
    Because(deciding->text);
  }

  void FollowStrategy() {
    const int32_t running = jobs_.running;
    const int32_t left = scaling_.max_jobs - running;
    switch (scaling_.strategy) {
      case JobStrategy::kDefault: {
        const int32_t extra = running - scaling_.min_jobs;
        return Start(wanted_ - extra, "strategy", std::to_string(extra) + " of them run already");
      }
      case JobStrategy::kCustom: {
        const auto share = static_cast<int32_t>(running * scaling_.running_share);
        return Start(wanted_ - scaling_.deduction - share, "strategy",
                     "less a deduction of " + std::to_string(scaling_.deduction) + " and " + std::to_string(share) +
                         " for the " + std::to_string(running) + " that run");
      }
      case JobStrategy::kAccurate:
        return Start(std::min(wanted_ - jobs_.pending, left), "strategy",
                     std::to_string(jobs_.pending) + " are pending for it already");
      case JobStrategy::kEager:
        return Start(std::min(wanted_, left - jobs_.pending), "strategy",
                     "as far as " + std::to_string(running) + " that run and " + std::to_string(jobs_.pending) +
                         " that are pending leave room");
    }
  }

  void Start(int32_t create, const char* stage, const std::string& text) {
    create = std::max(create, 0);
    Step(stage, create, text + ": " + std::to_string(create) + " to start");
    Because(text);
    const int32_t left = std::max(scaling_.max_jobs - jobs_.running, 0);
    if (create > left) {
      create = left;
      std::string limit = "limited to max " + std::to_string(scaling_.max_jobs);
      Step("limit", create, limit);
      Because(limit);
    }
    out_.create = create;
  }

  struct Load {
    double value = 0;
    std::string text, signal;
  };
  const JobScaling& scaling_;
  const std::vector<Signal>& signals_;
  const JobCounts& jobs_;
  JobDecision out_;
  std::vector<Load> loads_;  // Of active triggers.
  int32_t wanted_ = 0;
  std::string first_error_;
};

}  // namespace

JobDecision DecideJobs(const JobScaling& scaling, const std::vector<Signal>& signals, const JobCounts& jobs) {
  return JobEvaluation(scaling, signals, jobs).Run();
}

}  // namespace tidewright::scaler
