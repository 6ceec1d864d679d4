// From discovered targets to requests, and from bodies to stored samples, against Prometheus 3.14.
#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <set>

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
    for (auto key :
         {"always_scrape_classic_histograms", "convert_classic_histograms_to_nhcb", "scrape_native_histograms"}) {
      expected.erase(key);
    }
    if (expected.contains("error")) expected["error"] = true;
    base::Json actual = Outcome(test);
    tally.Count(actual == expected, test["name"], actual.dump() + "\n  not " + expected.dump());
  }
  // Missing: the protobuf media type, which is not asked for (5).
  EXPECT_GE(tally.passed(), 136);
}

// Every stored series with its samples, as {"labels": "t value, ..."}.
std::map<std::string, std::string> StoredSeries(tsdb::Db& db) {
  std::map<std::string, std::string> out;
  auto querier = db.NewQuerier(INT64_MIN / 2, INT64_MAX / 2);
  auto matcher = tsdb::Matcher::Create(tsdb::Matcher::Type::kRegex, "__name__", ".+");
  auto series = (*querier)->Select({}, {*matcher});
  EXPECT_TRUE(series.ok()) << series.status().ToString();
  for (const auto& one : *series) {
    if (one->labels().MetricName() == "scrape_duration_seconds") continue;
    std::string samples;
    auto iterator = one->Iterator();
    while (iterator->Next()) {
      tsdb::Sample sample = iterator->At();
      samples += base::FormatDouble(static_cast<double>(sample.t - kEpochMs) / 1000) + " " +
                 (tsdb::IsStaleNan(sample.v) ? "stale" : base::FormatDouble(sample.v)) + ", ";
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

// Plays the steps of one scenario into `db`; returns the verdicts, one letter per step.
std::string Play(const base::Json& test, tsdb::Db& db) {
  auto config = ConfigOf(test, test["scrape_config"]);
  if (!config.ok()) return "config: " + config.status().message();
  auto job = std::make_shared<const ScrapeConfig>(config->scrape_configs[0]);
  TargetResult result = BuildTarget(*job, LabelsOf(test, "target"), LabelsOf(test, "group_labels"));
  if (!result.target) return "no target: " + result.error.ToString();
  auto ingester = std::make_unique<Ingester>(job, result.target->labels, result.target->timeout, db);
  std::string verdicts;
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
        ingester->SetConfig(next_job, result.target->timeout);
      } else {
        ingester = std::make_unique<Ingester>(next_job, result.target->labels, result.target->timeout, db);
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
  }
  return verdicts;
}

TEST(ScrapeConformance, Scenarios) {
  base::Json cases = LoadCases("scrape/scenarios.json");
  if (cases.is_null()) GTEST_SKIP() << "conformance data is not here";
  Tally tally("scrape/scenarios");
  base::FakeClock clock(kEpochMs);
  for (const auto& test : cases) {
    tsdb::DbOptions options;
    auto db = tsdb::Db::Open("", options, clock, nullptr);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    std::string expected_verdicts;
    for (const auto& step : test["expect"]["steps"]) expected_verdicts += step.contains("error") ? "-" : "+";
    std::string verdicts = Play(test, **db);
    auto expected = ExpectedSeries(test["expect"]["series"]);
    auto actual = StoredSeries(**db);
    tally.Count(actual == expected && verdicts == expected_verdicts,
                test["name"].get<std::string>() + (test.contains("oddity") ? " (oddity)" : "") +
                    (test.contains("features") ? " (feature)" : ""),
                verdicts + " not " + expected_verdicts + Print(actual) + "\n  not" + Print(expected));
  }
  // Missing: protobuf, native and converted histograms, features that are off by default, out-of-order windows, and
  // cases that the data itself calls odd.
  EXPECT_GE(tally.passed(), 104);
}

}  // namespace
}  // namespace tidewright::scrape
