#include "notify/message_template.h"

#include <re2/re2.h>

#include <cstdio>
#include <utility>

#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"
#include "rules/template_text.h"

namespace tidewright::notify {

namespace {

using base::TemplateValue;
using Args = std::vector<TemplateValue>;
using Kind = TemplateValue::Kind;
using Strings = std::map<std::string, std::string>;

constexpr int64_t kNanosPerMs = 1'000'000;

// Under the names by which files of users refer to Alertmanager's.
constexpr std::string_view kDefaults = R"({{ define "__subject" -}}
[{{ .Status | toUpper }}{{ if eq .Status "firing" }} {{ len .Alerts.Firing }}{{ end }}]
{{- range .GroupLabels.SortedPairs }} {{ .Value }}{{ end }}
{{- range (.CommonLabels.Remove .GroupLabels.Names).SortedPairs }} {{ .Name }}={{ .Value }}{{ end }}
{{- end }}
{{ define "__alerts" }}{{ range .Alerts -}}
{{ .Status | toUpper }}: {{ .Labels.alertname }}
{{- with .Annotations.summary }}
{{ . }}{{ end }}
{{- with .Annotations.description }}
{{ . }}{{ end }}
{{- range .Labels.SortedPairs }}
  {{ .Name }} = {{ .Value }}{{ end }}
  since {{ .StartsAt.Format "2006-01-02 15:04:05 MST" }}
{{- if eq .Status "resolved" }}, until {{ .EndsAt.Format "2006-01-02 15:04:05 MST" }}{{ end }}
{{- with .GeneratorURL }}
  {{ . }}{{ end }}

{{ end }}{{ end }}
{{ define "__alertmanager" }}Tidewright{{ end }}
{{ define "__alertmanagerURL" }}{{ .ExternalURL }}/alerts{{ end }}
{{ define "slack.default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "slack.default.titlelink" }}{{ template "__alertmanagerURL" . }}{{ end }}
{{ define "slack.default.username" }}{{ template "__alertmanager" . }}{{ end }}
{{ define "slack.default.fallback" }}{{ template "__subject" . }} {{ template "__alertmanagerURL" . }}{{ end }}
{{ define "slack.default.text" }}{{ range .Alerts }}{{ with .Annotations.summary }}{{ . }}
{{ end }}{{ with .Annotations.description }}{{ . }}
{{ end }}{{ end }}{{ end }}
{{ define "slack.default.color" }}{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}{{ end }}
{{ define "email.default.subject" }}{{ template "__subject" . }}{{ end }}
{{ define "email.default.text" }}{{ template "__alerts" . }}{{ template "__alertmanagerURL" . }}
{{ end }}
{{ define "email.default.html" }}<!DOCTYPE html>
<html><head><title>{{ tmpl "__subject" . | html }}</title></head>
<body style="font-family: sans-serif">
<h3>{{ tmpl "__subject" . | html }}</h3>
{{ range .Alerts }}<p><b style="color: {{ if eq .Status "firing" }}#b00020{{ else }}#1b6e3c{{ end }}">
{{- .Status | toUpper }}</b> {{ .Labels.alertname | html }}<br>
{{ with .Annotations.summary }}{{ . | html }}<br>
{{ end }}{{ with .Annotations.description }}{{ . | html }}<br>
{{ end }}<small>{{ range .Labels.SortedPairs }}{{ .Name | html }} = {{ .Value | html }}<br>
{{ end }}since {{ .StartsAt.Format "2006-01-02 15:04:05 MST" }}
{{- if eq .Status "resolved" }}, until {{ .EndsAt.Format "2006-01-02 15:04:05 MST" }}{{ end }}
{{- with .GeneratorURL }}<br><a href="{{ . | html }}">the expression</a>{{ end }}</small></p>
{{ end }}<p><a href="{{ tmpl "__alertmanagerURL" . | html }}">all alerts</a></p>
</body></html>
{{ end }})";

base::Status Bad(const std::string& message) { return base::InvalidArgumentError(message); }

template <std::string (*convert)(const std::string&)>
base::Result<TemplateValue> Text(const Args& args) {
  return TemplateValue::String(convert(args[0].text()));
}

std::string Trimmed(const std::string& text) { return std::string(base::TrimSpace(text)); }

base::Result<TemplateValue> Join(const Args& args) {
  if (args[1].kind() != Kind::kList) return Bad("join wants a separator and a list");
  std::vector<std::string> parts;
  for (const TemplateValue& item : args[1].items()) parts.push_back(item.ToString());
  return TemplateValue::String(base::Join(parts, args[0].text()));
}

base::Result<TemplateValue> Match(const Args& args) {
  RE2 regex(args[0].text(), RE2::Quiet);
  if (!regex.ok()) return Bad("match: not a regular expression: " + regex.error());
  return TemplateValue::Bool(RE2::PartialMatch(args[1].text(), regex));
}

base::Result<TemplateValue> ReplaceAll(const Args& args) {
  TW_ASSIGN_OR_RETURN(std::string text, rules::ReplaceAllMatches(args[0].text(), args[1].text(), args[2].text()));
  return TemplateValue::String(std::move(text));
}

base::Result<TemplateValue> List(const Args& args) { return TemplateValue::FromList(args); }

base::Result<TemplateValue> HumanizeDuration(const Args& args) {
  if (args[0].kind() == Kind::kDuration) {
    return TemplateValue::String(rules::HumanizeDuration(static_cast<double>(args[0].integer()) / 1e9));
  }
  double seconds = args[0].number();
  if (args[0].kind() == Kind::kString && !base::ParseDouble(args[0].text(), &seconds)) {
    return Bad("humanizeDuration wants seconds");
  }
  return TemplateValue::String(rules::HumanizeDuration(seconds));
}

base::Json ToJsonValue(const TemplateValue& value) {
  switch (value.kind()) {
    case Kind::kNil: return nullptr;
    case Kind::kBool: return value.boolean();
    case Kind::kInt: return value.integer();
    case Kind::kFloat: return value.number();
    case Kind::kTime: return base::FormatTime(value.integer() / kNanosPerMs, /*millis=*/true);
    case Kind::kList: {
      base::Json list = base::Json::array();
      for (const TemplateValue& item : value.items()) list.push_back(ToJsonValue(item));
      return list;
    }
    case Kind::kMap:
    case Kind::kRecord: {
      base::Json object = base::Json::object();
      for (const auto& [key, member] : value.members()) object[key] = ToJsonValue(member);
      return object;
    }
    case Kind::kString:
    case Kind::kDuration: break;
  }
  return value.ToString();
}

base::Result<TemplateValue> ToJson(const Args& args) {
  return TemplateValue::String(base::DumpJson(ToJsonValue(args[0])));
}

struct Function {
  std::string_view name;
  int arguments;  // -1: any number.
  base::Result<TemplateValue> (*call)(const Args& args);
};

constexpr Function kFunctions[] = {
    {"toUpper", 1, Text<rules::ToUpper>},
    {"toLower", 1, Text<rules::ToLower>},
    {"title", 1, Text<rules::Title>},
    {"trimSpace", 1, Text<Trimmed>},
    {"safeHtml", 1, Text<rules::Same>},
    {"safeUrl", 1, Text<rules::Same>},
    {"join", 2, Join},
    {"match", 2, Match},
    {"reReplaceAll", 3, ReplaceAll},
    {"stringSlice", -1, List},
    {"humanizeDuration", 1, HumanizeDuration},
    {"toJson", 1, ToJson},
};

base::Result<TemplateValue> Call(const std::string& name, const Args& args) {
  for (const Function& function : kFunctions) {
    if (function.name != name) continue;
    if (function.arguments >= 0 && args.size() != static_cast<size_t>(function.arguments)) {
      return Bad(name + " wants " + std::to_string(function.arguments) + " arguments and got " +
                 std::to_string(args.size()));
    }
    return function.call(args);
  }
  return Bad("there is no function " + name);
}

const base::TemplateOptions& Options() {
  static const base::TemplateOptions* const kOptions = [] {
    auto* options = new base::TemplateOptions{.left = "{{", .right = "}}", .lenient = true};
    options->functions.push_back("tmpl");
    for (const Function& function : kFunctions) options->functions.push_back(function.name);
    return options;
  }();
  return *kOptions;
}

Strings MapOf(const tsdb::Labels& labels) {
  Strings map;
  for (const tsdb::Label& label : labels) map.emplace(label.name, label.value);
  return map;
}

// Keeps in `common` what `other` has, too.
void Intersect(Strings* common, const Strings& other) {
  std::erase_if(*common, [&other](const auto& member) {
    auto it = other.find(member.first);
    return it == other.end() || it->second != member.second;
  });
}

TemplateValue AlertData(const Message& message, const rules::AlertNotice& alert) {
  const bool fires = message.Fires(alert);
  return TemplateValue::Record({{"Status", TemplateValue::String(fires ? "firing" : "resolved")},
                                {"Labels", TemplateValue::KeyValues(MapOf(alert.labels))},
                                {"Annotations", TemplateValue::KeyValues(alert.annotations)},
                                {"StartsAt", TemplateValue::Time(alert.starts_at_ms * kNanosPerMs)},
                                {"EndsAt", TemplateValue::Time(fires ? 0 : alert.ends_at_ms * kNanosPerMs)},
                                {"GeneratorURL", TemplateValue::String(alert.generator_url)},
                                {"Fingerprint", TemplateValue::String(Fingerprint(alert.labels))}});
}

}  // namespace

Strings CommonLabels(const Message& message) {
  if (message.alerts.empty()) return {};
  Strings common = MapOf(message.alerts.front().labels);
  for (const rules::AlertNotice& alert : message.alerts) Intersect(&common, MapOf(alert.labels));
  return common;
}

Strings CommonAnnotations(const Message& message) {
  if (message.alerts.empty()) return {};
  Strings common = message.alerts.front().annotations;
  for (const rules::AlertNotice& alert : message.alerts) Intersect(&common, alert.annotations);
  return common;
}

std::string Fingerprint(const tsdb::Labels& labels) {
  constexpr char kSeparator = '\xff';
  uint64_t hash = 14695981039346656037u;
  auto add = [&hash](std::string_view bytes) {
    for (unsigned char c : bytes) hash = (hash ^ c) * 1099511628211u;
  };
  for (const tsdb::Label& label : labels) {
    add(label.name);
    add({&kSeparator, 1});
    add(label.value);
    add({&kSeparator, 1});
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

TemplateValue TemplateData(const Message& message) {
  TemplateValue::List all, firing, resolved;
  for (const rules::AlertNotice& alert : message.alerts) {
    all.push_back(AlertData(message, alert));
    (message.Fires(alert) ? firing : resolved).push_back(all.back());
  }
  const TemplateValue alerts = TemplateValue::FromList(std::move(all))
                                   .WithMethods({{"Firing", TemplateValue::FromList(std::move(firing))},
                                                 {"Resolved", TemplateValue::FromList(std::move(resolved))}});
  return TemplateValue::Record({{"Receiver", TemplateValue::String(message.receiver)},
                                {"Status", TemplateValue::String(message.Fires() ? "firing" : "resolved")},
                                {"Alerts", alerts},
                                {"GroupLabels", TemplateValue::KeyValues(MapOf(message.group_labels))},
                                {"CommonLabels", TemplateValue::KeyValues(CommonLabels(message))},
                                {"CommonAnnotations", TemplateValue::KeyValues(CommonAnnotations(message))},
                                {"ExternalURL", TemplateValue::String(message.external_url)}});
}

base::Result<MessageTemplate> MessageTemplate::Parse(std::string_view text, const base::GoTemplate& library) {
  MessageTemplate result;
  result.text_ = text;
  TW_ASSIGN_OR_RETURN(base::GoTemplate parsed, base::GoTemplate::Parse(text, Options()));
  result.template_ = parsed.With(library);
  return result;
}

base::Result<std::string> MessageTemplate::Expand(const TemplateValue& data) const {
  return template_.Execute(data, Call);
}

base::Result<base::GoTemplate> TemplateLibrary(const std::vector<std::pair<std::string, std::string>>& files) {
  TW_ASSIGN_OR_RETURN(base::GoTemplate library, base::GoTemplate::Parse(kDefaults, Options()));
  for (const auto& [name, text] : files) {
    auto parsed = base::GoTemplate::Parse(text, Options());
    if (!parsed.ok()) return parsed.status().Annotate(name);
    library = parsed->With(library);
  }
  return library;
}

}  // namespace tidewright::notify
