#include "notify/config.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/document.h"
#include "base/file.h"
#include "base/strings.h"
#include "http/mail.h"
#include "scrape/config.h"

namespace tidewright::notify {

namespace {

using base::ObjectReader;
using base::Quoted;

constexpr uint16_t kTlsPort = 465;

// Keys of Alertmanager with no counterpart here.
constexpr std::string_view kElsewhere = "is not supported here; use an Alertmanager for it";

constexpr std::pair<std::string_view, std::string_view> kSlackTexts[] = {
    {"channel", ""},
    {"username", R"({{ template "slack.default.username" . }})"},
    {"icon_emoji", ""},
    {"icon_url", ""},
    {"color", R"({{ template "slack.default.color" . }})"},
    {"title", R"({{ template "slack.default.title" . }})"},
    {"title_link", R"({{ template "slack.default.titlelink" . }})"},
    {"pretext", ""},
    {"text", R"({{ template "slack.default.text" . }})"},
    {"fallback", R"({{ template "slack.default.fallback" . }})"},
    {"footer", ""},
    {"image_url", ""},
    {"thumb_url", ""},
};

std::string FolderOf(const std::string& file) {
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash);
}

bool IsLoopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

// What receivers inherit from `global`.
struct Global {
  scrape::HttpClientConfig http;
  EmailConfig email;
  std::string smarthost;
  scrape::InlineOrFile slack_api_url;
};

class ConfigReader {
 public:
  explicit ConfigReader(const std::string& file) : context_{.directory = FolderOf(file)} {}

  // The library must be known before texts are read, so the files are read first.
  base::Status ReadTemplateFiles(ObjectReader& document, Config* config) {
    document.Optional("templates", &config->template_files);
    for (std::string& pattern : config->template_files) pattern = context_.Resolve(pattern);
    std::vector<std::pair<std::string, std::string>> files;
    for (const std::string& path : TemplateFiles(*config)) {
      TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(path));
      config->source += path + "\n" + text;
      files.emplace_back(path, std::move(text));
    }
    TW_ASSIGN_OR_RETURN(library_, TemplateLibrary(files));
    return base::Status::Ok();
  }

  void Read(ObjectReader& document, Config* config) {
    for (const char* key : {"inhibit_rules", "mute_time_intervals", "time_intervals"}) RefuseUnlessEmpty(document, key);
    document.Object("global", [this](ObjectReader& in) { ReadGlobal(in); });
    if (!document.Has("receivers")) document.Missing("receivers");
    document.Objects("receivers", [&](ObjectReader& in) { ReadReceiver(in, config); });
    if (!document.Has("route")) document.Missing("route");
    document.Object("route", [&](ObjectReader& in) { config->route = ReadRoute(in, Route(), "0", *config); });
  }

 private:
  static void RefuseUnlessEmpty(ObjectReader& in, std::string_view key) {
    const base::Node* node = in.Raw(key);
    if (node != nullptr && !node->items.empty()) in.Error(key, std::string(kElsewhere));
  }

  scrape::InlineOrFile ReadSecret(ObjectReader& in, const std::string& key) {
    scrape::InlineOrFile secret;
    in.Optional(key, &secret.text);
    if (in.Optional(key + "_file", &secret.file)) secret.file = context_.Resolve(secret.file);
    if (!secret.text.empty() && !secret.file.empty())
      in.Error(key + "_file", "is set beside " + key + "; set one of them");
    return secret;
  }

  void ReadHttp(ObjectReader& in, scrape::HttpClientConfig* http) {
    in.Object("http_config", [&](ObjectReader& inner) { *http = scrape::DecodeHttpClient(inner, context_); });
  }

  MessageTemplate ReadText(ObjectReader& in, std::string_view key, std::string_view otherwise) {
    std::string text(otherwise);
    in.Optional(key, &text);
    return ParseText(in, key, text);
  }

  MessageTemplate ParseText(ObjectReader& in, std::string_view key, const std::string& text) {
    auto parsed = MessageTemplate::Parse(text, library_);
    if (parsed.ok()) return *std::move(parsed);
    in.Error(key, Quoted(text) + " is not a template: " + parsed.status().message() + "; see Go's text/template");
    return {};
  }

  void ReadGlobal(ObjectReader& in) {
    base::Duration unused;
    in.Optional("resolve_timeout", &unused);  // Alerts of our own rules say when they end.
    ReadHttp(in, &global_.http);
    global_.slack_api_url = ReadSecret(in, "slack_api_url");
    EmailConfig& email = global_.email;
    in.Optional("smtp_from", &email.from);
    in.Optional("smtp_smarthost", &global_.smarthost);
    in.Optional("smtp_hello", &email.hello);
    in.Optional("smtp_auth_username", &email.auth_username);
    in.Optional("smtp_auth_identity", &email.auth_identity);
    email.auth_password = ReadSecret(in, "smtp_auth_password");
    in.Optional("smtp_require_tls", &email.require_tls);
    in.Object("smtp_tls_config", [&](ObjectReader& tls) { scrape::DecodeTls(tls, context_, &email.tls); });
  }

