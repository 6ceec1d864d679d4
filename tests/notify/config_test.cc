// Files of receivers: what is read from them, which routes alerts take, and what is refused with which words.
#include "notify/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"

namespace tidewright::notify {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using tsdb::Labels;

constexpr const char* kFile = R"(
global:
  resolve_timeout: 5m
  smtp_smarthost: 'mail.example.com:587'
  smtp_from: 'Tidewright <t@example.com>'
  smtp_auth_username: u
  smtp_auth_password_file: secrets/mail
  slack_api_url_file: /etc/slack
route:
  receiver: all
  group_by: [alertname, namespace]
  group_wait: 10s
  routes:
  - receiver: database
    matchers: ['team="db"', 'severity=~"critical|page"']
    group_interval: 1m
    continue: true
  - receiver: mail
    match: {team: db}
    routes:
    - {receiver: night, matchers: ['shift!="day"'], group_by: ['...'], repeat_interval: 1d}
receivers:
- name: all
  webhook_configs: [{url: 'http://example.com/hook', max_alerts: 2, send_resolved: false}]
- name: database
  slack_configs:
  - {channel: '#db', title: '{{ .CommonLabels.alertname }}', fields: [{title: a, value: b, short: true}]}
  - {api_url: 'https://example.com/x', send_resolved: true}
- name: mail
  email_configs: [{to: 'a@example.com, B <b@example.com>', headers: {subject: 'S', X-Team: db}, html: ''}]
- name: night
)";

std::vector<std::string> Receivers(const Config& config, const Labels& labels) {
  std::vector<std::string> names;
  for (const Route* route : RoutesOf(config.route, labels)) names.push_back(route->receiver);
  return names;
}

