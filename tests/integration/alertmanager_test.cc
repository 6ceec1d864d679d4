// The program next to a real Alertmanager: alerts fire, are grouped and resolve there, and neither kill -9 nor a
// restart loses how long an alert has been pending.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/boot_clock.h"
#include "base/duration.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mutex.h"
#include "http/client.h"
#include "http/server.h"
#include "tests/eventually.h"

namespace tidewright::cmd {
namespace {

using base::Json;

class AlertmanagerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("prometheus-alertmanager")) GTEST_SKIP() << "prometheus-alertmanager is not installed";
    StartReceiver();
    StartAlertmanager();
    Write("prometheus.yml",
          "global: {evaluation_interval: 1s, external_labels: {cluster: test, replica: r1}}\n"
          "rule_files: [rules.yml]\n"
          "alerting:\n"
          "  alert_relabel_configs: [{regex: replica, action: labeldrop}]\n"
          "  alertmanagers:\n"
          "  - path_prefix: /am\n"
          "    basic_auth: {username: u, password: p}\n"
          "    static_configs: [{targets: ['" +
              alertmanager_address_ + "']}]\n");
  }

  void TearDown() override {
    program_.reset();
    alertmanager_.reset();
    if (receiver_ != nullptr) receiver_->Stop();
  }

  // Takes what the Alertmanager sends on.
  void StartReceiver() {
    receiver_ = *http::Server::Create({.name = "webhook", .worker_threads = 1},
                                      [this](const http::ServerRequest& request, auto responder) {
                                        {
                                          base::MutexLock lock(mu_);
                                          received_.push_back(Json::parse(request.body));
                                        }
                                        responder->Reply(http::Response{});
                                      });
    receiver_port_ = *receiver_->Listen("127.0.0.1", 0);
  }

  void StartAlertmanager() {
    alertmanager_address_ = "127.0.0.1:" + std::to_string(*base::FreePort());
    Write("alertmanager.yml",
          "route: {receiver: hook, group_by: [team], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}\n"
          "receivers:\n- name: hook\n  webhook_configs: [{url: 'http://127.0.0.1:" +
              std::to_string(receiver_port_) + "/', send_resolved: true}]\n");
    auto started = base::Subprocess::Start(
        {"prometheus-alertmanager", "--config.file=" + Path("alertmanager.yml"), "--storage.path=" + Path("am"),
         "--web.listen-address=" + alertmanager_address_, "--web.route-prefix=/am", "--cluster.listen-address="},
        Path("alertmanager.log"));
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    alertmanager_ = std::make_unique<base::Subprocess>(*std::move(started));
    ASSERT_TRUE(Eventually([this] { return Get("http://" + alertmanager_address_ + "/am/-/ready") != ""; }))
        << *base::ReadFile(Path("alertmanager.log"));
  }

  void StartProgram() {
    web_ = "127.0.0.1:" + std::to_string(*base::FreePort());
    auto program = base::Subprocess::Start(
        {TIDEWRIGHT_BINARY, "run", "--kubernetes=false", "--config.file", Path("prometheus.yml"), "--storage.tsdb.path",
         Path("data"), "--web.address", "127.0.0.1", "--web.port", web_.substr(10), "--web.external-url",
         "http://tidewright.example/", "--rules.alert.for-grace-period=1s", "--rules.alert.resend-delay=1s"},
        Path("log"));
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    program_ = std::make_unique<base::Subprocess>(*std::move(program));
  }

  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(base::WriteFileAtomic(Path(name), text).ok());
  }

  // The body of a 200; "" for anything else.
  std::string Get(const std::string& url) {
    http::ClientRequest request;
    request.url = url;
    auto response = http_->Send(request);
    return response.ok() && response->status == 200 ? response->body + " " : "";
  }

  Json OurAlert() {
    const std::string body = Get("http://" + web_ + "/api/v1/alerts");
    if (body.empty()) return nullptr;
    const Json alerts = Json::parse(body)["data"]["alerts"];
    return alerts.empty() ? Json() : alerts[0];
  }
  int64_t ActiveAtMs() {
    const Json alert = OurAlert();
    return alert.is_null() ? 0 : *base::ParseTime(alert["activeAt"].get<std::string>());
  }

  // The first message about exactly these alerts, in this state, that has come from the Alertmanager; null without one.
  Json Message(const std::set<std::string>& names, const std::string& status) {
    base::MutexLock lock(mu_);
    for (const Json& message : received_) {
      std::set<std::string> in;
      for (const Json& alert : message["alerts"]) {
        if (alert["status"] == status) in.insert(alert["labels"]["alertname"].get<std::string>());
      }
      if (in == names) return message;
    }
    return nullptr;
  }
  bool Received(const std::set<std::string>& names, const std::string& status) {
    return !Message(names, status).is_null();
  }
  static Json AlertOf(const Json& message, const std::string& name) {
    for (const Json& alert : message["alerts"]) {
      if (alert["labels"]["alertname"] == name) return alert;
    }
    return nullptr;
  }

  std::string Seen() {
    base::MutexLock lock(mu_);
    return Json(received_).dump(1).substr(0, 4000) + "\n" + *base::ReadFile(Path("log"));
  }

  base::Clock& clock_ = base::SystemClock::Get();
  base::TempDir folder_ = *base::TempDir::Create("alertmanager-test");
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  base::Mutex mu_;
  std::vector<Json> received_ GUARDED_BY(mu_);
  std::unique_ptr<http::Server> receiver_;
  std::unique_ptr<base::Subprocess> alertmanager_, program_;
  uint16_t receiver_port_ = 0;
  std::string alertmanager_address_, web_;
};

