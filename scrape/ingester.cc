#include "scrape/ingester.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "scrape/target.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kMaxFutureMs = 10 * 60 * 1000;
constexpr std::string_view kReportNames[] = {"up", "scrape_duration_seconds", "scrape_samples_scraped",
                                             "scrape_samples_post_metric_relabeling", "scrape_series_added",
                                             // Only with extra_scrape_metrics:
                                             "scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"};
constexpr size_t kPlainReports = 5;
constexpr size_t kMaxMetadataFamilies = 10'000;  // Per target; bounds what a hostile target can make us remember.

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

base::Status CheckUnique(std::vector<tsdb::Label>* labels) {
  std::stable_sort(labels->begin(), labels->end(),
                   [](const tsdb::Label& a, const tsdb::Label& b) { return a.name < b.name; });
  for (size_t i = 1; i < labels->size(); ++i) {
    if ((*labels)[i].name == (*labels)[i - 1].name) {
      return base::InvalidArgumentError("label name " + base::Quoted((*labels)[i].name) + " is not unique");
    }
  }
  return base::Status::Ok();
}

}  // namespace

bool KeepsSeriesCache(const ScrapeConfig& before, const ScrapeConfig& after) {
  ScrapeConfig alike = after;
  alike.scrape_interval = before.scrape_interval;
  alike.scrape_timeout = before.scrape_timeout;
  alike.limits.samples = before.limits.samples;
  alike.limits.body_size = before.limits.body_size;
  alike.http = before.http;
  return alike == before;
}

Ingester::Ingester(std::shared_ptr<const ScrapeConfig> config, tsdb::Labels target_labels, base::Duration timeout,
                   tsdb::Appendable& appendable)
    : config_(std::move(config)), target_labels_(std::move(target_labels)), timeout_(timeout), appendable_(appendable) {
  for (std::string_view name : kReportNames) reports_.push_back({name});
}

void Ingester::SetConfig(std::shared_ptr<const ScrapeConfig> config, base::Duration timeout) {
  config_ = std::move(config);
  timeout_ = timeout;
}