  void ReadReceiver(ObjectReader& in, Config* config) {
    std::string name;
    in.Required("name", &name);
    std::vector<Integration> integrations;
    auto add = [&](const char* key, const std::string& kind, bool send_resolved, auto read) {
      size_t count = 0;
      in.Objects(key, [&](ObjectReader& inner) {
        Integration integration{.name = kind + "[" + std::to_string(count++) + "]", .send_resolved = send_resolved};
        inner.Optional("send_resolved", &integration.send_resolved);
        integration.how = (this->*read)(inner);
        integrations.push_back(std::move(integration));
      });
    };
    add("webhook_configs", "webhook", true, &ConfigReader::ReadWebhook);
    add("slack_configs", "slack", false, &ConfigReader::ReadSlack);
    add("email_configs", "email", false, &ConfigReader::ReadEmail);
    if (!config->receivers.emplace(name, std::move(integrations)).second) {
      in.Error("name", Quoted(name) + " is used twice; names of receivers must be unique");
    }
  }

  WebhookConfig ReadWebhook(ObjectReader& in) {
    WebhookConfig webhook{.http = global_.http};
    ReadHttp(in, &webhook.http);
    webhook.url = ReadSecret(in, "url");
    CheckUrl(in, "url", webhook.url);
    int64_t max_alerts = 0;
    in.Optional("max_alerts", &max_alerts);
    if (max_alerts < 0) in.Error("max_alerts", "is negative; use 0 for all");
    webhook.max_alerts = static_cast<uint64_t>(std::max<int64_t>(max_alerts, 0));
    base::Duration timeout;
    in.Optional("timeout", &timeout);
    if (timeout.ms > 0) webhook.timeout_ms = timeout.ms;
    return webhook;
  }

  static void CheckUrl(ObjectReader& in, std::string_view key, const scrape::InlineOrFile& url) {
    if (url.empty()) return in.Error(key, "is missing; set it or " + std::string(key) + "_file");
    if (url.text.empty()) return;
    auto parsed = http::Url::Parse(url.text);  // Its error would show the URL, which is a secret.
    if (!parsed.ok()) in.Error(key, "is not a URL; write for example https://example.com/hook");
  }

  SlackConfig ReadSlack(ObjectReader& in) {
    SlackConfig slack{.http = global_.http};
    ReadHttp(in, &slack.http);
    slack.api_url = ReadSecret(in, "api_url");
    if (slack.api_url.empty()) slack.api_url = global_.slack_api_url;
    CheckUrl(in, "api_url", slack.api_url);
    in.Optional("short_fields", &slack.short_fields);
    in.Optional("link_names", &slack.link_names);
    for (const auto& [key, otherwise] : kSlackTexts) slack.texts[std::string(key)] = ReadText(in, key, otherwise);
    in.Objects("fields", [&](ObjectReader& inner) {
      SlackField field{.is_short = slack.short_fields};
      inner.Optional("short", &field.is_short);
      field.title = ReadText(inner, "title", "");
      field.value = ReadText(inner, "value", "");
      slack.fields.push_back(std::move(field));
    });
    return slack;
  }

  EmailConfig ReadEmail(ObjectReader& in) {
    EmailConfig email = global_.email;
    std::string smarthost = global_.smarthost;
    in.Required("to", &email.to);
    in.Optional("from", &email.from);
    in.Optional("smarthost", &smarthost);
    in.Optional("hello", &email.hello);
    in.Optional("auth_username", &email.auth_username);
    in.Optional("auth_identity", &email.auth_identity);
    if (in.Has("auth_password") || in.Has("auth_password_file")) email.auth_password = ReadSecret(in, "auth_password");
    in.Ignore("auth_password");
    in.Ignore("auth_password_file");
    in.Optional("require_tls", &email.require_tls);
    in.Object("tls_config", [&](ObjectReader& tls) { scrape::DecodeTls(tls, context_, &email.tls); });
    ReadHeaders(in, &email);
    email.html = ReadText(in, "html", R"({{ template "email.default.html" . }})");
    email.text = ReadText(in, "text", R"({{ template "email.default.text" . }})");
    CheckEmail(in, smarthost, &email);
    return email;
  }

