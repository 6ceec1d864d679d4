// Receivers of our own: the program tells a webhook, something that speaks Slack's webhooks, and a mail server over
// STARTTLS; and neither kill -9 nor a restart makes it repeat itself or forget that an alert is over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mutex.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/mail.h"
#include "http/server.h"
#include "http/tls.h"
#include "tests/eventually.h"

namespace tidewright::cmd {
namespace {

using base::Json;
using testing::HasSubstr;

std::string Rules(const std::string& expr) {
  std::string text = "groups:\n- name: g\n  rules:\n";
  for (const char* name : {"One", "Two"}) {
    text += std::string("  - {alert: ") + name + ", expr: " + expr +
            ", labels: {team: web}, annotations: {summary: 'value {{ $value }}'}}\n";
  }
  return text;
}

class ReceiversTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = *http::Server::Create({.name = "hooks", .worker_threads = 1},
                                    [this](const http::ServerRequest& request, auto responder) {
                                      http::Response reply;
                                      {
                                        base::MutexLock lock(mu_);
                                        reply.status = status_;
                                        if (status_ == 200)
                                          received_[request.path].push_back(Json::parse(request.body));
                                        ++requests_;
                                      }
                                      responder->Reply(reply);
                                    });
    hooks_ = "http://127.0.0.1:" + std::to_string(*server_->Listen("127.0.0.1", 0));
    Write("prometheus.yml",
          "global: {evaluation_interval: 1s, external_labels: {cluster: test}}\nrule_files: [rules.yml]\n");
  }

  void TearDown() override {
    program_.reset();
    sink_.reset();
    server_->Stop();
  }

  // A route with one receiver, quick enough for a test.
  void Configure(const std::string& receiver, const std::string& repeat = "1h") {
    Write("receivers.yml",
          "route: {receiver: all, group_by: [team], group_wait: 1s, group_interval: 1s, repeat_interval: " + repeat +
              "}\nreceivers:\n- name: all\n" + receiver);
  }
  void ConfigureWebhook(const std::string& repeat = "1h") {
    Write("url", hooks_ + "/hook?token=hush\n");
    Configure("  webhook_configs: [{url_file: url}]\n", repeat);
  }

  void StartProgram() {
    web_ = "127.0.0.1:" + std::to_string(*base::FreePort());
    auto program = base::Subprocess::Start(
        {TIDEWRIGHT_BINARY, "run", "--kubernetes=false", "--config.file", Path("prometheus.yml"), "--storage.tsdb.path",
         Path("data"), "--web.address", "127.0.0.1", "--web.port", web_.substr(10), "--web.external-url",
         "http://tidewright.example", "--rules.alert.for-grace-period=1s", "--rules.alert.resend-delay=1s",
         "--alerting.receivers.file", Path("receivers.yml")},
        Path("log"));
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    program_ = std::make_unique<base::Subprocess>(*std::move(program));
  }
  void Kill() {
    program_->Signal(SIGKILL);
    program_->Wait();
  }

  void StartSink(const std::vector<std::string>& more = {}) {
    sink_port_ = *base::FreePort();
    std::vector<std::string> argv = {"python3", TIDEWRIGHT_SOURCE_DIR "/tests/integration/smtp_sink.py",
                                     std::to_string(sink_port_), Path("mails")};
    argv.insert(argv.end(), more.begin(), more.end());
    auto started = base::Subprocess::Start(argv, Path("sink.log"));
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    sink_ = std::make_unique<base::Subprocess>(*std::move(started));
  }
  // With a certificate for localhost, and a user.
  void StartTlsSink() {
    const http::KeyPair ca = *http::GenerateCa("test", clock_.NowMs());
    const http::KeyPair pair =
        *http::IssueCertificate(ca, {.common_name = "localhost", .dns_names = {"localhost"}}, clock_.NowMs());
    Write("ca.crt", ca.certificate_pem);
    Write("tls.crt", pair.certificate_pem);
    Write("tls.key", pair.private_key_pem);
    StartSink({"--certificate", Path("tls.crt"), "--key", Path("tls.key"), "--user", "u", "--password", "hush"});
  }
  std::vector<Json> Mails() {
    std::vector<Json> mails;
    auto text = base::ReadFile(Path("mails"));
    if (!text.ok()) return mails;
    for (const std::string& line : base::Split(*text, '\n')) {
      auto parsed = base::ParseJson(line);
      if (parsed.ok()) mails.push_back(*parsed);
    }
    return mails;
  }

  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(base::WriteFileAtomic(Path(name), text).ok());
  }

  std::string Get(const std::string& path) {
    http::ClientRequest request;
    request.url = "http://" + web_ + path;
    auto response = http_->Send(request);
    return response.ok() ? response->body : "";
  }

  std::vector<Json> Received(const std::string& path) {
    base::MutexLock lock(mu_);
    return received_[path];
  }
  bool HasStatus(const std::string& path, const std::string& status, size_t alerts) {
    for (const Json& message : Received(path)) {
      if (message["status"] == status && message["alerts"].size() == alerts) return true;
    }
    return false;
  }
  // The alerts that any message calls resolved. Two that end together may be told one by one.
  std::set<std::string> Resolved(const std::string& path) {
    std::set<std::string> names;
    for (const Json& message : Received(path)) {
      for (const Json& alert : message["alerts"]) {
        if (alert["status"] == "resolved") names.insert(alert["labels"]["alertname"].get<std::string>());
      }
    }
    return names;
  }
  bool HasMail(const std::string& text) {
    for (const Json& mail : Mails()) {
      if (mail["data"].get<std::string>().find(text) != std::string::npos) return true;
    }
    return false;
  }
  bool HasSlackTitle(const std::string& title) {
    for (const Json& message : Received("/slack")) {
      if (message["attachments"][0]["title"] == title) return true;
    }
    return false;
  }
  void AnswerWith(int status) {
    base::MutexLock lock(mu_);
    status_ = status;
  }
  int Requests() {
    base::MutexLock lock(mu_);
    return requests_;
  }

  std::string Log() { return *base::ReadFile(Path("log")); }
  base::Clock& clock_ = base::SystemClock::Get();
  base::TempDir folder_ = *base::TempDir::Create("receivers-test");
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  base::Mutex mu_;
  std::map<std::string, std::vector<Json>> received_ GUARDED_BY(mu_);
  int requests_ GUARDED_BY(mu_) = 0;
  int status_ GUARDED_BY(mu_) = 200;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<base::Subprocess> program_, sink_;
  uint16_t sink_port_ = 0;
  std::string hooks_, web_;
};

