// What receivers get: the JSON of webhooks and of Slack, mails, and the texts that templates make.
#include "notify/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/strings.h"

namespace tidewright::notify {
namespace {

using base::Json;
using testing::HasSubstr;
using tsdb::Labels;

Message Two() {
  Message message{.receiver = "team",
                  .group_key = "{}/0/team:{team=\"web\"}",
                  .group_labels = Labels::Of({{"team", "web"}}),
                  .at_ms = 1'700'000'600'000,
                  .external_url = "http://tidewright.example"};
  message.alerts.push_back({.labels = Labels::Of({{"alertname", "Down"}, {"team", "web"}, {"zone", "a"}}),
                            .annotations = {{"summary", "it is <down>"}, {"runbook", "r"}},
                            .starts_at_ms = 1'700'000'000'000,
                            .ends_at_ms = 1'700'000'900'000,
                            .generator_url = "http://here/graph?g0.expr=up"});
  message.alerts.push_back({.labels = Labels::Of({{"alertname", "Slow"}, {"team", "web"}, {"zone", "a"}}),
                            .annotations = {{"runbook", "r"}},
                            .starts_at_ms = 1'700'000'000'000,
                            .ends_at_ms = 1'700'000'300'000});
  return message;
}

TEST(WebhookBody, IsAlertmanagersVersion4) {
  EXPECT_EQ(Json::parse(WebhookBody({.max_alerts = 0}, Two())), Json::parse(R"({
    "version": "4", "groupKey": "{}/0/team:{team=\"web\"}", "truncatedAlerts": 0, "status": "firing",
    "receiver": "team", "groupLabels": {"team": "web"}, "commonLabels": {"team": "web", "zone": "a"},
    "commonAnnotations": {"runbook": "r"}, "externalURL": "http://tidewright.example",
    "alerts": [
      {"status": "firing", "labels": {"alertname": "Down", "team": "web", "zone": "a"},
       "annotations": {"summary": "it is <down>", "runbook": "r"}, "startsAt": "2023-11-14T22:13:20.000Z",
       "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://here/graph?g0.expr=up",
       "fingerprint": "f13f070a04c5ff3c"},
      {"status": "resolved", "labels": {"alertname": "Slow", "team": "web", "zone": "a"},
       "annotations": {"runbook": "r"}, "startsAt": "2023-11-14T22:13:20.000Z",
       "endsAt": "2023-11-14T22:18:20.000Z", "generatorURL": "", "fingerprint": "6f12683730ae22a3"}]})"));
}

TEST(WebhookBody, MayBeCut) {
  const Json body = Json::parse(WebhookBody({.max_alerts = 1}, Two()));
  EXPECT_EQ(body["alerts"].size(), 1u);
  EXPECT_EQ(body["truncatedAlerts"], 1);
  EXPECT_EQ(body["commonLabels"], (Json{{"team", "web"}, {"zone", "a"}})) << "of all alerts";
}

TEST(Templates, SeeWhatAlertmanagersDo) {
  const base::TemplateValue data = TemplateData(Two());
  struct Row {
    const char* text;
    const char* wanted;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"{{ .Status | toUpper }} {{ .Receiver }}", "FIRING team"},
           {"{{ len .Alerts }} {{ .Alerts.Firing | len }} {{ len .Alerts.Resolved }}", "2 1 1"},
           {"{{ .CommonLabels.zone }}{{ .CommonLabels.nothing }}.", "a."},
           {"{{ .GroupLabels.SortedPairs.Values | join \" \" }}", "web"},
           {"{{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join \" \" }}{{ end }}", "a"},
           {"{{ if gt (len .CommonLabels) (len .GroupLabels) }}more{{ end }}", "more"},
           {"{{ range .Alerts }}{{ .Labels.alertname }}={{ .Status }} {{ end }}", "Down=firing Slow=resolved "},
           {"{{ range .Alerts.Firing }}{{ .Annotations.summary }}{{ end }}", "it is <down>"},
           {"{{ range $k, $v := .CommonLabels }}{{ $k }}={{ $v }} {{ end }}", "team=web zone=a "},
           {"{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }} {{ end }}", "team=web zone=a "},
           {"{{ (index .Alerts 0).StartsAt.Format \"15:04:05\" }}", "22:13:20"},
           {"{{ reReplaceAll \"(.)b\" \"${1}c\" .CommonLabels.team }}", "wec"},
           {"{{ match \"^w\" .CommonLabels.team }}", "true"},
           {"{{ stringSlice \"a\" \"b\" | join \"-\" }}", "a-b"},
           {"{{ .CommonLabels | toJson }}", "{\"team\":\"web\",\"zone\":\"a\"}"},
           {"{{ .CommonAnnotations.runbook | title }} {{ trimSpace \" x \" }}", "R x"},
           {"{{ template \"__subject\" . }}", "[FIRING 1] web zone=a"},
           {"{{ template \"slack.default.titlelink\" . }}", "http://tidewright.example/alerts"},
       }) {
    auto library = TemplateLibrary({});
    ASSERT_TRUE(library.ok()) << library.status().message();
    auto parsed = MessageTemplate::Parse(row.text, *library);
    ASSERT_TRUE(parsed.ok()) << row.text << ": " << parsed.status().message();
    auto expanded = parsed->Expand(data);
    EXPECT_TRUE(expanded.ok()) << row.text << ": " << expanded.status().message();
    if (expanded.ok()) {
      EXPECT_EQ(*expanded, row.wanted) << row.text;
    }
  }
}

