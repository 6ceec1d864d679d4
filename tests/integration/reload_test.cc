// The program as it runs: its configuration is read again on SIGHUP, POST /-/reload and when a file changes, and a
// faulty one leaves the old one in force.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "http/client.h"
#include "sandbox/sandbox.h"
#include "tests/eventually.h"

namespace tidewright::cmd {
namespace {

using testing::HasSubstr;
using Pools = std::vector<std::string>;

class ReloadTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sandbox_.Start().ok());
    // Where the program keeps the CA of its certificate.
    ASSERT_TRUE(
        sandbox_.ApplyManifests("{apiVersion: v1, kind: Namespace, metadata: {name: tidewright-system}}", "test").ok());
    ASSERT_TRUE(sandbox_.api().WriteKubeconfig(folder_.path() + "/kubeconfig").ok());
    Write("prometheus.yml", "scrape_config_files: [jobs-*.yml]\nscrape_configs: [{job_name: a}]\n");
    auto program = base::Subprocess::Start(
        {TIDEWRIGHT_BINARY, "run", "--kubeconfig", folder_.path() + "/kubeconfig", "--config.file",
         folder_.path() + "/prometheus.yml", "--web.address", "127.0.0.1", "--web.port", std::to_string(port_),
         "--bind-address", "127.0.0.1", "--secure-port", std::to_string(*base::FreePort()),
         "--register-apiservices=false", "--enable-feature=extra-scrape-metrics,no-such-feature"},
        folder_.path() + "/log");
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    program_ = std::make_unique<base::Subprocess>(*std::move(program));
    ASSERT_TRUE(Eventually([this] { return ScrapePools() == Pools{"a"}; })) << Log();
  }
  void TearDown() override {
    program_.reset();
    sandbox_.Stop();
  }

  void Write(const std::string& file, const std::string& text) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/" + file, text).ok());
  }
  std::string Log() {
    auto text = base::ReadFile(folder_.path() + "/log");
    return text.ok() ? *text : "";
  }

  http::Response Ask(const std::string& method, const std::string& path) {
    http::ClientRequest request;
    request.method = method;
    request.url = "http://127.0.0.1:" + std::to_string(port_) + path;
    auto reply = http_->Send(request);
    return reply.ok() ? *reply : http::Response{0, {}, reply.status().ToString()};
  }

  Pools ScrapePools() {
    auto reply = base::ParseJson(Ask("GET", "/api/v1/scrape_pools").body);
    if (!reply.ok() || !reply->is_object()) return {};
    return (*reply)["data"]["scrapePools"].get<Pools>();
  }

  // Of one of the program's own metrics; -1 when it is not there.
  double Metric(const std::string& name) {
    const std::string text = Ask("GET", "/metrics").body;
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }
  double Successful() { return Metric("prometheus_config_last_reload_successful"); }
  double SuccessTime() { return Metric("prometheus_config_last_reload_success_timestamp_seconds"); }

  base::TempDir folder_ = *base::TempDir::Create("tidewright-reload");
  base::Clock& clock_ = base::SystemClock::Get();
  sandbox::Sandbox sandbox_{{}, clock_};
  const uint16_t port_ = *base::FreePort();
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  std::unique_ptr<base::Subprocess> program_;
};

TEST_F(ReloadTest, OnSignalRequestAndChangedFiles) {
  EXPECT_EQ(Successful(), 1);
  auto shown = base::ParseJson(Ask("GET", "/api/v1/status/config").body);
  ASSERT_TRUE(shown.ok());
  EXPECT_THAT((*shown)["data"]["yaml"].get<std::string>(), HasSubstr("extra_scrape_metrics: true"));
  EXPECT_THAT(Log(), HasSubstr("--enable-feature=no-such-feature: not supported"));
  double before = SuccessTime();
  EXPECT_GT(before, 1e9);
  program_->Signal(SIGHUP);
  EXPECT_TRUE(Eventually([&] { return SuccessTime() > before; })) << "SIGHUP";
  before = SuccessTime();
  EXPECT_EQ(Ask("POST", "/-/reload").status, 200);
  EXPECT_GT(SuccessTime(), before) << "a request";
  Write("jobs-1.yml", "scrape_configs: [{job_name: b}]\n");
  EXPECT_TRUE(Eventually([&] { return ScrapePools() == Pools{"a", "b"}; })) << "a file that is new";
  Write("prometheus.yml", "scrape_config_files: [jobs-*.yml]\nscrape_configs: [{job_name: c}]\n");
  EXPECT_TRUE(Eventually([&] { return ScrapePools() == Pools{"b", "c"}; })) << "a file that has changed";

  Write("prometheus.yml", "scrape_configs:\n- job_name: d\n  scrape_intervall: 5s\n");
  EXPECT_TRUE(Eventually([&] { return Successful() == 0; }));
  http::Response refused = Ask("POST", "/-/reload");
  EXPECT_EQ(refused.status, 500);
  EXPECT_THAT(refused.body, HasSubstr("prometheus.yml:3:3: scrape_configs[0].scrape_intervall: is not a known field; "
                                      "did you mean \"scrape_interval\"?"));
  EXPECT_EQ(ScrapePools(), (Pools{"b", "c"})) << "the old one stays in force";
  Write("prometheus.yml", "scrape_configs: [{job_name: d}]\n");
  EXPECT_TRUE(Eventually([&] { return Successful() == 1 && ScrapePools() == Pools{"d"}; }));
}

}  // namespace
}  // namespace tidewright::cmd
