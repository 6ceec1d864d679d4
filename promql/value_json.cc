#include "promql/value_json.h"

#include <array>
#include <cstdio>

#include "base/metrics.h"
#include "promql/histogram.h"

namespace tidewright::promql {
namespace {

void AppendTime(int64_t t_ms, std::string* out) {
  int64_t millis = ((t_ms % 1000) + 1000) % 1000;
  int64_t seconds = (t_ms - millis) / 1000;
  if (t_ms < 0 && millis != 0) {  // -0.5 s has no whole seconds to carry the sign.
    *out += base::FormatDouble(static_cast<double>(t_ms) / 1000);
    return;
  }
  *out += std::to_string(seconds);
  if (millis == 0) return;
  std::array<char, 8> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03d", static_cast<int>(millis));
  *out += fraction.data();
  while (out->back() == '0') out->pop_back();
}

void AppendNumber(double value, std::string* out) {
  *out += '"';
  *out += base::FormatDouble(value);
  *out += '"';
}

void AppendPoint(const Point& point, std::string* out) {
  *out += '[';
  AppendTime(point.t, out);
  *out += ',';
  AppendNumber(point.v, out);
  *out += ']';
}

void AppendPoint(const HistogramPoint& point, std::string* out) {
  *out += '[';
  AppendTime(point.t, out);
  *out += ',';
  AppendJson(*point.h, out);
  *out += ']';
}

template <typename Points>
void AppendPoints(std::string_view member, const Points& points, std::string* out) {
  if (points.empty()) return;
  out->append(",\"").append(member).append("\":[");
  for (size_t i = 0; i < points.size(); ++i) {
    if (i > 0) *out += ',';
    AppendPoint(points[i], out);
  }
  *out += ']';
}

// Renders each alternative of Value.
struct Renderer {
  std::string* out;

  void operator()(const Vector& vector) {
    *out += "{\"resultType\":\"vector\",\"result\":[";
    for (size_t i = 0; i < vector.size(); ++i) {
      const VectorSample& sample = vector[i];
      *out += i == 0 ? "{\"metric\":" : ",{\"metric\":";
      AppendJson(sample.labels, out);
      *out += sample.histogram != nullptr ? ",\"histogram\":" : ",\"value\":";
      if (sample.histogram != nullptr) {
        AppendPoint(HistogramPoint{sample.point.t, sample.histogram}, out);
      } else {
        AppendPoint(sample.point, out);
      }
      *out += '}';
    }
    *out += "]}";
  }
  void operator()(const Matrix& matrix) {
    *out += "{\"resultType\":\"matrix\",\"result\":[";
    for (size_t i = 0; i < matrix.size(); ++i) {
      *out += i == 0 ? "{\"metric\":" : ",{\"metric\":";
      AppendJson(matrix[i].labels, out);
      AppendPoints("values", matrix[i].points, out);
      AppendPoints("histograms", matrix[i].histograms, out);
      *out += '}';
    }
    *out += "]}";
  }
  void operator()(const Scalar& scalar) {
    *out += "{\"resultType\":\"scalar\",\"result\":";
    AppendPoint(scalar.point, out);
    *out += '}';
  }
  void operator()(const StringValue& text) {
    *out += "{\"resultType\":\"string\",\"result\":[";
    AppendTime(text.t, out);
    *out += ',';
    AppendJsonString(text.text, out);
    *out += "]}";
  }
};

// Which ends belong to a bucket, as the API numbers the cases.
char EndsOf(const HistogramBucket& bucket) {
  if (bucket.includes_lower) return bucket.includes_upper ? '3' : '1';
  return bucket.includes_upper ? '0' : '2';
}

}  // namespace

void AppendJsonString(std::string_view text, std::string* out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  *out += '"';
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      *out += '\\';
      *out += c;
    } else if (c == '\n') {
      *out += "\\n";
    } else if (byte < 0x20) {
      *out += "\\u00";
      *out += kHex[byte >> 4];
      *out += kHex[byte & 15];
    } else {
      *out += c;
    }
  }
  *out += '"';
}

void AppendJson(const Labels& labels, std::string* out) {
  *out += '{';
  bool first = true;
  for (const auto& label : labels) {
    if (!first) *out += ',';
    first = false;
    AppendJsonString(label.name, out);
    *out += ':';
    AppendJsonString(label.value, out);
  }
  *out += '}';
}

void AppendJson(const Histogram& histogram, std::string* out) {
  *out += "{\"count\":";
  AppendNumber(histogram.count, out);
  *out += ",\"sum\":";
  AppendNumber(histogram.sum, out);
  bool any = false;
  for (const HistogramBucket& bucket : BucketsOf(histogram)) {
    if (bucket.count == 0) continue;
    *out += any ? ",[" : ",\"buckets\":[[";
    any = true;
    *out += EndsOf(bucket);
    for (double number : {bucket.lower, bucket.upper, bucket.count}) {
      *out += ',';
      AppendNumber(number, out);
    }
    *out += ']';
  }
  *out += any ? "]}" : "}";
}

void AppendJson(const Value& value, std::string* out) { std::visit(Renderer{out}, value); }

}  // namespace tidewright::promql
