#include "rules/alert_template.h"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/go_text.h"
#include "base/strings.h"
#include "rules/template_text.h"

namespace tidewright::rules {

namespace {

using base::TemplateValue;
using Kind = TemplateValue::Kind;
using Args = std::vector<TemplateValue>;

base::Status Bad(const std::string& message) { return base::InvalidArgumentError(message); }

// Calls the functions for one expansion.
class Functions {
 public:
  explicit Functions(const TemplateEnvironment& environment) : environment_(environment) {}

  base::Result<TemplateValue> Call(const std::string& name, const Args& args) const;

  base::Result<TemplateValue> Query(const Args& args) const {
    if (environment_.query == nullptr) return Bad("query: there is nothing to ask");
    TW_ASSIGN_OR_RETURN(promql::Vector vector, environment_.query(args[0].text()));
    TemplateValue::List list;
    for (const promql::VectorSample& sample : vector) {
      std::map<std::string, std::string> labels;
      for (const auto& label : sample.labels) labels.emplace(label.name, label.value);
      list.push_back(TemplateValue::Record(
          {{"Labels", TemplateValue::FromStrings(labels)}, {"Value", TemplateValue::Float(sample.point.v)}}));
    }
    return TemplateValue::FromList(std::move(list));
  }

  base::Result<TemplateValue> ExternalUrl(const Args&) const {
    return TemplateValue::String(environment_.external_url);
  }

  base::Result<TemplateValue> PathPrefix(const Args&) const {
    const std::string& url = environment_.external_url;
    const size_t scheme = url.find("://");
    const size_t path = url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
    return TemplateValue::String(path == std::string::npos ? "" : url.substr(path));
  }

  base::Result<TemplateValue> Now(const Args&) const {
    return TemplateValue::Float(static_cast<double>(environment_.now_ms) / 1000);
  }

