#include "notify/messages.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <utility>
#include <vector>

#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"

namespace tidewright::notify {

namespace {

constexpr const char* kNoTime = "0001-01-01T00:00:00Z";  // What receivers know from Go for a time that is not set.
constexpr size_t kMimeLine = 76;                         // RFC 2045, section 6.8.
constexpr size_t kEncodedWordBytes = 39;                 // So that a line stays within 76 (RFC 2047, section 2).
constexpr size_t kPlainHeaderBytes = 200;

base::Json LabelsJson(const tsdb::Labels& labels) {
  base::Json object = base::Json::object();
  for (const tsdb::Label& label : labels) object[label.name] = label.value;
  return object;
}

base::Json AlertJson(const Message& message, const rules::AlertNotice& alert) {
  const bool fires = message.Fires(alert);
  return {{"status", fires ? "firing" : "resolved"},
          {"labels", LabelsJson(alert.labels)},
          {"annotations", alert.annotations},
          {"startsAt", base::FormatTime(alert.starts_at_ms, /*millis=*/true)},
          {"endsAt", fires ? kNoTime : base::FormatTime(alert.ends_at_ms, /*millis=*/true)},
          {"generatorURL", alert.generator_url},
          {"fingerprint", Fingerprint(alert.labels)}};
}

bool IsPlain(std::string_view text) {
  return text.size() <= kPlainHeaderBytes &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

// Of a header field: one line, with encoded words (RFC 2047) where it is not plain.
std::string HeaderValue(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  text = base::TrimSpace(text);
  if (IsPlain(text) && text.find("=?") == std::string::npos) return text;
  std::string encoded;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(at + kEncodedWordBytes, text.size());
    while (end < text.size() && end > at + 1 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    if (at > 0) encoded += "\r\n ";
    encoded += "=?utf-8?B?" + base::Base64Encode(std::string_view(text).substr(at, end - at)) + "?=";
    at = end;
  }
  return encoded;
}

// Its display name may have any letters, its address has not.
std::string AddressHeader(const std::string& text) {
  std::vector<std::string> parts;
  for (const std::string& part : http::SplitMailAddresses(text)) {
    const size_t open = part.rfind('<');
    const bool named = open != std::string::npos && open > 0;
    parts.push_back(named && !IsPlain(part) ? HeaderValue(part.substr(0, open)) + " " + part.substr(open) : part);
  }
  return base::Join(parts, ", ");
}

std::string MailDate(int64_t ms) {
  const time_t seconds = static_cast<time_t>(ms / 1000);
  tm utc = {};
  char text[64] = "";
  if (gmtime_r(&seconds, &utc) != nullptr) strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S +0000", &utc);
  return text;
}

std::string MimePart(const std::string& type, const std::string& text) {
  const std::string encoded = base::Base64Encode(text);
  std::string part = "Content-Type: " + type + "; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n";
  for (size_t at = 0; at < encoded.size(); at += kMimeLine) part += encoded.substr(at, kMimeLine) + "\r\n";
  return part;
}

}  // namespace

std::string WebhookBody(const WebhookConfig& config, const Message& message) {
  base::Json alerts = base::Json::array();
  uint64_t left_out = message.left_out;
  for (const rules::AlertNotice& alert : message.alerts) {
    if (config.max_alerts > 0 && alerts.size() >= config.max_alerts) {
      ++left_out;
    } else {
      alerts.push_back(AlertJson(message, alert));
    }
  }
  return base::DumpJson({{"version", "4"},
                         {"groupKey", message.group_key},
                         {"truncatedAlerts", left_out},
                         {"status", message.Fires() ? "firing" : "resolved"},
                         {"receiver", message.receiver},
                         {"groupLabels", LabelsJson(message.group_labels)},
                         {"commonLabels", CommonLabels(message)},
                         {"commonAnnotations", CommonAnnotations(message)},
                         {"externalURL", message.external_url},
                         {"alerts", std::move(alerts)}});
}

base::Result<std::string> SlackBody(const SlackConfig& config, const Message& message) {
  const base::TemplateValue data = TemplateData(message);
  base::Json body = base::Json::object(), attachment = base::Json::object();
  for (const auto& [key, text] : config.texts) {
    auto expanded = text.Expand(data);
    if (!expanded.ok()) return expanded.status().Annotate(key);
    if (expanded->empty()) continue;
    const bool of_message = key == "channel" || key == "username" || key == "icon_emoji" || key == "icon_url";
    (of_message ? body : attachment)[key] = *expanded;
  }
  for (const SlackField& field : config.fields) {
    TW_ASSIGN_OR_RETURN(std::string title, field.title.Expand(data));
    TW_ASSIGN_OR_RETURN(std::string value, field.value.Expand(data));
    attachment["fields"].push_back({{"title", title}, {"value", value}, {"short", field.is_short}});
  }
  attachment["mrkdwn_in"] = {"fallback", "pretext", "text"};
  if (config.link_names) body["link_names"] = true;
  body["attachments"] = base::Json::array({std::move(attachment)});
  return base::DumpJson(body);
}

base::Result<http::Mail> MailOf(const EmailConfig& config, const Message& message) {
  http::Mail mail;
  TW_ASSIGN_OR_RETURN(mail.from, http::MailAddress(config.from));
  for (const std::string& to : http::SplitMailAddresses(config.to)) {
    TW_ASSIGN_OR_RETURN(std::string address, http::MailAddress(to));
    mail.to.push_back(std::move(address));
  }
  const base::TemplateValue data = TemplateData(message);
  const std::string boundary = "tidewright-" + base::NewUuid();
  std::map<std::string, std::string> headers = {
      {"From", AddressHeader(config.from)},
      {"To", AddressHeader(config.to)},
      {"Date", MailDate(message.at_ms)},
      {"Message-ID", "<" + base::NewUuid() + mail.from.substr(mail.from.rfind('@')) + ">"},
      {"Auto-Submitted", "auto-generated"}};
  for (const auto& [name, text] : config.headers) {
    auto value = text.Expand(data);
    if (!value.ok()) return value.status().Annotate("headers " + name);
    headers[name] = HeaderValue(*std::move(value));
  }
  headers["MIME-Version"] = "1.0";
  headers["Content-Type"] = "multipart/alternative;\r\n boundary=\"" + boundary + "\"";
  for (const auto& [name, value] : headers) mail.message += name + ": " + value + "\r\n";
  mail.message += "\r\n";
  for (const auto& [text, type] : {std::pair(&config.text, "text/plain"), std::pair(&config.html, "text/html")}) {
    if (text->empty()) continue;
    auto expanded = text->Expand(data);
    if (!expanded.ok()) return expanded.status().Annotate(type);
    mail.message += "--" + boundary + "\r\n" + MimePart(type, *expanded);
  }
  mail.message += "--" + boundary + "--\r\n";
  return mail;
}

}  // namespace tidewright::notify
