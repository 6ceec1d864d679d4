// The whole slice in one process, over real HTTP and mutual TLS: the sandbox's pods are scraped, stored, queried,
// served to the HPA controller through the aggregation layer, and scaled. What a user sees from outside is in
// tests/e2e.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "base/file.h"
#include "base/json.h"
#include "cmd/control_plane.h"
#include "http/client.h"
#include "kube/meta.h"
#include "sandbox/sandbox.h"
#include "tests/eventually.h"

namespace tidewright::cmd {
namespace {

using base::Json;
using testing::HasSubstr;

class SliceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("redis-server")) GTEST_SKIP() << "redis-server is not installed";
    ASSERT_TRUE(sandbox_.Start().ok());
    for (const char* path : {"charts/tidewright/crds", "examples/web-shop", "examples/queue-worker",
                             "examples/office-hours", "examples/ingress-nginx"}) {
      base::Status applied = sandbox_.ApplyPath(std::string(TIDEWRIGHT_SOURCE_DIR "/") + path);
      ASSERT_TRUE(applied.ok()) << applied.ToString();
    }
    kube::ClientConfig config;
    config.server = sandbox_.Url();
    kube_ = *kube::NewClient(config);
    options_ = Options();
    plane_ = std::make_unique<ControlPlane>(options_, kube_.get(), clock_, clock_, metrics_);
    base::Status started = plane_->Start();
    ASSERT_TRUE(started.ok()) << started.ToString();
    ExposeToAggregator();
  }

  void TearDown() override {
    if (plane_ != nullptr) plane_->Stop();
    sandbox_.Stop();
  }

  ControlPlaneOptions Options() {
    // A copy of the configuration, so that tests may change it.
    std::filesystem::copy(TIDEWRIGHT_SOURCE_DIR "/examples/tidewright", folder_.path(),
                          std::filesystem::copy_options::recursive);
    ControlPlaneOptions options;
    options.config_file = folder_.path() + "/prometheus.yml";
    options.adapter_file = folder_.path() + "/adapter.yaml";
    options.data_dir = folder_.path() + "/data";
    options.web_address = options.api_address = "127.0.0.1";
    options.web_port = options.api_port = 0;
    options.service_ns = "default";
    options.hpa_controller = true;
    options.hpa_sync_period_ms = 1'000;
    options.relist_interval_ms = 1'000;
    options.scrape_self = true;
    options.resolve_host = [this](const std::string& host) {
      auto address = sandbox_.ResolveHost(host);
      return address.ok() ? *address : host;
    };
    return options;
  }

  void ExposeToAggregator() {
    std::string port = std::to_string(plane_->api_port());
    ASSERT_TRUE(sandbox_
                    .ApplyManifests("apiVersion: v1\nkind: Service\nmetadata: {name: tidewright}\n"
                                    "spec: {ports: [{name: https, port: 443, targetPort: " +
                                        port + "}]}\n---\n" +
                                        "apiVersion: v1\nkind: Endpoints\nmetadata: {name: tidewright}\n"
                                        "subsets: [{addresses: [{ip: 127.0.0.1}], ports: [{name: https, port: " +
                                        port + "}]}]\n",
                                    "service")
                    .ok());
  }

  scaler::WorkloadStatus Workload(const std::string& name) {
    for (const auto& workload : plane_->board().Snapshot()) {
      if (workload.name == name) return workload;
    }
    return {};
  }

  Json Web(const std::string& method, const std::string& path) {
    http::ClientRequest request;
    request.method = method;
    request.url = "http://127.0.0.1:" + std::to_string(plane_->web_port()) + path;
    auto reply = http_->Send(request);
    if (!reply.ok()) return nullptr;
    status_ = reply->status;
    auto json = base::ParseJson(reply->body);
    return json.ok() ? *json : Json(reply->body);
  }

  base::TempDir folder_ = *base::TempDir::Create("tidewright-slice");
  base::Clock& clock_ = base::SystemClock::Get();
  sandbox::Sandbox sandbox_{{}, clock_};
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  std::unique_ptr<kube::Client> kube_;
  base::MetricRegistry metrics_;
  ControlPlaneOptions options_;
  std::unique_ptr<ControlPlane> plane_;
  int status_ = 0;
};