  void ReadHeaders(ObjectReader& in, EmailConfig* email) {
    std::map<std::string, std::string> headers;
    in.Optional("headers", &headers);
    email->headers["Subject"] = ParseText(in, "headers", R"({{ template "email.default.subject" . }})");
    for (const auto& [name, text] : headers) {
      const bool valid = !name.empty() && std::all_of(name.begin(), name.end(),
                                                      [](unsigned char c) { return c > 0x20 && c < 0x7f && c != ':'; });
      if (!valid) in.Error("headers", Quoted(name) + " is not the name of a header field");
      const bool subject = base::EqualsIgnoreCase(name, "subject");
      email->headers[subject ? "Subject" : name] = ParseText(in, "headers", text);
    }
  }

  static void CheckEmail(ObjectReader& in, const std::string& smarthost, EmailConfig* email) {
    for (const std::string& address : http::SplitMailAddresses(email->to)) {
      if (auto checked = http::MailAddress(address); !checked.ok()) in.Error("to", checked.status().message());
    }
    if (email->from.empty()) {
      in.Error("from", "is missing; set it, or smtp_from in global");
    } else if (auto from = http::MailAddress(email->from); !from.ok()) {
      in.Error("from", from.status().message());
    }
    const size_t colon = smarthost.rfind(':');
    int64_t port = 0;
    if (colon == std::string::npos || !base::ParseInt64(std::string_view(smarthost).substr(colon + 1), &port) ||
        port < 1 || port > 65535) {
      return in.Error("smarthost", Quoted(smarthost) + " is not host:port; write for example mail.example.com:587");
    }
    email->host = smarthost.substr(0, colon);
    if (email->host.starts_with("[") && email->host.ends_with("]")) {
      email->host = email->host.substr(1, email->host.size() - 2);
    }
    email->port = static_cast<uint16_t>(port);
    const bool open = !email->require_tls && email->port != kTlsPort && !IsLoopback(email->host);
    if (open && !email->auth_username.empty()) {
      in.Error("require_tls", "is false, which would show the password to everybody on the way; set it to true");
    }
  }

  Route ReadRoute(ObjectReader& in, const Route& parent, const std::string& id, const Config& config) {
    Route route = parent;
    route.matchers.clear();
    route.routes.clear();
    route.continues = false;
    route.id = id;
    const bool root = id == "0";
    in.Optional("receiver", &route.receiver);
    if (route.receiver.empty()) {
      in.Missing("receiver");
    } else if (!config.receivers.contains(route.receiver)) {
      in.Error("receiver", Quoted(route.receiver) + " is not the name of a receiver");
    }
    ReadMatchers(in, &route);
    in.Optional("continue", &route.continues);
    if (root && (!route.matchers.empty() || route.continues)) {
      in.Error("matchers", "does not belong at the root, which takes every alert; add a route below it");
    }
    for (const char* key : {"mute_time_intervals", "active_time_intervals"}) RefuseUnlessEmpty(in, key);
    ReadGrouping(in, &route);
    size_t count = 0;
    in.Objects("routes", [&](ObjectReader& inner) {
      route.routes.push_back(ReadRoute(inner, route, id + "." + std::to_string(count++), config));
    });
    return route;
  }

  static void ReadGrouping(ObjectReader& in, Route* route) {
    if (in.Has("group_by")) {
      route->group_by.clear();
      in.Optional("group_by", &route->group_by);
      std::set<std::string> names(route->group_by.begin(), route->group_by.end());
      if (names.size() != route->group_by.size()) in.Error("group_by", "names a label twice");
      route->group_by_all = names.contains("...");
      if (route->group_by_all && names.size() > 1)
        in.Error("group_by", "has other labels beside \"...\", which means all");
    }
    for (auto [key, ms] :
         {std::pair("group_wait", &route->group_wait_ms), std::pair("group_interval", &route->group_interval_ms),
          std::pair("repeat_interval", &route->repeat_interval_ms)}) {
      base::Duration duration{*ms};
      in.Optional(key, &duration);
      *ms = duration.ms;
    }
    if (route->group_interval_ms == 0) in.Error("group_interval", "is 0; write for example 5m");
    if (route->repeat_interval_ms == 0) in.Error("repeat_interval", "is 0; write for example 4h");
  }

  static void ReadMatchers(ObjectReader& in, Route* route) {
    std::vector<std::string> texts;
    in.Optional("matchers", &texts);
    for (const std::string& text : texts) {
      auto parsed = ParseMatchers(text);
      if (!parsed.ok()) {
        in.Error("matchers", parsed.status().message());
        continue;
      }
      route->matchers.insert(route->matchers.end(), parsed->begin(), parsed->end());
    }
    for (auto [key, type] :
         {std::pair("match", tsdb::Matcher::Type::kEqual), std::pair("match_re", tsdb::Matcher::Type::kRegex)}) {
      std::map<std::string, std::string> pairs;
      in.Optional(key, &pairs);
      for (const auto& [name, value] : pairs) {
        auto matcher = tsdb::Matcher::Create(type, name, value);
        if (matcher.ok()) {
          route->matchers.push_back(*std::move(matcher));
        } else {
          in.Error(key, matcher.status().message());
        }
      }
    }
  }

