#include "scrape/ingester.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "scrape/histogram_limits.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kMaxFutureMs = 10 * 60 * 1000;
// Half of the time that Prometheus keeps in its head, as there. Longer with an out-of-order window.
constexpr int64_t kMaxAgeMs = 60 * 60 * 1000;
constexpr std::string_view kReportNames[] = {"up", "scrape_duration_seconds", "scrape_samples_scraped",
                                             "scrape_samples_post_metric_relabeling", "scrape_series_added",
                                             // Only with extra_scrape_metrics:
                                             "scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"};
constexpr size_t kPlainReports = 5;
// Samples of known series go to the store in portions that stay in the processor's nearest cache.
constexpr size_t kPortion = 256;

const tsdb::Labels& NoLabels() {
  static const tsdb::Labels labels;
  return labels;
}

// Scraped labels beside those of the target. Without honor_labels the target wins and the scraped label is renamed
// exported_<name>, again and again until the name is free; with it the scraped label wins, even when it is empty.
void MergeLabels(const tsdb::Labels& target, bool honor, std::vector<tsdb::Label> scraped, tsdb::LabelsBuilder* out) {
  std::vector<tsdb::Label> conflicts;
  for (const tsdb::Label& label : target) out->Set(label.name, label.value);
  for (tsdb::Label& label : scraped) {
    if (honor || !target.Has(label.name)) {
      out->Set(label.name, label.value);
    } else if (!label.value.empty()) {
      conflicts.push_back(std::move(label));
    }
  }
  std::sort(conflicts.begin(), conflicts.end(),
            [](const tsdb::Label& a, const tsdb::Label& b) { return a.name.size() < b.name.size(); });
  for (const tsdb::Label& label : conflicts) {
    std::string name = "exported_" + label.name;
    while (!out->Get(name).empty()) name = "exported_" + name;
    out->Set(name, label.value);
  }
}

// The same where no name is on both sides, as is usual: moved together instead of being put in one by one. Both sides
// are sorted, and `scraped` has no name twice. False, and nothing is changed, when some name is on both.
bool JoinLabels(const tsdb::Labels& target, std::vector<tsdb::Label>* scraped, tsdb::Labels* out) {
  auto before = [](const tsdb::Label& a, const tsdb::Label& b) { return a.name < b.name; };
  auto own = target.begin();
  for (const tsdb::Label& label : *scraped) {
    own = std::find_if(own, target.end(), [&](const tsdb::Label& one) { return one.name >= label.name; });
    if (own != target.end() && own->name == label.name) return false;
  }
  scraped->erase(
      std::remove_if(scraped->begin(), scraped->end(), [](const auto& label) { return label.value.empty(); }),
      scraped->end());
  std::vector<tsdb::Label> joined;
  joined.reserve(target.size() + scraped->size());
  std::merge(std::make_move_iterator(scraped->begin()), std::make_move_iterator(scraped->end()), target.begin(),
             target.end(), std::back_inserter(joined), before);
  *out = tsdb::Labels::FromSorted(std::move(joined));
  return true;
}

base::Status CheckUnique(std::vector<tsdb::Label>* labels) {
  std::sort(labels->begin(), labels->end(), [](const tsdb::Label& a, const tsdb::Label& b) { return a.name < b.name; });
  for (size_t i = 1; i < labels->size(); ++i) {
    if ((*labels)[i].name == (*labels)[i - 1].name) {
      return base::InvalidArgumentError("label name " + base::Quoted((*labels)[i].name) + " is not unique");
    }
  }
  return base::Status::Ok();
}

// The target's labels and the name. As in Prometheus, which treats them like scraped labels that conflict with the
// target's, a target label exported_x makes way for a target label x.
tsdb::Labels ReportLabels(const tsdb::Labels& target, std::string_view name) {
  tsdb::LabelsBuilder labels;
  labels.Set(tsdb::kMetricName, name);
  for (const tsdb::Label& label : target) labels.Remove("exported_" + label.name).Set(label.name, label.value);
  return labels.Build();
}

