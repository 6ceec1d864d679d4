// info(v, {label matchers}): adds labels of info metrics (target_info and its like) to the series that they describe.
#include <algorithm>
#include <map>

#include "promql/evaluator.h"
#include "promql/functions.h"
#include "promql/lexer.h"
#include "promql/printer.h"

namespace tidewright::promql {
namespace {

// The labels by which an info series and the series that it describes are known to belong together.
constexpr std::string_view kIdentifying[] = {"instance", "job"};

bool IsIdentifying(std::string_view name) { return name == kIdentifying[0] || name == kIdentifying[1]; }

// What the second argument asks for.
struct Request {
  Matchers names;                   // On the info metrics' names.
  Matchers all;                     // These, and those on labels.
  std::vector<std::string> wanted;  // Labels to copy; empty: all of them.
  bool required = false;            // A series without the wanted labels is dropped.

  bool IsInfoMetric(const LabelsView& labels) const {
    return std::all_of(names.begin(), names.end(),
                       [&](const Matcher& matcher) { return matcher.Matches(labels.Get(tsdb::kMetricName)); });
  }
  bool Wants(const std::string& name) const {
    return wanted.empty() || std::find(wanted.begin(), wanted.end(), name) != wanted.end();
  }
};

base::Result<Request> ReadRequest(const Call& call) {
  Request request;
  bool positive = false;
  static const Matchers kNone;
  const Matchers& written = call.args.size() < 2 ? kNone : As<VectorSelector>(*call.args[1]).matchers;
  for (const Matcher& matcher : written) {
    if (matcher.name() != tsdb::kMetricName) {
      request.all.push_back(matcher);
      request.wanted.push_back(matcher.name());
      request.required = request.required || !matcher.MatchesEmpty();
      continue;
    }
    request.names.push_back(matcher);
    positive = positive || matcher.type() == Matcher::Type::kEqual || matcher.type() == Matcher::Type::kRegex;
  }
  if (request.names.empty()) {
    request.names.push_back(Matcher::Equal(std::string(tsdb::kMetricName), "target_info"));
  } else if (!positive) {
    TW_ASSIGN_OR_RETURN(Matcher any, Matcher::Create(Matcher::Type::kRegex, std::string(tsdb::kMetricName), ".+_info"));
    request.names.push_back(std::move(any));
  }
  request.all.insert(request.all.end(), request.names.begin(), request.names.end());
  return request;
}

// Follows offset and @ down to the first selector: info series are looked up at the time of the samples they describe.
bool AddShifts(Expr& expr, TimeShift* total) {
  const TimeShift* shift = nullptr;
  if (expr.kind == NodeKind::kVectorSelector) shift = &As<VectorSelector>(expr).shift;
  if (expr.kind == NodeKind::kSubquery) shift = &As<Subquery>(expr).shift;
  if (shift != nullptr) {
    if (shift->at != TimeShift::At::kNone) {
      total->at = TimeShift::At::kTime;
      total->at_ms = shift->at_ms;
      total->offset_ms = 0;
    }
    total->offset_ms = SaturatingAdd(total->offset_ms, shift->offset_ms);
  }
  if (expr.kind == NodeKind::kVectorSelector) return true;
  bool found = false;
  ForEachChild(expr, [&](Expr& child) { found = found || AddShifts(child, total); });
  return found;
}

using Identity = std::pair<std::string, std::string>;
Identity IdentityOf(const LabelsView& labels) {
  return {std::string(labels.Get(kIdentifying[0])), std::string(labels.Get(kIdentifying[1]))};
}

// The info series of one identity, by metric name; each with the times of its samples as values.
using InfoSeries = std::map<std::string, std::vector<const EvalSeries*>>;

class Enricher {
 public:
  Enricher(Evaluator& evaluator, const Request& request, const InfoSeries* infos)
      : evaluator_(evaluator), request_(request), infos_(infos) {}

  // Adds the enriched values of `series` to `result`.
  base::Status Enrich(const EvalSeries& series, EvalMatrix* result);

 private:
  // The series of one metric with the newest sample at step i, or null.
  static const EvalSeries* NewestAt(const std::vector<const EvalSeries*>& candidates, size_t i);
  base::Status Collect(const EvalSeries& info, const EvalSeries& series, std::map<std::string, std::string>* added);
  base::Result<bool> LabelsAt(const EvalSeries& series, size_t i, Labels* labels);

