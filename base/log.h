// Structured log lines in logfmt on standard error: time, level, component, message, then key=value pairs.
//
//   base::Log(base::LogLevel::kWarn, "scrape", "target failed", {{"target", url}, {"error", status.ToString()}});
//
// Never pass a secret. Thread-safe.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace tidewright::base {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// A key and its already formatted value.
struct LogField {
  std::string_view key;
  std::string value;
};

// Writes one line if `level` is enabled. `component` is the module's folder name.
void Log(LogLevel level, std::string_view component, std::string_view message,
         std::initializer_list<LogField> fields = {});

// Sets the lowest level written; the default is kInfo. "debug", "info", "warn" and "error" are accepted.
void SetLogLevel(LogLevel level);
Status SetLogLevel(std::string_view name);

// Redirects the lines to a file (created, appended to); used by the sandbox, whose terminal shows a table instead.
Status LogToFile(const std::string& path);

inline void LogInfo(std::string_view component, std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kInfo, component, message, fields);
}
inline void LogWarn(std::string_view component, std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kWarn, component, message, fields);
}
inline void LogError(std::string_view component, std::string_view message,
                     std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kError, component, message, fields);
}

}  // namespace tidewright::base