// A histogram of the same layout without observations.
template <typename AnyHistogram>
AnyHistogram EmptyLike(const AnyHistogram& histogram) {
  AnyHistogram empty;
  empty.schema = histogram.schema;
  empty.zero_threshold = histogram.zero_threshold;
  empty.custom_values = histogram.custom_values;
  return empty;
}

}  // namespace

bool KeepsSeriesCache(const ScrapeConfig& before, const ScrapeConfig& after) {
  ScrapeConfig alike = after;
  alike.scrape_interval = before.scrape_interval;
  alike.scrape_timeout = before.scrape_timeout;
  alike.limits.samples = before.limits.samples;
  alike.limits.body_size = before.limits.body_size;
  alike.http = before.http;
  alike.out_of_order_time_window = before.out_of_order_time_window;
  return alike == before;
}

void Ingester::KnownSamples::Reserve(size_t count) {
  refs.reserve(count);
  values.reserve(count);
  texts.reserve(count);
  indices.reserve(count);
}

void Ingester::KnownSamples::BeginFamily(const SeriesLine& line) {
  if (families.empty() || families.back().type != line.type || families.back().unit != line.unit) {
    families.push_back({refs.size(), line.type, line.unit});
  }
}

SeriesLine Ingester::KnownSamples::LineOf(size_t sample) const {
  auto later = std::find_if(families.begin(), families.end(), [&](const Family& one) { return one.begin > sample; });
  const Family& family = *std::prev(later);
  return {texts[sample], family.type, family.unit};
}

void Ingester::KnownSamples::Clear() {
  refs.clear();
  values.clear();
  texts.clear();
  indices.clear();
  families.clear();
}

Ingester::Ingester(std::shared_ptr<const ScrapeConfig> config, const Target& target, tsdb::Appendable& appendable,
                   MetadataTable& metadata)
    : appendable_(appendable), metadata_(metadata) {
  for (std::string_view name : kReportNames) reports_.push_back({name});
  SetConfig(std::move(config), target);
}

void Ingester::SetConfig(std::shared_ptr<const ScrapeConfig> config, const Target& target) {
  config_ = std::move(config);
  target_ = target;
  max_schema_ = MaxSchemaFor(config_->native_histogram_min_bucket_factor);
}

ScrapeOutcome Ingester::Append(std::string_view body, std::string_view content_type, int64_t t_ms, int64_t now_ms,
                               double duration_seconds) {
  ScrapeOutcome outcome;
  outcome.body_bytes = static_cast<int64_t>(body.size());
  ScrapeSink sink(appendable_, t_ms);
  tsdb::Appender* appender = sink.appender.get();
  outcome.status = AppendBody(body, content_type, now_ms, sink, &outcome);
  if (outcome.status.ok() && Over(outcome.post_relabel)) {
    outcome.status = base::ResourceExhaustedError("sample_limit exceeded: " + std::to_string(outcome.post_relabel) +
                                                  " samples, limit " + std::to_string(config_->limits.samples));
  }
  FlushMetadata(*appender);
  if (!outcome.status.ok()) {
    appender->Rollback();
    return Fail(outcome.status, outcome, t_ms, duration_seconds);
  }
  metadata_.EndScrape();
  std::vector<tsdb::SeriesRef> vanished;
  cache_.Commit(&vanished);
  AppendMarkers(vanished, t_ms, *appender);
  base::Status stored = AppendReport(outcome, t_ms, duration_seconds, *appender);
  if (stored.ok()) stored = appender->Commit();
  if (!stored.ok()) outcome.status = stored.Annotate("storing the scrape");
  return outcome;
}

ScrapeOutcome Ingester::AppendFailure(const base::Status& status, int64_t t_ms, double duration_seconds) {
  cache_.Begin();
  ScrapeOutcome outcome;
  if (status.code() == base::Code::kResourceExhausted) outcome.body_bytes = -1;
  return Fail(status, outcome, t_ms, duration_seconds);
}

