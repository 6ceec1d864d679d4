// From the reply of one scrape to samples in the store: parsing, label rules, limits, staleness, report series.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "scrape/config.h"
#include "scrape/exposition.h"
#include "scrape/metadata.h"
#include "scrape/series_cache.h"
#include "scrape/target.h"
#include "tsdb/appender.h"
#include "tsdb/labels.h"

namespace tidewright::scrape {

// What came of one scrape, for the report series, the API and the program's own metrics.
struct ScrapeOutcome {
  base::Status status;           // Why `up` is 0; OK when it is 1.
  int64_t scraped = 0;           // scrape_samples_scraped.
  int64_t post_relabel = 0;      // scrape_samples_post_metric_relabeling.
  int64_t added = 0;             // scrape_series_added.
  int64_t out_of_order = 0;      // Samples left out because the series has a newer one, or is too old or in the future.
  int64_t duplicate = 0;         // Samples left out because the series has another value for the same time.
  int64_t over_store_limit = 0;  // Samples left out because the store takes no more series.
  int64_t exemplars_refused = 0;  // Because they are older than the series' newest one, or too long.
  int64_t body_bytes = 0;         // -1 when the body was larger than body_size_limit.
};

// Whether what is known about a target's series stays true when the job's configuration changes: nothing but timing,
// sample_limit and HTTP settings differ.
bool KeepsSeriesCache(const ScrapeConfig& before, const ScrapeConfig& after);

// Knows what one target exposed last and appends what it exposes now. Each scrape is one batch of the store: a query
// sees all of it or none. Not thread-safe. Borrows `appendable` and `metadata`, which must outlive it.
class Ingester {
 public:
  Ingester(std::shared_ptr<const ScrapeConfig> config, const Target& target, tsdb::Appendable& appendable,
           MetadataTable& metadata);

  // Appends a successful reply's body. Samples without a timestamp of their own get `t_ms`; those later than ten
  // minutes after `now_ms` are left out. When the body is refused as a whole nothing of it is stored, every known
  // series gets a staleness marker, and `up` is 0.
  ScrapeOutcome Append(std::string_view body, std::string_view content_type, int64_t t_ms, int64_t now_ms,
                       double duration_seconds);
  // Appends the outcome of a scrape that brought no body.
  ScrapeOutcome AppendFailure(const base::Status& status, int64_t t_ms, double duration_seconds);
  // The target has gone: staleness markers for everything, the report series included.
  void AppendEnd(int64_t t_ms);

  // Takes over another configuration of the same job, which differs in nothing that decides on labels.
  void SetConfig(std::shared_ptr<const ScrapeConfig> config, const Target& target);

  size_t cached_series() const { return cache_.size(); }
  const TargetMetadata& metadata() const { return metadata_; }

 private:
  struct Report {
    std::string_view name;
    tsdb::SeriesRef ref = 0;
  };
  // A sample at hand.
  struct Sample {
    int64_t t = 0;
    bool explicit_time = false;
    int64_t start_ms = 0;  // When its counter began, if that is to be stored; 0 otherwise.
    double value = 0;
    // One of the two for histograms.
    const tsdb::Histogram* histogram = nullptr;
    const tsdb::FloatHistogram* float_histogram = nullptr;
    bool of_histogram() const { return histogram != nullptr || float_histogram != nullptr; }
  };
  // Samples of known series at the time of the scrape that are numbers and nothing else, on their way to the store.
  struct KnownSamples {
    // The samples from `begin` on are of this family.
    struct Family {
      size_t begin = 0;
      tsdb::MetricType type = tsdb::MetricType::kUnknown;
      std::string_view unit;
    };
    std::vector<tsdb::SeriesRef> refs;
    std::vector<double> values;
    std::vector<std::string_view> texts;  // Of the series.
    std::vector<uint32_t> indices;        // In the cache.
    std::vector<Family> families;