  Evaluator& evaluator_;
  const Request& request_;
  const InfoSeries* infos_;  // Null: none.
};

const EvalSeries* Enricher::NewestAt(const std::vector<const EvalSeries*>& candidates, size_t i) {
  const EvalSeries* best = nullptr;
  for (const EvalSeries* candidate : candidates) {
    double time = candidate->values[i];
    if (!IsAbsent(time) && (best == nullptr || time > best->values[i])) best = candidate;
  }
  return best;
}

// The labels of an info series that `series` is to get.
base::Status Enricher::Collect(const EvalSeries& info, const EvalSeries& series,
                               std::map<std::string, std::string>* added) {
  base::Status status;
  info.labels.ForEach([&](const auto& label) {
    bool skip = label.name == tsdb::kMetricName || IsIdentifying(label.name) || series.labels.Has(label.name);
    if (skip || !request_.Wants(label.name)) return;
    auto [entry, is_new] = added->emplace(label.name, label.value);
    if (is_new || entry->second == label.value) return;
    status = base::InvalidArgumentError("info(): conflicting label " + Quote(label.name) + ": info metrics say " +
                                        Quote(entry->second) + " and " + Quote(label.value));
  });
  return status;
}

// False when the series is to be dropped at that step.
base::Result<bool> Enricher::LabelsAt(const EvalSeries& series, size_t i, Labels* labels) {
  std::map<std::string, std::string> added;
  bool any = false;
  if (infos_ != nullptr) {
    for (const auto& [name, candidates] : *infos_) {
      const EvalSeries* info = NewestAt(candidates, i);
      if (info == nullptr) continue;
      any = true;
      TW_RETURN_IF_ERROR(Collect(*info, series, &added));
    }
  }
  tsdb::LabelsBuilder builder(series.labels.Copy());
  for (const auto& [name, value] : added) builder.Set(name, value);
  *labels = builder.Build();
  return any || !request_.required;
}

base::Status Enricher::Enrich(const EvalSeries& series, EvalMatrix* result) {
  std::map<Labels, size_t> outputs;
  for (size_t i = 0; i < series.values.size(); ++i) {
    if (!series.PresentAt(i)) continue;
    Labels labels;
    TW_ASSIGN_OR_RETURN(bool keep, LabelsAt(series, i, &labels));
    if (!keep) continue;
    auto [entry, added] = outputs.emplace(labels, result->size());
    if (added) {
      TW_RETURN_IF_ERROR(evaluator_.state().AddSamples(series.values.size()));
      EvalSeries& output = result->emplace_back();
      output.labels = evaluator_.state().Own(std::move(labels));
      output.drop_name = series.drop_name;
      output.values.assign(series.values.size(), Absent());
    }
    EvalSeries& output = (*result)[entry->second];
    output.values[i] = series.values[i];
    if (series.HistogramAt(i) != nullptr) output.SetHistogram(i, series.histograms[i]);
  }
  return base::Status::Ok();
}

// Info metrics are floats.
base::Status CheckInfoSeries(Evaluator& evaluator, const VectorSelector& at, const QueryState::SeriesList& list) {
  TW_ASSIGN_OR_RETURN(EvalMatrix values, evaluator.Follow(at, list, Take::kValue));
  evaluator.Release(values);
  for (const auto& series : values) {
    if (!series.HasHistograms()) continue;
    return base::InvalidArgumentError("this should be an info metric, with float samples: " +
                                      Braced(series.labels.Copy()));
  }
  return base::Status::Ok();
}

base::Result<EvalMatrix> Info(Evaluator& evaluator, const Call& call) {
  TW_ASSIGN_OR_RETURN(Request request, ReadRequest(call));
  TW_ASSIGN_OR_RETURN(EvalMatrix base_series, evaluator.Eval(*call.args[0]));
  TW_ASSIGN_OR_RETURN(const QueryState::SeriesList list, evaluator.state().SelectMore(request.all));
  VectorSelector at({});
  AddShifts(*call.args[0], &at.shift);
  TW_RETURN_IF_ERROR(CheckInfoSeries(evaluator, at, list));
  TW_ASSIGN_OR_RETURN(EvalMatrix infos, evaluator.Follow(at, list, Take::kTime));
  std::map<Identity, InfoSeries> by_identity;
  for (const auto& info : infos) {
    by_identity[IdentityOf(info.labels)][std::string(info.labels.Get(tsdb::kMetricName))].push_back(&info);
  }
  EvalMatrix result;
  for (auto& series : base_series) {
    TW_RETURN_IF_ERROR(evaluator.state().CheckDeadline());
    if (request.IsInfoMetric(series.labels)) {
      result.push_back(std::move(series));
      continue;
    }
    Identity identity = IdentityOf(series.labels);
    bool known = !identity.first.empty() || !identity.second.empty();
    auto found = known ? by_identity.find(identity) : by_identity.end();
    Enricher enricher(evaluator, request, found == by_identity.end() ? nullptr : &found->second);
    TW_RETURN_IF_ERROR(enricher.Enrich(series, &result));
  }
  evaluator.Release(infos);
  TW_RETURN_IF_ERROR(evaluator.JoinEqual(result));
  return result;
}

}  // namespace

std::vector<FunctionDef> InfoFunctions() {
  return {{.name = "info",
           .args = {ValueType::kVector, ValueType::kVector},
           .optional = 1,
           .implementation = Info,
           .keeps_name = true,
           .experimental = true}};
}

}  // namespace tidewright::promql