ScrapeOutcome Ingester::Fail(const base::Status& status, ScrapeOutcome outcome, int64_t t_ms, double duration_seconds) {
  outcome.status = status;
  std::vector<tsdb::SeriesRef> vanished;
  cache_.Rollback(&vanished);
  auto appender = appendable_.NewAppender();
  AppendMarkers(vanished, t_ms, *appender);
  base::Status stored = AppendReport(outcome, t_ms, duration_seconds, *appender);
  if (stored.ok()) stored = appender->Commit();
  if (!stored.ok())
    outcome.status = stored.Annotate("storing the outcome of a failed scrape (" + status.message() + ")");
  return outcome;
}

void Ingester::AppendEnd(int64_t t_ms) {
  std::vector<tsdb::SeriesRef> refs;
  cache_.Begin();
  cache_.Rollback(&refs);
  for (Report& report : reports_) {
    if (report.ref != 0) refs.push_back(report.ref);
  }
  if (refs.empty()) return;
  auto appender = appendable_.NewAppender();
  AppendMarkers(refs, t_ms, *appender);
  // Nobody is left to report to: a store that cannot write says so itself, and the samples age out without a marker.
  static_cast<void>(appender->Commit().ok());
}

ExpositionOptions Ingester::ParserOptions() const {
  ExpositionOptions options;
  options.native_histograms = target_.native_histograms;
  options.convert_classic_histograms = target_.convert_classic_histograms;
  options.keep_classic_histograms = target_.always_classic_histograms;
  options.created_lines = config_->features.start_timestamp_zero_samples;
  options.type_and_unit_labels = config_->features.type_and_unit_labels;
  return options;
}

base::Status Ingester::AppendBody(std::string_view body, std::string_view content_type, int64_t now_ms,
                                  ScrapeSink& sink, ScrapeOutcome* outcome) {
  cache_.Begin();
  metadata_.BeginScrape();
  family_.clear();
  latest_ms_ = now_ms + kMaxFutureMs;
  earliest_ms_ = sink.t_ms - std::max(kMaxAgeMs, config_->out_of_order_time_window.ms);
  auto format = ChooseFormat(content_type, ProtocolMediaType(config_->fallback_protocol));
  TW_RETURN_IF_ERROR(format.status());
  std::unique_ptr<ExpositionParser> parser = NewExpositionParser(body, *format, ParserOptions());
  sink.known.Reserve(std::min(cache_.size(), kPortion));
  for (;;) {
    TakePlainLines(*parser, sink, outcome);
    if (sink.known.refs.size() >= kPortion) {
      TW_RETURN_IF_ERROR(FlushKnown(*parser, sink, outcome));
      continue;
    }
    std::string_view guess = parser->GuessSeries();
    uint32_t predicted = guess.empty() ? SeriesCache::kNone : cache_.Predicted(cache_.Hash(guess));
    if (predicted != SeriesCache::kNone && parser->NextIfSeries(guess)) {
      TW_RETURN_IF_ERROR(AppendSeries(*parser, Entry::kSeries, predicted, sink, outcome));
      continue;
    }
    Entry entry = parser->Next();
    if (entry == Entry::kEnd) return FlushKnown(*parser, sink, outcome);
    if (entry == Entry::kError) return parser->status();
    if (entry == Entry::kSeries || entry == Entry::kHistogram) {
      uint32_t index = cache_.Find(cache_.Hash(parser->series()));
      TW_RETURN_IF_ERROR(AppendSeries(*parser, entry, index, sink, outcome));
    } else if (entry != Entry::kComment) {
      if (parser->family() != family_) FlushMetadata(*sink.appender);
      NoteMetadata(entry, *parser);
    }
  }
}

// Nearly all of a scrape: a run of lines that are known, expected, and nothing but a number. What is not so is left to
// the general way, with the errors and refusals that it has.
void Ingester::TakePlainLines(ExpositionParser& parser, ScrapeSink& sink, ScrapeOutcome* outcome) {
  if (config_->features.start_timestamp_zero_samples || sink.t_ms > latest_ms_) return;
  bool begun = false;
  while (sink.known.refs.size() < kPortion) {
    const SeriesCache::Entry* entry = cache_.Expected();
    if (entry == nullptr || entry->ref == 0 || entry->seen != 0 || Over(outcome->post_relabel + 1)) return;
    if (!parser.NextIfPlain(entry->hash, entry->size)) return;
    if (!std::exchange(begun, true)) sink.known.BeginFamily(parser.series_line());
    const uint32_t index = cache_.expected_index();
    cache_.VisitExpected();
    cache_[index].tracked = 1;
    ++outcome->scraped;
    ++outcome->post_relabel;
    sink.known.Add(entry->ref, parser.value(), parser.series(), index);
  }
}

