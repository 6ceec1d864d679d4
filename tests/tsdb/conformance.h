// Files recorded from Prometheus, and the values in them.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

namespace tidewright::tsdb::testing {

inline std::string ConformanceDirectory() {
  const char* configured = std::getenv("CONFORMANCE_DIR");
  return std::string(configured != nullptr ? configured : TIDEWRIGHT_SOURCE_DIR "/../shared/conformance") + "/tsdb";
}

class ConformanceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(ConformanceDirectory())) GTEST_SKIP() << "no conformance data; set CONFORMANCE_DIR";
  }
  static base::Json Load(const std::string& file) {
    auto text = base::ReadFile(ConformanceDirectory() + "/" + file);
    EXPECT_TRUE(text.ok()) << text.status().ToString();
    return *base::ParseJson(text.ok() ? *text : "null");
  }
};

inline std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::strtol(hex.substr(i, 2).c_str(), nullptr, 16));
  }
  return bytes;
}

inline std::string ToHex(std::string_view bytes) {
  std::string hex;
  for (unsigned char c : bytes) {
    hex += "0123456789abcdef"[c >> 4];
    hex += "0123456789abcdef"[c & 15];
  }
  return hex;
}

inline double ParseValue(const base::Json& value) {
  if (value.is_number()) return value.get<double>();
  std::string text = value.get<std::string>();
  if (text == "stale") return StaleNan();
  if (text.rfind("NaN:", 0) == 0) {
    return std::bit_cast<double>(static_cast<uint64_t>(std::stoull(text.substr(4), nullptr, 16)));
  }
  double number = 0;
  EXPECT_TRUE(base::ParseDouble(text, &number)) << text;
  return number;
}

inline std::string Bits(double value) { return std::to_string(std::bit_cast<uint64_t>(value)); }

inline Labels ParseLabels(const base::Json& json) {
  std::vector<Label> labels;
  for (const auto& [name, value] : json.items()) labels.push_back({name, value.get<std::string>()});
  return Labels::FromPairs(std::move(labels));
}

inline CounterResetHint ParseHint(const base::Json& json) {
  const std::string text = json.get<std::string>();
  if (text == "reset") return CounterResetHint::kCounterReset;
  if (text == "not_reset") return CounterResetHint::kNotCounterReset;
  if (text == "gauge") return CounterResetHint::kGauge;
  EXPECT_EQ(text, "unknown");
  return CounterResetHint::kUnknown;
}

inline BucketSpans ParseSpans(const base::Json& json) {
  BucketSpans spans;
  for (const base::Json& span : json) spans.push_back({span[0].get<int32_t>(), span[1].get<uint32_t>()});
  return spans;
}

inline std::vector<double> ParseValues(const base::Json& json) {
  std::vector<double> values;
  for (const base::Json& value : json) values.push_back(ParseValue(value));
  return values;
}

// The fields that both kinds of histograms have.
template <class H>
H ParseLayout(const base::Json& json) {
  H h;
  h.sum = ParseValue(json["sum"]);
  if (IsStale(h)) return h;
  h.hint = ParseHint(json["hint"]);
  h.schema = json["schema"].get<int32_t>();
  h.zero_threshold = ParseValue(json["zero_threshold"]);
  h.positive_spans = ParseSpans(json["positive_spans"]);
  h.negative_spans = ParseSpans(json["negative_spans"]);
  if (json.contains("custom_values")) h.custom_values = ParseValues(json["custom_values"]);
  return h;
}

inline Histogram ParseHistogram(const base::Json& json) {
  auto h = ParseLayout<Histogram>(json);
  if (IsStale(h)) return h;
  h.count = json["count"].get<uint64_t>();
  h.zero_count = json["zero_count"].get<uint64_t>();
  h.positive_buckets = json["positive_deltas"].get<std::vector<int64_t>>();
  h.negative_buckets = json["negative_deltas"].get<std::vector<int64_t>>();
  return h;
}

inline FloatHistogram ParseFloatHistogram(const base::Json& json) {
  auto h = ParseLayout<FloatHistogram>(json);
  if (IsStale(h)) return h;
  h.count = ParseValue(json["count"]);
  h.zero_count = ParseValue(json["zero_count"]);
  h.positive_buckets = ParseValues(json["positive_counts"]);
  h.negative_buckets = ParseValues(json["negative_counts"]);
  return h;
}

// Any sample's value as text; equal texts mean equal bits.
inline std::string Describe(double value) { return "float " + Bits(value); }

template <class H, class Count>
std::string DescribeHistogram(const H& h, const char* kind, Count count) {
  std::string text = kind;
  if (IsStale(h)) return text + " stale";
  text += " hint " + std::to_string(static_cast<int>(h.hint)) + " schema " + std::to_string(h.schema) + " threshold " +
          Bits(h.zero_threshold) + " zero " + count(h.zero_count) + " count " + count(h.count) + " sum " + Bits(h.sum);
  for (const auto* spans : {&h.positive_spans, &h.negative_spans}) {
    text += " spans";
    for (const BucketSpan& span : *spans) text += " " + std::to_string(span.offset) + "+" + std::to_string(span.length);
  }
  for (const auto* buckets : {&h.positive_buckets, &h.negative_buckets}) {
    text += " buckets";
    for (auto bucket : *buckets) text += " " + count(bucket);
  }
  text += " bounds";
  for (double bound : h.custom_values) text += " " + Bits(bound);
  return text;
}

inline std::string Describe(const Histogram& h) {
  return DescribeHistogram(h, "histogram", [](auto number) { return std::to_string(number); });
}
inline std::string Describe(const FloatHistogram& h) {
  return DescribeHistogram(h, "float histogram", [](double number) { return Bits(number); });
}

// The value of a recorded sample: a text is a float, an object is a histogram of either kind.
inline std::string DescribeJson(const base::Json& value) {
  if (!value.is_object()) return Describe(ParseValue(value));
  const bool floats = value.contains("positive_counts");
  return floats ? Describe(ParseFloatHistogram(value)) : Describe(ParseHistogram(value));
}

}  // namespace tidewright::tsdb::testing