TEST_F(ReceiversTest, AWebhookHearsOfTheGroupAndOfItsEnd) {
  Write("rules.yml", Rules("vector(7) > 1"));
  ConfigureWebhook();
  StartProgram();
  ASSERT_TRUE(Eventually([this] { return HasStatus("/hook", "firing", 2); })) << Log();
  const Json message = Received("/hook").back();
  EXPECT_EQ(message["version"], "4");
  EXPECT_EQ(message["groupLabels"], Json::object({{"team", "web"}}));
  EXPECT_EQ(message["commonLabels"], (Json{{"cluster", "test"}, {"team", "web"}}));
  EXPECT_EQ(message["alerts"][0]["annotations"]["summary"], "value 7");
  EXPECT_EQ(message["externalURL"], "http://tidewright.example");
  Write("rules.yml", Rules("vector(7) > 10"));
  ASSERT_TRUE(Eventually([this] { return Resolved("/hook") == std::set<std::string>{"One", "Two"}; })) << Log();
  EXPECT_THAT(Get("/metrics"), HasSubstr("tidewright_receiver_notifications_failed_total{receiver=\"all\","
                                         "integration=\"webhook[0]\"} 0"));
}

TEST_F(ReceiversTest, FailuresAreTriedAgainAndSecretsStaySecret) {
  Write("rules.yml", Rules("vector(7)"));
  ConfigureWebhook();
  AnswerWith(503);
  StartProgram();
  ASSERT_TRUE(Eventually([this] { return Requests() >= 2; })) << Log();
  AnswerWith(200);
  ASSERT_TRUE(Eventually([this] { return HasStatus("/hook", "firing", 2); })) << Log();
  EXPECT_THAT(Log(), HasSubstr("HTTP status 503"));
  EXPECT_THAT(Log() + Get("/metrics") + Get("/api/v1/status/config"), testing::Not(HasSubstr("hush")));
}

TEST_F(ReceiversTest, KillNeitherRepeatsNorForgets) {
  Write("rules.yml", Rules("vector(7)"));
  ConfigureWebhook();
  StartProgram();
  auto told = [this] {  // And has noted it: one message may come to be two.
    auto text = base::ReadFile(Path("data/receivers.json"));
    auto state = text.ok() ? base::ParseJson(*text) : base::Result<Json>(text.status());
    if (!state.ok() || !HasStatus("/hook", "firing", 2)) return false;
    for (const Json& group : (*state)["groups"]) {
      if (group["told"]["webhook[0]"]["firing"].size() == 2) return true;
    }
    return false;
  };
  ASSERT_TRUE(Eventually(told)) << Log();
  const size_t before = Received("/hook").size();
  Kill();
  Write("rules.yml",
        "groups:\n- name: g\n  rules:\n  - {alert: One, expr: vector(7), labels: {team: web}}\n"
        "  - {alert: Three, expr: vector(7), labels: {team: other}}\n");
  StartProgram();
  // Another group shows that time has passed, and that what is new is told.
  ASSERT_TRUE(Eventually([this] { return HasStatus("/hook", "firing", 1); })) << Log();
  ASSERT_TRUE(Eventually([this] { return Resolved("/hook").contains("Two"); })) << "its end, while nobody looked\n"
                                                                                << Log();
  const std::vector<Json> all = Received("/hook");
  for (size_t i = before; i < all.size(); ++i) {
    if (all[i]["groupLabels"]["team"] != "web") continue;
    EXPECT_EQ(all[i]["alerts"].size(), 2u) << "no repetition: " << all[i];
    EXPECT_EQ(all[i]["alerts"][0]["status"], "firing");
  }
}