base::Status Ingester::AppendSeries(ExpositionParser& parser, Entry entry, uint32_t index, ScrapeSink& sink,
                                    ScrapeOutcome* outcome) {
  ++outcome->scraped;
  Sample sample;
  sample.explicit_time = parser.has_timestamp() && config_->honor_timestamps;
  sample.t = sample.explicit_time ? parser.timestamp_ms() : sink.t_ms;
  if (entry == Entry::kSeries) {
    sample.value = parser.value();
  } else {
    TW_RETURN_IF_ERROR(TakeHistogram(parser, &sample));
  }
  if (config_->features.start_timestamp_zero_samples) sample.start_ms = parser.StartTimestampMs();
  exemplars_.clear();
  TakeExemplars(parser, sample);
  if (index == SeriesCache::kNone) return AppendNew(parser, sample, sink, outcome);
  return AppendKnown(parser, index, sample, sink, outcome);
}

// The histogram at hand within the job's limits. One that contradicts itself fails the scrape at once; one that cannot
// be brought within the limits, once it has been counted.
base::Status Ingester::TakeHistogram(const ExpositionParser& parser, Sample* sample) {
  const std::string place = "histogram " + base::Quoted(parser.series());
  auto take = [&](const auto& from, auto* to) {
    if (base::Status status = Validate(from); !status.ok()) return status.Annotate(place);
    *to = from;
    refusal_ = LimitResolution(config_->native_histogram_bucket_limit, max_schema_, to).Annotate(place);
    return base::Status::Ok();
  };
  if (parser.histogram() != nullptr) {
    sample->histogram = &histogram_;
    return take(*parser.histogram(), &histogram_);
  }
  sample->float_histogram = &float_histogram_;
  return take(*parser.float_histogram(), &float_histogram_);
}

base::Result<tsdb::SeriesRef> Ingester::Put(tsdb::SeriesRef ref, const tsdb::Labels& labels, const Sample& sample,
                                            ScrapeSink& sink) {
  if (sample.histogram != nullptr) return sink.appender->AppendHistogram(ref, labels, sample.t, *sample.histogram);
  if (sample.float_histogram != nullptr) {
    return sink.appender->AppendFloatHistogram(ref, labels, sample.t, *sample.float_histogram);
  }
  return sink.appender->Append(ref, labels, sample.t, sample.value);
}

base::Result<tsdb::SeriesRef> Ingester::Store(tsdb::SeriesRef ref, const tsdb::Labels& labels, const Sample& sample,
                                              ScrapeSink& sink) const {
  if (sample.t > latest_ms_) return base::OutOfRangeError("in the future");
  if (sample.explicit_time && sample.t < earliest_ms_) return base::OutOfRangeError("too old");
  // By far the most samples are these.
  if (sample.start_ms == 0 && !sample.of_histogram()) {
    return sink.appender->Append(ref, labels, sample.t, sample.value);
  }
  if (sample.start_ms != 0 && sample.start_ms < sample.t) {
    Sample zero;
    zero.t = sample.start_ms;
    tsdb::Histogram integer;
    tsdb::FloatHistogram fractions;
    if (sample.histogram != nullptr) zero.histogram = &(integer = EmptyLike(*sample.histogram));
    if (sample.float_histogram != nullptr) zero.float_histogram = &(fractions = EmptyLike(*sample.float_histogram));
    // A start that is not after the newest sample is known already, and so is refused.
    auto start = Put(ref, labels, zero, sink);
    if (start.ok()) ref = *start;
  }
  return Put(ref, labels, sample, sink);
}

