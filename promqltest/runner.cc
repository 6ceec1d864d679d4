#include "promqltest/runner.h"

#include <re2/re2.h>

#include <algorithm>
#include <memory>

#include "base/duration.h"
#include "base/strings.h"
#include "promql/parser.h"
#include "promql/printer.h"
#include "promqltest/classic.h"
#include "promqltest/notation.h"
#include "promqltest/storage.h"

namespace tidewright::promqltest {
namespace {

// Puts "@ t" on every selector and subquery that has none and does not stand below one that has.
void PinSelectors(promql::Expr& expr, int64_t at_ms) {
  auto pin = [&](promql::TimeShift& shift) {
    if (shift.at != promql::TimeShift::At::kNone) return;
    shift.at = promql::TimeShift::At::kTime;
    shift.at_ms = at_ms;
  };
  if (expr.kind == promql::NodeKind::kVectorSelector) {
    if (!promql::As<promql::VectorSelector>(expr).labels_only) pin(promql::As<promql::VectorSelector>(expr).shift);
    return;
  }
  if (expr.kind == promql::NodeKind::kSubquery) return pin(promql::As<promql::Subquery>(expr).shift);
  promql::ForEachChild(expr, [&](promql::Expr& child) { PinSelectors(child, at_ms); });
}

// Functions whose result depends on the evaluation time itself.
bool DependsOnTime(const std::string& expr) {
  static const re2::RE2 kCalls(
      "\\b(days_in_month|day_of_month|day_of_week|day_of_year|end|hour|minute|month|predict_linear|range|start|step|"
      "time|timestamp|year)\\s*\\(");
  return re2::RE2::PartialMatch(expr, kCalls);
}

// Points of one series, ready to be stored.
struct Loaded {
  SeriesLine line;
  std::vector<StartLine::Offset> starts;  // Empty, or one per point.
};

class Runner {
 public:
  explicit Runner(const RunnerOptions& options) : options_(options) { Clear(); }
  ScriptResult Run(const std::string& text);

 private:
  void Clear();
  base::Status RunCommand(const std::string& head, const std::vector<std::string>& body, int line,
                          ScriptResult* result);
  base::Status Load(const std::string& head, const std::vector<std::string>& body);
  base::Status Store(const Loaded& loaded, int64_t interval_ms);
  EvalResult Judge(const Eval& eval);
  std::string JudgeStrictly(const Eval& eval);
  std::string JudgeAsRange(const Eval& eval, const std::string& expr, int64_t at_ms);

