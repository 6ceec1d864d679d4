// Range vectors as sliding windows, and the functions over them.
#include <algorithm>

#include "promql/evaluator.h"
#include "promql/extended_range.h"
#include "promql/functions.h"

namespace tidewright::promql {
namespace {

base::Result<EvalMatrix> EvalSubquery(Evaluator& evaluator, const Subquery& node) {
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
  Evaluator inner(state, Steps{times.first, times.step, static_cast<size_t>(count)});
  return inner.Eval(*node.expr);
}

// Which argument is the range vector.
size_t RangeArgument(const FunctionDef& function) {
  size_t at = 0;
  while (function.args[at] != ValueType::kMatrix) ++at;
  return at;
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

}  // namespace

base::Result<RangeInput> RangeInput::Open(Evaluator& evaluator, const Expr& expr) {
  RangeInput input;
  if (expr.kind == NodeKind::kMatrixSelector) {
    const auto& node = As<MatrixSelector>(expr);
    input.selector_ = node.selector.get();
    input.series_ = &evaluator.state().SeriesOf(*node.selector);
    input.shift_ = &node.selector->shift;
    input.range_ms_ = node.range_ms;
  } else {
    const auto& node = As<Subquery>(expr);
    auto matrix = EvalSubquery(evaluator, node);
    if (!matrix.ok()) return matrix.status();
    input.matrix_ = *std::move(matrix);
    input.shift_ = &node.shift;
    input.range_ms_ = node.range_ms;
  }
  input.first_needed_ = SaturatingAdd(SaturatingSub(input.End(evaluator.steps().start), input.range_ms_), 1);
  if (input.extension() != Extension::kNone) {
    input.first_needed_ = SaturatingSub(input.first_needed_, evaluator.state().options().lookback_ms);
  }
  return input;
}

int64_t RangeInput::End(int64_t t) const {
  return SaturatingSub(shift_->at != TimeShift::At::kNone ? shift_->at_ms : t, shift_->offset_ms);
}

const Labels& RangeInput::labels(size_t i) const {
  return series_ != nullptr ? (*series_)[i]->labels() : matrix_[i].labels;
}

RangeInput::Cursor::Cursor(const RangeInput& input, size_t i) : points_(&buffer_) {
  if (input.series_ == nullptr) {
    points_ = &input.matrix_[i].points;
  } else {
    iterator_ = (*input.series_)[i]->Iterator();
    more_ = iterator_->Seek(input.first_needed_);
  }
}

// Reads samples up to `until` into the buffer.
void RangeInput::Cursor::Fill(int64_t until) {
  for (; more_; more_ = iterator_->Next()) {
    Point point = iterator_->At();
    if (point.t > until) return;
    if (!tsdb::IsStaleNan(point.v)) buffer_.push_back(point);
  }
}

std::span<const Point> RangeInput::Cursor::Window(int64_t after, int64_t until) {
  if (iterator_ != nullptr) {
    // Forget what no window needs any more before it doubles the memory.
    if (begin_ > 1024 && begin_ * 2 > buffer_.size()) {
      buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<long>(begin_));
      end_ -= begin_;
      begin_ = 0;
    }
    if (begin_ == buffer_.size() && more_ && iterator_->At().t <= after && after < until) {
      more_ = iterator_->Seek(after + 1);
    }
    Fill(until);
  }
  const auto& points = *points_;
  while (end_ < points.size() && points[end_].t <= until) ++end_;
  while (begin_ < end_ && points[begin_].t <= after) ++begin_;
  return {points.data() + begin_, end_ - begin_};
}

bool RangeInput::Cursor::exhausted() const { return !more_ && begin_ == points_->size(); }

base::Result<EvalMatrix> Evaluator::EvalRangeCall(const Call& node) {
  const FunctionDef& function = *node.function;
  RangeFn compute = std::get<RangeFn>(function.implementation);
  size_t range = RangeArgument(function);
  auto scalars = ScalarArguments(*this, node, range);
  if (!scalars.ok()) return scalars.status();
  auto input = RangeInput::Open(*this, StripParens(*node.args[range]));
  if (!input.ok()) return input.status();
  TW_RETURN_IF_ERROR(CheckExtension(function, input->extension()));
  // Anchored and smoothed ranges also look at samples around the range.
  bool extended = input->extension() != Extension::kNone;
  int64_t before = extended ? state_.options().lookback_ms : 0;
  int64_t behind = input->extension() == Extension::kSmoothed ? before : 0;
  if (extended) compute = function.extended;
  RangeCall call;
  call.extension = input->extension();
  call.call = &node;
  call.evaluator = this;
  call.scalars.resize(scalars->size());
  EvalMatrix result;
  for (size_t i = 0; i < input->size(); ++i) {
    EvalSeries series{input->labels(i), {}, input->drop_name(i)};
    call.labels = &series.labels;
    RangeInput::Cursor cursor(*input, i);
    size_t widest = 0;
    for (size_t s = 0; s < steps_.count && !cursor.exhausted(); ++s) {
      if (s % 1024 == 0) TW_RETURN_IF_ERROR(state_.CheckDeadline());
      call.time_ms = steps_.At(s);
      call.end_ms = input->End(call.time_ms);
      call.start_ms = SaturatingSub(call.end_ms, input->range_ms());
      call.window = cursor.Window(SaturatingSub(call.start_ms, before), SaturatingAdd(call.end_ms, behind));
      if (call.window.empty()) continue;
      widest = std::max(widest, call.window.size());
      for (size_t k = 0; k < scalars->size(); ++k) call.scalars[k] = (*scalars)[k][s];
      double value = 0;
      bool has_value = compute(call, &value);
      TW_RETURN_IF_ERROR(call.error);
      if (has_value) series.points.push_back({call.time_ms, value});
    }
    TW_RETURN_IF_ERROR(state_.AddSamples(series.points.size() + widest));
    state_.ReleaseSamples(widest);
    if (series.points.empty()) continue;
    if (!function.keeps_name) DropName(series);
    result.push_back(std::move(series));
  }
  input->ReleaseTo(*this);
  TW_RETURN_IF_ERROR(JoinEqual(result));
  return result;
}

}  // namespace tidewright::promql
