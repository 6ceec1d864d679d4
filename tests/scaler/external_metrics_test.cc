#include "scaler/external_metrics.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/scaler/fake_engine.h"
#include "tests/scaler/fake_kube.h"

namespace tidewright::scaler {
namespace {

using kube::resources::kScaledObjects;

// Knows one metric, and counts.
class OtherMetrics : public apiservice::ExternalMetricsProvider {
 public:
  std::vector<std::string> ListMetrics() override { return {"backlog"}; }
  base::Result<std::vector<apiservice::ExternalMetricValue>> Get(const std::string&, const std::string& metric,
                                                                 const kube::LabelSelector&) override {
    apiservice::ExternalMetricValue value;
    value.metric = metric;
    value.value = base::Quantity::FromValue(99);
    return std::vector<apiservice::ExternalMetricValue>{value};
  }
};

class ScaledObjectMetricsTest : public testing::Test {
 protected:
  ScaledObjectMetricsTest() : board_(registry_) {
    ScaledObjectMetricsContext context;
    context.cluster = ClusterOf(kube_, reader_);
    context.triggers.control = context.triggers.calendar = &clock_;
    context.triggers.engine = &engine_;
    context.triggers.objects = &reader_;
    context.board = &board_;
    context.values = &values_;
    context.next = [this] { return next_; };
    metrics_ = std::make_unique<ScaledObjectMetrics>(context);
    engine_.SetVector({12.5});
    kube_.Put(kube::resources::kDeployments, MakeDeployment("web", 2));
  }

  void Apply(const std::string& mode, base::Json advanced = base::Json::object()) {
    kube_.Put(kScaledObjects,
              {{"metadata", {{"name", "web"}, {"namespace", "shop"}}},
               {"spec",
                {{"scaleTargetRef", {{"name", "web"}}},
                 {"scalingMode", mode},
                 {"advanced", std::move(advanced)},
                 {"triggers", base::Json::array({{{"type", "prometheus"},
                                                  {"name", "rate"},
                                                  {"metadata", {{"query", "sum(x)"}, {"threshold", "5"}}}}})}}}});
  }
  // The value in thousandths, or the error.
  std::string Get(const std::string& metric, const std::string& object = "web") {
    auto selector = kube::LabelSelector::Parse(object.empty() ? "" : "scaledobject.keda.sh/name=" + object);
    auto values = metrics_->Get("shop", metric, *selector);
    if (!values.ok()) return values.status().message();
    return values->size() == 1 ? std::to_string((*values)[0].value.MilliValue()) : "several";
  }

  base::FakeClock clock_{1'000'000};
  base::MetricRegistry registry_;
  StatusBoard board_;
  SignalValues values_;
  FakeKube kube_;
  DirectReader reader_{kube_};
  FakeEngine engine_;
  OtherMetrics other_;
  apiservice::ExternalMetricsProvider* next_ = &other_;
  std::unique_ptr<ScaledObjectMetrics> metrics_;
};

TEST_F(ScaledObjectMetricsTest, ServesWhatWasReadOrReadsIt) {
  Apply("hpa");
  EXPECT_EQ(Get("s0-prometheus"), "12500");
  EXPECT_EQ(Get("s1-prometheus"), "ScaledObject shop/web has no trigger with the metric s1-prometheus");
  EXPECT_EQ(Get("s0-redis"), "ScaledObject shop/web has no trigger with the metric s0-redis");
  engine_.SetError(base::UnavailableError("connection refused"));
  EXPECT_EQ(Get("s0-prometheus"), "rate: connection refused");
  values_.Set("shop", "web", {{"s0-prometheus", {int64_t{7'000}, clock_.NowMs(), clock_.NowMs() + 5'000}}});
  EXPECT_EQ(Get("s0-prometheus"), "7000") << "what the controller has read";
  clock_.Advance(6'000);
  EXPECT_EQ(Get("s0-prometheus"), "rate: connection refused");
}

TEST_F(ScaledObjectMetricsTest, FormulasAreOneMetric) {
  Apply("hpa", {{"scalingModifiers", {{"formula", "rate * 2"}, {"target", "5"}}}});
  EXPECT_EQ(Get("composite-metric"), "25000");
}

TEST_F(ScaledObjectMetricsTest, EverythingElseIsTheOthers) {
  EXPECT_FALSE(metrics_->InUse());
  Apply("direct");
  EXPECT_EQ(Get("s0-prometheus"), "ScaledObject shop/web keeps no HPA");
  EXPECT_NE(Get("s0-prometheus", "none").find("not found"), std::string::npos);
  EXPECT_EQ(Get("backlog", ""), "99000");
  EXPECT_EQ(metrics_->ListMetrics(), std::vector<std::string>{"backlog"});
  next_ = nullptr;
  EXPECT_EQ(Get("backlog", ""), "no rule makes external metrics, and no ScaledObject is named");
  EXPECT_TRUE(metrics_->ListMetrics().empty());
  clock_.Advance(5'000);
  EXPECT_FALSE(metrics_->InUse());
  Apply("hpa");
  clock_.Advance(5'000);
  EXPECT_TRUE(metrics_->InUse());
}

}  // namespace
}  // namespace tidewright::scaler