// Of one receiver with the integration that the text describes.
std::shared_ptr<const Config> Parse(const std::string& integration) {
  auto parsed = ParseConfig("route: {receiver: a}\nreceivers:\n- name: a\n  " + integration + "\n", "f.yml");
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return *parsed;
}

TEST(SlackBody, IsAMessageWithAnAttachment) {
  const auto config = Parse(
      "slack_configs: [{api_url: 'http://a', channel: '#{{ .GroupLabels.team }}', fields: [{title: n, value: '{{ "
      "len .Alerts }}', short: true}]}]");
  auto body = SlackBody(std::get<SlackConfig>(config->receivers.at("a")[0].how), Two());
  ASSERT_TRUE(body.ok()) << body.status().message();
  EXPECT_EQ(Json::parse(*body), Json::parse(R"({
    "channel": "#web", "username": "Tidewright", "attachments": [{
      "title": "[FIRING 1] web zone=a", "title_link": "http://tidewright.example/alerts", "text": "it is <down>\n",
      "fallback": "[FIRING 1] web zone=a http://tidewright.example/alerts", "color": "danger",
      "fields": [{"title": "n", "value": "2", "short": true}], "mrkdwn_in": ["fallback", "pretext", "text"]}]})"));
  auto failing = Parse("slack_configs: [{api_url: 'http://a', text: '{{ .Nothing }}'}]");
  EXPECT_THAT(SlackBody(std::get<SlackConfig>(failing->receivers.at("a")[0].how), Two()).status().message(),
              HasSubstr("text: 1:4: there is no field"));
}

// The decoded part of a mail with this content type.
std::string Part(const std::string& mail, const std::string& type) {
  const size_t head = mail.find("Content-Type: " + type);
  const size_t begin = mail.find("\r\n\r\n", head) + 4;
  std::string text;
  EXPECT_TRUE(base::Base64Decode(mail.substr(begin, mail.find("\r\n--", begin) - begin), &text)) << mail;
  return text;
}

TEST(MailOf, IsTextAndHtml) {
  const auto config = Parse(
      "email_configs: [{to: 'a@example.com, \"B, C\" <b@example.com>', from: 'Tide <t@example.com>', smarthost: "
      "'h:25', "
      "headers: {X-Team: \"{{ .GroupLabels.team }}\\r\\nBcc: evil@example.com\"}}]");
  auto mail = MailOf(std::get<EmailConfig>(config->receivers.at("a")[0].how), Two());
  ASSERT_TRUE(mail.ok()) << mail.status().message();
  EXPECT_EQ(mail->from, "t@example.com");
  EXPECT_EQ(mail->to, (std::vector<std::string>{"a@example.com", "b@example.com"}));
  const std::string& text = mail->message;
  for (const char* line :
       {"\r\nSubject: [FIRING 1] web zone=a\r\n", "\r\nFrom: Tide <t@example.com>\r\n",
        "\r\nTo: a@example.com, \"B, C\" <b@example.com>\r\n", "\r\nX-Team: web  Bcc: evil@example.com\r\n",
        "\r\nMIME-Version: 1.0\r\n", "Date: Tue, 14 Nov 2023 22:23:20 +0000\r\n", "\r\nMessage-ID: <"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(Part(text, "text/plain"), HasSubstr("FIRING: Down\nit is <down>\n  alertname = Down\n"));
  EXPECT_THAT(Part(text, "text/plain"), HasSubstr("RESOLVED: Slow\n"));
  EXPECT_THAT(Part(text, "text/html"), HasSubstr("it is &lt;down&gt;"));
  EXPECT_EQ(text.find('\n') - 1, text.find('\r')) << "lines end with both";
}

TEST(MailOf, EncodesWhatIsNotAscii) {
  const auto config =
      Parse("email_configs: [{to: 'a@b', from: 'Zuständig <a@b>', smarthost: 'h:25', headers: {Subject: '" +
            std::string(20, 'x') + "Überlänge ist möglich, auch hier, wo ein Wort nicht reicht'}}]");
  auto mail = MailOf(std::get<EmailConfig>(config->receivers.at("a")[0].how), Two());
  ASSERT_TRUE(mail.ok()) << mail.status().message();
  EXPECT_THAT(mail->message, HasSubstr("\r\nFrom: =?utf-8?B?WnVzdMOkbmRpZw==?= <a@b>\r\n"));
  EXPECT_THAT(mail->message, HasSubstr("\r\nSubject: =?utf-8?B?"));
  for (const std::string& line : base::Split(mail->message, '\n')) EXPECT_LE(line.size(), 78u) << line;
}

}  // namespace
}  // namespace tidewright::notify
