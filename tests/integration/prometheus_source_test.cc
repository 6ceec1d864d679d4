// The prometheus trigger with serverAddress against a real Prometheus that asks for a password.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/file.h"
#include "http/server.h"
#include "tests/integration/nginx_front.h"
#include "tests/integration/source_scenario.h"

namespace tidewright::scaler {
namespace {

// Scrapes a gauge of ours each second. A user "shop" has to log in.
class PrometheusServer : public SourceServer {
 public:
  PrometheusServer() {
    auto exporter = http::Server::Create({}, [this](const http::ServerRequest&, std::shared_ptr<http::Responder> out) {
      out->Reply({200, {{"Content-Type", "text/plain"}}, "orders_waiting " + std::to_string(waiting_) + "\n"});
    });
    EXPECT_TRUE(exporter.ok()) << exporter.status().ToString();
    exporter_ = std::move(*exporter);
    const std::string target = "127.0.0.1:" + std::to_string(*exporter_->Listen("127.0.0.1", 0));
    Write("prometheus.yml",
          "global: {scrape_interval: 1s}\n"
          "scrape_configs: [{job_name: shop, static_configs: [{targets: [\"" +
              target + "\"]}]}]\n");
    // kPassword by bcrypt.
    Write("web.yml", "basic_auth_users:\n  shop: $2b$04$G2Y.YkF7gtWVPWsmy2ziJurdh64d6DnDa9POra1sB65o3ZJrecFca\n");
  }
  ~PrometheusServer() override { exporter_->Stop(); }

  void Start() override {
    Launch({"prometheus", "--config.file=" + folder_.path() + "/prometheus.yml",
            "--web.config.file=" + folder_.path() + "/web.yml", "--web.listen-address=127.0.0.1:" + port_,
            "--storage.tsdb.path=" + folder_.path() + "/data", "--log.level=warn"},
           [this] { return Send("GET", url() + "/-/ready", "", BasicLogin("shop")) == 200; });
  }
  void Hold(int64_t value) override { waiting_ = value; }

  std::string url() const { return "http://" + address(); }
  std::string address() const { return "127.0.0.1:" + port_; }
  const std::string& port() const { return port_; }

 private:
  const std::string port_ = NewPort();
  std::atomic<int64_t> waiting_ = 0;
  std::unique_ptr<http::Server> exporter_;
};

TEST(PrometheusSource, SamplesBecomeReplicas) {
  if (!base::HaveProgram("prometheus")) GTEST_SKIP() << "prometheus is not installed";
  PrometheusServer server;
  server.Start();
  // The time of passes is ahead of the samples'.
  const int64_t start_ms = base::SystemClock::Get().NowMs() + 3'600'000;
  const ScaledSource::Metadata query = {{"query", "last_over_time(orders_waiting[1d])"}, {"threshold", "5"}};
  const std::string refusal = "the server answered 401: check the credentials";
  ScaledSource::Metadata metadata = query;
  metadata["serverAddress"] = server.url();
  metadata["username"] = "shop";
  SourceScenario({.type = "prometheus",
                  .metadata = metadata,
                  .secrets = {{"password", kPassword}},
                  .refusal = refusal,
                  .start_ms = start_ms})
      .ExpectFollowed(server);
  SourceScenario({.type = "prometheus",
                  .metadata = query,
                  .secrets = {{"serverAddress", std::string("http://shop:") + kPassword + "@" + server.address()}},
                  .refusal = refusal,
                  .start_ms = start_ms})
      .ExpectRefused(5);

  if (!NginxFront::Available()) GTEST_SKIP() << "nginx is not installed, for TLS";
  NginxFront front(server.port(), NginxFront::Asks::kNothing, NginxFront::Speaks::kHttps);
  metadata["serverAddress"] = "https://" + front.address();
  SourceScenario({.type = "prometheus",
                  .metadata = metadata,
                  .secrets = {{"password", kPassword}, {"ca", front.ca_pem()}},
                  .refusal = refusal,
                  .start_ms = start_ms})
      .ExpectRefused(5);
}

}  // namespace
}  // namespace tidewright::scaler
