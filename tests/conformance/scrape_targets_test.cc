// From discovered targets to requests, and from bodies to stored samples, against Prometheus 3.14.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>
#include <span>

#include "base/metrics.h"
#include "scrape/config.h"
#include "scrape/float_text.h"
#include "scrape/ingester.h"
#include "scrape/target.h"
#include "tests/conformance/scrape_data.h"
#include "tsdb/db.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kEpochMs = 1'704'067'200'000;  // 2024-01-01T00:00:00Z.
constexpr int64_t kNowMs = 1'795'000'000'000;    // Years later, as on the machine of the reference.

// The configuration of a case: `global` members and one element of scrape_configs.
base::Result<Config> ConfigOf(const base::Json& test, const std::string& scrape_config) {
  std::string yaml;
  std::string global = test.value("global", "");
  if (!global.empty()) {
    yaml += "global:\n";
    for (const std::string& line : base::Split(global, '\n')) yaml += "  " + line + "\n";
  }
  yaml += "scrape_configs:\n-\n";
  for (const std::string& line : base::Split(scrape_config, '\n')) yaml += "  " + line + "\n";
  return ParseConfig(yaml, "case.yml");
}

tsdb::Labels LabelsOf(const base::Json& test, const std::string& key) {
  std::vector<tsdb::Label> labels;
  if (test.contains(key)) {
    for (const auto& [name, value] : test[key].items()) labels.push_back({name, value});
  }
  return tsdb::Labels::FromPairs(std::move(labels));
}

// What BuildTarget says, in the words of the data.
base::Json Outcome(const base::Json& test) {
  auto config = ConfigOf(test, test["scrape_config"]);
  if (!config.ok()) return {{"config_error", config.status().message()}};
  const ScrapeConfig& job = config->scrape_configs[0];
  TargetResult result = BuildTarget(job, LabelsOf(test, "target"), LabelsOf(test, "group_labels"));
  base::Json out;
  for (const tsdb::Label& label : result.discovered) out["discovered_labels"][label.name] = label.value;
  if (!result.error.ok()) {
    out["error"] = true;
  } else if (!result.target) {
    out["dropped"] = true;
  } else {
    const Target& target = *result.target;
    out["labels"] = base::Json::object();
    for (const tsdb::Label& label : target.labels) out["labels"][label.name] = label.value;
    out["url"] = target.url;
    out["interval"] = base::FormatDuration(target.interval);
    out["timeout"] = base::FormatDuration(target.timeout);
    out["always_scrape_classic_histograms"] = target.always_classic_histograms;
    out["convert_classic_histograms_to_nhcb"] = target.convert_classic_histograms;
    out["scrape_native_histograms"] = target.native_histograms;
    http::ClientRequest request = BuildRequest(job, target);
    out["request_headers"] = {
        {"Accept", request.headers.Get("Accept")},
        {"Accept-Encoding", request.accept_gzip ? "gzip" : "identity"},
        {"X-Prometheus-Scrape-Timeout-Seconds", request.headers.Get("X-Prometheus-Scrape-Timeout-Seconds")}};
  }
  return out;
}

TEST(ScrapeConformance, Targets) {
  base::Json cases = LoadCases("scrape/targets.json");
  if (cases.is_null()) GTEST_SKIP() << "conformance data is not here";
  Tally tally("scrape/targets");
  for (const auto& test : cases) {
    base::Json expected = test["expect"];
    if (expected.contains("error")) expected["error"] = true;
    base::Json actual = Outcome(test);
    tally.Count(actual == expected, test["name"], actual.dump() + "\n  not " + expected.dump());
  }
  EXPECT_EQ(tally.passed(), static_cast<int>(cases.size()));
}

// The buckets as PromQL's test language lists them, from the first that is there to the last, and the first's index.
std::string BucketList(const tsdb::BucketSpans& spans, const std::vector<double>& buckets, const std::string& prefix) {
  if (buckets.empty()) return "";
  std::string list;
  size_t position = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    for (int32_t gap = 0; i > 0 && gap < spans[i].offset; ++gap) list += " 0";
    for (uint32_t j = 0; j < spans[i].length; ++j) list += " " + base::FormatDouble(buckets[position++]);
  }
  std::string out;
  if (spans[0].offset != 0) out += " " + prefix + "offset:" + std::to_string(spans[0].offset);
  return out + " " + prefix + "buckets:[" + list.substr(1) + "]";
}

// A histogram in the notation of the data.
std::string HistogramText(const tsdb::FloatHistogram& h) {
  std::string out;
  auto number = [&out](const std::string& name, double value) {
    if (value != 0) out += " " + name + ":" + base::FormatDouble(value);
  };
  number("schema", h.schema);
  number("count", h.count);
  number("sum", h.sum);
  number("z_bucket", h.zero_count);
  number("z_bucket_w", h.zero_threshold);
  if (!h.custom_values.empty()) {
    std::string bounds;
    for (double bound : h.custom_values) bounds += " " + base::FormatDouble(bound);
    out += " custom_values:[" + bounds.substr(1) + "]";
  }
  if (h.hint == tsdb::CounterResetHint::kGauge) out += " counter_reset_hint:gauge";
  out += BucketList(h.positive_spans, h.positive_buckets, "");
  out += BucketList(h.negative_spans, h.negative_buckets, "n_");
  return "{{" + (out.empty() ? out : out.substr(1)) + "}}";
}

