#include "promql/query_state.h"

#include <algorithm>
#include <limits>

#include "base/clock.h"
#include "base/duration.h"
#include "promql/duration.h"
#include "promql/functions.h"
#include "promql/lexer.h"
#include "promql/number_text.h"

namespace tidewright::promql {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr size_t kBytesPerSample = 16;  // A time and a value.

int64_t FloorToMultiple(int64_t value, int64_t step) {
  int64_t remainder = value % step;
  if (remainder < 0) remainder += step;
  return SaturatingSub(value, remainder);
}

std::string TimeText(int64_t ms) { return base::FormatTime(ms / 1000 * 1000, /*millis=*/false); }

}  // namespace

int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? kMax : kMin;
}

int64_t SaturatingSub(int64_t a, int64_t b) {
  int64_t difference;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return b < 0 ? kMax : kMin;
}

SubqueryTimes TimesOf(const Subquery& node, int64_t default_step_ms, int64_t min, int64_t max) {
  if (node.shift.at != TimeShift::At::kNone) min = max = node.shift.at_ms;
  SubqueryTimes times;
  times.step = std::max<int64_t>(1, node.step_ms != 0 ? node.step_ms : default_step_ms);
  int64_t after = SaturatingSub(SaturatingSub(min, node.shift.offset_ms), node.range_ms);
  times.first = SaturatingAdd(FloorToMultiple(after, times.step), times.step);
  times.last = SaturatingSub(max, node.shift.offset_ms);
  return times;
}

QueryState::QueryState(std::string_view text, const EngineOptions& options, int64_t start_ms, int64_t end_ms,
                       int64_t step_ms, int64_t deadline_nanos, const std::atomic<bool>* cancelled, PlanMemory& memory)
    : text_(text),
      options_(options),
      start_ms_(start_ms),
      end_ms_(end_ms),
      step_ms_(step_ms),
      deadline_nanos_(deadline_nanos),
      cancelled_(cancelled),
      memory_(memory) {}

base::Status QueryState::Prepare(Expr& root) {
  TW_RETURN_IF_ERROR(Resolve(root));
  int next = 0;
  NumberNodes(root, &next);
  MarkInvariant(root);
  MarkCountsOnly(root, false);
  return base::Status::Ok();
}

base::Status QueryState::ResolveInto(const std::unique_ptr<DurationExpr>& expr, bool positive, int64_t* ms) {
  if (expr == nullptr) return base::Status::Ok();
  DurationContext context{start_ms_ == end_ms_ ? 0 : step_ms_, end_ms_ - start_ms_};
  auto resolved = ResolveDuration(*expr, context, positive);
  if (!resolved.ok()) return resolved.status().Annotate(LineColumn(text_, expr->span.begin));
  *ms = *resolved;
  return base::Status::Ok();
}

base::Status QueryState::ResolveShift(TimeShift& shift) {
  if (shift.at == TimeShift::At::kStart) shift.at_ms = start_ms_;
  if (shift.at == TimeShift::At::kEnd) shift.at_ms = end_ms_;
  return ResolveInto(shift.offset_expr, false, &shift.offset_ms);
}

base::Status QueryState::Resolve(Expr& expr) {
  switch (expr.kind) {
    case NodeKind::kVectorSelector: return ResolveShift(As<VectorSelector>(expr).shift);
    case NodeKind::kMatrixSelector:
      TW_RETURN_IF_ERROR(ResolveInto(As<MatrixSelector>(expr).range_expr, true, &As<MatrixSelector>(expr).range_ms));
      break;
    case NodeKind::kSubquery: {
      auto& node = As<Subquery>(expr);
      TW_RETURN_IF_ERROR(ResolveInto(node.range_expr, true, &node.range_ms));
      TW_RETURN_IF_ERROR(ResolveInto(node.step_expr, true, &node.step_ms));
      TW_RETURN_IF_ERROR(ResolveShift(node.shift));
      break;
    }
    case NodeKind::kCall: uses_info_ = uses_info_ || As<Call>(expr).function->name == "info"; break;
    default: break;
  }
  base::Status status;
  ForEachChild(expr, [&](Expr& child) {
    if (status.ok()) status = Resolve(child);
  });
  return status;
}