// Without a time of their own they get the sample's, but those of histograms, which could not be told apart then.
void Ingester::TakeExemplars(const ExpositionParser& parser, const Sample& sample) {
  parser.AppendExemplars(&exemplars_);
  const bool of_histogram = sample.of_histogram();
  for (Exemplar& exemplar : exemplars_) {
    if (!exemplar.has_timestamp && !of_histogram) exemplar.timestamp_ms = sample.t;
    exemplar.has_timestamp = exemplar.has_timestamp || !of_histogram;
  }
  std::stable_sort(exemplars_.begin(), exemplars_.end(),
                   [](const Exemplar& a, const Exemplar& b) { return a.timestamp_ms < b.timestamp_ms; });
}

void Ingester::AppendExemplars(tsdb::SeriesRef ref, ScrapeSink& sink, ScrapeOutcome* outcome) const {
  for (const Exemplar& exemplar : exemplars_) {
    if (!exemplar.has_timestamp) continue;
    const tsdb::Exemplar kept{tsdb::Labels::FromPairs(exemplar.labels), exemplar.timestamp_ms, exemplar.value};
    if (!sink.appender->AppendExemplar(ref, kept).ok()) ++outcome->exemplars_refused;
  }
}

base::Status Ingester::AppendNew(const ExpositionParser& parser, const Sample& sample, ScrapeSink& sink,
                                 ScrapeOutcome* outcome) {
  tsdb::Labels labels;
  std::vector<tsdb::Label> scraped;
  parser.AppendLabels(&scraped);
  TW_RETURN_IF_ERROR(SeriesLabels(parser.series(), std::move(scraped), &labels));
  if (labels.empty()) {
    cache_.Visit(cache_.Add(cache_.Hash(parser.series()), parser.series().size(), 0));
    return base::Status::Ok();
  }
  TW_RETURN_IF_ERROR(CheckLabels(labels));
  if (Over(++outcome->post_relabel)) return base::Status::Ok();  // The scrape fails once all samples are counted.
  if (sample.of_histogram()) TW_RETURN_IF_ERROR(refusal_);
  TW_RETURN_IF_ERROR(FlushKnown(parser, sink, outcome));
  auto ref = Store(0, labels, sample, sink);
  bool stored = false;
  TW_RETURN_IF_ERROR(Judge(ref.status(), outcome, &stored));
  // Another spelling of a series that this scrape has had is known from now on, too.
  if (!stored && ref.status().code() != base::Code::kAlreadyExists) return base::Status::Ok();
  uint32_t index =
      cache_.Add(cache_.Hash(parser.series()), parser.series().size(), stored ? *ref : SeriesCache::kUnknownRef);
  cache_.Visit(index);
  cache_[index].tracked = stored && (!sample.explicit_time || config_->track_timestamps_staleness);
  ++outcome->added;
  if (!stored) return base::Status::Ok();
  AppendExemplars(*ref, sink, outcome);
  return base::Status::Ok();
}

base::Status Ingester::AppendKnown(const ExpositionParser& parser, uint32_t index, const Sample& sample,
                                   ScrapeSink& sink, ScrapeOutcome* outcome) {
  const bool repeated = cache_[index].seen;
  cache_.Visit(index);
  SeriesCache::Entry& entry = cache_[index];
  if (entry.ref == 0) return base::Status::Ok();  // Dropped by metric relabelling.
  if (Over(++outcome->post_relabel)) return base::Status::Ok();
  if (sample.of_histogram()) TW_RETURN_IF_ERROR(refusal_);
  bool stored = false;
  if (repeated && !sample.explicit_time) {
    return Judge(base::AlreadyExistsError("the series occurs twice"), outcome, &stored);
  }
  entry.tracked = entry.tracked || !sample.explicit_time || config_->track_timestamps_staleness;
  if (TakeKnown(parser, index, sample, sink)) return base::Status::Ok();
  TW_RETURN_IF_ERROR(FlushKnown(parser, sink, outcome));
  auto ref = Store(entry.ref, NoLabels(), sample, sink);
  if (ref.status().code() == base::Code::kInvalidArgument) {
    std::vector<tsdb::Label> scraped;
    parser.AppendLabels(&scraped);
    ref = AppendForgotten(parser.series(), std::move(scraped), sample, sink);
  }
  TW_RETURN_IF_ERROR(Judge(ref.status(), outcome, &stored));
  if (!stored) return base::Status::Ok();
  entry.ref = *ref;
  AppendExemplars(*ref, sink, outcome);
  return base::Status::Ok();
}