TEST_F(ReceiversTest, SlackAndMailGetTexts) {
  StartTlsSink();
  Write("rules.yml", Rules("vector(7)"));
  Write("password", "hush\n");
  Configure("  slack_configs: [{api_url: '" + hooks_ +
            "/slack', channel: '#alerts'}]\n  email_configs:\n  - to: 'A <a@example.com>, "
            "b@example.com'\n    from: t@example.com\n    smarthost: 'localhost:" +
            std::to_string(sink_port_) +
            "'\n    hello: here\n    auth_username: u\n    auth_password_file: password\n    send_resolved: true\n"
            "    tls_config: {ca_file: ca.crt}\n");
  StartProgram();
  const std::string title = "[FIRING 2] web cluster=test";
  ASSERT_TRUE(Eventually([&] { return HasSlackTitle(title) && HasMail("Subject: " + title + "\n"); }))
      << Log() << *base::ReadFile(Path("sink.log"));
  const Json mail = Mails()[0];
  EXPECT_EQ(mail["tls"], true);
  EXPECT_EQ(mail["user"], "u");
  EXPECT_EQ(mail["hello"], "here");
  EXPECT_EQ(mail["from"], "t@example.com");
  EXPECT_EQ(mail["to"], (Json{"a@example.com", "b@example.com"}));
  Write("rules.yml", "groups: []\n");
  ASSERT_TRUE(Eventually([this] { return HasMail("Subject: [RESOLVED]"); })) << Log();
  for (const Json& message : Received("/slack")) {
    EXPECT_THAT(message["attachments"][0]["title"].get<std::string>(), HasSubstr("FIRING")) << "send_resolved is off";
  }
  EXPECT_THAT(Log(), testing::Not(HasSubstr("hush")));
}

TEST_F(ReceiversTest, MailNeedsTheTlsThatItAsksFor) {
  StartTlsSink();
  const std::string ca = *base::ReadFile(Path("ca.crt"));
  http::MailServer server{
      .host = "localhost", .port = sink_port_, .username = "u", .password = "hush", .tls = {.ca_pem = ca}};
  const http::Mail mail{.from = "t@example.com", .to = {"a@example.com"}, .message = "Subject: s\r\n\r\n.dot\r\n"};
  ASSERT_TRUE(Eventually([&] { return http::SendMail(server, mail).ok(); })) << *base::ReadFile(Path("sink.log"));
  EXPECT_EQ(Mails().back()["data"], "Subject: s\n\n.dot");
  struct Row {
    const char* name;
    std::function<void(http::MailServer*)> change;
    base::Code code;
    const char* text;
  };
  const size_t sent = Mails().size();
  for (const Row& row : std::vector<Row>{
           {"unknown CA", [](auto* s) { s->tls.ca_pem.clear(); }, base::Code::kUnauthenticated, "certificate"},
           {"another name", [](auto* s) { s->tls.server_name = "other"; }, base::Code::kUnauthenticated, "other"},
           {"wrong password", [](auto* s) { s->password = "x"; }, base::Code::kUnauthenticated,
            "mail server localhost"},
           {"nobody there", [](auto* s) { s->port = *base::FreePort(); }, base::Code::kUnavailable, "localhost"},
           {"a line in the name", [](auto* s) { s->host = "a\r\nb"; }, base::Code::kInvalidArgument, "host name"},
       }) {
    http::MailServer other = server;
    row.change(&other);
    base::Status status = http::SendMail(other, mail);
    EXPECT_EQ(status.code(), row.code) << row.name << ": " << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(row.text)) << row.name;
    EXPECT_THAT(status.message(), testing::Not(HasSubstr("hush"))) << row.name;
  }
  EXPECT_EQ(Mails().size(), sent);
  sink_.reset();
  StartSink();
  auto refused = [&] {
    server.port = sink_port_;
    return http::SendMail(server, mail).message().find("does not offer STARTTLS") != std::string::npos;
  };
  ASSERT_TRUE(Eventually(refused));
  server.require_tls = false;
  server.username.clear();
  EXPECT_TRUE(http::SendMail(server, mail).ok());
  EXPECT_EQ(Mails().back()["tls"], false);
  for (const char* address : {"a b@c", "<a@b>", "a@b\r\nRCPT TO:<x>", ""}) {
    EXPECT_EQ(http::SendMail(server, {.from = address, .to = {"a@b"}}).code(), base::Code::kInvalidArgument) << address;
    EXPECT_EQ(http::SendMail(server, {.from = "a@b", .to = {address}}).code(), base::Code::kInvalidArgument) << address;
  }
}

}  // namespace
}  // namespace tidewright::cmd
