#include "promql/range_call.h"

#include <algorithm>

#include "promql/extended_range.h"
#include "promql/functions.h"
#include "promql/histogram.h"

namespace tidewright::promql {
namespace {

base::Result<EvalMatrix> EvalSubquery(Evaluator& evaluator, const Subquery& node, std::vector<int64_t>* step_times) {
  const Steps& outer = evaluator.steps();
  QueryState& state = evaluator.state();
  auto times = TimesOf(node, state.options().default_subquery_step_ms, outer.start, outer.end());
  if (times.first > times.last) return EvalMatrix{};
  int64_t count = SaturatingSub(times.last, times.first) / times.step + 1;
  size_t most = state.options().max_samples;
  if (static_cast<uint64_t>(count) > most) {
    return base::ResourceExhaustedError("a subquery has " + std::to_string(count) + " steps, more than the " +
                                        std::to_string(most) +
                                        " samples of a query; shorten its range or widen its step");
  }
  Steps steps{times.first, times.step, static_cast<size_t>(count), times.first < times.last};
  TW_RETURN_IF_ERROR(state.AddSamples(steps.count));  // Its times; given back with its values.
  step_times->reserve(steps.count);
  for (size_t i = 0; i < steps.count; ++i) step_times->push_back(steps.At(i));
  Evaluator inner(state, steps);
  return inner.Eval(*node.expr);
}

// The scalar arguments at every step.
base::Result<std::vector<std::vector<double>>> ScalarArguments(Evaluator& evaluator, const Call& node, size_t range) {
  std::vector<std::vector<double>> scalars;
  for (size_t i = 0; i < node.args.size(); ++i) {
    if (i == range) continue;
    auto values = evaluator.EvalScalar(*node.args[i]);
    if (!values.ok()) return values.status();
    scalars.push_back(*std::move(values));
  }
  return scalars;
}

// A subquery may repeat and skip samples, so that what is known of resets between them is void.
HistogramPtr WithoutResets(const HistogramPtr& h) {
  bool knows = h->hint == CounterResetHint::kCounterReset || h->hint == CounterResetHint::kNotCounterReset;
  return knows ? WithHint(*h, CounterResetHint::kUnknown) : h;
}

}  // namespace

size_t RangeArgument(const FunctionDef& function) {
  size_t at = 0;
  while (function.args[at] != ValueType::kMatrix) ++at;
  return at;
}

base::Result<RangeInput> RangeInput::Open(Evaluator& evaluator, const Expr& expr) {
  RangeInput input;
  const TimeShift* shift = nullptr;
  const EngineOptions& options = evaluator.state().options();
  input.state_ = &evaluator.state();
  if (expr.kind == NodeKind::kMatrixSelector) {
    const auto& node = As<MatrixSelector>(expr);
    input.selector_ = node.selector.get();
    input.series_ = evaluator.state().SeriesOf(*node.selector);
    input.range_ms_ = node.range_ms;
    input.reader_ = std::make_unique<SampleReader>(SampleReader::Options{
        .keep_stale = false, .with_start = options.use_start_timestamps, .counts_only = node.selector->counts_only});
    shift = &node.selector->shift;
  } else {
    const auto& node = As<Subquery>(expr);
    auto matrix = EvalSubquery(evaluator, node, &input.times_);
    if (!matrix.ok()) return matrix.status();
    input.matrix_ = *std::move(matrix);
    input.range_ms_ = node.range_ms;
    shift = &node.shift;
  }
  // Anchored and smoothed ranges also look at samples around the range.
  int64_t around = input.extension() == Extension::kNone ? 0 : options.lookback_ms;
  const Steps& steps = evaluator.steps();
  bool pinned = shift->at != TimeShift::At::kNone;
  WindowTimes times{SaturatingSub(pinned ? shift->at_ms : steps.start, shift->offset_ms), pinned ? 0 : steps.step,
                    steps.count, SaturatingAdd(input.range_ms_, around),
                    input.extension() == Extension::kSmoothed ? around : 0};
  input.finder_ = std::make_unique<WindowFinder>(times);
  return input;
}

LabelsView RangeInput::labels(size_t i) const { return selector_ != nullptr ? series_.labels(i) : matrix_[i].labels; }

base::Status RangeInput::Read(size_t i) {
  uint64_t timeline = 1;
  if (selector_ != nullptr) {
    TW_ASSIGN_OR_RETURN(const SampleSpan* read, reader_->Read(series_, i, SaturatingAdd(finder_->times().After(0), 1)));
    samples_ = *read;
    timeline = reader_->timeline();
    state_->CountRead(samples_.size());
  } else {
    ReadColumn(matrix_[i]);
    if (samples_.t.data() != times_.data()) timeline = 0;
  }
  windows_ = &finder_->Find(samples_.t, timeline);
  const auto& histograms = samples_.histograms;
  if (histograms.empty()) return base::Status::Ok();
  FindWindows(
      finder_->times(), histograms.size(), [&](size_t k) { return histograms[k].t; }, &histogram_windows_);
  return base::Status::Ok();
}

// The values of a subquery at its steps. Without gaps, all its series share the steps' times.
void RangeInput::ReadColumn(const EvalSeries& series) {
  samples_ = {times_, series.values, {}, {}};
  if (std::none_of(series.values.begin(), series.values.end(), IsAbsent)) return;
  own_t_.clear();
  own_v_.clear();
  own_histograms_.clear();
  for (size_t i = 0; i < series.values.size(); ++i) {
    if (!IsAbsent(series.values[i])) {
      own_t_.push_back(times_[i]);
      own_v_.push_back(series.values[i]);
    } else if (series.HistogramAt(i) != nullptr) {
      own_histograms_.push_back({times_[i], WithoutResets(series.histograms[i]), 0});
    }
  }
  samples_ = {own_t_, own_v_, {}, own_histograms_};
}

SampleSpan RangeInput::Window(size_t step) const {
  SampleSpan window;
  size_t begin = windows_->begin[step];
  size_t count = windows_->end[step] - begin;
  window.t = samples_.t.subspan(begin, count);
  window.v = samples_.v.subspan(begin, count);
  if (!samples_.start.empty()) window.start = samples_.start.subspan(begin, count);
  if (samples_.histograms.empty()) return window;
  begin = histogram_windows_.begin[step];
  window.histograms = samples_.histograms.subspan(begin, histogram_windows_.end[step] - begin);
  return window;
}

int64_t RangeInput::NewestOf(size_t i) const {
  SampleSpan window = Window(windows_->end.size() - 1);
  int64_t newest = window.t.empty() ? kNoSample : window.t.back();
  if (!window.histograms.empty()) newest = std::max(newest, window.histograms.back().t);
  bool known = selector_ == nullptr && matrix_[i].sampled_ms != kNoSample;
  return known ? matrix_[i].sampled_ms : newest;
}

size_t RangeInput::Widest() const {
  if (samples_.histograms.empty()) return windows_->widest;
  size_t widest = 0;
  for (size_t i = 0; i < windows_->end.size(); ++i) {
    size_t size = windows_->end[i] - windows_->begin[i] + histogram_windows_.end[i] - histogram_windows_.begin[i];
    widest = std::max(widest, size);
  }
  return widest;
}

namespace {

std::string Named(const RangeCall& call, const std::string& message, bool named) {
  std::string name(call.labels.Get(tsdb::kMetricName));
  return named && !name.empty() ? message + " for metric name \"" + name + "\"" : message;
}

}  // namespace

void RangeCall::Warn(const std::string& message, bool named) {
  evaluator->state().Warn(*call->args[RangeArgument(*call->function)], Named(*this, message, named));
}

void RangeCall::Info(const std::string& message, bool named) {
  evaluator->state().Info(*call->args[RangeArgument(*call->function)], Named(*this, message, named));
}

void RangeCall::InformIgnoredHistograms() {
  std::string message = "ignored histograms in a range containing both floats and histograms";
  evaluator->state().Info(*call->args[0], Named(*this, message, true));
}

namespace {

bool HasCounterName(std::string_view name) {
  for (std::string_view suffix : {"_total", "_sum", "_count", "_bucket"}) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

bool SelectsCounters(const Matchers& matchers) {
  return std::any_of(matchers.begin(), matchers.end(), [](const Matcher& matcher) {
    return matcher.name() == tsdb::kMetricName && matcher.type() == Matcher::Type::kEqual &&
           HasCounterName(matcher.value());
  });
}

}  // namespace

void RangeCall::CheckCounterName() {
  if (name_checked) return;
  name_checked = true;
  std::string_view name = labels.Get(tsdb::kMetricName);
  if (name.empty() || HasCounterName(name)) return;
  Info("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"" + std::string(name) + "\"",
       false);
}

namespace {

// Evaluates one function over every series of its range vector.
class RangeEvaluation {
 public:
  RangeEvaluation(Evaluator& evaluator, const Call& node, RangeInput& input, std::vector<std::vector<double>> scalars)
      : evaluator_(evaluator),
        function_(*node.function),
        input_(input),
        scalars_(std::move(scalars)),
        absent_(evaluator.steps().count, Absent()) {
    bool extended = input.extension() != Extension::kNone;
    compute_ = extended ? function_.extended : std::get<RangeFn>(function_.implementation);
    columns_ = extended || evaluator.state().options().use_start_timestamps ? nullptr : function_.columns;
    call_.extension = input.extension();
    call_.call = &node;
    call_.evaluator = &evaluator;
    call_.scalars.resize(scalars_.size());
    counter_named_ = input.matchers() != nullptr && SelectsCounters(*input.matchers());
  }