// Puts the sample at hand by for the store if it is nothing but a number at the time of the scrape, and if its labels
// can be had later, should the store have forgotten the series.
bool Ingester::TakeKnown(const ExpositionParser& parser, uint32_t index, const Sample& sample, ScrapeSink& sink) const {
  const bool number = sample.histogram == nullptr && sample.float_histogram == nullptr;
  if (!number || sample.explicit_time || sample.start_ms != 0 || !exemplars_.empty()) return false;
  const SeriesLine line = parser.series_line();
  if (line.text.empty() || sample.t > latest_ms_) return false;
  sink.known.BeginFamily(line);
  sink.known.Add(cache_[index].ref, sample.value, line.text, index);
  return true;
}

base::Status Ingester::FlushKnown(const ExpositionParser& parser, ScrapeSink& sink, ScrapeOutcome* outcome) {
  KnownSamples& known = sink.known;
  if (known.refs.empty()) return base::Status::Ok();
  std::vector<tsdb::BatchRejection> rejected;
  sink.appender->AppendBatch(known.refs, known.values, sink.t_ms, &rejected);
  for (const tsdb::BatchRejection& one : rejected) {
    base::Result<tsdb::SeriesRef> ref = base::Status(one.code, "not taken");
    if (one.code == base::Code::kInvalidArgument) {
      Sample sample;
      sample.t = sink.t_ms;
      sample.value = known.values[one.index];
      const SeriesLine line = known.LineOf(one.index);
      std::vector<tsdb::Label> scraped;
      parser.AppendLabelsOf(line, &scraped);
      ref = AppendForgotten(line.text, std::move(scraped), sample, sink);
    }
    bool stored = false;
    TW_RETURN_IF_ERROR(Judge(ref.status(), outcome, &stored));
    if (stored) cache_[known.indices[one.index]].ref = *ref;
  }
  known.Clear();
  return base::Status::Ok();
}

// Finds or creates by its labels a series that the store has forgotten, and appends to it.
base::Result<tsdb::SeriesRef> Ingester::AppendForgotten(std::string_view text, std::vector<tsdb::Label> scraped,
                                                        const Sample& sample, ScrapeSink& sink) const {
  tsdb::Labels labels;
  TW_RETURN_IF_ERROR(SeriesLabels(text, std::move(scraped), &labels));
  return Store(0, labels, sample, sink);
}

// The labels of a new series after the job's rules; empty when they dropped it.
base::Status Ingester::SeriesLabels(std::string_view text, std::vector<tsdb::Label> scraped,
                                    tsdb::Labels* labels) const {
  if (base::Status unique = CheckUnique(&scraped); !unique.ok()) {
    return unique.Annotate("series " + base::Quoted(text));
  }
  const bool joined = JoinLabels(target_.labels, &scraped, labels);
  if (joined && config_->metric_relabel_rules.empty()) return base::Status::Ok();
  tsdb::LabelsBuilder builder(*labels);
  if (!joined) MergeLabels(target_.labels, config_->honor_labels, std::move(scraped), &builder);
  if (!Relabel(config_->metric_relabel_rules, &builder)) {
    *labels = tsdb::Labels();
    return base::Status::Ok();
  }
  *labels = builder.Build();
  return base::Status::Ok();
}