ScrapeOutcome Ingester::Append(std::string_view body, std::string_view content_type, int64_t t_ms, int64_t now_ms,
                               double duration_seconds) {
  ScrapeOutcome outcome;
  outcome.body_bytes = static_cast<int64_t>(body.size());
  auto appender = appendable_.NewAppender();
  outcome.status = AppendBody(body, content_type, t_ms, now_ms, *appender, &outcome);
  if (outcome.status.ok() && Over(outcome.post_relabel)) {
    outcome.status = base::ResourceExhaustedError("sample_limit exceeded: " + std::to_string(outcome.post_relabel) +
                                                  " samples, limit " + std::to_string(config_->limits.samples));
  }
  if (!outcome.status.ok()) {
    appender->Rollback();
    return Fail(outcome.status, outcome, t_ms, duration_seconds);
  }
  FlushMetadata(*appender);
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

base::Status Ingester::AppendBody(std::string_view body, std::string_view content_type, int64_t t_ms, int64_t now_ms,
                                  tsdb::Appender& appender, ScrapeOutcome* outcome) {
  cache_.Begin();
  family_.clear();
  latest_ms_ = now_ms + kMaxFutureMs;
  auto format = ChooseFormat(content_type, ProtocolMediaType(config_->fallback_protocol));
  TW_RETURN_IF_ERROR(format.status());
  if (*format == ExpositionFormat::kProtobuf) {
    return base::UnimplementedError("the target answers in the protobuf format, which is not supported yet");
  }
  format_ = *format == ExpositionFormat::kOpenMetricsText ? TextFormat::kOpenMetrics : TextFormat::kPrometheus;
  TextParser parser(body, format_);
  batch_ = Batch();
  for (;;) {
    std::string_view guess = parser.GuessSeries();
    uint32_t predicted = guess.empty() ? SeriesCache::kNone : cache_.Predicted(cache_.Hash(guess));
    if (predicted != SeriesCache::kNone && parser.NextIfSeries(guess)) {
      TW_RETURN_IF_ERROR(AppendSeries(parser, predicted, t_ms, appender, outcome));
      continue;
    }
    Entry entry = parser.Next();
    if (entry == Entry::kEnd) return FlushBatch(t_ms, appender, outcome);
    if (entry == Entry::kError) return parser.status();
    if (entry == Entry::kSeries) {
      uint32_t index = cache_.Find(cache_.Hash(parser.series()));
      TW_RETURN_IF_ERROR(AppendSeries(parser, index, t_ms, appender, outcome));
    } else if (entry != Entry::kComment) {
      if (parser.family() != family_) FlushMetadata(appender);
      NoteMetadata(entry, parser);
    }
  }
}

base::Status Ingester::AppendSeries(TextParser& parser, uint32_t index, int64_t t_ms, tsdb::Appender& appender,
                                    ScrapeOutcome* outcome) {
  ++outcome->scraped;
  Sample sample{t_ms, parser.value(), false};
  if (parser.has_timestamp() && config_->honor_timestamps) sample = {parser.timestamp_ms(), parser.value(), true};
  if (index == SeriesCache::kNone) return AppendNew(parser, sample, appender, outcome);
  return AppendKnown(parser, index, sample, t_ms, appender, outcome);
}

base::Status Ingester::AppendNew(const TextParser& parser, const Sample& sample, tsdb::Appender& appender,
                                 ScrapeOutcome* outcome) {
  tsdb::Labels labels;
  std::vector<tsdb::Label> scraped;
  parser.AppendLabels(&scraped);
  TW_RETURN_IF_ERROR(SeriesLabels(parser.series(), std::move(scraped), &labels));
  if (labels.empty()) {
    cache_.Visit(cache_.Add(cache_.Hash(parser.series()), 0));
    return base::Status::Ok();
  }
  TW_RETURN_IF_ERROR(CheckLabels(labels));
  if (Over(++outcome->post_relabel)) return base::Status::Ok();  // The scrape fails once all samples are counted.
  auto ref = sample.t > latest_ms_ ? base::OutOfRangeError("in the future")
                                   : appender.Append(0, labels, sample.t, sample.value);
  bool stored = false;
  TW_RETURN_IF_ERROR(Judge(ref.status(), outcome, &stored));
  if (!stored) return base::Status::Ok();
  uint32_t index = cache_.Add(cache_.Hash(parser.series()), *ref);
  cache_.Visit(index);
  cache_[index].tracked = !sample.explicit_time || config_->track_timestamps_staleness;
  ++outcome->added;
  return base::Status::Ok();
}

base::Status Ingester::AppendKnown(const TextParser& parser, uint32_t index, const Sample& sample, int64_t t_ms,
                                   tsdb::Appender& appender, ScrapeOutcome* outcome) {
  const bool repeated = cache_[index].seen;
  cache_.Visit(index);
  SeriesCache::Entry& entry = cache_[index];
  if (entry.ref == 0) return base::Status::Ok();  // Dropped by metric relabelling.
  if (Over(++outcome->post_relabel)) return base::Status::Ok();
  bool stored = false;
  if (repeated && !sample.explicit_time) {
    return Judge(base::AlreadyExistsError("the series occurs twice"), outcome, &stored);
  }
  if (sample.t > latest_ms_) return Judge(base::OutOfRangeError("in the future"), outcome, &stored);
  entry.tracked = entry.tracked || !sample.explicit_time || config_->track_timestamps_staleness;
  const Line line{parser.series(), parser.series_type(), index};
  if (!sample.explicit_time) {
    batch_.refs.push_back(entry.ref);
    batch_.values.push_back(sample.value);
    batch_.lines.push_back(line);
    return base::Status::Ok();
  }
  // What came before of the same series must be there first.
  if (repeated) TW_RETURN_IF_ERROR(FlushBatch(t_ms, appender, outcome));
  auto ref = appender.Append(entry.ref, NoLabels(), sample.t, sample.value);
  if (ref.status().code() == base::Code::kInvalidArgument) return AppendAgain(line, sample, appender, outcome);
  return Judge(ref.status(), outcome, &stored);
}

// The store has forgotten the series: finds it or creates it by its labels.
base::Status Ingester::AppendAgain(const Line& line, const Sample& sample, tsdb::Appender& appender,
                                   ScrapeOutcome* outcome) {
  tsdb::Labels labels;
  std::vector<tsdb::Label> scraped;
  TextParser::AppendLabelsOf(line.text, format_, line.type, &scraped);
  TW_RETURN_IF_ERROR(SeriesLabels(line.text, std::move(scraped), &labels));
  auto ref = appender.Append(0, labels, sample.t, sample.value);
  if (ref.ok()) cache_[line.index].ref = *ref;
  bool stored = false;
  return Judge(ref.status(), outcome, &stored);
}

base::Status Ingester::FlushBatch(int64_t t_ms, tsdb::Appender& appender, ScrapeOutcome* outcome) {
  const Batch batch = std::exchange(batch_, Batch());
  std::vector<tsdb::BatchRejection> rejected;
  appender.AppendBatch(batch.refs, batch.values, t_ms, &rejected);
  for (const tsdb::BatchRejection& one : rejected) {
    bool stored = false;
    base::Status status =
        one.code == base::Code::kInvalidArgument
            ? AppendAgain(batch.lines[one.index], {t_ms, batch.values[one.index], false}, appender, outcome)
            : Judge(base::Status(one.code, "not taken"), outcome, &stored);
    TW_RETURN_IF_ERROR(status);
  }
  return base::Status::Ok();
}

// The labels of a new series after the job's rules; empty when they dropped it.
base::Status Ingester::SeriesLabels(std::string_view text, std::vector<tsdb::Label> scraped,
                                    tsdb::Labels* labels) const {
  TW_RETURN_IF_ERROR(CheckUnique(&scraped).Annotate("series " + base::Quoted(text)));
  tsdb::LabelsBuilder builder;
  MergeLabels(target_labels_, config_->honor_labels, std::move(scraped), &builder);
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

void Ingester::AppendMarkers(const std::vector<tsdb::SeriesRef>& refs, int64_t t_ms, tsdb::Appender& appender) {
  for (tsdb::SeriesRef ref : refs) {
    // A series that the store has forgotten, or that has a newer sample, needs no marker.
    static_cast<void>(appender.Append(ref, NoLabels(), t_ms, tsdb::StaleNan()).ok());
  }
}

void Ingester::NoteMetadata(Entry entry, const TextParser& parser) {
  family_ = parser.family();
  if (entry == Entry::kType) family_metadata_.type = parser.type();
  if (entry == Entry::kHelp) family_metadata_.help = parser.text();
  if (entry == Entry::kUnit) family_metadata_.unit = parser.text();
}

// Hands the metadata of the family at hand to the store, if it is news.
void Ingester::FlushMetadata(tsdb::Appender& appender) {
  if (!family_.empty()) {
    std::hash<std::string> hash;
    size_t digest = hash(family_metadata_.help) * 31 + hash(family_metadata_.unit) * 7 +
                    static_cast<size_t>(family_metadata_.type) + 1;
    if (metadata_.size() < kMaxMetadataFamilies || metadata_.count(family_) > 0) {
      size_t& known = metadata_[family_];
      if (std::exchange(known, digest) != digest) appender.UpdateMetadata(family_, family_metadata_);
    }
  }
  family_.clear();
  family_metadata_ = tsdb::Metadata();
}

base::Status Ingester::AppendReport(const ScrapeOutcome& outcome, int64_t t_ms, double duration_seconds,
                                    tsdb::Appender& appender) {
  const double values[] = {outcome.status.ok() ? 1.0 : 0.0,
                           duration_seconds,
                           static_cast<double>(outcome.scraped),
                           static_cast<double>(outcome.post_relabel),
                           static_cast<double>(outcome.added),
                           static_cast<double>(timeout_.ms) / 1000,
                           static_cast<double>(config_->limits.samples),
                           static_cast<double>(outcome.body_bytes)};
  size_t count = config_->extra_metrics ? reports_.size() : kPlainReports;
  for (size_t i = 0; i < count; ++i) {
    Report& report = reports_[i];
    base::Result<tsdb::SeriesRef> ref = base::InvalidArgumentError("not known yet");
    if (report.ref != 0) ref = appender.Append(report.ref, NoLabels(), t_ms, values[i]);
    if (ref.status().code() == base::Code::kInvalidArgument) {
      tsdb::LabelsBuilder labels(target_labels_);
      ref = appender.Append(0, labels.Set(tsdb::kMetricName, report.name).Build(), t_ms, values[i]);
    }
    if (ref.ok()) report.ref = *ref;
    ScrapeOutcome ignored;
    bool stored = false;
    TW_RETURN_IF_ERROR(Judge(ref.status(), &ignored, &stored));
  }
  return base::Status::Ok();
}

}  // namespace tidewright::scrape
