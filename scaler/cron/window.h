// A window that two cron expressions open and close.
//
// The rule is: the last event wins. The window is open iff the last start lies after the last end; it is open exactly
// at a start and closed exactly at an end ([start, end)), and closed when both fall on the same instant. So "30 6 * *
// 1-5" / "10 22 * * *" closes on Friday 22:10, and "0 8 * * *" / "0 20 * * 5" is open from Saturday 08:00 to Friday
// 20:00.
//
// Daylight-saving time: a start or end at a local time that the change skips happens at the moment of the change, so
// that no window is lost or left open; one at a local time that occurs twice happens twice, which changes nothing for
// the second start or end in a row.
//
// WindowMode::kKedaCompatible looks forward instead, as KEDA does: open iff the next end is not after the next start,
// and skipped local times do not happen. Where starts and ends do not alternate the two differ; docs/decisions.md lists
// how.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "scaler/cron/schedule.h"

namespace tidewright::scaler::cron {

enum class WindowMode { kLastEventWins, kKedaCompatible };

// What a window does at one time. Times are ms since the epoch.
struct WindowState {
  bool open = false;
  std::optional<int64_t> opens_ms;   // While closed: when it opens next; none if never.
  std::optional<int64_t> closes_ms;  // While open: when it closes next.
};

// Immutable, thread-safe.
class Window {
 public:
  // `timezone` is an IANA name. Errors say which of the three texts is wrong and what would be right. Texts that are
  // equal letter by letter are refused.
  static base::Result<Window> Create(const std::string& start, const std::string& end, const std::string& timezone,
                                     WindowMode mode = WindowMode::kLastEventWins);

  bool IsOpen(int64_t t_ms) const;
  WindowState At(int64_t t_ms) const;

  // Says why the window can never open or never close, or "": for decoders that refuse such windows.
  std::string Defect() const;

  const Schedule& start() const { return start_; }
  const Schedule& end() const { return end_; }

 private:
  Window(Schedule start, Schedule end, WindowMode mode) : start_(std::move(start)), end_(std::move(end)), mode_(mode) {}

  // When the state of time `t_ms` ends.
  std::optional<int64_t> NextChange(int64_t t_ms, bool open) const;
  std::optional<int64_t> NextKedaChange(int64_t t_ms, bool open) const;

  Schedule start_;
  Schedule end_;
  WindowMode mode_;
};

}  // namespace tidewright::scaler::cron
