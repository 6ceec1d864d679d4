// The exposition parsers, relabelling and the choice of the parser against the recorded behaviour of Prometheus 3.14.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <set>

#include "base/metrics.h"
#include "scrape/exposition.h"
#include "scrape/float_text.h"
#include "scrape/relabel.h"
#include "tests/conformance/scrape_data.h"

namespace tidewright::scrape {
namespace {

// The number as the data writes it, in the one spelling that is compared.
std::string NumberText(const base::Json& value) {
  double number = 0;
  EXPECT_TRUE(ParseSampleValue(value.is_string() ? value.get<std::string>() : value.dump(), &number));
  return base::FormatDouble(number);
}

std::string PairsText(std::vector<tsdb::Label> labels) {
  std::sort(labels.begin(), labels.end());
  std::string out = "{";
  for (const auto& label : labels) out += label.name + "=" + label.value + ";";
  return out + "}";
}

std::vector<tsdb::Label> ExpectedLabels(const base::Json& pairs) {
  auto decode = [](std::string text) {
    std::string bytes;
    if (text.rfind("b64:", 0) != 0) return text;
    EXPECT_TRUE(base::Base64Decode(text.substr(4), &bytes));
    return bytes;
  };
  std::vector<tsdb::Label> labels;
  for (const auto& pair : pairs) labels.push_back({decode(pair[0]), decode(pair[1])});
  return labels;
}

template <typename Count>
std::string BucketsText(const tsdb::BucketSpans& spans, const std::vector<Count>& buckets) {
  std::string out = " spans";
  for (const tsdb::BucketSpan& span : spans) {
    out += " " + std::to_string(span.offset) + "/" + std::to_string(span.length);
  }
  out += " buckets";
  for (Count bucket : buckets) out += " " + base::FormatDouble(static_cast<double>(bucket));
  return out;
}

template <typename AnyHistogram>
std::string HistogramText(const AnyHistogram& h, bool integer) {
  std::string out = integer ? "int" : "float";
  out += h.hint == tsdb::CounterResetHint::kGauge ? " gauge" : " unknown";
  out += " schema " + std::to_string(h.schema) + " zero " + base::FormatDouble(h.zero_threshold) + "/" +
         base::FormatDouble(static_cast<double>(h.zero_count)) + " count " +
         base::FormatDouble(static_cast<double>(h.count)) + " sum " + base::FormatDouble(h.sum) + " bounds";
  for (double bound : h.custom_values) out += " " + base::FormatDouble(bound);
  return out + " positive" + BucketsText(h.positive_spans, h.positive_buckets) + " negative" +
         BucketsText(h.negative_spans, h.negative_buckets);
}

tsdb::BucketSpans ExpectedSpans(const base::Json& list) {
  tsdb::BucketSpans spans;
  for (const auto& span : list) spans.push_back({span[0].get<int32_t>(), span[1].get<uint32_t>()});
  return spans;
}

std::string ExpectedHistogram(const base::Json& h) {
  const bool integer = h["kind"] == "int";
  auto side = [&](const std::string& name) {
    std::vector<double> buckets;
    const base::Json list = h.value(name + (integer ? "_deltas" : "_counts"), base::Json());
    for (const auto& bucket : list) {
      double number = 0;
      EXPECT_TRUE(ParseSampleValue(NumberText(bucket), &number));
      buckets.push_back(number);
    }
    return " " + name + BucketsText(ExpectedSpans(h.value(name + "_spans", base::Json())), buckets);
  };
  std::string out = integer ? "int " : "float ";
  out += h["counter_reset_hint"].get<std::string>() + " schema " + h["schema"].dump() + " zero " +
         NumberText(h["zero_threshold"]) + "/" + NumberText(h["zero_count"]) + " count " + NumberText(h["count"]) +
         " sum " + NumberText(h["sum"]) + " bounds";
  for (const auto& bound : h.value("custom_values", base::Json::array())) out += " " + NumberText(bound);
  return out + side("positive") + side("negative");
}

std::string ExpectedSample(const base::Json& entry) {
  std::string out = entry["type"].get<std::string>() + " " + TextOrBase64(entry, "text") + " = ";
  out += PairsText(ExpectedLabels(entry["labels"])) + " ";
  out += entry["type"] == "series" ? NumberText(entry["value"]) : ExpectedHistogram(entry["histogram"]);
  out += " @" + (entry.contains("timestamp_ms") ? entry["timestamp_ms"].dump() : "-");
  if (entry.contains("start_timestamp_ms")) out += " from " + entry["start_timestamp_ms"].dump();
  for (const auto& exemplar : entry.value("exemplars", base::Json::array())) {
    out += " # " + PairsText(ExpectedLabels(exemplar["labels"])) + " " + NumberText(exemplar["value"]) + " @" +
           (exemplar.contains("timestamp_ms") ? exemplar["timestamp_ms"].dump() : "-");
  }
  return out + "\n";
}

// One line per entry, so that a difference reads well.
std::string Expected(const base::Json& entries) {
  std::string out;
  for (const auto& entry : entries) {
    std::string type = entry["type"];
    if (type == "series" || type == "histogram") {
      out += ExpectedSample(entry);
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

std::string ActualSample(ExpositionParser& parser, Entry entry) {
  std::vector<tsdb::Label> labels;
  parser.AppendLabels(&labels);
  std::string out = (entry == Entry::kSeries ? "series " : "histogram ") + std::string(parser.series()) + " = ";
  out += PairsText(labels) + " ";
  if (entry == Entry::kSeries) {
    out += base::FormatDouble(parser.value());
  } else {
    out += parser.histogram() != nullptr ? HistogramText(*parser.histogram(), true)
                                         : HistogramText(*parser.float_histogram(), false);
  }
  out += " @" + (parser.has_timestamp() ? std::to_string(parser.timestamp_ms()) : "-");
  if (int64_t start = parser.StartTimestampMs(); start != 0) out += " from " + std::to_string(start);
  std::vector<Exemplar> exemplars;
  parser.AppendExemplars(&exemplars);
  for (const Exemplar& exemplar : exemplars) {
    out += " # " + PairsText(exemplar.labels) + " " + base::FormatDouble(exemplar.value) + " @" +
           (exemplar.has_timestamp ? std::to_string(exemplar.timestamp_ms) : "-");
  }
  return out + "\n";
}

std::string Actual(ExpositionParser& parser, bool* failed) {
  std::string out;
  for (;;) {
    Entry entry = parser.Next();
    std::string family(parser.family()), text(parser.text());
    switch (entry) {
      case Entry::kEnd: return out;
      case Entry::kError: *failed = true; return out;
      case Entry::kType: out += "type " + family + " " + std::string(MetricTypeName(parser.type())) + "\n"; break;
      case Entry::kHelp: out += "help " + family + " " + text + "\n"; break;
      case Entry::kUnit: out += "unit " + family + " " + text + "\n"; break;
      case Entry::kComment: out += "comment  " + text + "\n"; break;
      case Entry::kSeries:
      case Entry::kHistogram: out += ActualSample(parser, entry); break;
    }
  }
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

ExpositionFormat FormatNamed(const std::string& name) {
  if (name == "protobuf") return ExpositionFormat::kProtobuf;
  return name == "openmetrics" ? ExpositionFormat::kOpenMetricsText : ExpositionFormat::kPrometheusText;
}

ExpositionOptions OptionsOf(const base::Json& test) {
  base::Json given = test.value("options", base::Json::object());
  ExpositionOptions options;
  options.native_histograms = !given.value("ignore_native_histograms", false);
  options.keep_classic_histograms = given.value("keep_classic_histograms", false);
  options.convert_classic_histograms = given.value("convert_classic_histograms_to_nhcb", false);
  options.created_lines = given.value("skip_created_series", false);
  options.type_and_unit_labels = given.value("type_and_unit_labels", false);
  return options;
}

// Whether the parser did as expected. When the reference ends in an error nothing of a scrape is stored, so that what
// it had produced of the line with the error does not count; everything before that line does.
bool SameEntries(const std::string& actual, const std::string& expected, bool expect_error) {
  if (actual == expected) return true;
  if (!expect_error || expected.empty()) return false;
  return actual == expected.substr(0, expected.rfind('\n', expected.size() - 2) + 1);
}

// Runs the cases of one file; entries and the error verdict are compared. All pass but those with the numbers of
// `reasons`.
void RunParserCases(const std::string& file, const std::map<std::string, std::string>& reasons = {},
                    const std::string& verdict = "expect") {
  base::Json document = LoadDocument(file);
  if (!document.contains("cases")) GTEST_SKIP() << "conformance data is not here";
  Tally tally(file);
  for (const auto& test : document["cases"]) {
    std::string input;
    if (document.contains("inputs_b64")) {
      EXPECT_TRUE(
          base::Base64Decode(document["inputs_b64"][test["input"].get<std::string>()].get<std::string>(), &input));
    } else {
      input = TextOrBase64(test, "input");
    }
    std::string format = test.value("format", document.value("format", "openmetrics"));
    // The formats' two names for "no type" are one MetricType here.
    std::string expected = Replaced(Expected(test[verdict]["entries"]), " untyped\n", " unknown\n");
    bool expect_error = test[verdict].contains("error"), failed = false;
    auto parser = NewExpositionParser(input, FormatNamed(format), OptionsOf(test));
    std::string actual = Actual(*parser, &failed);
    tally.Count(SameEntries(actual, expected, expect_error) && failed == expect_error,
                std::to_string(test["id"].get<int>()),
                base::Quoted(input) + "\n  expected " + expected + (expect_error ? "  error" : "") + "\n  got      " +
                    actual + (failed ? parser->status().ToString() : ""));
  }
  ExpectOnly(tally.failed(), reasons);
}

TEST(TextFormats, Prometheus004) {
  const std::string blank = "a leading blank is skipped, where the reference takes it for a part of the name";
  RunParserCases("text-formats/prometheus-text-0.0.4.json", {{"185", blank}, {"186", blank}});
}

TEST(TextFormats, OpenMetrics10) {
  const std::string escapes = "label values of exemplars are unescaped, where the reference leaves their escapes";
  RunParserCases("text-formats/openmetrics-1.0.json",
                 {{"623", escapes},
                  {"624", escapes},
                  {"90", "a NUL byte is an error, where the reference takes it for the end of the body"}});
}

TEST(TextFormats, OpenMetricsStartTimestamps) { RunParserCases("text-formats/openmetrics-start-timestamps.json"); }

TEST(TextFormats, OpenMetricsSuite) { RunParserCases("text-formats/openmetrics-suite.json", {}, "prometheus"); }

TEST(TextFormats, ConvertedHistograms) { RunParserCases("text-formats/nhcb-conversion.json"); }

TEST(TextFormats, TypeAndUnitLabels) { RunParserCases("text-formats/type-and-unit-labels.json"); }

TEST(TextFormats, Protobuf) { RunParserCases("text-formats/protobuf.json"); }

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
  ExpectOnly(tally.failed(), {{"config modulus float", "5.5 is no modulus, where the reference takes 5"}});
}

}  // namespace
}  // namespace tidewright::scrape
