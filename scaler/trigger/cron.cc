// The cron trigger: a number of replicas, or other limits of the object, while a window is open.
#include <algorithm>
#include <optional>
#include <utility>

#include "base/duration.h"
#include "scaler/cron/planned_window.h"
#include "scaler/trigger/hours.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct CronConfig {
  WindowTexts window;
  int64_t lead_ms = 0;
  int64_t replicas = 0;
  std::optional<int64_t> min, max;
};

base::Status ParseLead(const std::string& value, CronConfig& config) {
  auto lead = base::ParseDuration(value);
  if (!lead.ok()) return lead.status();
  config.lead_ms = lead->ms;
  if (lead->ms >= 0 && lead->ms <= 86'400'000) return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is out of range; use 0s to 1d, for example 10m");
}

base::Status ParseLimit(const std::string& value, std::optional<int64_t>* limit) {
  *limit = 0;
  return ParseWhole(value, 0, INT32_MAX, &**limit);
}

constexpr Field<CronConfig> kFields[] = {
    {"timezone", Need::kRequired, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseZone(value, &config.window); },
     "A name of the IANA database: Europe/Rome."},
    {"start", Need::kRequired, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseStart(value, &config.window); },
     "A cron expression; the window opens at each of its times."},
    {"end", Need::kRequired, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseEnd(value, &config.window); },
     "A cron expression; the window closes at each of its times."},
    {"desiredReplicas", Need::kOptional, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseWhole(value, 1, INT32_MAX, &config.replicas); },
     "Replicas while the window is open, exactly. Required unless minReplicas or maxReplicas is given."},
    {"minReplicas", Need::kOptional, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseLimit(value, &config.min); },
     "While the window is open the object has at least this many replicas, whatever a formula says."},
    {"maxReplicas", Need::kOptional, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseLimit(value, &config.max); },
     "While the window is open the object has at most this many replicas, all triggers together."},
    {"exclude", Need::kOptional, From::kMetadata,
     [](const std::string& value, CronConfig& config) { return ParseExcluded(value, &config.window); },
     "Local dates on which the window stays closed: `2026-12-25, 2027-08-01..2027-08-15, 12-24..01-06`."},
    {"leadTime", Need::kOptional, From::kMetadata, &ParseLead,
     "Opens the window this much earlier, for pods that need time to start: `10m`."},
};

class CronTrigger : public Trigger {
 public:
  CronTrigger(TriggerInfo info, cron::PlannedWindow window, const CronConfig& config, const base::Clock& calendar)
      : Trigger(std::move(info)),
        hours_(std::move(window)),
        calendar_(calendar),
        replicas_(config.replicas),
        min_(config.min),
        max_(config.max) {}

  base::Result<Reading> Read() override {
    const int64_t now_ms = calendar_.NowMs();
    const bool open = hours_.IsOpen(now_ms);
    Reading reading{0, "window is " + hours_.Describe(now_ms)};
    if (!open) return reading;
    int64_t replicas = std::max(replicas_, min_.value_or(0));
    reading.value_milli = replicas * 1000;
    if (min_) reading.min_replicas = static_cast<int32_t>(*min_);
    if (max_) reading.max_replicas = static_cast<int32_t>(*max_);
    return reading;
  }

 private:
  Hours hours_;
  const base::Clock& calendar_;
  const int64_t replicas_;
  const std::optional<int64_t> min_;
  const std::optional<int64_t> max_;
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
  if (reader.described() != nullptr) return nullptr;
  if (spec.metadata.count("desiredReplicas") == 0 && !config.min && !config.max) {
    reader.Error("desiredReplicas", "is missing; it is required (or minReplicas, or maxReplicas)");
  }
  if (config.min && config.max && *config.min > *config.max) {
    reader.Error("minReplicas", std::to_string(*config.min) + " is greater than maxReplicas " +
                                    std::to_string(*config.max) + "; lower it");
  }
  auto window = PlanWindow(config.window, config.lead_ms);
  if (!window.ok()) reader.Error("end", window.status().message());
  if (!window.ok() || !*window || context == nullptr) return nullptr;  // Without a window: reported field by field.
  const WindowTexts& texts = config.window;
  TriggerInfo info =
      InfoOf(spec, texts.start, "cron-" + texts.timezone + "-" + NormalCron(texts.start) + "-" + NormalCron(texts.end));
  info.target_type = TargetType::kAverageValue;
  info.target_milli = 1000;
  info.exact = true;
  return std::make_unique<CronTrigger>(std::move(info), std::move(**window), config, *context->calendar);
}

}  // namespace tidewright::scaler::trigger
