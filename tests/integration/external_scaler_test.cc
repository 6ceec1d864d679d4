// external and external-push against a server by gRPC's own library (external_scaler.py), with the controller and its
// threads: signal in, replicas up; the server gone, replicas held; back, followed again; a wrong password said without
// being shown; a push acted upon at once.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/duration.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/tls.h"
#include "kube/meta.h"
#include "scaler/scaled_object_controller.h"
#include "tests/scaler/fake_engine.h"
#include "tests/scaler/fake_kube.h"

namespace tidewright::scaler {
namespace {

using kube::resources::kDeployments;
using kube::resources::kScaledObjects;
using kube::resources::kSecrets;
using kube::resources::kTriggerAuthentications;

// Debian's, which has the packages; another python3 may come first in $PATH.
constexpr char kPython[] = "/usr/bin/python3";
constexpr int64_t kPatienceMs = 120'000;  // Python takes its time on a busy machine.

class ExternalScalerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto library = base::Subprocess::Start({kPython, "-c", "import grpc, google.protobuf"});
    if (!library.ok() || library->Wait() != 0) GTEST_SKIP() << "python3-grpcio or python3-protobuf is not installed";
    kube_.Put(kDeployments, MakeDeployment("web", 0));
    ScaledObjectControllerOptions options;
    options.board = &board_;
    controller_ =
        std::make_unique<ScaledObjectController>(cluster_, engine_, clock_, clock_, scheduler_, metrics_, options);
    ASSERT_TRUE(controller_->Start().ok());
  }
  void TearDown() override {
    if (controller_ != nullptr) controller_->Stop();
  }

  void StartScaler() {
    std::vector<std::string> argv = {kPython, "-B", TIDEWRIGHT_SOURCE_DIR "/tests/integration/external_scaler.py",
                                     std::to_string(port_), std::to_string(control_)};
    argv.insert(argv.end(), tls_files_.begin(), tls_files_.end());
    auto process = base::Subprocess::Start(argv, folder_.path() + "/log");
    ASSERT_TRUE(process.ok()) << process.status().ToString();
    process_ = std::make_unique<base::Subprocess>(std::move(*process));
    ASSERT_TRUE(Eventually([&] { return !Set("").is_null(); })) << *base::ReadFile(folder_.path() + "/log");
  }
  void KillScaler() {
    process_->Signal(9);
    process_->Wait();
  }
  // Changes what the scaler answers; what it was asked so far, or null.
  base::Json Set(const std::string& changes) {
    http::ClientRequest request;
    request.url = "http://127.0.0.1:" + std::to_string(control_) + "/set?" + changes;
    auto response = http_->Send(request);
    auto json = response.ok() ? base::ParseJson(response->body) : base::Result<base::Json>(response.status());
    return json.ok() ? *json : base::Json();
  }

  void Apply(const std::string& type, base::Json metadata, base::Json more = base::Json::object(), int interval_s = 1) {
    metadata["scalerAddress"] = "127.0.0.1:" + std::to_string(port_);
    base::Json trigger = {{"type", type}, {"metadata", std::move(metadata)}};
    if (more.contains("authenticationRef")) trigger["authenticationRef"] = more["authenticationRef"];
    more.erase("authenticationRef");
    base::Json spec = {
        {"scaleTargetRef", {{"name", "web"}}},
        {"cooldownPeriod", 0},
        {"advanced",
         {{"horizontalPodAutoscalerConfig", {{"behavior", {{"scaleDown", {{"stabilizationWindowSeconds", 0}}}}}}}}},
        {"triggers", {std::move(trigger)}}};
    spec["pollingInterval"] = interval_s;
    spec.update(more);
    kube_.Put(kScaledObjects, {{"metadata",
                                {{"name", "web"},
                                 {"namespace", "shop"},
                                 {"creationTimestamp", base::FormatTime(clock_.NowMs() - 3'600'000)}}},
                               {"spec", std::move(spec)}});
  }
  int64_t Replicas() { return kube_.Replicas("shop", "web"); }
  std::string Ready(const std::string& member) {
    for (const ConditionStatus& condition : ConditionsOf(kube_.Read(kScaledObjects, "shop", "web"))) {
      if (condition.type == "Ready") return member == "status" ? condition.status : condition.message;
    }
    return "";
  }
  bool Eventually(const std::function<bool()>& condition) {
    base::StopSignal never;
    const int64_t deadline = clock_.NowMs() + kPatienceMs;
    while (clock_.NowMs() < deadline) {
      if (condition()) return true;
      clock_.SleepFor(2, never);
    }
    return condition();
  }
  std::string State() {
    return "replicas " + std::to_string(Replicas()) + ", ready " + Ready("status") + " " + Ready("message") + "\n" +
           Set("").dump() + "\n" + *base::ReadFile(folder_.path() + "/log");
  }

