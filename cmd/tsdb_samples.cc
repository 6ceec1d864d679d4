#include "cmd/tsdb_samples.h"

#include <cstdio>
#include <map>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/strings.h"
#include "cmd/go_text.h"
#include "promql/engine.h"
#include "promql/histogram.h"
#include "tsdb/store_copy.h"

namespace tidewright::cmd {

namespace {

constexpr size_t kOutputBytes = 1 << 16;

// {__name__="up", job="node"}
std::string DumpLabels(const tsdb::Labels& labels) {
  std::string text = "{";
  for (const tsdb::Label& label : labels) {
    if (text.size() > 1) text += ", ";
    text += label.name + "=" + GoQuote(label.value);
  }
  return text + "}";
}

bool IsPlainName(std::string_view name, bool colons) {
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colons && c == ':');
    if (!letter && (i == 0 || c < '0' || c > '9')) return false;
  }
  return !name.empty();
}

std::string OpenMetricsQuote(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '\n') {
      quoted += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// up{job="node"}; names beyond the classic ones go into the braces, quoted.
std::string OpenMetricsSeries(const tsdb::Labels& labels) {
  const std::string_view metric = labels.MetricName();
  const bool plain = IsPlainName(metric, /*colons=*/true);
  std::string inside = plain || metric.empty() ? "" : OpenMetricsQuote(metric);
  for (const tsdb::Label& label : labels) {
    if (label.name == tsdb::kMetricName) continue;
    if (!inside.empty()) inside += ",";
    inside += IsPlainName(label.name, /*colons=*/false) ? label.name : OpenMetricsQuote(label.name);
    inside += "=" + OpenMetricsQuote(label.value);
  }
  return (plain ? std::string(metric) : std::string()) + "{" + inside + "}";
}

std::string DumpHistogram(const tsdb::FloatHistogram& h) {
  std::string text = "{count:" + base::FormatFixed(h.count) + ", sum:" + GoFloat(h.sum);
  for (const promql::HistogramBucket& bucket : promql::BucketsOf(h)) {
    if (bucket.count == 0) continue;
    text += bucket.includes_lower ? ", [" : ", (";
    text += GoFloat(bucket.lower) + "," + GoFloat(bucket.upper) + (bucket.includes_upper ? "]:" : "):");
    text += base::FormatFixed(bucket.count);
  }
  return text + "}";
}

std::string Seconds(int64_t ms) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3f", static_cast<double>(ms) / 1000);
  return text;
}

void PrintSamples(const tsdb::Series& series, bool openmetrics) {
  const std::string name = openmetrics ? OpenMetricsSeries(series.labels()) : DumpLabels(series.labels());
  std::string out;
  auto it = series.Iterator();
  while (it->Next()) {
    const tsdb::Sample sample = it->At();
    const tsdb::FloatHistogram* histogram = it->AtHistogram();
    if (histogram != nullptr && openmetrics) continue;
    out += name + " " + (histogram != nullptr ? DumpHistogram(*histogram) : GoFloat(sample.v)) + " ";
    out += (openmetrics ? Seconds(sample.t) : std::to_string(sample.t)) + "\n";
    if (out.size() < kOutputBytes) continue;
    std::fputs(out.c_str(), stdout);
    out.clear();
  }
  std::fputs(out.c_str(), stdout);
}

}  // namespace

base::Status DumpStore(const DumpFlags& flags) {
  base::SetLogLevel(base::LogLevel::kError);
  std::vector<tsdb::Matchers> selectors;
  for (const std::string& text : flags.match) {
    TW_ASSIGN_OR_RETURN(tsdb::Matchers matchers, promql::ParseSelector(text));
    selectors.push_back(std::move(matchers));
  }
  if (selectors.empty()) selectors.emplace_back();
  TW_ASSIGN_OR_RETURN(const std::unique_ptr<tsdb::StoreCopy> copy,
                      tsdb::StoreCopy::Open(flags.directory, flags.scratch, base::SystemClock::Get()));
  TW_ASSIGN_OR_RETURN(const std::unique_ptr<tsdb::Querier> querier, copy->db().NewQuerier(flags.mint, flags.maxt));
  // A series that several selectors find is printed once.
  std::map<tsdb::Labels, std::unique_ptr<tsdb::Series>> found;
  for (const tsdb::Matchers& matchers : selectors) {
    TW_ASSIGN_OR_RETURN(auto selected, querier->Select({}, matchers));
    for (auto& series : selected) found.try_emplace(series->labels(), std::move(series));
  }
  for (const auto& [labels, series] : found) PrintSamples(*series, flags.openmetrics);
  if (flags.openmetrics) std::printf("# EOF\n");
  return base::Status::Ok();
}

}  // namespace tidewright::cmd