TEST(ReceiverConfig, IsRead) {
  auto parsed = ParseConfig(kFile, "/etc/tw/receivers.yml");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  const Config& config = **parsed;
  EXPECT_EQ(config.route.group_wait_ms, 10'000);
  EXPECT_EQ(config.route.repeat_interval_ms, 4 * 3600 * 1000);
  const Route& night = config.route.routes[1].routes[0];
  EXPECT_TRUE(night.group_by_all);
  EXPECT_EQ(night.repeat_interval_ms, 24 * 3600 * 1000);
  EXPECT_EQ(night.group_wait_ms, 10'000) << "inherited";
  const auto& webhook = config.receivers.at("all")[0];
  EXPECT_EQ(webhook.name, "webhook[0]");
  EXPECT_FALSE(webhook.send_resolved);
  EXPECT_EQ(std::get<WebhookConfig>(webhook.how).max_alerts, 2u);
  const auto& database = config.receivers.at("database");
  EXPECT_EQ(database[1].name, "slack[1]");
  EXPECT_FALSE(database[0].send_resolved);
  EXPECT_EQ(std::get<SlackConfig>(database[0].how).api_url.file, "/etc/slack");
  EXPECT_TRUE(std::get<SlackConfig>(database[0].how).fields[0].is_short);
  const auto& mail = std::get<EmailConfig>(config.receivers.at("mail")[0].how);
  EXPECT_EQ(mail.host, "mail.example.com");
  EXPECT_EQ(mail.port, 587);
  EXPECT_TRUE(mail.require_tls);
  EXPECT_EQ(mail.auth_password.file, "/etc/tw/secrets/mail");
  EXPECT_EQ(mail.headers.at("Subject").text(), "S");
  EXPECT_TRUE(mail.html.empty());
  EXPECT_FALSE(mail.text.empty());
}

TEST(ReceiverConfig, RoutesFollowMatchers) {
  auto parsed = ParseConfig(kFile, "f.yml");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  const Config& config = **parsed;
  EXPECT_THAT(Receivers(config, Labels::Of({{"team", "web"}})), ElementsAre("all"));
  EXPECT_THAT(Receivers(config, Labels::Of({{"team", "db"}, {"shift", "day"}})), ElementsAre("mail"));
  EXPECT_THAT(Receivers(config, Labels::Of({{"team", "db"}})), ElementsAre("night"));
  EXPECT_THAT(Receivers(config, Labels::Of({{"team", "db"}, {"severity", "page"}, {"shift", "day"}})),
              ElementsAre("database", "mail"));
}

TEST(ReceiverConfig, Matchers) {
  struct Row {
    const char* text;
    const char* wanted;  // Of all matchers; "" for an error.
  };
  for (const Row& row : std::initializer_list<Row>{{"a=b", "a=\"b\""},
                                                   {" a = b ", "a=\"b\""},
                                                   {"a=\"b, c\"", "a=\"b, c\""},
                                                   {"a=\"b\\\"c\"", "a=\"b\\\"c\""},
                                                   {"{a!=\"\", b=~\"x|y\", c!~z}", "a!=\"\" b=~\"x|y\" c!~\"z\""},
                                                   {"\"a.b\"=c", "a.b=\"c\""},
                                                   {"a=", "a=\"\""},
                                                   {"a", ""},
                                                   {"=b", ""},
                                                   {"a=\"b", ""},
                                                   {"a=\"b\" c", ""},
                                                   {"a=b\"c", ""},
                                                   {"a!b", ""},
                                                   {"a=~\"(\"", ""}}) {
    auto parsed = ParseMatchers(row.text);
    std::string got;
    if (parsed.ok()) {
      for (const auto& matcher : *parsed) {
        const std::string text = matcher.ToString();
        got += (got.empty() ? "" : " ") + (text[0] == '"' ? "a.b" + text.substr(text.find('=')) : text);
      }
    }
    EXPECT_EQ(got, row.wanted) << row.text;
  }
}

TEST(ReceiverConfig, SaysWhatIsWrong) {
  struct Row {
    const char* name;
    std::string text;
    const char* wanted;
  };
  const std::string route = "route: {receiver: a}\n";
  for (const Row& row : std::vector<Row>{
           {"nothing", "{}", "route"},
           {"no receiver", "route: {}\nreceivers: []\n", "route.receiver"},
           {"unknown receiver", "route: {receiver: b}\nreceivers: [{name: a}]\n",
            "\"b\" is not the name of a receiver"},
           {"receiver twice", route + "receivers: [{name: a}, {name: a}]\n", "used twice"},
           {"unknown key", route + "receivers: [{name: a, webhok_configs: []}]\n", "webhook_configs"},
           {"other receivers", route + "receivers: [{name: a, pagerduty_configs: []}]\n", "pagerduty_configs"},
           {"inhibition", route + "receivers: [{name: a}]\ninhibit_rules: [{}]\n", "use an Alertmanager"},
           {"times", "route: {receiver: a, active_time_intervals: [x]}\nreceivers: [{name: a}]\n",
            "use an Alertmanager"},
           {"matchers at the root", "route: {receiver: a, matchers: [a=b]}\nreceivers: [{name: a}]\n", "root"},
           {"bad matcher", "route: {receiver: a, routes: [{matchers: [a]}]}\nreceivers: [{name: a}]\n", "no operator"},
           {"group_by twice", "route: {receiver: a, group_by: [x, x]}\nreceivers: [{name: a}]\n", "twice"},
           {"all and one", "route: {receiver: a, group_by: ['...', x]}\nreceivers: [{name: a}]\n", "other labels"},
           {"no interval", "route: {receiver: a, group_interval: 0s}\nreceivers: [{name: a}]\n", "group_interval"},
           {"no URL", route + "receivers: [{name: a, webhook_configs: [{}]}]\n", "url_file"},
           {"bad URL", route + "receivers: [{name: a, webhook_configs: [{url: 'hush'}]}]\n", "not a URL"},
           {"two URLs", route + "receivers: [{name: a, webhook_configs: [{url: 'http://a', url_file: b}]}]\n",
            "one of"},
           {"no Slack URL", route + "receivers: [{name: a, slack_configs: [{}]}]\n", "api_url"},
           {"bad template", route + "receivers: [{name: a, slack_configs: [{api_url: 'http://a', text: '{{ x'}]}]\n",
            "not a template"},
           {"no smarthost", route + "receivers: [{name: a, email_configs: [{to: 'a@b', from: 'a@b'}]}]\n", "smarthost"},
           {"no sender", route + "receivers: [{name: a, email_configs: [{to: 'a@b', smarthost: 'h:25'}]}]\n", "from"},
           {"no address", route + "receivers: [{name: a, email_configs: [{to: x, from: 'a@b', smarthost: 'h:25'}]}]\n",
            "not a mail address"},
           {"password in the open",
            route +
                "receivers: [{name: a, email_configs: [{to: 'a@b', from: 'a@b', smarthost: 'h:25', auth_username: u, "
                "auth_password: p, require_tls: false}]}]\n",
            "show the password"},
           {"no such templates", route + "templates: [/nowhere/*.tmpl]\nreceivers: [{name: b}]\n", "not the name"},
       }) {
    auto parsed = ParseConfig(row.text, "f.yml");
    ASSERT_FALSE(parsed.ok()) << row.name;
    EXPECT_THAT(parsed.status().message(), HasSubstr(row.wanted)) << row.name;
    EXPECT_THAT(parsed.status().message(), HasSubstr("f.yml")) << row.name;
    EXPECT_THAT(parsed.status().message(), testing::Not(HasSubstr("hush"))) << "a URL is a secret";
  }
}

TEST(ReceiverConfig, TemplateFilesDefineAndReplaceTexts) {
  base::TempDir folder = *base::TempDir::Create("receivers");
  ASSERT_TRUE(base::WriteFileAtomic(folder.path() + "/a.tmpl",
                                    "Some text.\n{{ define \"__subject\" }}about {{ .GroupLabels.x }}{{ end }}\n")
                  .ok());
  auto parsed = ParseConfig(
      "templates: ['*.tmpl']\nroute: {receiver: a}\nreceivers:\n- name: a\n  slack_configs: [{api_url: 'http://a'}]\n",
      folder.path() + "/receivers.yml");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  const auto& slack = std::get<SlackConfig>((*parsed)->receivers.at("a")[0].how);
  Message message{.group_labels = Labels::Of({{"x", "y"}})};
  EXPECT_EQ(*slack.texts.at("title").Expand(TemplateData(message)), "about y");
  EXPECT_THAT(TemplateFiles(**parsed), ElementsAre(folder.path() + "/a.tmpl"));
  ASSERT_TRUE(base::WriteFileAtomic(folder.path() + "/a.tmpl", "{{ define }}").ok());
  auto broken = ParseConfig("templates: ['*.tmpl']\n", folder.path() + "/receivers.yml");
  EXPECT_THAT(broken.status().message(), HasSubstr("a.tmpl"));
}

}  // namespace
}  // namespace tidewright::notify