// timestamp() of a selector is the time of its sample.
static bool DependsOnTime(const Call& call) {
  bool of_sample = call.function->name == "timestamp" && StripParens(*call.args[0]).kind == NodeKind::kVectorSelector;
  return call.function->uses_time && !of_sample;
}

bool QueryState::MarkInvariant(Expr& expr) {
  bool children = true;
  ForEachChild(expr, [&](Expr& child) { children = MarkInvariant(child) && children; });
  switch (expr.kind) {
    case NodeKind::kVectorSelector:
      expr.step_invariant = As<VectorSelector>(expr).shift.at != TimeShift::At::kNone;
      break;
    case NodeKind::kSubquery: expr.step_invariant = As<Subquery>(expr).shift.at != TimeShift::At::kNone; break;
    case NodeKind::kCall: expr.step_invariant = children && !DependsOnTime(As<Call>(expr)); break;
    default: expr.step_invariant = children;
  }
  return expr.step_invariant;
}

// Whether a node needs the buckets of all histograms below it.
static bool NeedsBuckets(const Expr& expr) {
  if (expr.kind == NodeKind::kSubquery) return true;  // It may skip samples, so that their hints are void.
  if (expr.kind == NodeKind::kBinary)
    return As<Binary>(expr).op == Op::kTrimUpper || As<Binary>(expr).op == Op::kTrimLower;
  if (expr.kind != NodeKind::kCall) return false;
  std::string_view name = As<Call>(expr).function->name;
  return name.starts_with("histogram_quantile") || name == "histogram_fraction";
}

static bool NeedsCountsOnly(const Expr& expr) {
  if (expr.kind != NodeKind::kCall) return false;
  std::string_view name = As<Call>(expr).function->name;
  return name == "histogram_count" || name == "histogram_sum" || name == "histogram_avg";
}

// Selectors below histogram_count() and its like, unless anything above them looks at buckets.
void QueryState::MarkCountsOnly(Expr& expr, bool counts_only) {
  if (NeedsBuckets(expr)) return;
  counts_only = counts_only || NeedsCountsOnly(expr);
  if (expr.kind == NodeKind::kVectorSelector) As<VectorSelector>(expr).counts_only = counts_only;
  ForEachChild(expr, [&](Expr& child) { MarkCountsOnly(child, counts_only); });
}

void QueryState::CollectSelector(VectorSelector& selector, int64_t range_ms, TimeRange evaluated,
                                 std::vector<Wanted>* wanted) const {
  if (selector.labels_only) return;
  const TimeShift& shift = selector.shift;
  if (shift.at != TimeShift::At::kNone) evaluated = {shift.at_ms, shift.at_ms};
  int64_t back = range_ms == 0 ? options_.lookback_ms : range_ms;
  if (selector.extension != Extension::kNone && range_ms != 0) back = SaturatingAdd(back, options_.lookback_ms);
  TimeRange times{SaturatingSub(SaturatingSub(evaluated.min, shift.offset_ms), back),
                  SaturatingSub(evaluated.max, shift.offset_ms)};
  if (selector.extension == Extension::kSmoothed) times.max = SaturatingAdd(times.max, options_.lookback_ms);
  wanted->push_back({&selector, {SaturatingAdd(times.min, 1), times.max}});
}

void QueryState::Collect(Expr& expr, TimeRange evaluated, std::vector<Wanted>* wanted) const {
  switch (expr.kind) {
    case NodeKind::kVectorSelector: return CollectSelector(As<VectorSelector>(expr), 0, evaluated, wanted);
    case NodeKind::kMatrixSelector: {
      auto& node = As<MatrixSelector>(expr);
      return CollectSelector(*node.selector, node.range_ms, evaluated, wanted);
    }
    case NodeKind::kSubquery: {
      auto times = TimesOf(As<Subquery>(expr), options_.default_subquery_step_ms, evaluated.min, evaluated.max);
      evaluated = {times.first, times.last};
      break;
    }
    default: break;
  }
  ForEachChild(expr, [&](Expr& child) { Collect(child, evaluated, wanted); });
}