// Every stored series with its samples, as {"labels": "t value, ..."}.
std::map<std::string, std::string> StoredSeries(tsdb::Db& store) {
  std::map<std::string, std::string> out;
  auto querier = store.NewQuerier(INT64_MIN / 2, INT64_MAX / 2);
  auto matcher = tsdb::Matcher::Create(tsdb::Matcher::Type::kRegex, "__name__", ".+");
  auto series = (*querier)->Select({}, {*matcher});
  EXPECT_TRUE(series.ok()) << series.status().ToString();
  for (const auto& one : *series) {
    if (one->labels().MetricName() == "scrape_duration_seconds") continue;
    std::string samples;
    auto iterator = one->Iterator();
    while (iterator->Next()) {
      tsdb::Sample sample = iterator->At();
      const tsdb::FloatHistogram* histogram = iterator->AtHistogram();
      std::string value = histogram != nullptr ? HistogramText(*histogram) : base::FormatDouble(sample.v);
      if (tsdb::IsStaleNan(sample.v)) value = "stale";
      samples += base::FormatDouble(static_cast<double>(sample.t - kEpochMs) / 1000) + " " + value + ", ";
    }
    if (!samples.empty()) out[one->labels().ToString()] = samples;
  }
  return out;
}

std::map<std::string, std::string> ExpectedSeries(const base::Json& list) {
  std::map<std::string, std::string> out;
  for (const auto& series : list) {
    std::string samples;
    for (const auto& sample : series["samples"]) {
      double value = 0;
      std::string text = sample[1].is_string() ? sample[1].get<std::string>() : sample[1].dump();
      if (ParseSampleValue(text, &value)) text = base::FormatDouble(value);
      // The hint is the store's work: it compares with the sample before.
      for (std::string hint : {" counter_reset_hint:not_reset", " counter_reset_hint:reset"}) {
        if (size_t at = text.find(hint); at != std::string::npos) text.erase(at, hint.size());
      }
      samples += base::FormatDouble(sample[0].get<double>()) + " " + text + ", ";
    }
    out[LabelsOf(series, "labels").ToString()] = samples;
  }
  return out;
}

std::string Print(const std::map<std::string, std::string>& series) {
  std::string out;
  for (const auto& [labels, samples] : series) out += "\n    " + labels + ": " + samples;
  return out;
}

base::Duration WindowOf(const base::Json& test) {
  auto window = base::ParseDuration(test.value("out_of_order_time_window", "0s"));
  EXPECT_TRUE(window.ok()) << window.status().ToString();
  return window.ok() ? *window : base::Duration();
}

ScrapeConfig WithFeatures(ScrapeConfig config, const base::Json& test) {
  config.out_of_order_time_window = WindowOf(test);
  for (const auto& feature : test.value("features", base::Json::array())) {
    if (feature == "created-timestamp-zero-ingestion") config.features.start_timestamp_zero_samples = true;
    if (feature == "type-and-unit-labels") config.features.type_and_unit_labels = true;
  }
  return config;
}

std::multiset<std::string> StoredExemplars(const tsdb::Db& store) {
  const tsdb::Matchers all = {*tsdb::Matcher::Create(tsdb::Matcher::Type::kRegex, "__name__", ".+")};
  auto found = store.SelectExemplars(INT64_MIN / 2, INT64_MAX / 2, std::span(&all, 1));
  EXPECT_TRUE(found.ok()) << found.status().ToString();
  std::multiset<std::string> out;
  for (const tsdb::SeriesExemplars& series : *found) {
    for (const tsdb::Exemplar& one : series.exemplars) {
      out.insert(one.labels.ToString() + " " + base::FormatDouble(one.v) + " @" + std::to_string(one.t));
    }
  }
  return out;
}

std::multiset<std::string> ExpectedExemplars(const base::Json& expect) {
  std::multiset<std::string> out;
  for (const auto& one : expect["exemplars"]) {
    int64_t t = kEpochMs + static_cast<int64_t>(one["t"].get<double>() * 1000);
    out.insert(LabelsOf(one, "labels").ToString() + " " + one["value"].get<std::string>() + " @" + std::to_string(t));
  }
  return out;
}

// What a target said about its families, in the form of the data.
base::Json MetadataOf(const Ingester& ingester) {
  base::Json list = base::Json::array();
  for (const auto& known : ingester.metadata().All()) {
    list.push_back({{"metric", known->family},
                    {"type", MetricTypeName(known->metadata.type)},
                    {"help", known->metadata.help},
                    {"unit", known->metadata.unit}});
  }
  std::sort(list.begin(), list.end());
  return list;
}

