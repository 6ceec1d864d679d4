#include "scaler/trigger/hours.h"

#include "base/document.h"

namespace tidewright::scaler::trigger {

namespace {

base::Status KeepExpression(const std::string& value, std::string* out) {
  base::Status status = cron::Expression::Parse(value).status();
  if (status.ok()) *out = value;
  return status;
}

class TriggerDuring : public Trigger {
 public:
  TriggerDuring(cron::PlannedWindow hours, std::unique_ptr<Trigger> trigger, const base::Clock& calendar)
      : Trigger(trigger->info()), hours_(std::move(hours)), trigger_(std::move(trigger)), calendar_(calendar) {}

  base::Result<Reading> Read() override {
    const int64_t now_ms = calendar_.NowMs();
    if (!hours_.IsOpen(now_ms)) return Reading{0, "not read: `when` is " + hours_.Describe(now_ms)};
    auto reading = trigger_->Read();
    if (info().type.empty()) SetInfo(trigger_->info());
    return reading;
  }
  void Push(Hasten hasten) override { trigger_->Push(std::move(hasten)); }

 private:
  Hours hours_;
  const std::unique_ptr<Trigger> trigger_;
  const base::Clock& calendar_;
};

}  // namespace

base::Status ParseZone(const std::string& value, WindowTexts* texts) {
  base::Status status = cron::Zone::Find(value).status();
  if (status.ok()) texts->timezone = value;
  return status;
}

base::Status ParseStart(const std::string& value, WindowTexts* texts) { return KeepExpression(value, &texts->start); }
base::Status ParseEnd(const std::string& value, WindowTexts* texts) { return KeepExpression(value, &texts->end); }

base::Status ParseExcluded(const std::string& value, WindowTexts* texts) {
  TW_ASSIGN_OR_RETURN(texts->excluded, cron::DateList::Parse(value));
  return base::Status::Ok();
}

base::Result<std::optional<cron::PlannedWindow>> PlanWindow(const WindowTexts& texts, int64_t lead_ms) {
  std::optional<cron::PlannedWindow> planned;
  if (texts.timezone.empty() || texts.start.empty() || texts.end.empty()) return planned;
  TW_ASSIGN_OR_RETURN(cron::Window window, cron::Window::Create(texts.start, texts.end, texts.timezone));
  std::string defect = window.Defect();
  if (!defect.empty()) return base::InvalidArgumentError(defect);
  planned.emplace(std::move(window), texts.excluded, lead_ms);
  return planned;
}

const cron::PlannedState& Hours::At(int64_t t_ms) {
  bool holds = state_ && t_ms >= since_ms_ && (!state_->change_ms || t_ms < *state_->change_ms);
  if (!holds) {
    state_ = window_.At(t_ms);
    since_ms_ = t_ms;
  }
  return *state_;
}

std::string Hours::Describe(int64_t t_ms) {
  const cron::PlannedState& state = At(t_ms);
  return std::string(state.open ? "open " : "closed ") +
         (state.change_ms ? "until " + window_.zone().Format(*state.change_ms) : "for good");
}

std::optional<cron::PlannedWindow> PlanHours(const TriggerHours& hours, const std::string& path,
                                             base::ErrorList& errors) {
  WindowTexts texts;
  const size_t before = errors.errors().size();
  auto check = [&](const char* key, const base::Status& status) {
    if (!status.ok()) errors.Add({}, path + "." + key, status.message());
  };
  check("timezone", ParseZone(hours.timezone, &texts));
  check("start", ParseStart(hours.start, &texts));
  check("end", ParseEnd(hours.end, &texts));
  if (!hours.exclude.empty()) check("exclude", ParseExcluded(hours.exclude, &texts));
  if (errors.errors().size() > before) return std::nullopt;
  auto planned = PlanWindow(texts, 0);
  check("end", planned.status());
  return planned.ok() ? *planned : std::nullopt;
}

std::unique_ptr<Trigger> During(cron::PlannedWindow hours, std::unique_ptr<Trigger> trigger,
                                const base::Clock& calendar) {
  return std::make_unique<TriggerDuring>(std::move(hours), std::move(trigger), calendar);
}

}  // namespace tidewright::scaler::trigger
