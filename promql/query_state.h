// What all evaluators of one query share: its series, limits and annotations.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "promql/ast.h"
#include "promql/engine.h"
#include "promql/matrix.h"
#include "promql/plan_memory.h"
#include "tsdb/querier.h"

namespace tidewright::promql {

// Buckets of a classic histogram that had fewer observations than lower ones: the bounds of the first and the last one
// and the largest difference.
struct MonotonicityFix {
  double lowest = 0;
  double highest = 0;
  double difference = 0;
};

// Not thread-safe: one query runs on one thread.
class QueryState {
 public:
  // `text`, `options` and `cancelled` (may be null) are borrowed.
  // `memory` is that of the tree; it has what earlier evaluations found.
  QueryState(std::string_view text, const EngineOptions& options, int64_t start_ms, int64_t end_ms, int64_t step_ms,
             int64_t deadline_nanos, const std::atomic<bool>* cancelled, PlanMemory& memory);

  // Fills what only the query knows into the tree: durations, start() and end(), and which parts are the same at every
  // step. Call once, before Select().
  base::Status Prepare(Expr& root);
  // Opens `storage` over the union of the times that the selectors need, and selects their series.
  base::Status Select(Expr& root, tsdb::Queryable& storage);

  // What a selector selected, and the Querier that reads it.
  struct SeriesList {
    tsdb::SeriesSetPtr set;
    tsdb::Querier* querier = nullptr;

    size_t size() const { return set == nullptr ? 0 : set->size(); }
    LabelsView labels(size_t i) const { return LabelsView(*set, i); }
  };
  SeriesList SeriesOf(const VectorSelector& selector) const;
  // True when the series of `selector` stay different without their metric labels.
  bool DifferWithoutName(const VectorSelector& selector) const;
  // Series outside of the selectors of the tree, for info(). Of the same times as the tree's.
  base::Result<SeriesList> SelectMore(const Matchers& matchers);
  PlanMemory& memory() { return memory_; }

  // Keeps labels until the query ends. Their texts count as samples held; the next AddSamples() may fail for them.
  LabelsView Own(Labels labels);

  // Counts points that a query holds; kResourceExhausted at the limit, kDeadlineExceeded after the timeout.
  base::Status AddSamples(size_t count);
  void ReleaseSamples(size_t count) { samples_ -= count < samples_ ? count : samples_; }
  // Counts the working space of a node that is being evaluated, in columns over its steps: nested nodes hold theirs at
  // the same time. kResourceExhausted when all of it is more than the samples that a query may hold.
  base::Status EnterNode(size_t steps);
  void LeaveNode(size_t steps) { scratch_ -= steps; }
  // Counts samples read, for the statistics.
  void CountRead(size_t count) { read_ += count; }
  // Cheap enough for every few hundred points; also kCancelled. Looks at the clock every few calls.
  base::Status CheckDeadline() const;

  // Annotations point at an expression. The same message at several places is one, as in Prometheus: the place is that
  // of the node that would be evaluated last, one operand after the other and arguments before what they are for. `by`:
  // the call that warns, if it has arguments after `at`.
  void Warn(const Expr& at, const std::string& message, const Expr* by = nullptr);
  void Info(const Expr& at, const std::string& message);
  // An info about buckets that had to be fixed at time t; the same at several times is one, too, at the first place.
  void InfoFixed(const Expr& at, const std::string& message, const MonotonicityFix& fix, int64_t t);

  const EngineOptions& options() const { return options_; }
  std::string_view text() const { return text_; }
  int64_t start_ms() const { return start_ms_; }
  int64_t end_ms() const { return end_ms_; }
  int64_t step_ms() const { return step_ms_; }
  std::vector<std::string> warnings() const;
  std::vector<std::string> infos() const;
  // Series, samples and peak.
  void Report(QueryStatistics* statistics) const;

 private:
  // Evaluation times of an enclosing expression, and with a selector the sample times it needs, both inclusive.
  struct TimeRange {
    int64_t min = 0;
    int64_t max = 0;
  };
  struct Wanted {
    VectorSelector* selector;
    TimeRange times;
  };
  // Where a message points to.
  struct Place {
    int order = 0;
    size_t offset = 0;
  };
  using Annotations = std::map<std::string, Place>;
  // What was fixed at several times.
  struct FixedBuckets {
    MonotonicityFix fix;
    Place place;
    int64_t samples = 0;
    int64_t first_ms = 0, last_ms = 0;
  };
  base::Status TooManySamples() const;
  std::string Position(const Place& place) const;
  static Place PlaceOf(const Expr& at);
  static void Annotate(const Place& place, const std::string& message, Annotations& annotations);
  static void NumberNodes(Expr& expr, int* next);
  base::Status Resolve(Expr& expr);
  base::Status ResolveShift(TimeShift& shift);
  base::Status ResolveInto(const std::unique_ptr<DurationExpr>& expr, bool positive, int64_t* ms);
  static bool MarkInvariant(Expr& expr);
  static void MarkCountsOnly(Expr& expr, bool counts_only);
  base::Status SelectSeries(const Wanted& wanted);
  void Collect(Expr& expr, TimeRange evaluated, std::vector<Wanted>* wanted) const;
  void CollectSelector(VectorSelector& selector, int64_t range_ms, TimeRange evaluated,
                       std::vector<Wanted>* wanted) const;

  std::string_view text_;
  const EngineOptions& options_;
  int64_t start_ms_, end_ms_, step_ms_;
  int64_t deadline_nanos_;
  const std::atomic<bool>* cancelled_;
  mutable unsigned checks_ = 0;
  size_t samples_ = 0;
  size_t peak_ = 0;
  size_t scratch_ = 0;
  size_t read_ = 0;
  TimeRange times_;         // Of the querier.
  bool uses_info_ = false;  // info() looks up series of its own.
  std::unique_ptr<tsdb::Querier> querier_;
  PlanMemory& memory_;
  size_t selected_ = 0;  // Series.
  std::vector<tsdb::SeriesSetPtr> more_;
  std::deque<Labels> owned_;
  Annotations warnings_, infos_;
  std::map<std::string, FixedBuckets> fixed_;  // By message.
};

// Additions that stop at the ends of int64_t: queries may name any time.
int64_t SaturatingAdd(int64_t a, int64_t b);
int64_t SaturatingSub(int64_t a, int64_t b);

// The range of evaluation times at which a subquery evaluates its expression for evaluations from `min` to `max`.
// `first` is a multiple of the step.
struct SubqueryTimes {
  int64_t first = 0;
  int64_t last = 0;
  int64_t step = 1;
};
SubqueryTimes TimesOf(const Subquery& node, int64_t default_step_ms, int64_t min, int64_t max);

}  // namespace tidewright::promql
