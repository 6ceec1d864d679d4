#include "scaler/cron/window.h"

#include "base/document.h"

namespace tidewright::scaler::cron {

namespace {

// Starts and ends that keep falling on the same instant never change the state; this many in a row are looked at.
constexpr int kMaxTies = 64;

}  // namespace

base::Result<Window> Window::Create(const std::string& start, const std::string& end, const std::string& timezone,
                                    WindowMode mode) {
  if (start == end) {
    return base::InvalidArgumentError("start and end are both " + base::Quoted(start) +
                                      "; give the window an end that differs from its start");
  }
  auto parsed_start = Expression::Parse(start);
  if (!parsed_start.ok()) return parsed_start.status().Annotate("start");
  auto parsed_end = Expression::Parse(end);
  if (!parsed_end.ok()) return parsed_end.status().Annotate("end");
  TW_ASSIGN_OR_RETURN(Zone zone, Zone::Find(timezone));
  GapRule gap_rule = mode == WindowMode::kKedaCompatible ? GapRule::kSkip : GapRule::kFireAfterGap;
  auto start_schedule = Schedule::Create(*parsed_start, zone, gap_rule);
  if (!start_schedule.ok()) return start_schedule.status().Annotate("start");
  auto end_schedule = Schedule::Create(*parsed_end, zone, gap_rule);
  if (!end_schedule.ok()) return end_schedule.status().Annotate("end");
  return Window(*start_schedule, *end_schedule, mode);
}

bool Window::IsOpen(int64_t t_ms) const {
  if (mode_ == WindowMode::kLastEventWins) {
    std::optional<int64_t> started = start_.Previous(t_ms);
    std::optional<int64_t> ended = end_.Previous(t_ms);
    return started && (!ended || *started > *ended);
  }
  std::optional<int64_t> next_start = start_.Next(t_ms);
  std::optional<int64_t> next_end = end_.Next(t_ms);
  // A side that never fires counts as long past, so without any start the window is always open.
  if (!next_start) return true;
  return next_end && *next_end <= *next_start;
}

WindowState Window::At(int64_t t_ms) const {
  WindowState state;
  state.open = IsOpen(t_ms);
  std::optional<int64_t> change =
      mode_ == WindowMode::kLastEventWins ? NextChange(t_ms, state.open) : NextKedaChange(t_ms, state.open);
  (state.open ? state.closes_ms : state.opens_ms) = change;
  return state;
}

std::optional<int64_t> Window::NextChange(int64_t t_ms, bool open) const {
  if (open) return end_.Next(t_ms);
  for (int i = 0; i < kMaxTies; ++i) {
    std::optional<int64_t> start = start_.Next(t_ms);
    if (!start || end_.Previous(*start) != start) return start;
    t_ms = *start;
  }
  return std::nullopt;
}

// Between now and the nearer of the next start and end the farther one stays the same; the state changes at the last
// event before it after which no nearer one is left.
std::optional<int64_t> Window::NextKedaChange(int64_t t_ms, bool open) const {
  for (int i = 0; i < kMaxTies; ++i) {
    std::optional<int64_t> farther = open ? start_.Next(t_ms) : end_.Next(t_ms);
    if (!farther || !start_.Next(t_ms) || !end_.Next(t_ms)) return std::nullopt;
    std::optional<int64_t> change = open ? end_.Previous(*farther) : start_.Previous(*farther - 1);
    if (!change || *change <= t_ms) return std::nullopt;
    if (IsOpen(*change) != open) return change;
    t_ms = *change;
  }
  return std::nullopt;
}

std::string Window::Defect() const {
  for (const Schedule* schedule : {&start_, &end_}) {
    if (schedule->expression().NeverFires()) {
      return std::string(schedule == &start_ ? "start " : "end ") + base::Quoted(schedule->expression().text()) +
             " never happens: no such date exists; correct the day or the month";
    }
  }
  bool same_zone = start_.zone().name() == end_.zone().name();
  if (same_zone && start_.expression().SameTimes(end_.expression())) {
    return "start " + base::Quoted(start_.expression().text()) + " and end " + base::Quoted(end_.expression().text()) +
           " are the same times written differently; the window would never open";
  }
  return "";
}

}  // namespace tidewright::scaler::cron
