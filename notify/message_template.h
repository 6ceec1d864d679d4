// Texts of messages: Go templates over a group of alerts, as Alertmanager's templates see it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/go_template.h"
#include "base/status.h"
#include "rules/manager.h"
#include "tsdb/labels.h"

namespace tidewright::notify {

// What one message is about.
struct Message {
  std::string receiver;
  std::string group_key;  // The same in all messages about one group.
  tsdb::Labels group_labels;
  std::vector<rules::AlertNotice> alerts;  // Those that fire first. One whose end has passed is resolved.
  int64_t at_ms = 0;
  std::string external_url;  // Of this server.
  uint64_t left_out = 0;     // Alerts of the group that the message does not name.

  bool Fires(const rules::AlertNotice& alert) const { return alert.ends_at_ms > at_ms; }
  bool Fires() const { return !alerts.empty() && Fires(alerts.front()); }
};

// What all alerts of a message have in common.
std::map<std::string, std::string> CommonLabels(const Message& message);
std::map<std::string, std::string> CommonAnnotations(const Message& message);
// What Alertmanager calls an alert's fingerprint: FNV-1a over its labels, in hexadecimal digits.
std::string Fingerprint(const tsdb::Labels& labels);

// A parsed text. Immutable, copies are cheap, thread-safe. The default one is empty.
class MessageTemplate {
 public:
  // Knows what `library` defines. kInvalidArgument with the position and what is wrong.
  static base::Result<MessageTemplate> Parse(std::string_view text, const base::GoTemplate& library);

  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }  // As it was written.
  // `data` is made by TemplateData(). kInvalidArgument or kResourceExhausted when it fails.
  base::Result<std::string> Expand(const base::TemplateValue& data) const;

 private:
  std::string text_;
  base::GoTemplate template_;
};

base::TemplateValue TemplateData(const Message& message);

// What message texts may use by name: defaults of our own under Alertmanager's names, and the definitions of `files`
// (name and content), of which later ones win. Errors name the file.
base::Result<base::GoTemplate> TemplateLibrary(const std::vector<std::pair<std::string, std::string>>& files);

}  // namespace tidewright::notify