// Plays the steps of one scenario into `store`; returns the verdicts, one letter per step, and an m where the metadata
// differs.
std::string Play(const base::Json& test, tsdb::Appendable& store) {
  MetadataTable metadata;
  auto config = ConfigOf(test, test["scrape_config"]);
  if (!config.ok()) return "config: " + config.status().message();
  auto job = std::make_shared<const ScrapeConfig>(WithFeatures(config->scrape_configs[0], test));
  TargetResult result = BuildTarget(*job, LabelsOf(test, "target"), LabelsOf(test, "group_labels"));
  if (!result.target) return "no target: " + result.error.ToString();
  auto ingester = std::make_unique<Ingester>(job, *result.target, store, metadata);
  std::string verdicts;
  size_t steps = 0;
  for (const auto& step : test["steps"]) {
    int64_t t = kEpochMs + static_cast<int64_t>(step["t"].get<double>() * 1000);
    base::Status status;
    if (step.contains("target_gone")) {
      ingester->AppendEnd(t);
    } else if (step.contains("reload")) {
      auto next = ConfigOf(test, step["reload"]);
      if (!next.ok()) return "reload: " + next.status().message();
      auto next_job = std::make_shared<const ScrapeConfig>(next->scrape_configs[0]);
      result = BuildTarget(*next_job, LabelsOf(test, "target"), LabelsOf(test, "group_labels"));
      if (KeepsSeriesCache(*job, *next_job)) {
        ingester->SetConfig(next_job, *result.target);
      } else {
        ingester = std::make_unique<Ingester>(next_job, *result.target, store, metadata);
      }
      job = next_job;
    } else if (step.contains("error") || step.contains("target_limit_exceeded")) {
      status = ingester->AppendFailure(base::UnavailableError("failed"), t, 0.1).status;
    } else {
      std::string body = TextOrBase64(step, "body");
      if (job->limits.body_size > 0 && static_cast<int64_t>(body.size()) >= job->limits.body_size) {
        status = ingester->AppendFailure(base::ResourceExhaustedError("body too large"), t, 0.1).status;
      } else {
        status = ingester->Append(body, step.value("content_type", ""), t, kNowMs, 0.1).status;
      }
    }
    verdicts += status.ok() ? "+" : "-";
    base::Json metadata = test["expect"]["steps"][steps++].value("metadata", base::Json());
    std::sort(metadata.begin(), metadata.end());
    if (!metadata.is_null() && metadata != MetadataOf(*ingester)) verdicts += "m";
  }
  return verdicts;
}

constexpr const char* kAllSeriesEnd =
    "a failed scrape ends all series of its target; Prometheus leaves those that it read before the error without a "
    "staleness marker";
constexpr const char* kOneSampleLess =
    "a sample older than the out-of-order window is dropped and counted, as without a window; Prometheus fails the "
    "whole scrape";

// Where the data itself calls what Prometheus does odd, and we do otherwise.
const std::map<std::string, std::string> kDecidedAgainst = {
    {"OpenMetrics without EOF after a good scrape", kAllSeriesEnd},
    {"explicit timestamp older than the out-of-order window", kOneSampleLess},
    {"parse error in the last line", kAllSeriesEnd},
    {"parse error stores nothing", kAllSeriesEnd},
    {"parse errors in two scrapes", kAllSeriesEnd},
    {"sample limit and parse error", kAllSeriesEnd},
    {"sample_limit exceeded", kAllSeriesEnd},
    {"too old by the scrape time, out-of-order window", kOneSampleLess},
};

TEST(ScrapeConformance, Scenarios) {
  base::Json cases = LoadCases("scrape/scenarios.json");
  if (cases.is_null()) GTEST_SKIP() << "conformance data is not here";
  Tally tally("scrape/scenarios");
  base::FakeClock clock(kEpochMs);
  for (const auto& test : cases) {
    tsdb::DbOptions options;
    options.max_exemplars = 1000;
    options.out_of_order_window_ms = WindowOf(test).ms;
    auto opened = tsdb::Db::Open("", options, clock, nullptr);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    tsdb::Db& store = **opened;
    std::string expected_verdicts;
    for (const auto& step : test["expect"]["steps"]) expected_verdicts += step.contains("error") ? "-" : "+";
    std::string verdicts = Play(test, store);
    auto expected = ExpectedSeries(test["expect"]["series"]);
    auto actual = StoredSeries(store);
    if (test["expect"].contains("exemplars")) {
      EXPECT_EQ(StoredExemplars(store), ExpectedExemplars(test["expect"])) << test["name"];
    }
    const bool passed = actual == expected && verdicts == expected_verdicts;
    const auto reason = kDecidedAgainst.find(test["name"]);
    const bool decided = reason != kDecidedAgainst.end();
    tally.Count(passed, test["name"],
                (decided ? reason->second + "\n    " : "") + verdicts + " not " + expected_verdicts + Print(actual) +
                    "\n  not" + Print(expected));
    if (decided) EXPECT_TRUE(test.contains("oddity")) << test["name"];
  }
  ExpectOnly(tally.failed(), kDecidedAgainst);
}

}  // namespace
}  // namespace tidewright::scrape
