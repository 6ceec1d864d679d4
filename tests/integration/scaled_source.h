// ScaledSource: a ScaledObject over one trigger that reads a real server, from what stands in the server to replicas.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/client.h"
#include "kube/meta.h"
#include "scaler/scaled_workload.h"
#include "scaler/source_pool.h"
#include "tests/eventually.h"
#include "tests/scaler/fake_kube.h"

namespace tidewright::scaler {

// Not thread-safe. The API server is a FakeKube; time stands still between passes, and minReplicaCount is 0.
class ScaledSource {
 public:
  using Metadata = std::map<std::string, std::string>;

  // When its first pass is, about; for sources whose data have times, the tests' own time.
  explicit ScaledSource(int64_t start_ms = *base::ParseTime("2026-01-08T12:00:00Z")) : clock_(start_ms) {
    context_.cluster = ClusterOf(kube_, reader_);
    context_.triggers.control = context_.triggers.calendar = &clock_;
    context_.triggers.http = http_.get();
    context_.triggers.sources = &sources_;
    context_.board = &board_;
    context_.targets = &targets_;
    workload_ = std::make_unique<ScaledWorkload>(context_, kube::resources::kScaledObjects);
    kube_.Put(kube::resources::kDeployments, MakeDeployment("web", 0));
  }

  // Sets the object's only trigger. `secrets` become parameters of its authenticationRef. `fallback`: replicas after
  // the third failure; -1: none.
  void Follow(const std::string& type, const Metadata& metadata, const Metadata& secrets = {}, int fallback = -1) {
    base::Json data = base::Json::object();
    base::Json references = base::Json::array();
    for (const auto& [parameter, value] : secrets) {
      data[parameter] = base::Base64Encode(value);
      references.push_back({{"parameter", parameter}, {"name", "source"}, {"key", parameter}});
    }
    const base::Json meta = {{"name", "source"}, {"namespace", "shop"}};
    kube_.Put(kube::resources::kSecrets, {{"metadata", meta}, {"data", data}});
    kube_.Put(kube::resources::kTriggerAuthentications,
              {{"metadata", meta}, {"spec", {{"secretTargetRef", references}}}});
    base::Json trigger = {{"type", type}, {"metadata", metadata}};
    if (!secrets.empty()) trigger["authenticationRef"] = {{"name", "source"}};
    base::Json spec = {{"scaleTargetRef", {{"name", "web"}}}, {"cooldownPeriod", 60}, {"triggers", {trigger}}};
    if (fallback >= 0) spec["fallback"] = {{"failureThreshold", 3}, {"replicas", fallback}};
    kube_.Put(kube::resources::kScaledObjects,
              {{"metadata", {{"name", "web"}, {"namespace", "shop"}, {"creationTimestamp", "2026-01-08T10:00:00Z"}}},
               {"spec", spec}});
  }

  // One pass, half a minute after the one before; what the target has then.
  int64_t NextReplicas() {
    clock_.Advance(30'000);
    base::Json object = Object();
    workload_->Reconcile(std::make_shared<const base::Json>(object));
    return kube_.Replicas("shop", "web");
  }

  // The message of the condition Ready.
  std::string Readiness() {
    for (const ConditionStatus& condition : ConditionsOf(Object())) {
      if (condition.type == "Ready") return condition.message;
    }
    return "";
  }
  bool Ready() { return Readiness() == "The object is valid and its triggers can be read."; }

  // Everything that users see of it: the object with its status, events, traces, signals and metrics.
  std::string Shown() {
    std::string text = Object().dump() + "\n" + metrics_.Render();
    for (const std::string& event : kube_.Events()) text += event + "\n";
    auto add_steps = [&text](const std::vector<Step>& steps) {
      for (const Step& step : steps) text += step.stage + " " + step.signal + " " + step.text + "\n";
    };
    for (const WorkloadStatus& workload : board_.Snapshot()) {
      text += workload.why + "\n";
      add_steps(workload.steps);
      for (const SignalStatus& signal : workload.signals) {
        text += signal.name + " " + signal.error + " " + signal.detail + "\n";
      }
      for (const ScaleRecord& scale : workload.scales) text += scale.why + "\n";
    }
    for (const DecisionRecord& decision : board_.Decisions("", "", StatusBoard::kMaxDecisions)) {
      text += decision.why + "\n";
      add_steps(decision.steps);
    }
    return text;
  }

 private:
  base::Json Object() { return kube_.Read(kube::resources::kScaledObjects, "shop", "web"); }

  base::FakeClock clock_;
  base::MetricRegistry metrics_;
  StatusBoard board_{metrics_};
  TargetRegistry targets_;
  FakeKube kube_;
  DirectReader reader_{kube_};
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  SourcePool sources_;
  WorkloadContext context_;
  std::unique_ptr<ScaledWorkload> workload_;
};

}  // namespace tidewright::scaler