  const RunnerOptions& options_;
  std::unique_ptr<MemoryStorage> storage_;
  std::unique_ptr<promql::QueryEngine> engine_;
};

void Runner::Clear() {
  engine_.reset();
  storage_ = std::make_unique<MemoryStorage>();
  engine_ = promql::NewEmbeddedEngine(*storage_, options_.engine, nullptr);
}

base::Status Runner::Store(const Loaded& loaded, int64_t interval_ms) {
  for (size_t i = 0; i < loaded.line.items.size(); ++i) {
    const Item& item = loaded.line.items[i];
    if (item.kind == Item::Kind::kNone) continue;
    StoredSample sample{static_cast<int64_t>(i) * interval_ms, item.value, item.histogram, 0};
    if (!loaded.starts.empty() && loaded.starts[i].known) sample.start = sample.t + loaded.starts[i].ms;
    TW_RETURN_IF_ERROR(storage_->Append(loaded.line.labels, std::move(sample)));
  }
  return base::Status::Ok();
}

// "load 5m", "load_with_nhcb 5m".
base::Status Runner::Load(const std::string& head, const std::vector<std::string>& body) {
  static const re2::RE2 kForm("(?i:load)(_with_nhcb)?\\s+(\\S+)");
  std::string convert, interval;
  if (!re2::RE2::FullMatch(head, kForm, &convert, &interval)) return base::InvalidArgumentError("cannot read " + head);
  TW_ASSIGN_OR_RETURN(base::Duration duration, base::ParseDuration(interval));
  std::vector<Loaded> all;
  StartLine starts;
  for (const std::string& text : body) {
    if (IsStartLine(text)) {
      TW_ASSIGN_OR_RETURN(starts, ParseStartLine(text));
      continue;
    }
    TW_ASSIGN_OR_RETURN(SeriesLine line, ParseSeriesLine(text));
    bool mismatch =
        !starts.offsets.empty() && (!(starts.labels == line.labels) || starts.offsets.size() != line.items.size());
    if (mismatch) return base::InvalidArgumentError("the start timestamps before it do not fit " + text);
    std::erase_if(all, [&](const Loaded& earlier) { return earlier.line.labels == line.labels; });
    all.push_back({std::move(line), std::exchange(starts.offsets, {})});
  }
  for (const Loaded& loaded : all) TW_RETURN_IF_ERROR(Store(loaded, duration.ms));
  if (convert.empty()) return base::Status::Ok();
  std::vector<SeriesLine> lines;
  for (const Loaded& loaded : all) lines.push_back(loaded.line);
  TW_ASSIGN_OR_RETURN(std::vector<SeriesLine> converted, ConvertClassic(lines));
  for (SeriesLine& line : converted) TW_RETURN_IF_ERROR(Store({std::move(line), {}}, duration.ms));
  return base::Status::Ok();
}

std::string Runner::JudgeAsRange(const Eval& eval, const std::string& expr, int64_t at_ms) {
  static const re2::RE2 kBounds("\\b(start|end|range|step)\\s*\\(\\s*\\)");
  if (eval.string || eval.range_vector || re2::RE2::PartialMatch(eval.expr, kBounds)) return "";
  std::string error = CheckWithinRange(eval, engine_->Range(expr, at_ms - 60'000, at_ms + 60'000, 60'000), at_ms);
  return error.empty() ? "" : "as a range query: " + error;
}

// The same expectation in other forms: pinned by @ and asked at other times, and inside of a range query.
std::string Runner::JudgeStrictly(const Eval& eval) {
  if (std::string error = JudgeAsRange(eval, eval.expr, eval.start); !error.empty()) return error;
  if (DependsOnTime(eval.expr)) return "";
  auto tree = promql::ParseExpression(eval.expr, promql::ParserOptions::All());
  if (!tree.ok()) return "";
  PinSelectors(**tree, eval.start);
  std::string pinned = promql::Print(**tree);
  std::vector<int64_t> times = {-10 * eval.start, 0, eval.start / 5, eval.start, 10 * eval.start};
  if (eval.start == 0) times = {-1000, 0, 1000};
  for (int64_t time : times) {
    std::string error = CheckAnswer(eval, engine_->Instant(pinned, time));
    if (error.empty()) error = JudgeAsRange(eval, pinned, time);
    if (!error.empty()) return pinned + " at " + std::to_string(time) + " ms: " + error;
  }
  return "";
}

EvalResult Runner::Judge(const Eval& eval) {
  auto answer = eval.range ? engine_->Range(eval.expr, eval.start, eval.end, eval.step)
                           : engine_->Instant(eval.expr, eval.range_vector ? eval.vector_end : eval.start);
  if (options_.on_answer) options_.on_answer(eval, answer);
  EvalResult result{eval.line, eval.expr, CheckAnswer(eval, answer)};
  if (result.failure.empty() && options_.strict && !eval.range) result.failure = JudgeStrictly(eval);
  return result;
}

base::Status Runner::RunCommand(const std::string& head, const std::vector<std::string>& body, int line,
                                ScriptResult* result) {
  std::string word = base::ToLower(head.substr(0, head.find_first_of(" \t")));
  if (word == "clear") {
    Clear();
    return base::Status::Ok();
  }
  if (word.starts_with("load")) return Load(head, body);
  if (!word.starts_with("eval")) return base::InvalidArgumentError("unknown command " + head);
  TW_ASSIGN_OR_RETURN(Eval eval, ParseEval(head, body, line));
  result->evals.push_back(Judge(eval));
  return base::Status::Ok();
}

ScriptResult Runner::Run(const std::string& text) {
  ScriptResult result;
  std::vector<std::string> lines;
  for (const std::string& raw : base::Split(text, '\n')) {
    std::string line(base::TrimSpace(raw));
    lines.push_back(line.starts_with("#") ? "" : line);
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    int number = static_cast<int>(i) + 1;
    std::string head = lines[i];
    std::vector<std::string> body;
    bool has_body = base::ToLower(head) != "clear";
    while (has_body && i + 1 < lines.size() && !lines[i + 1].empty()) body.push_back(lines[++i]);
    base::Status status = RunCommand(head, body, number, &result);
    if (status.ok()) continue;
    result.error = "line " + std::to_string(number) + ": " + status.message();
    return result;
  }
  return result;
}

}  // namespace

size_t ScriptResult::Passed() const {
  auto passed = std::count_if(evals.begin(), evals.end(), [](const auto& eval) { return eval.failure.empty(); });
  return static_cast<size_t>(passed);
}

promql::EngineOptions ScriptEngine() {
  promql::EngineOptions options;
  options.max_samples = 10'000;
  options.timeout_ms = 100'000;
  options.experimental_functions = true;
  options.fill_modifiers = true;
  options.extended_selectors = true;
  options.delayed_name_removal = true;
  options.use_start_timestamps = true;
  return options;
}

ScriptResult RunScript(const std::string& text, const RunnerOptions& options) { return Runner(options).Run(text); }

}  // namespace tidewright::promqltest
