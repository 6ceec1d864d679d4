// What receivers of alerts are made of: any text is a configuration, matchers and a record of what was said, or an
// error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/json.h"
#include "notify/config.h"
#include "notify/groups.h"
#include "notify/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace notify = tidewright::notify;
  namespace base = tidewright::base;
  namespace tsdb = tidewright::tsdb;
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)notify::ParseMatchers(text);
  auto config = notify::ParseConfig(text, "receivers.yml");
  if (!config.ok()) {
    if (config.status().message().empty()) __builtin_trap();
  } else {
    notify::Message message{.receiver = "r", .group_labels = tsdb::Labels::Of({{"a", "b"}}), .at_ms = 1000};
    message.alerts.push_back({.labels = tsdb::Labels::Of({{"alertname", text}}), .ends_at_ms = 2000});
    for (const auto& [name, integrations] : (*config)->receivers) {
      for (const notify::Integration& integration : integrations) {
        if (const auto* slack = std::get_if<notify::SlackConfig>(&integration.how)) {
          (void)notify::SlackBody(*slack, message);
        }
        if (const auto* email = std::get_if<notify::EmailConfig>(&integration.how)) {
          (void)notify::MailOf(*email, message);
        }
      }
    }
  }
  auto json = base::ParseJson(text);
  notify::Groups groups;
  if (config.ok()) groups.SetConfig(*config, 1000);
  if (json.ok()) (void)groups.Restore(*json, 1000, 1000);
  (void)groups.TakeDue(2000);
  return 0;
}