  base::Clock& clock_ = base::SystemClock::Get();
  base::TempDir folder_ = *base::TempDir::Create("external");
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  const uint16_t port_ = *base::FreePort(), control_ = *base::FreePort();
  std::vector<std::string> tls_files_;
  std::unique_ptr<base::Subprocess> process_;
  base::ThreadPool pool_{"test", 4};
  base::Scheduler scheduler_{clock_, pool_};
  base::MetricRegistry metrics_;
  StatusBoard board_{metrics_};
  FakeKube kube_;
  kube::SharedCaches caches_{kube_, clock_};
  std::unique_ptr<kube::ObjectReader> objects_ = kube::NewCachedReader(caches_);
  Cluster cluster_ = ClusterOf(kube_, *objects_, &caches_);
  FakeEngine engine_;
  std::unique_ptr<ScaledObjectController> controller_;
};

TEST_F(ExternalScalerTest, SignalInReplicasUpAndHeldWhileTheServerIsGone) {
  StartScaler();
  Set("value=12.5&active=true");
  Apply("external", {{"queue", "orders"}});
  EXPECT_TRUE(Eventually([&] { return Replicas() == 3; })) << State();
  base::Json seen = Set("")["seen"];
  EXPECT_EQ(seen["name"], "web");
  EXPECT_EQ(seen["namespace"], "shop");
  EXPECT_EQ(seen["metadata"]["queue"], "orders");

  Set("value=0");  // Active without a value: one replica.
  EXPECT_TRUE(Eventually([&] { return Replicas() == 1; })) << State();
  Set("value=25&float=false");
  EXPECT_TRUE(Eventually([&] { return Replicas() == 5; })) << State();

  KillScaler();
  EXPECT_TRUE(Eventually([&] { return Ready("message").find("external scaler 127.0.0.1") != std::string::npos; }))
      << State();
  EXPECT_EQ(Replicas(), 5);
  StartScaler();
  Set("value=35&active=true");
  EXPECT_TRUE(Eventually([&] { return Replicas() == 7; })) << State();
  Set("active=false");
  EXPECT_TRUE(Eventually([&] { return Replicas() == 0; })) << State();
}

TEST_F(ExternalScalerTest, AFallbackTakesTheServersPlace) {
  StartScaler();
  Set("value=10&active=true");
  Apply("external", base::Json::object(), {{"fallback", {{"failureThreshold", 1}, {"replicas", 6}}}});
  EXPECT_TRUE(Eventually([&] { return Replicas() == 2; })) << State();
  KillScaler();
  EXPECT_TRUE(Eventually([&] { return Replicas() == 6; })) << State();
  StartScaler();
  Set("value=20&active=true");
  EXPECT_TRUE(Eventually([&] { return Replicas() == 4; })) << State();
}