 private:
  const TemplateEnvironment& environment_;
};

base::Result<TemplateValue> First(const Functions&, const Args& args) {
  if (args[0].items().empty()) return Bad("first was called on a vector without elements");
  return TemplateValue(args[0].items().front());
}

// The field of a sample; nil when it is no sample.
TemplateValue FieldOf(const TemplateValue& sample, const std::string& field) {
  auto it = sample.members().find(field);
  return it == sample.members().end() ? TemplateValue() : it->second;
}

std::string LabelOf(const TemplateValue& sample, const std::string& name) {
  const TemplateValue labels = FieldOf(sample, "Labels");
  auto it = labels.members().find(name);
  return it == labels.members().end() ? "" : it->second.text();
}

base::Result<TemplateValue> Label(const Functions&, const Args& args) {
  return TemplateValue::String(LabelOf(args[1], args[0].text()));
}

base::Result<TemplateValue> Value(const Functions&, const Args& args) { return FieldOf(args[0], "Value"); }

base::Result<TemplateValue> StringValue(const Functions&, const Args& args) {
  return TemplateValue::String(LabelOf(args[0], "__value__"));
}

base::Result<TemplateValue> SortByLabel(const Functions&, const Args& args) {
  TemplateValue::List list = args[1].items();
  const std::string& name = args[0].text();
  std::stable_sort(list.begin(), list.end(),
                   [&](const TemplateValue& a, const TemplateValue& b) { return LabelOf(a, name) < LabelOf(b, name); });
  return TemplateValue::FromList(std::move(list));
}

base::Result<TemplateValue> Arguments(const Functions&, const Args& args) {
  TemplateValue::Map members;
  for (size_t i = 0; i < args.size(); ++i) members.emplace("arg" + std::to_string(i), args[i]);
  return TemplateValue::FromMap(std::move(members));
}

template <std::string (*convert)(const std::string&)>
base::Result<TemplateValue> Text(const Functions&, const Args& args) {
  return TemplateValue::String(convert(args[0].text()));
}

// Numbers, and texts that spell one.
base::Result<double> ToNumber(const TemplateValue& value) {
  if (value.kind() == Kind::kFloat || value.kind() == Kind::kInt) return value.number();
  if (value.kind() == Kind::kDuration) return static_cast<double>(value.integer()) / 1e9;
  double number = 0;
  if (value.kind() == Kind::kString && base::ParseDouble(value.text(), &number)) return number;
  if (value.kind() == Kind::kString) return Bad(base::Quoted(value.text()) + " is not a number");
  return Bad("a " + std::string(value.KindName()) + " is not a number");
}

template <std::string (*print)(double)>
base::Result<TemplateValue> Humanized(const Functions&, const Args& args) {
  TW_ASSIGN_OR_RETURN(double value, ToNumber(args[0]));
  return TemplateValue::String(print(value));
}

base::Result<int64_t> ToNanos(double seconds, std::string_view what) {
  const double nanos = seconds * 1e9;
  if (std::fabs(nanos) < 9.2e18) return static_cast<int64_t>(nanos);
  return Bad(base::GoFloat(seconds) + " is beyond what a " + std::string(what) + " in nanoseconds can hold");
}

// In whole milliseconds, as Prometheus keeps times.
base::Result<TemplateValue> ToTime(const Functions&, const Args& args) {
  TW_ASSIGN_OR_RETURN(double seconds, ToNumber(args[0]));
  if (!std::isfinite(seconds)) return Bad("NaN and Inf are no times");
  TW_ASSIGN_OR_RETURN(int64_t nanos, ToNanos(seconds, "time"));
  return TemplateValue::Time(nanos / 1'000'000 * 1'000'000);
}

base::Result<TemplateValue> HumanizeTimestamp(const Functions& functions, const Args& args) {
  TW_ASSIGN_OR_RETURN(double seconds, ToNumber(args[0]));
  if (!std::isfinite(seconds)) return TemplateValue::String(FourDigits(seconds));
  TW_ASSIGN_OR_RETURN(TemplateValue time, ToTime(functions, args));
  return TemplateValue::String(time.ToString());
}

base::Result<TemplateValue> ToDuration(const Functions&, const Args& args) {
  TW_ASSIGN_OR_RETURN(double seconds, ToNumber(args[0]));
  if (!std::isfinite(seconds)) return Bad("NaN and Inf are no durations");
  TW_ASSIGN_OR_RETURN(int64_t nanos, ToNanos(seconds, "duration"));
  return TemplateValue::Duration(nanos);
}

base::Result<TemplateValue> ParseDuration(const Functions&, const Args& args) {
  TW_ASSIGN_OR_RETURN(base::Duration duration, base::ParseDuration(args[0].text()));
  return TemplateValue::Float(static_cast<double>(duration.ms) / 1000);
}

base::Result<TemplateValue> Match(const Functions&, const Args& args) {
  RE2 regex(args[0].text(), RE2::Quiet);
  if (!regex.ok()) return Bad(base::Quoted(args[0].text()) + " is not a regular expression: " + regex.error());
  return TemplateValue::Bool(RE2::PartialMatch(args[1].text(), regex));
}

base::Result<TemplateValue> ReplaceAll(const Functions&, const Args& args) {
  TW_ASSIGN_OR_RETURN(std::string text, ReplaceAllMatches(args[0].text(), args[1].text(), args[2].text()));
  return TemplateValue::String(std::move(text));
}

// A letter per argument: s(tring), n(umber or text), v(ector), m (a sample), anything else fits all.
struct Function {
  std::string_view name;
  std::string_view arguments;
  base::Result<TemplateValue> (*call)(const Functions& functions, const Args& args);
};

template <base::Result<TemplateValue> (Functions::*member)(const Args&) const>
base::Result<TemplateValue> Of(const Functions& functions, const Args& args) {
  return (functions.*member)(args);
}

constexpr std::string_view kAnyNumber = "*";

constexpr Function kFunctions[] = {
    {"query", "s", Of<&Functions::Query>},
    {"first", "v", First},
    {"label", "sm", Label},
    {"value", "m", Value},
    {"strvalue", "m", StringValue},
    {"sortByLabel", "sv", SortByLabel},
    {"args", kAnyNumber, Arguments},
    {"reReplaceAll", "sss", ReplaceAll},
    {"match", "ss", Match},
    {"safeHtml", "s", Text<Same>},
    {"title", "s", Text<Title>},
    {"toUpper", "s", Text<ToUpper>},
    {"toLower", "s", Text<ToLower>},
    {"graphLink", "s", Text<GraphLink>},
    {"tableLink", "s", Text<TableLink>},
    {"urlQueryEscape", "s", Text<EscapeQuery>},
    {"stripPort", "s", Text<StripPort>},
    {"stripDomain", "s", Text<StripDomain>},
    {"humanize", "n", Humanized<Humanize>},
    {"humanize1024", "n", Humanized<Humanize1024>},
    {"humanizeDuration", "n", Humanized<HumanizeDuration>},
    {"humanizePercentage", "n", Humanized<HumanizePercentage>},
    {"humanizeTimestamp", "n", HumanizeTimestamp},
    {"toTime", "n", ToTime},
    {"toDuration", "n", ToDuration},
    {"parseDuration", "s", ParseDuration},
    {"now", "", Of<&Functions::Now>},
    {"externalURL", "", Of<&Functions::ExternalUrl>},
    {"pathPrefix", "", Of<&Functions::PathPrefix>},
};

bool Fits(char letter, const TemplateValue& value) {
  switch (letter) {
    case 's': return value.kind() == Kind::kString;
    case 'v': return value.kind() == Kind::kList;
    case 'm': return value.kind() == Kind::kRecord;
    default: return true;
  }
}

base::Result<TemplateValue> Functions::Call(const std::string& name, const Args& args) const {
  const auto* function = std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                      [&](const Function& candidate) { return candidate.name == name; });
  if (function == std::end(kFunctions)) return Bad("there is no function " + base::Quoted(name));
  if (function->arguments == kAnyNumber) return function->call(*this, args);
  if (args.size() != function->arguments.size()) {
    return Bad(name + " wants " + std::to_string(function->arguments.size()) + " arguments and got " +
               std::to_string(args.size()));
  }
  for (size_t i = 0; i < args.size(); ++i) {
    if (Fits(function->arguments[i], args[i])) continue;
    return Bad(name + " cannot take a " + std::string(args[i].KindName()) + " as argument " + std::to_string(i + 1));
  }
  return function->call(*this, args);
}

const base::TemplateOptions& Options() {
  static const base::TemplateOptions* const kOptions = [] {
    auto* options = new base::TemplateOptions{.left = "{{", .right = "}}", .lenient = true};
    options->functions.push_back("tmpl");
    for (const Function& function : kFunctions) options->functions.push_back(function.name);
    options->variables = {{"$labels", "Labels"},
                          {"$externalLabels", "ExternalLabels"},
                          {"$externalURL", "ExternalURL"},
                          {"$value", "Value"}};
    return options;
  }();
  return *kOptions;
}

}  // namespace

base::Result<AlertTemplate> AlertTemplate::Parse(std::string_view text) {
  AlertTemplate result;
  result.plain_ = text.find("{{") == std::string_view::npos;
  if (result.plain_) {
    result.text_ = text;
    return result;
  }
  TW_ASSIGN_OR_RETURN(result.template_, base::GoTemplate::Parse(text, Options()));
  return result;
}

base::Result<std::string> AlertTemplate::Expand(const std::map<std::string, std::string>& labels,
                                                const TemplateValue& value,
                                                const TemplateEnvironment& environment) const {
  if (plain_) return text_;
  const TemplateValue data =
      TemplateValue::Record({{"Labels", TemplateValue::FromStrings(labels)},
                             {"ExternalLabels", TemplateValue::FromStrings(environment.external_labels)},
                             {"ExternalURL", TemplateValue::String(environment.external_url)},
                             {"Value", value}});
  const Functions functions(environment);
  return template_.Execute(data, [&](const std::string& name, const Args& args) { return functions.Call(name, args); });
}

}  // namespace tidewright::rules
