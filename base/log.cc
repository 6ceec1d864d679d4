#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace tidewright::base {

namespace {

std::shared_ptr<spdlog::logger> MakeLogger(spdlog::sink_ptr sink) {
  auto logger = std::make_shared<spdlog::logger>("tidewright", std::move(sink));
  logger->set_pattern("ts=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::info);
  logger->flush_on(spdlog::level::info);
  return logger;
}

// Never destroyed: threads may log while static objects go away.
std::shared_ptr<spdlog::logger>& Logger() {
  static auto* logger =
      new std::shared_ptr<spdlog::logger>(MakeLogger(std::make_shared<spdlog::sinks::stderr_sink_mt>()));
  return *logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

bool NeedsQuotes(std::string_view value) {
  return value.empty() || value.find_first_of(" =\"\n\t\\") != std::string_view::npos;
}

// Appends a logfmt value; quotes and control bytes are escaped so that one event stays one line.
void AppendValue(std::string& out, std::string_view value) {
  if (!NeedsQuotes(value)) {
    out += value;
    return;
  }
  out += '"';
  for (char c : value) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += ' ';
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

void Log(LogLevel level, std::string_view component, std::string_view message, std::initializer_list<LogField> fields) {
  auto& logger = Logger();
  if (!logger->should_log(ToSpdlog(level))) return;
  std::string line = "component=";
  line += component;
  line += " msg=";
  AppendValue(line, message);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    AppendValue(line, field.value);
  }
  logger->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void SetLogLevel(LogLevel level) { Logger()->set_level(ToSpdlog(level)); }

Status SetLogLevel(std::string_view name) {
  if (name == "debug") {
    SetLogLevel(LogLevel::kDebug);
  } else if (name == "info") {
    SetLogLevel(LogLevel::kInfo);
  } else if (name == "warn") {
    SetLogLevel(LogLevel::kWarn);
  } else if (name == "error") {
    SetLogLevel(LogLevel::kError);
  } else {
    return InvalidArgumentError("log level \"" + std::string(name) + "\" is not one of debug, info, warn, error");
  }
  return Status::Ok();
}

Status LogToFile(const std::string& path) {
  try {
    auto logger = MakeLogger(std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    logger->set_level(Logger()->level());
    Logger() = std::move(logger);
    return Status::Ok();
  } catch (const spdlog::spdlog_ex& error) {
    return UnavailableError("log file " + path + ": " + error.what());
  }
}

}  // namespace tidewright::base