TEST_F(SliceTest, FromScrapeToScale) {
  // (a) The metrics APIs, through the aggregation layer, as an HPA asks.
  Json values;
  EXPECT_TRUE(Eventually([&] {
    auto reply = kube_->GetRaw(
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/%2A/"
        "http_requests_per_second?labelSelector=app%3Dweb-shop");
    if (!reply.ok() || (*reply)["items"].size() < 2) return false;
    values = *reply;
    return true;
  }));
  EXPECT_EQ(values["items"][0]["describedObject"]["kind"], "Pod");
  EXPECT_TRUE(Eventually([&] {
    auto reply = kube_->GetRaw("/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/ingress_requests_per_second");
    return reply.ok() && (*reply)["items"].size() == 2;
  }));
  EXPECT_TRUE(Eventually([&] {
    auto reply = kube_->GetRaw("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods");
    return reply.ok() && !(*reply)["items"].empty();
  }));
  // (b) The triggers wake up the queue worker; (c) the HPA follows its metrics.
  EXPECT_TRUE(Eventually([&] { return Workload("queue-worker").current >= 2; }));
  EXPECT_TRUE(Eventually([&] { return Workload("web-checkout").current >= 2; }));
  EXPECT_TRUE(Eventually([&] { return Workload("web-shop").current >= 3; }));
  auto scale = kube::GetScale(*kube_, kube::resources::kDeployments, "shop", "web-shop");
  ASSERT_TRUE(scale.ok());
  EXPECT_GE(scale->spec_replicas, 3);
  // The same store answers the Prometheus API, recorded series and our own metrics included.
  EXPECT_TRUE(Eventually([&] {
    Json reply = Web("GET", "/api/v1/query?query=namespace_app:http_requests:rate15s%7Bapp%3D%22web-shop%22%7D");
    return reply.is_object() && reply["data"]["result"].size() == 1;
  }));
  EXPECT_TRUE(Eventually([&] {
    Json reply = Web("GET", "/api/v1/query?query=tidewright_workload_ready_replicas%7Bname%3D%22web-shop%22%7D");
    return reply.is_object() && reply["data"]["result"].size() == 1;
  }));
  Json targets = Web("GET", "/api/v1/targets")["data"]["activeTargets"];
  EXPECT_GE(targets.size(), 5U);
  EXPECT_EQ(Web("GET", "/api/v1/rules")["data"]["groups"][0]["name"], "shop");
}

TEST_F(SliceTest, AFaultyFileIsRefusedByNameAndTheOldOneStaysInForce) {
  EXPECT_TRUE(Eventually([&] { return Web("GET", "/api/v1/targets")["data"]["activeTargets"].size() >= 4; }));
  std::string good = *base::ReadFile(folder_.path() + "/prometheus.yml");
  struct Fault {
    const char* file;
    std::string text;
    const char* error;
  };
  for (const Fault& fault :
       {Fault{"prometheus.yml", "global: {scrape_interval: 5 minutes}\n", "global.scrape_interval"},
        Fault{"rules.yaml", "groups:\n- name: g\n  rules:\n  - {record: a, expr: 'sum('}\n", "rules.yaml:4"},
        Fault{"adapter.yaml", "rules:\n- seriesQuery: 'up{'\n  metricsQuery: up\n", "adapter.yaml:2"}}) {
    std::string path = folder_.path() + "/" + fault.file;
    std::string before = *base::ReadFile(path);
    ASSERT_TRUE(base::WriteFileAtomic(path, fault.text).ok());
    Json reply = Web("POST", "/-/reload");
    EXPECT_EQ(status_, 500) << fault.file;
    EXPECT_THAT(reply.is_string() ? reply.get<std::string>() : reply.dump(), HasSubstr(fault.error));
    EXPECT_GE(Web("GET", "/api/v1/targets")["data"]["activeTargets"].size(), 4U) << fault.file;
    EXPECT_THAT(Web("GET", "/api/v1/autoscaling/workloads")["problems"].dump(), HasSubstr(fault.error));
    EXPECT_EQ(Web("GET", "/api/v1/rules")["data"]["groups"].size(), 1U) << fault.file;
    ASSERT_TRUE(base::WriteFileAtomic(path, before).ok());
    Web("POST", "/-/reload");
    EXPECT_EQ(status_, 200) << fault.file;
  }
}

// At the start, too, a faulty file costs its own part only.
TEST_F(SliceTest, StartsWithFaultyFilesAndScalesWhatDoesNotNeedThem) {
  plane_->Stop();
  for (const char* file : {"prometheus.yml", "adapter.yaml"}) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/" + file, "nonsense: true\n").ok());
  }
  ControlPlaneOptions options = options_;
  options.data_dir = "";
  base::MetricRegistry metrics;
  ControlPlane plane(options, kube_.get(), clock_, clock_, metrics);
  base::Status started = plane.Start();
  ASSERT_TRUE(started.ok()) << started.ToString();
  EXPECT_THAT(plane.ConfigProblems(), testing::UnorderedElementsAre(HasSubstr("prometheus.yml:1:1: nonsense"),
                                                                    HasSubstr("adapter.yaml:1:1: nonsense")));
  EXPECT_TRUE(Eventually([&] {
    for (const auto& workload : plane.board().Snapshot()) {
      if (workload.name == "queue-worker" && !workload.signals.empty() && workload.signals[0].error.empty())
        return true;
    }
    return false;
  }));
  plane.Stop();
}

// A client that is not the front proxy gets nothing, whatever it claims to be.
TEST_F(SliceTest, TheAggregationPortRefusesForgedIdentities) {
  http::ClientOptions options;
  options.tls.insecure_skip_verify = true;
  auto client = *http::NewCurlClient(options);
  http::ClientRequest request;
  request.url = "https://127.0.0.1:" + std::to_string(plane_->api_port()) + "/apis/custom.metrics.k8s.io/v1beta2";
  request.headers.Set("X-Remote-User", "system:admin");
  request.headers.Set("X-Remote-Group", "system:masters");
  auto reply = client->Send(request);
  ASSERT_TRUE(reply.ok()) << reply.status().ToString();
  EXPECT_EQ(reply->status, 401);
}

}  // namespace
}  // namespace tidewright::cmd