base::Status QueryState::Select(Expr& root, tsdb::Queryable& storage) {
  std::vector<Wanted> wanted;
  Collect(root, {start_ms_, end_ms_}, &wanted);
  if (wanted.empty()) return base::Status::Ok();
  times_ = wanted.front().times;
  for (const Wanted& one : wanted) {
    times_.min = std::min(times_.min, one.times.min);
    times_.max = std::max(times_.max, one.times.max);
  }
  if (uses_info_) times_.min = SaturatingSub(times_.min, options_.lookback_ms);
  auto querier = storage.NewQuerier(times_.min, times_.max);
  if (!querier.ok()) return querier.status().Annotate("open the storage for a query");
  querier_ = *std::move(querier);
  for (const Wanted& one : wanted) TW_RETURN_IF_ERROR(SelectSeries(one));
  return base::Status::Ok();
}

namespace {

// Series that one metric name selects differ in other labels, unless these also say what a metric is.
bool DifferWithoutName(const Matchers& matchers, const tsdb::SeriesSet& set) {
  auto is_name = [](const Matcher& matcher) {
    return matcher.name() == tsdb::kMetricName && matcher.type() == Matcher::Type::kEqual;
  };
  if (std::none_of(matchers.begin(), matchers.end(), is_name)) return false;
  for (size_t i = 0; i < set.size(); ++i) {
    if (!set.Value(i, "__type__").empty() || !set.Value(i, "__unit__").empty()) return false;
  }
  return true;
}

}  // namespace

base::Status QueryState::SelectSeries(const Wanted& wanted) {
  TW_RETURN_IF_ERROR(CheckDeadline());
  const PlanMemory::Selection* known = memory_.Find(*wanted.selector);
  if (known == nullptr || !querier_->Holds(*known->set)) {
    tsdb::SelectHints hints{wanted.times.min, wanted.times.max, step_ms_, false};
    auto found = querier_->Find(hints, wanted.selector->matchers);
    if (!found.ok()) return found.status().Annotate("select the series of a query");
    bool differ = promql::DifferWithoutName(wanted.selector->matchers, **found);
    known = &memory_.Set(*wanted.selector, {*std::move(found), differ});
  }
  selected_ += known->set->size();
  return base::Status::Ok();
}

base::Result<QueryState::SeriesList> QueryState::SelectMore(const Matchers& matchers) {
  if (querier_ == nullptr) return SeriesList();
  TW_RETURN_IF_ERROR(CheckDeadline());
  tsdb::SelectHints hints{times_.min, times_.max, step_ms_, false};
  auto found = querier_->Find(hints, matchers);
  if (!found.ok()) return found.status().Annotate("select the series of a query");
  more_.push_back(*found);
  return SeriesList{*std::move(found), querier_.get()};
}

QueryState::SeriesList QueryState::SeriesOf(const VectorSelector& selector) const {
  const PlanMemory::Selection* known = memory_.Find(selector);
  return known == nullptr || querier_ == nullptr ? SeriesList() : SeriesList{known->set, querier_.get()};
}

bool QueryState::DifferWithoutName(const VectorSelector& selector) const {
  const PlanMemory::Selection* known = memory_.Find(selector);
  return known != nullptr && known->differ_without_name;
}

void QueryState::Report(QueryStatistics* statistics) const {
  statistics->series = selected_;
  statistics->samples = read_;
  statistics->peak_samples = peak_;
}

base::Status QueryState::TooManySamples() const {
  return base::ResourceExhaustedError("the query needs more than " + std::to_string(options_.max_samples) +
                                      " samples in memory; narrow its selectors, shorten its range or widen its step");
}

base::Status QueryState::AddSamples(size_t count) {
  samples_ += count;
  peak_ = std::max(peak_, samples_);
  return samples_ > options_.max_samples ? TooManySamples() : CheckDeadline();
}

