// The exposition parsers, relabelling and the choice of the parser against the recorded behaviour of Prometheus 3.14.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <set>

#include "base/metrics.h"
#include "scrape/float_text.h"
#include "scrape/relabel.h"
#include "scrape/text_parser.h"
#include "tests/conformance/scrape_data.h"

namespace tidewright::scrape {
namespace {

std::string_view TypeText(tsdb::MetricType type, TextFormat format) {
  switch (type) {
    case tsdb::MetricType::kCounter: return "counter";
    case tsdb::MetricType::kGauge: return "gauge";
    case tsdb::MetricType::kHistogram: return "histogram";
    case tsdb::MetricType::kGaugeHistogram: return "gaugehistogram";
    case tsdb::MetricType::kSummary: return "summary";
    case tsdb::MetricType::kInfo: return "info";
    case tsdb::MetricType::kStateset: return "stateset";
    case tsdb::MetricType::kUnknown: return format == TextFormat::kPrometheus ? "untyped" : "unknown";
  }
  return "";
}

// One line per entry, so that a difference reads well.
std::string Describe(std::vector<tsdb::Label> labels, const std::string& text, const std::string& value,
                     const std::string& timestamp) {
  std::sort(labels.begin(), labels.end());
  std::string out = "series " + text + " = {";
  for (const auto& label : labels) out += label.name + "=" + label.value + ";";
  return out + "} " + value + " @" + timestamp + "\n";
}

std::string Expected(const base::Json& entries) {
  std::string out;
  for (const auto& entry : entries) {
    std::string type = entry["type"];
    if (type == "series") {
      std::vector<tsdb::Label> labels;
      for (const auto& pair : entry["labels"]) {
        auto decode = [](std::string text) {
          std::string bytes;
          if (text.rfind("b64:", 0) != 0) return text;
          EXPECT_TRUE(base::Base64Decode(text.substr(4), &bytes));
          return bytes;
        };
        labels.push_back({decode(pair[0]), decode(pair[1])});
      }
      std::string timestamp = entry.contains("timestamp_ms") ? entry["timestamp_ms"].dump() : "-";
      double value = 0;
      EXPECT_TRUE(ParseSampleValue(entry["value"].get<std::string>(), &value));
      out += Describe(labels, TextOrBase64(entry, "text"), base::FormatDouble(value), timestamp);
    } else {
      std::string text = type == "type"   ? entry["metric_type"].get<std::string>()
                         : type == "help" ? TextOrBase64(entry, "help")
                         : type == "unit" ? TextOrBase64(entry, "unit")
                                          : TextOrBase64(entry, "comment");
      out += type + " " + (type == "comment" ? "" : TextOrBase64(entry, "metric")) + " " + text + "\n";
    }
  }
  return out;
}

std::string Actual(TextParser& parser, TextFormat format, bool* failed) {
  std::string out;
  for (;;) {
    Entry entry = parser.Next();
    std::string family(parser.family()), text(parser.text());
    switch (entry) {
      case Entry::kEnd: return out;
      case Entry::kError: *failed = true; return out;
      case Entry::kType: out += "type " + family + " " + std::string(TypeText(parser.type(), format)) + "\n"; break;
      case Entry::kHelp: out += "help " + family + " " + text + "\n"; break;
      case Entry::kUnit: out += "unit " + family + " " + text + "\n"; break;
      case Entry::kComment: out += "comment  " + text + "\n"; break;
      case Entry::kSeries: {
        std::vector<tsdb::Label> labels;
        parser.AppendLabels(&labels);
        out += Describe(labels, std::string(parser.series()), base::FormatDouble(parser.value()),
                        parser.has_timestamp() ? std::to_string(parser.timestamp_ms()) : "-");
      }
    }
  }
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// Runs the cases of one file; entries, the error verdict, and the fast path are compared.
int RunParserCases(const std::string& file, TextFormat format) {
  base::Json cases = LoadCases(file);
  Tally tally(file);
  for (const auto& test : cases) {
    std::string input = TextOrBase64(test, "input");
    std::string expected = Expected(test["expect"]["entries"]);
    // The format's two names for "no type" are one MetricType here.
    if (format == TextFormat::kPrometheus) expected = Replaced(expected, " unknown\n", " untyped\n");
    bool expect_error = test["expect"].contains("error"), failed = false;
    TextParser parser(input, format);
    std::string actual = Actual(parser, format, &failed);
    tally.Count(actual == expected && failed == expect_error, std::to_string(test["id"].get<int>()),
                base::Quoted(input) + "\n  expected " + expected + (expect_error ? "  error" : "") + "\n  got      " +
                    actual + (failed ? parser.status().ToString() : ""));
  }
  return tally.passed();
}

TEST(TextFormats, Prometheus004) {
  if (LoadCases("text-formats/prometheus-text-0.0.4.json").is_null()) GTEST_SKIP() << "conformance data is not here";
  // The two cases missing are the leading blanks that the reference takes for a part of the name (its README).
  EXPECT_GE(RunParserCases("text-formats/prometheus-text-0.0.4.json", TextFormat::kPrometheus), 512);
}

TEST(TextFormats, OpenMetrics10) {
  if (LoadCases("text-formats/openmetrics-1.0.json").is_null()) GTEST_SKIP() << "conformance data is not here";
  // Missing: start timestamps taken from _created lines (6), series that the reference emits before it notices that
  // their line is malformed (10), NUL in an exemplar (1).
  EXPECT_GE(RunParserCases("text-formats/openmetrics-1.0.json", TextFormat::kOpenMetrics), 555);
}

TEST(TextFormats, ContentType) {
  base::Json cases = LoadCases("text-formats/content-type.json");
  if (cases.is_null()) GTEST_SKIP() << "conformance data is not here";
  Tally tally("content-type");
  for (const auto& test : cases) {
    auto format =
        ChooseFormat(test["content_type"].get<std::string>(), test["fallback_content_type"].get<std::string>());
    std::string actual = !format.ok()                                    ? "fails"
                         : *format == ExpositionFormat::kPrometheusText  ? "prometheus_text"
                         : *format == ExpositionFormat::kOpenMetricsText ? "openmetrics_text"
                                                                         : "protobuf";
    tally.Count(actual == test["expect"].value("parser", "fails"), test["content_type"], actual);
  }
  EXPECT_EQ(tally.passed(), static_cast<int>(cases.size()));
}

// labels, "dropped" or "config_error".
std::string RelabelOutcome(const base::Json& test) {
  base::ErrorList errors("rules");
  base::Json document = {{"rules", test["relabel_configs"]}};
  // Through YAML, because that is what users write: the distinction of quoted and plain scalars matters.
  auto node = base::ParseYaml(document.dump(), "rules");
  if (!node.ok()) return "config_error";
  base::ObjectReader reader(*node, "", errors);
  NameScheme scheme = test["name_validation_scheme"] == "legacy" ? NameScheme::kLegacy : NameScheme::kUtf8;
  std::vector<RelabelRule> rules = DecodeRelabelRules(reader, "rules", scheme);
  reader.Finish();
  if (!errors.empty()) return "config_error";
  std::vector<tsdb::Label> labels;
  for (const auto& pair : test["labels"]) labels.push_back({pair[0], pair[1]});
  tsdb::LabelsBuilder builder(tsdb::Labels::FromPairs(labels));
  return Relabel(rules, &builder) ? builder.Build().ToString() : "dropped";
}

TEST(TextFormats, Relabel) {
  base::Json cases = LoadCases("text-formats/relabel.json");
  if (cases.is_null()) GTEST_SKIP() << "conformance data is not here";
  Tally tally("relabel");
  for (const auto& test : cases) {
    const base::Json& expect = test["expect"];
    std::string expected = expect.contains("config_error") ? "config_error" : "dropped";
    if (expect.contains("labels")) {
      std::vector<tsdb::Label> labels;
      for (const auto& pair : expect["labels"]) labels.push_back({pair[0], pair[1]});
      expected = tsdb::Labels::FromPairs(labels).ToString();
    }
    std::string actual = RelabelOutcome(test);
    tally.Count(
        actual == expected, test["name"],
        test["relabel_configs"].dump() + " on " + test["labels"].dump() + " -> " + actual + ", not " + expected);
  }
  // Missing: an explicit null taken for an empty text rather than for the default (5), 5.5 taken for the modulus 5 (2).
  EXPECT_GE(tally.passed(), 464);
}

}  // namespace
}  // namespace tidewright::scrape
