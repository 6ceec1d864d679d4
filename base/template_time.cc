// Methods of what templates see: of times and durations those of Go's time.Time and time.Duration, of labels Remove.
#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

#include "base/document.h"
#include "base/go_text.h"
#include "base/template_tree.h"

namespace tidewright::base::internal {
namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;
constexpr int64_t kSecondsPerDay = 86'400;

constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};
constexpr std::array<std::string_view, 7> kWeekdays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

struct Moment {
  explicit Moment(int64_t unix_nanos) {
    unix_seconds = FloorDivide(unix_nanos, kNanosPerSecond);
    nanos = unix_nanos - unix_seconds * kNanosPerSecond;
    const int64_t days = FloorDivide(unix_seconds, kSecondsPerDay);
    const std::chrono::sys_days date{std::chrono::days(days)};
    const std::chrono::year_month_day civil{date};
    year = static_cast<int>(civil.year());
    month = static_cast<int>(static_cast<unsigned>(civil.month()));
    day = static_cast<int>(static_cast<unsigned>(civil.day()));
    weekday = static_cast<int>(std::chrono::weekday(date).c_encoding());
    second_of_day = static_cast<int>(unix_seconds - days * kSecondsPerDay);
  }

  int hour() const { return second_of_day / 3600; }
  int minute() const { return second_of_day / 60 % 60; }
  int second() const { return second_of_day % 60; }

  int64_t unix_seconds = 0;
  int64_t nanos = 0;
  int year = 0, month = 0, day = 0, weekday = 0, second_of_day = 0;
};

