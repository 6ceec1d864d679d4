// The cron trigger: a number of replicas while a window is open. Keys: timezone, start, end, desiredReplicas.
#include <algorithm>
#include <optional>

#include "scaler/cron/window.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct CronConfig {
  std::string timezone;
  std::string start;
  std::string end;
  int64_t replicas = 0;
};

base::Status ParseCron(const std::string& value, std::string* out) {
  *out = value;
  return cron::Expression::Parse(value).status();
}

constexpr Field<CronConfig> kFields[] = {
    {"timezone", Need::kRequired, From::kMetadata,
     [](const std::string& value, CronConfig& config) {
       config.timezone = value;
       return cron::Zone::Find(value).status();
     }},
    {"start", Need::kRequired, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseCron(value, &config.start); }},
    {"end", Need::kRequired, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseCron(value, &config.end); }},
    {"desiredReplicas", Need::kRequired, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseWhole(value, 1, INT32_MAX, &config.replicas); }},
};

class CronTrigger : public Trigger {
 public:
  CronTrigger(TriggerInfo info, cron::Window window, int64_t replicas, const base::Clock& calendar)
      : Trigger(std::move(info)), window_(std::move(window)), replicas_(replicas), calendar_(calendar) {}

  base::Result<Reading> Read() override {
    cron::WindowState state = window_.At(calendar_.NowMs());
    std::optional<int64_t> change = state.open ? state.closes_ms : state.opens_ms;
    std::string until = change ? "until " + window_.start().zone().Format(*change) : "for good";
    return Reading{state.open ? replicas_ * 1000 : 0,
                   std::string("window is ") + (state.open ? "open " : "closed ") + until};
  }

 private:
  const cron::Window window_;
  const int64_t replicas_;
  const base::Clock& calendar_;
};

// The part of the metric's name that stands for an expression: "0 */2 * * *" is "0xSl2xxx".
std::string NormalCron(const std::string& text) {
  std::string name;
  for (char c : text) {
    switch (c) {
      case ' ':
      case '\t': break;
      case '*': name += 'x'; break;
      case '/': name += "Sl"; break;
      case '?': name += "Qm"; break;
      case ',': name += "Cm"; break;
      default: name += c;
    }
  }
  return name;
}

}  // namespace

std::unique_ptr<Trigger> MakeCron(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  CronConfig config = ReadMetadata(kFields, reader);
  bool complete = !config.timezone.empty() && !config.start.empty() && !config.end.empty();
  bool parsed = cron::Zone::Find(config.timezone).ok() && cron::Expression::Parse(config.start).ok() &&
                cron::Expression::Parse(config.end).ok();
  if (!complete || !parsed) return nullptr;  // Reported field by field.
  auto window = cron::Window::Create(config.start, config.end, config.timezone);
  std::string defect = window.ok() ? window->Defect() : window.status().message();
  if (!defect.empty()) {
    reader.Error("end", defect);
    return nullptr;
  }
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.start,
                            "cron-" + config.timezone + "-" + NormalCron(config.start) + "-" + NormalCron(config.end));
  info.target_type = TargetType::kAverageValue;
  info.target_milli = 1000;
  info.exact = true;
  return std::make_unique<CronTrigger>(std::move(info), std::move(*window), config.replicas, *context->calendar);
}

}  // namespace tidewright::scaler::trigger
