// Who is told about which alerts: a file of receivers and routes with the key names of Alertmanager's configuration.
//
// Supported are route trees, grouping, the intervals, send_resolved, templates, and the receivers webhook, Slack (and
// what speaks its webhooks) and e-mail. Silences, inhibition, time intervals and other receivers are Alertmanager's:
// their keys are errors that say so. Source of the names and defaults: Alertmanager's documentation, "Configuration".
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "http/message.h"
#include "notify/message_template.h"
#include "scrape/http_config.h"
#include "tsdb/labels.h"

namespace tidewright::notify {

struct Route {
  std::string receiver;
  tsdb::Matchers matchers;  // All must match; none match every alert.
  bool group_by_all = false;
  std::vector<std::string> group_by;
  int64_t group_wait_ms = 30'000;                  // Before the first message about a group.
  int64_t group_interval_ms = 5 * 60 * 1000;       // Between messages about a group that changes.
  int64_t repeat_interval_ms = 4LL * 3600 * 1000;  // Before a message about a group that does not change comes again.
  bool continues = false;                          // Looks at the siblings that follow even after a match.
  std::vector<Route> routes;  // What these match goes there instead. They inherit all but matchers.
  std::string id;             // Its place in the tree, the same as long as the tree is.
};

struct WebhookConfig {
  scrape::InlineOrFile url;  // A secret, as are those below.
  scrape::HttpClientConfig http;
  uint64_t max_alerts = 0;  // In one message; 0: all.
  int64_t timeout_ms = 30'000;
};

struct SlackField {
  MessageTemplate title, value;
  bool is_short = false;
};

struct SlackConfig {
  scrape::InlineOrFile api_url;
  scrape::HttpClientConfig http;
  bool short_fields = false, link_names = false;
  std::map<std::string, MessageTemplate> texts;  // channel, username, icon_emoji, icon_url and what an attachment has.
  std::vector<SlackField> fields;
};

struct EmailConfig {
  std::string to;    // One or more, separated by commas.
  std::string from;  // One.
  std::string host;  // Of the smarthost.
  uint16_t port = 25;
  std::string hello = "localhost";
  std::string auth_username, auth_identity;
  scrape::InlineOrFile auth_password;
  bool require_tls = true;
  scrape::TlsConfig tls;
  std::map<std::string, MessageTemplate> headers;  // Subject included.
  MessageTemplate html, text;                      // Empty ones are left out.
};

// One way to tell a receiver.
struct Integration {
  std::string name;  // "webhook[0]": unique within the receiver.
  bool send_resolved = true;
  std::variant<WebhookConfig, SlackConfig, EmailConfig> how;
};

struct Config {
  Route route;
  std::map<std::string, std::vector<Integration>> receivers;
  std::string source;                       // All texts that it was read from: other ones, another configuration.
  std::vector<std::string> template_files;  // Patterns, absolute if the file's folder is known.
};

// The routes that an alert takes, in order; at least one.
std::vector<const Route*> RoutesOf(const Route& root, const tsdb::Labels& labels);

// Strict: all errors are reported together, each with file, line, field, value and remedy. Paths in it are relative to
// the folder of `file`, and template files are read.
base::Result<std::shared_ptr<const Config>> ParseConfig(std::string_view text, const std::string& file);
base::Result<std::shared_ptr<const Config>> LoadConfig(const std::string& path);
// The template files that the configuration names, for whoever watches them.
std::vector<std::string> TemplateFiles(const Config& config);

// Matchers as routes write them: `severity="critical", team=~"a|b"`, braces and quotes optional.
base::Result<tsdb::Matchers> ParseMatchers(std::string_view text);

}  // namespace tidewright::notify