TEST_F(ExternalScalerTest, APushIsActedUponAtOnce) {
  StartScaler();
  Set("value=15");
  Apply("external-push", base::Json::object(), base::Json::object(), /*interval_s=*/3'600);
  ASSERT_TRUE(Eventually([&] { return Set("")["streams"] == 1; })) << State();
  ASSERT_EQ(Replicas(), 0);
  const int64_t before_ns = base::MonotonicNanos();
  Set("active=true");
  EXPECT_TRUE(Eventually([&] { return Replicas() == 3; })) << State();
  RecordProperty("push_to_patch_us", static_cast<int>((base::MonotonicNanos() - before_ns) / 1000));

  KillScaler();
  StartScaler();
  EXPECT_EQ(Replicas(), 3);
}

TEST_F(ExternalScalerTest, AStreamThatEndsIsOpenedAgain) {
  StartScaler();
  Set("value=5&stream=false");
  Apply("external-push", base::Json::object(), base::Json::object(), /*interval_s=*/3'600);
  ASSERT_TRUE(Eventually([&] { return Set("")["calls"]["StreamIsActive"] >= 2; })) << State();
  Set("stream=true");
  ASSERT_TRUE(Eventually([&] { return Set("")["streams"] == 1; })) << State();
  Set("active=true");
  EXPECT_TRUE(Eventually([&] { return Replicas() == 1; })) << State();
}

TEST_F(ExternalScalerTest, AWrongPasswordIsSaidButNotShown) {
  StartScaler();
  Set("value=5&active=true&password=s3cret-of-ours");
  base::Json deployment = MakeDeployment("web", 0);
  deployment["spec"]["template"]["spec"]["containers"] = {
      {{"name", "web"}, {"env", {{{"name", "PASSWORD"}, {"value", "wr0ng-one"}}}}}};
  kube_.Put(kDeployments, deployment);
  Apply("external", {{"passwordFromEnv", "PASSWORD"}});
  EXPECT_TRUE(Eventually([&] {
    return Ready("message").find("PERMISSION_DENIED: password * is wrong") != std::string::npos;
  })) << State();
  EXPECT_EQ(kube_.Read(kScaledObjects, "shop", "web").dump().find("wr0ng-one"), std::string::npos);
  deployment["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "s3cret-of-ours";
  kube_.Put(kDeployments, deployment);
  EXPECT_TRUE(Eventually([&] { return Replicas() == 1; })) << State();
}

TEST_F(ExternalScalerTest, TlsWithAClientCertificate) {
  auto ca = http::GenerateCa("test", clock_.NowMs());
  http::CertificateRequest request;
  request.common_name = "scaler";
  request.ip_addresses = {"127.0.0.1"};
  auto server = http::IssueCertificate(*ca, request, clock_.NowMs());
  request.client = true;
  auto client = http::IssueCertificate(*ca, request, clock_.NowMs());
  ASSERT_TRUE(server.ok() && client.ok());
  for (const auto& [name, text] : {std::pair<std::string, std::string>{"/cert", server->certificate_pem},
                                   {"/key", server->private_key_pem},
                                   {"/ca", ca->certificate_pem}}) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + name, text).ok());
    tls_files_.push_back(folder_.path() + name);
  }
  StartScaler();
  Set("value=10&active=true");
  kube_.Put(kTriggerAuthentications, {{"metadata", {{"name", "tls"}, {"namespace", "shop"}}},
                                      {"spec",
                                       {{"secretTargetRef",
                                         {{{"parameter", "caCert"}, {"name", "tls"}, {"key", "ca"}},
                                          {{"parameter", "tlsClientCert"}, {"name", "tls"}, {"key", "cert"}},
                                          {{"parameter", "tlsClientKey"}, {"name", "tls"}, {"key", "key"}}}}}}});
  auto secret = [&](const http::KeyPair& pair) {
    return base::Json{{"metadata", {{"name", "tls"}, {"namespace", "shop"}}},
                      {"data",
                       {{"ca", base::Base64Encode(ca->certificate_pem)},
                        {"cert", base::Base64Encode(pair.certificate_pem)},
                        {"key", base::Base64Encode(pair.private_key_pem)}}}};
  };
  auto stranger_ca = http::GenerateCa("another", clock_.NowMs());
  auto stranger = http::IssueCertificate(*stranger_ca, request, clock_.NowMs());
  ASSERT_TRUE(stranger.ok());
  kube_.Put(kSecrets, secret(*stranger));
  Apply("external", base::Json::object(), {{"authenticationRef", {{"name", "tls"}}}});
  EXPECT_TRUE(Eventually([&] { return Ready("status") == "False"; })) << State();
  EXPECT_EQ(Replicas(), 0);
  kube_.Put(kSecrets, secret(*client));
  EXPECT_TRUE(Eventually([&] { return Replicas() == 2; })) << State();
}

}  // namespace
}  // namespace tidewright::scaler