base::Status Ingester::CheckLabels(const tsdb::Labels& labels) const {
  auto error = [&labels](const std::string& what) {
    return base::InvalidArgumentError("series " + base::Quoted(labels.ToString()) + ": " + what);
  };
  const Limits& limits = config_->limits;
  std::string_view metric = labels.MetricName();
  if (metric.empty()) return error("the metric name is missing");
  if (!IsValidMetricName(metric, config_->name_scheme)) return error("the metric name is not valid");
  if (limits.labels > 0 && static_cast<int64_t>(labels.size()) > limits.labels) {
    return error("label_limit exceeded: " + std::to_string(labels.size()) + " labels, limit " +
                 std::to_string(limits.labels));
  }
  for (const tsdb::Label& label : labels) {
    if (!IsValidLabelName(label.name, config_->name_scheme)) {
      return error("label name " + base::Quoted(label.name) + " is not valid");
    }
    if (limits.label_name_length > 0 && static_cast<int64_t>(label.name.size()) > limits.label_name_length) {
      return error("label_name_length_limit exceeded by label " + base::Quoted(label.name));
    }
    if (limits.label_value_length > 0 && static_cast<int64_t>(label.value.size()) > limits.label_value_length) {
      return error("label_value_length_limit exceeded by the value of label " + base::Quoted(label.name));
    }
  }
  return base::Status::Ok();
}

// Tells errors that concern one sample, which are counted, from those that end the scrape.
base::Status Ingester::Judge(const base::Status& append_status, ScrapeOutcome* outcome, bool* stored) const {
  *stored = append_status.ok();
  switch (append_status.code()) {
    case base::Code::kOk: return base::Status::Ok();
    case base::Code::kOutOfRange: ++outcome->out_of_order; return base::Status::Ok();
    case base::Code::kAlreadyExists: ++outcome->duplicate; return base::Status::Ok();
    case base::Code::kResourceExhausted: ++outcome->over_store_limit; return base::Status::Ok();
    default: return append_status;
  }
}

// A marker that is out of order says nothing about now, though the store may take it.
void Ingester::AppendMarkers(const std::vector<tsdb::SeriesRef>& refs, int64_t t_ms, tsdb::Appender& appender) {
  if (t_ms < newest_ms_) return;
  newest_ms_ = t_ms;
  for (tsdb::SeriesRef ref : refs) {
    // A series that the store has forgotten, or that has a newer sample, needs no marker.
    static_cast<void>(appender.Append(ref, NoLabels(), t_ms, tsdb::StaleNan()).ok());
  }
}

void Ingester::NoteMetadata(Entry entry, const ExpositionParser& parser) {
  if (family_.empty()) {
    family_ = parser.family();
    metadata_.Recall(family_, &family_metadata_);
  }
  if (entry == Entry::kType) family_metadata_.type = parser.type();
  if (entry == Entry::kHelp) family_metadata_.help = parser.text();
  if (entry == Entry::kUnit) family_metadata_.unit = parser.text();
}

// Hands the metadata of the family at hand to the store, if it is news.
void Ingester::FlushMetadata(tsdb::Appender& appender) {
  if (!family_.empty() && metadata_.Note(family_, family_metadata_)) {
    appender.UpdateMetadata(family_, family_metadata_);
  }
  family_.clear();
}

base::Status Ingester::AppendReport(const ScrapeOutcome& outcome, int64_t t_ms, double duration_seconds,
                                    tsdb::Appender& appender) {
  const double values[] = {outcome.status.ok() ? 1.0 : 0.0,
                           duration_seconds,
                           static_cast<double>(outcome.scraped),
                           static_cast<double>(outcome.post_relabel),
                           static_cast<double>(outcome.added),
                           static_cast<double>(target_.timeout.ms) / 1000,
                           static_cast<double>(config_->limits.samples),
                           static_cast<double>(outcome.body_bytes)};
  size_t count = config_->extra_metrics ? reports_.size() : kPlainReports;
  for (size_t i = 0; i < count; ++i) {
    Report& report = reports_[i];
    base::Result<tsdb::SeriesRef> ref = base::InvalidArgumentError("not known yet");
    if (report.ref != 0) ref = appender.Append(report.ref, NoLabels(), t_ms, values[i]);
    if (ref.status().code() == base::Code::kInvalidArgument) {
      ref = appender.Append(0, ReportLabels(target_.labels, report.name), t_ms, values[i]);
    }
    if (ref.ok()) report.ref = *ref;
    ScrapeOutcome ignored;
    bool stored = false;
    TW_RETURN_IF_ERROR(Judge(ref.status(), &ignored, &stored));
  }
  return base::Status::Ok();
}

}  // namespace tidewright::scrape
