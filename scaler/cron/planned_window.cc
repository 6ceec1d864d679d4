#include "scaler/cron/planned_window.h"

#include <algorithm>
#include <utility>

#include "base/document.h"
#include "base/strings.h"

namespace tidewright::scaler::cron {

namespace {

constexpr size_t kMaxRanges = 1000;
// Changes of window and date that leave the state as it is, one after the other: about three years of midnights.
constexpr int kMaxSteps = 1200;

base::Status BadDate(std::string_view text) {
  return base::InvalidArgumentError(base::Quoted(text) +
                                    " is not a date; use 2026-12-25, or 12-25 for every year, or two of them with ..");
}

base::Result<int32_t> ParseDate(std::string_view text) {
  std::vector<std::string> parts = base::Split(text, '-');
  if (parts.size() == 2) parts.insert(parts.begin(), "0");
  int64_t number[3] = {0, 0, 0};
  if (parts.size() != 3) return BadDate(text);
  for (size_t i = 0; i < 3; ++i) {
    if (!base::ParseInt64(parts[i], &number[i])) return BadDate(text);
  }
  constexpr int kLongest[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool valid = number[0] >= 0 && number[0] <= 9999 && number[1] >= 1 && number[1] <= 12 && number[2] >= 1 &&
               number[2] <= kLongest[number[1] - 1];
  if (!valid) return BadDate(text);
  return static_cast<int32_t>(number[0] * 10'000 + number[1] * 100 + number[2]);
}

}  // namespace

base::Result<DateList> DateList::Parse(std::string_view text) {
  DateList list;
  for (const std::string& part : base::Split(text, ',')) {
    std::string_view entry = base::TrimSpace(part);
    size_t dots = entry.find("..");
    TW_ASSIGN_OR_RETURN(int32_t first, ParseDate(base::TrimSpace(entry.substr(0, dots))));
    int32_t last = first;
    if (dots != std::string_view::npos) {
      TW_ASSIGN_OR_RETURN(last, ParseDate(base::TrimSpace(entry.substr(dots + 2))));
    }
    bool yearly = first < 10'000;
    if (yearly != (last < 10'000)) return BadDate(entry);
    if (!yearly && last < first) {
      return base::InvalidArgumentError(base::Quoted(entry) + " runs backwards; put the earlier date first");
    }
    if (list.ranges_.size() == kMaxRanges) return base::InvalidArgumentError("has more than 1000 dates; use ranges");
    list.ranges_.push_back({first, last});
  }
  return list;
}

bool DateList::Contains(const CivilDate& date) const {
  const int32_t day = date.month * 100 + date.day;
  const int32_t full = date.year * 10'000 + day;
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    if (range.first >= 10'000) return range.first <= full && full <= range.last;
    if (range.first <= range.last) return range.first <= day && day <= range.last;
    return day >= range.first || day <= range.last;  // Over the new year.
  });
}

PlannedWindow::PlannedWindow(Window window, DateList excluded, int64_t lead_ms)
    : window_(std::move(window)), excluded_(std::move(excluded)), lead_ms_(lead_ms) {
  if (excluded_.empty()) return;
  auto daily = Schedule::Create(*Expression::Parse("@daily"), zone(), GapRule::kFireAfterGap);
  if (daily.ok()) midnights_ = *daily;
}

bool PlannedWindow::IsOpenWithoutLead(int64_t t_ms) const {
  return window_.IsOpen(t_ms) && !excluded_.Contains(zone().DateAt(t_ms));
}

bool PlannedWindow::IsOpen(int64_t t_ms) const {
  return IsOpenWithoutLead(t_ms) || (lead_ms_ > 0 && IsOpenWithoutLead(t_ms + lead_ms_));
}

// The next time at which anything that the state depends on changes.
std::optional<int64_t> PlannedWindow::NextCandidate(int64_t t_ms) const {
  std::optional<int64_t> next;
  for (int64_t shift : {int64_t{0}, lead_ms_}) {
    WindowState raw = window_.At(t_ms + shift);
    std::optional<int64_t> midnight = midnights_ ? midnights_->Next(t_ms + shift) : std::nullopt;
    for (std::optional<int64_t> change : {raw.open ? raw.closes_ms : raw.opens_ms, midnight}) {
      if (change && (!next || *change - shift < *next)) next = *change - shift;
    }
  }
  return next;
}

PlannedState PlannedWindow::At(int64_t t_ms) const {
  PlannedState state;
  state.open = IsOpen(t_ms);
  for (int i = 0; i < kMaxSteps; ++i) {
    std::optional<int64_t> next = NextCandidate(t_ms);
    if (!next) return state;
    if (IsOpen(*next) != state.open) {
      state.change_ms = next;
      return state;
    }
    t_ms = *next;
  }
  return state;
}

}  // namespace tidewright::scaler::cron
