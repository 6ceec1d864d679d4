#include "scaler/cron/expression.h"

#include <charconv>
#include <optional>
#include <vector>

#include "base/document.h"
#include "base/strings.h"

namespace tidewright::scaler::cron {

namespace {

constexpr size_t kMaxLength = 1024;

struct FieldRange {
  const char* name;
  int min;
  int max;
  std::vector<std::string> names;  // The name of min, min + 1, ...
};

const std::array<FieldRange, 5>& FieldRanges() {
  static const std::array<FieldRange, 5> ranges = {{
      {"minute", 0, 59, {}},
      {"hour", 0, 23, {}},
      {"day of month", 1, 31, {}},
      {"month", 1, 12, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
      {"day of week", 0, 6, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
  }};
  return ranges;
}

// Parses one field; errors are sentences about it, to which the caller adds the expression.
class FieldParser {
 public:
  FieldParser(const FieldRange& range, std::string_view text) : range_(range), text_(text) {}

  base::Status Parse(uint64_t* bits, bool* star) {
    for (const std::string& item : base::Split(text_, ',')) {
      if (item.empty()) continue;
      TW_RETURN_IF_ERROR(ParseItem(item, bits, star));
    }
    return base::Status::Ok();
  }

 private:
  base::Status Bad(std::string_view value, const std::string& remedy) const {
    return base::InvalidArgumentError("field " + std::string(range_.name) + ": " + base::Quoted(value) + " " + remedy);
  }
  std::string Bounds() const { return std::to_string(range_.min) + "-" + std::to_string(range_.max); }

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

  base::Status ParseItem(std::string_view item, uint64_t* bits, bool* star) {
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
      if (ends.size() == 1) high = range_.max;
    }
    TW_RETURN_IF_ERROR(CheckRange(item, low, high));
    if (any && step == 1) *star = true;
    for (int value = low; value <= high; value += step) {
      *bits |= uint64_t{1} << value;
      if (step > high - value) break;
    }
    return base::Status::Ok();
  }

  base::Status CheckRange(std::string_view item, int low, int high) const {
    if (low < range_.min) return Bad(item, "begins below " + std::to_string(range_.min) + "; use " + Bounds());
    if (high > range_.max) {
      std::string hint = range_.max == 6 ? " (Sunday is 0)" : "";
      return Bad(item, "ends above " + std::to_string(range_.max) + "; use " + Bounds() + hint);
    }
    if (low > high) return Bad(item, "runs backwards; split it into two ranges with a comma");
    return base::Status::Ok();
  }

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

}  // namespace

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
    } else if (fields.front().front() == '@') {
      return base::InvalidArgumentError(context + ": descriptors such as @daily are not supported; write the 5 fields");
    }
  }
  if (fields.size() != 5) return WrongCount(fields.size()).Annotate(context);
  std::array<bool, 5> star{};
  for (size_t i = 0; i < fields.size(); ++i) {
    base::Status status = FieldParser(FieldRanges()[i], fields[i]).Parse(&result.bits_[i], &star[i]);
    if (!status.ok()) return status.Annotate(context);
  }
  result.star_ = {star[2], star[4]};
  return result;
}

bool Expression::MatchesDay(int month, int day_of_month, int day_of_week) const {
  if (!MatchesMonth(month)) return false;
  bool dom = (bits_[2] >> day_of_month & 1) != 0;
  bool dow = (bits_[4] >> day_of_week & 1) != 0;
  if (star_[0] || star_[1]) return dom && dow;
  return dom || dow;
}

bool Expression::NeverFires() const {
  if (bits_[0] == 0 || bits_[1] == 0) return true;
  constexpr int kLongest[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  for (int month = 1; month <= 12; ++month) {
    for (int day = 1; day <= kLongest[month]; ++day) {
      // Over the years every date falls on every day of the week.
      for (int day_of_week = 0; day_of_week <= 6; ++day_of_week) {
        if (MatchesDay(month, day, day_of_week)) return false;
      }
    }
  }
  return true;
}

}  // namespace tidewright::scaler::cron