base::Status QueryState::EnterNode(size_t steps) {
  scratch_ += steps;
  return scratch_ > options_.max_samples ? TooManySamples() : CheckDeadline();
}

LabelsView QueryState::Own(Labels labels) {
  size_t bytes = 0;
  for (const auto& label : labels) bytes += label.name.size() + label.value.size();
  samples_ += bytes / kBytesPerSample;
  peak_ = std::max(peak_, samples_);
  return LabelsView(owned_.emplace_back(std::move(labels)));
}

base::Status QueryState::CheckDeadline() const {
  if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed)) {
    return base::CancelledError("the query was cancelled");
  }
  if (checks_++ % 16 != 0 || base::MonotonicNanos() < deadline_nanos_) return base::Status::Ok();
  return base::DeadlineExceededError("the query took longer than " + std::to_string(options_.timeout_ms) +
                                     " ms; narrow its selectors, shorten its range or widen its step");
}

// A scalar argument is looked at together with the others, when all have been evaluated.
void QueryState::NumberNodes(Expr& expr, int* next) {
  ForEachChild(expr, [&](Expr& child) { NumberNodes(child, next); });
  expr.order = (*next)++;
  if (expr.kind != NodeKind::kCall && expr.kind != NodeKind::kAggregate) return;
  ForEachChild(expr, [&](Expr& child) {
    if (child.type == ValueType::kScalar) child.order = expr.order;
  });
}

// As in Prometheus, what a subquery gives has no place of its own, and parentheses around arguments do not count.
QueryState::Place QueryState::PlaceOf(const Expr& at) {
  const Expr& inner = StripParens(at);
  return {at.order, inner.kind == NodeKind::kSubquery ? 0 : inner.span.begin};
}

std::string QueryState::Position(const Place& place) const { return " (" + LineColumn(text_, place.offset) + ")"; }

void QueryState::Annotate(const Place& place, const std::string& message, Annotations& annotations) {
  auto [entry, added] = annotations.try_emplace(message, place);
  if (!added && entry->second.order <= place.order) entry->second = place;
}

void QueryState::Warn(const Expr& at, const std::string& message, const Expr* by) {
  Place place = PlaceOf(at);
  if (by != nullptr) place.order = by->order;
  Annotate(place, message, warnings_);
}

void QueryState::Info(const Expr& at, const std::string& message) { Annotate(PlaceOf(at), message, infos_); }

void QueryState::InfoFixed(const Expr& at, const std::string& message, const MonotonicityFix& fix, int64_t t) {
  auto [entry, added] = fixed_.try_emplace(message, FixedBuckets{fix, PlaceOf(at), 0, t, t});
  FixedBuckets& fixed = entry->second;
  ++fixed.samples;
  fixed.fix.lowest = std::min(fixed.fix.lowest, fix.lowest);
  fixed.fix.highest = std::max(fixed.fix.highest, fix.highest);
  fixed.fix.difference = std::max(fixed.fix.difference, fix.difference);
  fixed.first_ms = std::min(fixed.first_ms, t);
  fixed.last_ms = std::max(fixed.last_ms, t);
}

std::vector<std::string> QueryState::warnings() const {
  std::vector<std::string> texts;
  for (const auto& [message, place] : warnings_) texts.push_back("PromQL warning: " + message + Position(place));
  std::sort(texts.begin(), texts.end());
  return texts;
}

std::vector<std::string> QueryState::infos() const {
  std::vector<std::string> texts;
  for (const auto& [message, place] : infos_) texts.push_back("PromQL info: " + message + Position(place));
  for (const auto& [message, fixed] : fixed_) {
    texts.push_back("PromQL info: " + message + ", from buckets " + GeneralText(fixed.fix.lowest) + " to " +
                    GeneralText(fixed.fix.highest) + ", with a max diff of " + GeneralText(fixed.fix.difference, 2) +
                    ", over " + std::to_string(fixed.samples) + " samples from " + TimeText(fixed.first_ms) + " to " +
                    TimeText(fixed.last_ms) + Position(fixed.place));
  }
  std::sort(texts.begin(), texts.end());
  return texts;
}

}  // namespace tidewright::promql
