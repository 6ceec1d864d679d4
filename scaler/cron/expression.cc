#include "scaler/cron/expression.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "base/document.h"
#include "base/strings.h"

namespace tidewright::scaler::cron {

namespace {

constexpr size_t kMaxLength = 1024;
constexpr size_t kFieldCount = 6;
enum FieldIndex : size_t { kSecond, kMinute, kHour, kDayOfMonth, kMonth, kDayOfWeek };

struct FieldRange {
  const char* name;
  int min;
  int max;
  std::vector<std::string> names;  // The name of min, min + 1, ...
};

const std::array<FieldRange, kFieldCount>& FieldRanges() {
  static const std::array<FieldRange, kFieldCount> ranges = {{
      {"second", 0, 59, {}},
      {"minute", 0, 59, {}},
      {"hour", 0, 23, {}},
      {"day of month", 1, 31, {}},
      {"month", 1, 12, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
      {"day of week", 0, 6, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
  }};
  return ranges;
}

constexpr std::pair<std::string_view, std::string_view> kDescriptors[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Parses one field; errors are sentences about it, to which the caller adds the expression.
class FieldParser {
 public:
  FieldParser(FieldIndex index, std::string_view text) : index_(index), range_(FieldRanges()[index]), text_(text) {}

  base::Status Parse(uint64_t* bits, bool* star, DayRules* rules) {
    for (const std::string& item : base::Split(text_, ',')) {
      if (item.empty()) continue;
      bool special = false;
      TW_RETURN_IF_ERROR(ParseSpecial(item, rules, &special));
      if (!special) TW_RETURN_IF_ERROR(ParseItem(item, bits, star));
    }
    return base::Status::Ok();
  }

 private:
  base::Status Bad(std::string_view value, const std::string& remedy) const {
    return base::InvalidArgumentError("field " + std::string(range_.name) + ": " + base::Quoted(value) + " " + remedy);
  }
  // A day of the week may also be written as 7.
  int Highest() const { return index_ == kDayOfWeek ? 7 : range_.max; }
  std::string Bounds() const { return std::to_string(range_.min) + "-" + std::to_string(Highest()); }

  base::Result<int> Number(std::string_view text, std::string_view item) const {
    if (text.empty()) return Bad(item, "lacks a number; write for example " + Bounds());
    for (size_t i = 0; i < range_.names.size(); ++i) {
      if (base::EqualsIgnoreCase(text, range_.names[i])) return range_.min + static_cast<int>(i);
    }
    std::string_view digits = text.front() == '+' ? text.substr(1) : text;
    int value = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    bool number = error == std::errc() && end == digits.data() + digits.size() && digits.front() != '-';
    if (!number) {
      return Bad(text, std::string("is not a number") + (range_.names.empty() ? "" : " or a three-letter name") +
                           "; use " + Bounds());
    }
    return value;
  }

  base::Result<int> Within(std::string_view text, std::string_view item, int low, int high) const {
    TW_ASSIGN_OR_RETURN(int value, Number(text, item));
    if (value >= low && value <= high) return value;
    return Bad(item, "is out of range; use " + std::to_string(low) + "-" + std::to_string(high) + " there");
  }

  // L, L-3, 15W, LW; friL, fri#2. Items that only begin or end like one are errors of their own.
  base::Status ParseSpecial(std::string_view item, DayRules* rules, bool* special) const {
    *special = true;
    if (index_ == kDayOfMonth && Lower(item.front()) == 'l') return ParseLastDay(item, rules);
    if (index_ == kDayOfMonth && Lower(item.back()) == 'w') {
      TW_ASSIGN_OR_RETURN(int day, Within(item.substr(0, item.size() - 1), item, 1, 31));
      rules->nearest_weekday |= uint32_t{1} << day;
      return base::Status::Ok();
    }
    size_t hash = item.find('#');
    if (index_ == kDayOfWeek && hash != std::string_view::npos) {
      TW_ASSIGN_OR_RETURN(int day, Within(item.substr(0, hash), item, 0, 7));
      TW_ASSIGN_OR_RETURN(int n, Within(item.substr(hash + 1), item, 1, 5));
      rules->nth[static_cast<size_t>(n)] |= uint32_t{1} << day % 7;
      return base::Status::Ok();
    }
    if (index_ == kDayOfWeek && Lower(item.back()) == 'l') {
      if (item.size() == 1) return Bad(item, "lacks the day; write for example friL for the last Friday of the month");
      TW_ASSIGN_OR_RETURN(int day, Within(item.substr(0, item.size() - 1), item, 0, 7));
      rules->last_of |= uint32_t{1} << day % 7;
      return base::Status::Ok();
    }
    *special = false;
    return base::Status::Ok();
  }

  base::Status ParseLastDay(std::string_view item, DayRules* rules) const {
    std::string_view rest = item.substr(1);
    if (rest.empty()) {
      rules->from_last |= 1;
    } else if (rest.size() == 1 && Lower(rest.front()) == 'w') {
      rules->last_weekday = true;
    } else if (rest.front() == '-') {
      TW_ASSIGN_OR_RETURN(int days, Within(rest.substr(1), item, 0, 30));
      rules->from_last |= uint32_t{1} << days;
    } else {
      return Bad(item, "is not understood; write L, LW or for example L-3");
    }
    return base::Status::Ok();
  }

  base::Status ParseItem(std::string_view item, uint64_t* bits, bool* star) const {
    std::vector<std::string> parts = base::Split(item, '/');
    std::vector<std::string> ends = base::Split(parts[0], '-');
    if (parts.size() > 2) return Bad(item, "has more than one '/'; write range/step");
    bool any = ends[0] == "*" || ends[0] == "?";
    int low = range_.min;
    int high = range_.max;
    if (!any) {
      if (ends.size() > 2) return Bad(item, "has more than one '-'; write first-last");
      TW_ASSIGN_OR_RETURN(low, Number(ends[0], item));
      high = low;
      if (ends.size() == 2) {
        TW_ASSIGN_OR_RETURN(high, Number(ends[1], item));
      }
    }
    int step = 1;
    if (parts.size() == 2) {
      TW_ASSIGN_OR_RETURN(step, Number(parts[1], item));
      if (step == 0) return Bad(item, "has step 0; use a step of 1 or more");
      // From the value to the end of the field; 7/2 in a day of week begins with Sunday.
      if (ends.size() == 1) {
        low = low > range_.max && low <= Highest() ? range_.min : low;
        high = std::max(range_.max, high);
      }
    }
    TW_RETURN_IF_ERROR(CheckRange(item, low, high));
    if (any && step == 1) *star = true;
    Mark(low, high, step, bits);
    return base::Status::Ok();
  }

  // A range that runs backwards goes on at the beginning of its field.
  void Mark(int low, int high, int step, uint64_t* bits) const {
    const int size = range_.max - range_.min + 1;
    if (low > high) high += size;
    for (int value = low; value <= high; value += step) {
      *bits |= uint64_t{1} << (range_.min + (value - range_.min) % size);
      if (step > high - value) break;
    }
  }

  base::Status CheckRange(std::string_view item, int low, int high) const {
    for (int end : {low, high}) {
      if (end < range_.min) return Bad(item, "begins below " + std::to_string(range_.min) + "; use " + Bounds());
      if (end > Highest()) return Bad(item, "ends above " + std::to_string(Highest()) + "; use " + Bounds());
    }
    return base::Status::Ok();
  }

  const FieldIndex index_;
  const FieldRange& range_;
  std::string_view text_;
};

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::vector<std::string_view> Fields(std::string_view text) {
  std::vector<std::string_view> fields;
  size_t i = 0;
  while (i < text.size()) {
    while (i < text.size() && IsSpace(text[i])) ++i;
    size_t begin = i;
    while (i < text.size() && !IsSpace(text[i])) ++i;
    if (i > begin) fields.push_back(text.substr(begin, i - begin));
  }
  return fields;
}

// The value of a leading TZ= or CRON_TZ=.
std::optional<std::string_view> ZoneOf(std::string_view field) {
  for (std::string_view prefix : {"TZ=", "CRON_TZ="}) {
    if (field.starts_with(prefix)) return field.substr(prefix.size());
  }
  return std::nullopt;
}

base::Status WrongCount(size_t count) {
  return base::InvalidArgumentError("has " + std::to_string(count) +
                                    " fields instead of 5; write minute, hour, day of month, month, day of week");
}

// Puts the fields that a descriptor stands for in its place.
base::Status ExpandDescriptor(std::vector<std::string_view>* fields) {
  if (fields->empty() || fields->front().front() != '@') return base::Status::Ok();
  for (const auto& [name, meaning] : kDescriptors) {
    if (fields->size() != 1 || !base::EqualsIgnoreCase(fields->front(), name)) continue;
    *fields = Fields(meaning);
    return base::Status::Ok();
  }
  return base::InvalidArgumentError(base::Quoted(fields->front()) +
                                    " is not known, or does not stand alone; use @hourly, @daily, @weekly, @monthly, "
                                    "@yearly or five fields");
}

// 0-6 for any number of days away from a day of the week.
int DayOfWeekAfter(int day_of_week, int days) { return ((day_of_week + days) % 7 + 7) % 7; }

bool IsWeekend(int day_of_week) { return day_of_week == 0 || day_of_week == 6; }

// The day from Monday to Friday that is nearest to `wanted` without leaving the month.
int NearestWeekday(const CalendarDay& day, int wanted) {
  int day_of_week = DayOfWeekAfter(day.day_of_week, wanted - day.day);
  if (day_of_week == 6) return wanted > 1 ? wanted - 1 : wanted + 2;
  if (day_of_week == 0) return wanted < day.days_in_month ? wanted + 1 : wanted - 2;
  return wanted;
}

int LastWeekday(const CalendarDay& day) {
  int last = day.days_in_month;
  while (IsWeekend(DayOfWeekAfter(day.day_of_week, last - day.day))) --last;
  return last;
}

}  // namespace

bool DayRules::MatchesMonthDay(const CalendarDay& day) const {
  if ((from_last >> (day.days_in_month - day.day) & 1) != 0) return true;
  if (last_weekday && LastWeekday(day) == day.day) return true;
  // Only a neighbour can be moved to this day.
  for (int wanted = std::max(1, day.day - 2); wanted <= std::min(day.days_in_month, day.day + 2); ++wanted) {
    if ((nearest_weekday >> wanted & 1) != 0 && NearestWeekday(day, wanted) == day.day) return true;
  }
  return false;
}

bool DayRules::MatchesWeekDay(const CalendarDay& day) const {
  bool last = day.day + 7 > day.days_in_month;
  size_t n = static_cast<size_t>((day.day - 1) / 7 + 1);
  uint32_t days = nth[n] | (last ? last_of : 0);
  return (days >> day.day_of_week & 1) != 0;
}

base::Result<Expression> Expression::Parse(std::string_view text) {
  const std::string context = "cron expression " + base::Quoted(text);
  if (text.size() > kMaxLength) {
    return base::InvalidArgumentError(context + " is longer than " + std::to_string(kMaxLength) + " bytes");
  }
  Expression result;
  result.text_ = text;
  std::vector<std::string_view> fields = Fields(text);
  if (!fields.empty()) {
    if (std::optional<std::string_view> zone = ZoneOf(fields.front())) {
      if (zone->empty()) return base::InvalidArgumentError(context + ": names no time zone after '='");
      result.zone_ = *zone;
      fields.erase(fields.begin());
    }
  }
  TW_RETURN_IF_ERROR(ExpandDescriptor(&fields).Annotate(context));
  if (fields.size() == kFieldCount - 1) fields.insert(fields.begin(), "0");
  if (fields.size() != kFieldCount) return WrongCount(fields.size()).Annotate(context);
  std::array<bool, kFieldCount> star{};
  for (size_t i = 0; i < kFieldCount; ++i) {
    base::Status status =
        FieldParser(static_cast<FieldIndex>(i), fields[i]).Parse(&result.bits_[i], &star[i], &result.rules_);
    if (!status.ok()) return status.Annotate(context);
  }
  result.star_ = {star[kDayOfMonth], star[kDayOfWeek]};
  result.never_fires_ = result.FindNeverFires();
  return result;
}

bool Expression::MatchesDay(const CalendarDay& day) const {
  if (!MatchesMonth(day.month)) return false;
  bool dom = (bits_[kDayOfMonth] >> day.day & 1) != 0 || rules_.MatchesMonthDay(day);
  bool dow = (bits_[kDayOfWeek] >> day.day_of_week & 1) != 0 || rules_.MatchesWeekDay(day);
  if (star_[0] || star_[1]) return dom && dow;
  return dom || dow;
}

// Months are the same but for their length and the weekday that they begin with.
bool Expression::FindNeverFires() const {
  if (bits_[kSecond] == 0 || bits_[kMinute] == 0 || bits_[kHour] == 0) return true;
  constexpr int kLongest[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  for (int month = 1; month <= 12; ++month) {
    for (int length = month == 2 ? 28 : kLongest[month]; length <= kLongest[month]; ++length) {
      for (int day = 1; day <= length; ++day) {
        for (int day_of_week = 0; day_of_week <= 6; ++day_of_week) {
          if (MatchesDay({month, day, length, day_of_week})) return false;
        }
      }
    }
  }
  return true;
}

}  // namespace tidewright::scaler::cron