std::string Number(const char* format, int value) {
  char text[16];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// ".000" or ",999" in a layout: that many digits; nines leave trailing zeros away.
size_t TakeFraction(std::string_view layout, const Moment& at, std::string* out) {
  if (layout.size() < 2 || (layout[0] != '.' && layout[0] != ',') || (layout[1] != '0' && layout[1] != '9')) return 0;
  const char digit = layout[1];
  size_t end = layout.find_first_not_of(digit, 1);
  if (end == std::string_view::npos) end = layout.size();
  if (end > 10 || (end < layout.size() && layout[end] >= '0' && layout[end] <= '9')) return 0;
  std::string digits = Number("%09d", static_cast<int>(at.nanos)).substr(0, end - 1);
  if (digit == '9') digits.erase(digits.find_last_not_of('0') + 1);
  if (!digits.empty()) *out += layout[0] + digits;
  return end;
}

struct LayoutElement {
  std::string_view spelling;  // Of the reference time, Mon Jan 2 15:04:05 MST 2006.
  std::string (*print)(const Moment& at);
};

// Where one spelling begins like another, the longer one comes first.
constexpr LayoutElement kElements[] = {
    {"January", [](const Moment& at) { return std::string(kMonths[at.month - 1]); }},
    {"Jan", [](const Moment& at) { return std::string(kMonths[at.month - 1].substr(0, 3)); }},
    {"Monday", [](const Moment& at) { return std::string(kWeekdays[at.weekday]); }},
    {"Mon", [](const Moment& at) { return std::string(kWeekdays[at.weekday].substr(0, 3)); }},
    {"MST", [](const Moment&) { return std::string("UTC"); }},
    {"2006", [](const Moment& at) { return Number("%04d", at.year); }},
    {"01", [](const Moment& at) { return Number("%02d", at.month); }},
    {"02", [](const Moment& at) { return Number("%02d", at.day); }},
    {"03", [](const Moment& at) { return Number("%02d", (at.hour() + 11) % 12 + 1); }},
    {"04", [](const Moment& at) { return Number("%02d", at.minute()); }},
    {"05", [](const Moment& at) { return Number("%02d", at.second()); }},
    {"06", [](const Moment& at) { return Number("%02d", at.year % 100); }},
    {"15", [](const Moment& at) { return Number("%02d", at.hour()); }},
    {"PM", [](const Moment& at) { return std::string(at.hour() < 12 ? "AM" : "PM"); }},
    {"pm", [](const Moment& at) { return std::string(at.hour() < 12 ? "am" : "pm"); }},
    {"-07:00", [](const Moment&) { return std::string("+00:00"); }},
    {"-0700", [](const Moment&) { return std::string("+0000"); }},
    {"Z07:00", [](const Moment&) { return std::string("Z"); }},
    {"Z0700", [](const Moment&) { return std::string("Z"); }},
    {"_2", [](const Moment& at) { return Number("%2d", at.day); }},
    {"1", [](const Moment& at) { return Number("%d", at.month); }},
    {"2", [](const Moment& at) { return Number("%d", at.day); }},
    {"3", [](const Moment& at) { return Number("%d", (at.hour() + 11) % 12 + 1); }},
    {"4", [](const Moment& at) { return Number("%d", at.minute()); }},
    {"5", [](const Moment& at) { return Number("%d", at.second()); }},
};

std::string Format(const Moment& at, std::string_view layout) {
  std::string out;
  while (!layout.empty()) {
    size_t taken = TakeFraction(layout, at, &out);
    for (const LayoutElement& element : kElements) {
      if (taken > 0) break;
      if (!layout.starts_with(element.spelling)) continue;
      out += element.print(at);
      taken = element.spelling.size();
    }
    if (taken == 0) {
      out += layout[0];
      taken = 1;
    }
    layout.remove_prefix(taken);
  }
  return out;
}

Result<TemplateValue> TimeMethod(int64_t unix_nanos, const std::string& name, const std::vector<TemplateValue>& args) {
  const Moment at(unix_nanos);
  if (name == "Format") {
    if (args.size() != 1 || args[0].kind() != TemplateValue::Kind::kString) {
      return InvalidArgumentError("Format wants a layout such as \"2006-01-02 15:04:05\"");
    }
    return TemplateValue::String(Format(at, args[0].text()));
  }
  if (!args.empty()) return InvalidArgumentError(name + " takes no arguments");
  if (name == "Unix") return TemplateValue::Int(at.unix_seconds);
  if (name == "UnixMilli") return TemplateValue::Int(FloorDivide(unix_nanos, 1'000'000));
  if (name == "UnixNano") return TemplateValue::Int(unix_nanos);
  if (name == "Year") return TemplateValue::Int(at.year);
  if (name == "Month") return TemplateValue::String(std::string(kMonths[at.month - 1]));
  if (name == "Day") return TemplateValue::Int(at.day);
  if (name == "Weekday") return TemplateValue::String(std::string(kWeekdays[at.weekday]));
  if (name == "Hour") return TemplateValue::Int(at.hour());
  if (name == "Minute") return TemplateValue::Int(at.minute());
  if (name == "Second") return TemplateValue::Int(at.second());
  if (name == "UTC") return TemplateValue::Time(unix_nanos);
  if (name == "String") return TemplateValue::String(TemplateTimeText(unix_nanos));
  return InvalidArgumentError("a time has no method " + Quoted(name));
}

Result<TemplateValue> DurationMethod(int64_t nanos, const std::string& name, const std::vector<TemplateValue>& args) {
  if (!args.empty()) return InvalidArgumentError(name + " takes no arguments");
  const double seconds = static_cast<double>(nanos) / static_cast<double>(kNanosPerSecond);
  if (name == "Hours") return TemplateValue::Float(seconds / 3600);
  if (name == "Minutes") return TemplateValue::Float(seconds / 60);
  if (name == "Seconds") return TemplateValue::Float(seconds);
  if (name == "Milliseconds") return TemplateValue::Int(nanos / 1'000'000);
  if (name == "String") return TemplateValue::String(GoDurationOfNanos(nanos));
  return InvalidArgumentError("a duration has no method " + Quoted(name));
}

// Of labels: what is left without some names.
Result<TemplateValue> Remove(const TemplateValue& value, const std::string& name,
                             const std::vector<TemplateValue>& args) {
  if (name != "Remove") return InvalidArgumentError(Quoted(name) + " is no method that takes arguments");
  if (args.size() != 1 || args[0].kind() != TemplateValue::Kind::kList) {
    return InvalidArgumentError("Remove wants a list of names, for example .GroupLabels.Names");
  }
  std::map<std::string, std::string> left;
  for (const auto& [key, text] : value.members()) left.emplace(key, text.text());
  for (const TemplateValue& gone : args[0].items()) left.erase(gone.text());
  return TemplateValue::KeyValues(left);
}

}  // namespace

std::string TemplateTimeText(int64_t unix_nanos) {
  return Format(Moment(unix_nanos), "2006-01-02 15:04:05.999999999 -0700 MST");
}

Result<TemplateValue> CallTemplateMethod(const TemplateValue& value, const std::string& name,
                                         const std::vector<TemplateValue>& args) {
  if (value.key_values()) return Remove(value, name, args);
  return value.kind() == TemplateValue::Kind::kTime ? TimeMethod(value.integer(), name, args)
                                                    : DurationMethod(value.integer(), name, args);
}

}  // namespace tidewright::base::internal