    void Reserve(size_t count);
    // Samples that are added from now on are of the family of `line`.
    void BeginFamily(const SeriesLine& line);
    void Add(tsdb::SeriesRef ref, double value, std::string_view text, uint32_t index) {
      refs.push_back(ref);
      values.push_back(value);
      texts.push_back(text);
      indices.push_back(index);
    }
    SeriesLine LineOf(size_t sample) const;
    void Clear();
  };
  // Where the samples of one scrape go.
  struct ScrapeSink {
    ScrapeSink(tsdb::Appendable& appendable, int64_t time_ms) : t_ms(time_ms), appender(appendable.NewAppender()) {}
    const int64_t t_ms;  // Of the scrape.
    std::unique_ptr<tsdb::Appender> appender;
    KnownSamples known;  // Not yet appended. Empty whenever another sample is, so that the body's order is kept.
  };

  base::Status AppendBody(std::string_view body, std::string_view content_type, int64_t now_ms, ScrapeSink& sink,
                          ScrapeOutcome* outcome);
  void TakePlainLines(ExpositionParser& parser, ScrapeSink& sink, ScrapeOutcome* outcome);
  base::Status AppendSeries(ExpositionParser& parser, Entry entry, uint32_t index, ScrapeSink& sink,
                            ScrapeOutcome* outcome);
  base::Status AppendNew(const ExpositionParser& parser, const Sample& sample, ScrapeSink& sink,
                         ScrapeOutcome* outcome);
  base::Status AppendKnown(const ExpositionParser& parser, uint32_t index, const Sample& sample, ScrapeSink& sink,
                           ScrapeOutcome* outcome);
  bool TakeKnown(const ExpositionParser& parser, uint32_t index, const Sample& sample, ScrapeSink& sink) const;
  base::Status FlushKnown(const ExpositionParser& parser, ScrapeSink& sink, ScrapeOutcome* outcome);
  base::Result<tsdb::SeriesRef> AppendForgotten(std::string_view text, std::vector<tsdb::Label> scraped,
                                                const Sample& sample, ScrapeSink& sink) const;
  ExpositionOptions ParserOptions() const;
  base::Status TakeHistogram(const ExpositionParser& parser, Sample* sample);
  void TakeExemplars(const ExpositionParser& parser, const Sample& sample);
  static base::Result<tsdb::SeriesRef> Put(tsdb::SeriesRef ref, const tsdb::Labels& labels, const Sample& sample,
                                           ScrapeSink& sink);
  base::Result<tsdb::SeriesRef> Store(tsdb::SeriesRef ref, const tsdb::Labels& labels, const Sample& sample,
                                      ScrapeSink& sink) const;
  void AppendExemplars(tsdb::SeriesRef ref, ScrapeSink& sink, ScrapeOutcome* outcome) const;
  base::Status SeriesLabels(std::string_view text, std::vector<tsdb::Label> scraped, tsdb::Labels* labels) const;
  base::Status CheckLabels(const tsdb::Labels& labels) const;
  base::Status Judge(const base::Status& append_status, ScrapeOutcome* outcome, bool* stored) const;
  bool Over(int64_t samples) const { return config_->limits.samples > 0 && samples > config_->limits.samples; }
  void AppendMarkers(const std::vector<tsdb::SeriesRef>& refs, int64_t t_ms, tsdb::Appender& appender);
  void NoteMetadata(Entry entry, const ExpositionParser& parser);
  void FlushMetadata(tsdb::Appender& appender);
  ScrapeOutcome Fail(const base::Status& status, ScrapeOutcome outcome, int64_t t_ms, double duration_seconds);
  base::Status AppendReport(const ScrapeOutcome& outcome, int64_t t_ms, double duration_seconds,
                            tsdb::Appender& appender);

  std::shared_ptr<const ScrapeConfig> config_;
  Target target_;
  int32_t max_schema_ = tsdb::kMaxExponentialSchema;
  tsdb::Appendable& appendable_;
  SeriesCache cache_;
  std::vector<Report> reports_;
  int64_t latest_ms_ = 0;          // Samples after this are in the future.
  int64_t newest_ms_ = INT64_MIN;  // The latest time of a scrape.
  int64_t earliest_ms_ = 0;        // Samples whose target says that they are before this are too old.
  TargetMetadata metadata_;
  std::string family_;  // At hand.
  tsdb::Metadata family_metadata_;
  // The histogram and the exemplars at hand.
  tsdb::Histogram histogram_;
  tsdb::FloatHistogram float_histogram_;
  base::Status refusal_;  // Why the histogram at hand, and the scrape with it, is refused.
  std::vector<Exemplar> exemplars_;
};

}  // namespace tidewright::scrape