  // Fills the columns of series i.
  base::Status Run(size_t i, EvalSeries& series);

 private:
  base::Status RunWindows(EvalSeries& series);

  Evaluator& evaluator_;
  const FunctionDef& function_;
  RangeInput& input_;
  std::vector<std::vector<double>> scalars_;
  RangeFn compute_ = nullptr;
  ColumnFn columns_ = nullptr;
  const std::vector<double> absent_;  // At every step.
  bool counter_named_ = false;        // All series are known to have the name of a counter.
  RangeCall call_;
};

base::Status RangeEvaluation::Run(size_t i, EvalSeries& series) {
  TW_RETURN_IF_ERROR(input_.Read(i));
  size_t widest = input_.Widest();
  TW_RETURN_IF_ERROR(evaluator_.state().AddSamples(widest));
  evaluator_.state().ReleaseSamples(widest);
  series.labels = call_.labels = input_.labels(i);
  series.drop_name = input_.drop_name(i);
  series.histograms.clear();
  series.values = absent_;
  series.sampled_ms = input_.NewestOf(i);
  call_.name_checked = counter_named_;
  if (widest == 0) return base::Status::Ok();
  if (columns_ == nullptr || !input_.samples().histograms.empty()) return RunWindows(series);
  columns_(call_, input_, series.values);
  return base::Status::Ok();
}

base::Status RangeEvaluation::RunWindows(EvalSeries& series) {
  for (size_t s = 0; s < series.values.size(); ++s) {
    if (s % 1024 == 0) TW_RETURN_IF_ERROR(evaluator_.state().CheckDeadline());
    call_.window = input_.Window(s);
    if (call_.window.empty()) continue;
    call_.time_ms = evaluator_.steps().At(s);
    call_.start_ms = input_.start_ms(s);
    call_.end_ms = input_.end_ms(s);
    for (size_t k = 0; k < scalars_.size(); ++k) call_.scalars[k] = scalars_[k][s];
    RangeResult result;
    compute_(call_, &result);
    TW_RETURN_IF_ERROR(call_.error);
    series.values[s] = result.v;
    if (result.h != nullptr) series.SetHistogram(s, std::move(result.h));
  }
  return base::Status::Ok();
}

}  // namespace

base::Status Evaluator::StreamRangeCall(const Call& node, const SeriesSink& sink) {
  const FunctionDef& function = *node.function;
  size_t range = RangeArgument(function);
  TW_ASSIGN_OR_RETURN(auto scalars, ScalarArguments(*this, node, range));
  TW_ASSIGN_OR_RETURN(RangeInput input, RangeInput::Open(*this, StripParens(*node.args[range])));
  TW_RETURN_IF_ERROR(CheckExtension(function, input.extension()));
  RangeEvaluation evaluation(*this, node, input, std::move(scalars));
  EvalSeries series;
  for (size_t i = 0; i < input.size(); ++i) {
    TW_RETURN_IF_ERROR(evaluation.Run(i, series));
    if (series.IsEmpty()) continue;
    if (!function.keeps_name) DropName(series);
    TW_RETURN_IF_ERROR(sink(series));
  }
  input.ReleaseTo(*this);
  return base::Status::Ok();
}

base::Result<Matrix> Evaluator::EvalRangeVector(const Expr& expr) {
  Evaluator last(state_, Steps{steps_.end(), steps_.step, 1});
  TW_ASSIGN_OR_RETURN(RangeInput input, RangeInput::Open(last, StripParens(expr)));
  Matrix matrix;
  for (size_t i = 0; i < input.size(); ++i) {
    TW_RETURN_IF_ERROR(input.Read(i));
    SampleSpan window = input.Window(0);
    if (window.empty()) continue;
    TW_RETURN_IF_ERROR(state_.AddSamples(window.size()));
    LabelsView labels = input.drop_name(i) ? input.labels(i).WithoutMetric() : input.labels(i);
    MatrixSeries& series = matrix.emplace_back();
    series.labels = labels.Copy();
    for (size_t k = 0; k < window.t.size(); ++k) series.points.push_back({window.t[k], window.v[k]});
    for (const auto& sample : window.histograms) series.histograms.push_back({sample.t, sample.h});
    if (input.extension() == Extension::kNone) continue;
    TW_RETURN_IF_ERROR(ExtendSamples(input.extension(), input.start_ms(0), input.end_ms(0), &series));
    if (series.points.empty()) matrix.pop_back();
  }
  return matrix;
}

}  // namespace tidewright::promql
