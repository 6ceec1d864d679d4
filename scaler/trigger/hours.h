// Windows of time as manifests write them: those of cron triggers, and `when` of any other. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "scaler/cron/planned_window.h"
#include "scaler/trigger.h"

namespace tidewright::scaler::trigger {

// The texts of a window, each kept only once it has been checked.
struct WindowTexts {
  std::string timezone, start, end;
  cron::DateList excluded;
};
base::Status ParseZone(const std::string& value, WindowTexts* texts);
base::Status ParseStart(const std::string& value, WindowTexts* texts);
base::Status ParseEnd(const std::string& value, WindowTexts* texts);
base::Status ParseExcluded(const std::string& value, WindowTexts* texts);

// None when a text is missing. kInvalidArgument for windows that can never open or close.
base::Result<std::optional<cron::PlannedWindow>> PlanWindow(const WindowTexts& texts, int64_t lead_ms);

// A window that is asked often: its state is computed anew only when it changes. Not thread-safe.
class Hours {
 public:
  explicit Hours(cron::PlannedWindow window) : window_(std::move(window)) {}

  bool IsOpen(int64_t t_ms) { return At(t_ms).open; }
  // "open until Mon 2026-11-23 18:00 Europe/Rome"
  std::string Describe(int64_t t_ms);

 private:
  const cron::PlannedState& At(int64_t t_ms);

  cron::PlannedWindow window_;
  int64_t since_ms_ = 0;  // The state holds from here on.
  std::optional<cron::PlannedState> state_;
};

// Checks the texts of `when`; errors go to `errors` below `path`. Null when something is wrong.
std::optional<cron::PlannedWindow> PlanHours(const TriggerHours& hours, const std::string& path,
                                             base::ErrorList& errors);

// `trigger` during these hours; outside of them it is not read and counts as 0.
std::unique_ptr<Trigger> During(cron::PlannedWindow hours, std::unique_ptr<Trigger> trigger,
                                const base::Clock& calendar);

}  // namespace tidewright::scaler::trigger