std::string Rules(const std::string& expr) {
  std::string text = "groups:\n- name: g\n  rules:\n";
  for (const char* name : {"One", "Two"}) {
    text += std::string("  - alert: ") + name + "\n    expr: " + expr +
            "\n    labels: {team: web}\n    annotations: {summary: 'value {{ $value }} in {{ $externalLabels.cluster "
            "}}'}\n";
  }
  return text;
}

TEST_F(AlertmanagerTest, ReceivesGroupsAndResolvesAlerts) {
  Write("rules.yml", Rules("vector(7) > 1"));
  StartProgram();
  ASSERT_TRUE(Eventually([this] { return Received({"One", "Two"}, "firing"); })) << Seen();
  const Json message = Message({"One", "Two"}, "firing");
  EXPECT_EQ(message["groupLabels"], Json::object({{"team", "web"}}));
  const Json alert = AlertOf(message, "One");
  EXPECT_EQ(alert["labels"], (Json{{"alertname", "One"}, {"cluster", "test"}, {"team", "web"}}));
  EXPECT_EQ(alert["annotations"]["summary"], "value 7 in test");
  EXPECT_EQ(alert["generatorURL"], "http://tidewright.example/graph?g0.expr=vector%287%29+%3E+1&g0.tab=1");
  Write("rules.yml", Rules("vector(7) > 10"));  // Noticed by itself: the files are followed.
  ASSERT_TRUE(Eventually([this] { return Received({"One", "Two"}, "resolved"); })) << Seen();
  EXPECT_THAT(Get("http://" + web_ + "/api/v1/alertmanagers"),
              testing::HasSubstr(alertmanager_address_ + "/am/api/v2/alerts"));
  EXPECT_THAT(Get("http://" + web_ + "/metrics"),
              testing::HasSubstr("prometheus_notifications_errors_total{alertmanager=\"http://" +
                                 alertmanager_address_ + "/am/api/v2/alerts\"} 0"));
}

TEST_F(AlertmanagerTest, KillDoesNotLoseHowLongAnAlertIsPending) {
  Write("rules.yml",
        "groups:\n- name: g\n  rules:\n  - {alert: Slow, expr: vector(1), for: 20s, labels: {team: web}}\n");
  StartProgram();
  // Recorded, after the second evaluation.
  auto recorded = [this] {
    const std::string body = Get("http://" + web_ + "/api/v1/query?query=ALERTS_FOR_STATE");
    return !body.empty() && !Json::parse(body)["data"]["result"].empty();
  };
  ASSERT_TRUE(Eventually(recorded)) << Seen();
  const int64_t active_at = ActiveAtMs();
  ASSERT_GT(active_at, 0);
  ASSERT_TRUE(Eventually([&] { return clock_.NowMs() > active_at + 8000; }));
  program_->Signal(SIGKILL);
  program_->Wait();
  const int64_t killed_at = clock_.NowMs();
  StartProgram();
  // The outage does not count, so the alert is as old as it was: it began before the program did.
  auto restored = [&] {
    const int64_t begun = ActiveAtMs();
    return begun > 0 && begun < killed_at;
  };
  ASSERT_TRUE(Eventually(restored)) << Seen();
  EXPECT_GE(ActiveAtMs(), active_at - 1000) << "it is stored in whole seconds";
  ASSERT_TRUE(Eventually([this] { return Received({"Slow"}, "firing"); })) << Seen();
}

}  // namespace
}  // namespace tidewright::cmd