  scrape::DecodeContext context_;
  base::GoTemplate library_;
  Global global_;
};

bool MatchesAll(const tsdb::Matchers& matchers, const tsdb::Labels& labels) {
  return std::all_of(matchers.begin(), matchers.end(),
                     [&](const tsdb::Matcher& matcher) { return matcher.Matches(labels.Get(matcher.name())); });
}

void CollectRoutes(const Route& route, const tsdb::Labels& labels, std::vector<const Route*>* found) {
  const size_t before = found->size();
  for (const Route& child : route.routes) {
    if (!MatchesAll(child.matchers, labels)) continue;
    CollectRoutes(child, labels, found);
    if (!child.continues) break;
  }
  if (found->size() == before) found->push_back(&route);
}

// Takes one matcher off the front of `text`.
base::Result<tsdb::Matcher> TakeMatcher(std::string_view* text) {
  auto bad = [whole = *text](const char* what) {
    return base::InvalidArgumentError(Quoted(whole) + " is not a matcher: " + what +
                                      "; write for example severity=\"critical\" or team=~\"a|b\"");
  };
  const size_t op = text->find_first_of("=!");
  if (op == std::string_view::npos) return bad("it has no operator");
  std::string name(base::TrimSpace(text->substr(0, op)));
  if (name.size() >= 2 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
  if (name.empty()) return bad("it has no label name");
  static constexpr std::pair<std::string_view, tsdb::Matcher::Type> kOperators[] = {
      {"=~", tsdb::Matcher::Type::kRegex},
      {"!~", tsdb::Matcher::Type::kNotRegex},
      {"!=", tsdb::Matcher::Type::kNotEqual},
      {"=", tsdb::Matcher::Type::kEqual}};
  const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                   [&](const auto& known) { return text->substr(op).starts_with(known.first); });
  if (found == std::end(kOperators)) return bad("its operator is none of = != =~ !~");
  std::string_view rest = base::TrimSpace(text->substr(op + found->first.size()));
  std::string value;
  if (rest.starts_with("\"")) {
    size_t i = 1;
    for (; i < rest.size() && rest[i] != '"'; ++i) {
      if (rest[i] == '\\' && i + 1 < rest.size() && (rest[i + 1] == '"' || rest[i + 1] == '\\')) ++i;
      value += rest[i];
    }
    if (i >= rest.size()) return bad("its value has no closing quote");
    rest = base::TrimSpace(rest.substr(i + 1));
    if (!rest.empty() && rest[0] != ',') return bad("there is text after its value");
  } else {
    const size_t comma = rest.find(',');
    value = base::TrimSpace(rest.substr(0, comma));
    if (value.find('"') != std::string::npos) return bad("its value has a quote inside");
    rest = comma == std::string_view::npos ? "" : rest.substr(comma);
  }
  *text = rest.empty() ? rest : base::TrimSpace(rest.substr(1));
  return tsdb::Matcher::Create(found->second, std::move(name), std::move(value));
}

}  // namespace

base::Result<tsdb::Matchers> ParseMatchers(std::string_view text) {
  text = base::TrimSpace(text);
  if (text.starts_with("{") && text.ends_with("}")) text = base::TrimSpace(text.substr(1, text.size() - 2));
  tsdb::Matchers matchers;
  while (!text.empty()) {
    TW_ASSIGN_OR_RETURN(tsdb::Matcher matcher, TakeMatcher(&text));
    matchers.push_back(std::move(matcher));
  }
  return matchers;
}

std::vector<const Route*> RoutesOf(const Route& root, const tsdb::Labels& labels) {
  std::vector<const Route*> found;
  CollectRoutes(root, labels, &found);
  return found;
}

std::vector<std::string> TemplateFiles(const Config& config) { return scrape::MatchFiles(config.template_files); }

base::Result<std::shared_ptr<const Config>> ParseConfig(std::string_view text, const std::string& file) {
  TW_ASSIGN_OR_RETURN(base::Node node, base::ParseYaml(text, file));
  base::ErrorList errors(file);
  ObjectReader document(node, "", errors);
  auto config = std::make_shared<Config>();
  config->source = text;
  ConfigReader reader(file);
  base::Status templates = reader.ReadTemplateFiles(document, config.get());
  if (!templates.ok()) return templates.Annotate(file + ": templates");
  reader.Read(document, config.get());
  document.Finish();
  TW_RETURN_IF_ERROR(errors.ToStatus());
  return std::shared_ptr<const Config>(std::move(config));
}

base::Result<std::shared_ptr<const Config>> LoadConfig(const std::string& path) {
  TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(path));
  return ParseConfig(text, path);
}

}  // namespace tidewright::notify
