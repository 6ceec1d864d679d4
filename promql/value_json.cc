#include "promql/value_json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/metrics.h"
#include "base/strings.h"
#include "promql/histogram.h"

namespace tidewright::promql {
namespace {

// Text of numbers is written to memory with this much room, and appended at once.
constexpr size_t kMostDigits = 400;  // 1e-308 has no exponent.
using TextBuffer = std::array<char, 2 * kMostDigits>;

char* Write(std::string_view text, char* at) {
  std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

template <typename Number>
char* WriteDigits(Number number, char* at) {
  return std::to_chars(at, at + kMostDigits, number).ptr;
}

// Seconds with up to three decimals.
char* WriteTime(int64_t t_ms, char* at) {
  int64_t millis = ((t_ms % 1000) + 1000) % 1000;
  int64_t seconds = (t_ms - millis) / 1000;
  if (t_ms < 0 && millis != 0) {  // -0.5 s has no whole seconds to carry the sign.
    return Write(base::FormatDouble(static_cast<double>(t_ms) / 1000), at);
  }
  at = WriteDigits(seconds, at);
  if (millis == 0) return at;
  const char fraction[] = {'.', static_cast<char>('0' + millis / 100), static_cast<char>('0' + millis / 10 % 10),
                           static_cast<char>('0' + millis % 10)};
  at = Write({fraction, sizeof fraction}, at);
  while (at[-1] == '0') --at;
  return at;
}

// As FormatDouble(), faster for the usual numbers.
char* WriteDouble(double value, char* at) {
  constexpr double kExact = 1e15;  // Below, the shortest text in fixed notation is that of to_chars().
  double magnitude = std::fabs(value);
  if (!(magnitude < kExact) || magnitude < 1e-6) {
    return Write(value == 0 && !std::signbit(value) ? "0" : base::FormatDouble(value), at);
  }
  auto whole = static_cast<int64_t>(value);
  if (static_cast<double>(whole) == value) return WriteDigits(whole, at);
  return std::to_chars(at, at + kMostDigits, value, std::chars_format::fixed).ptr;
}

void AppendTime(int64_t t_ms, std::string* out) {
  TextBuffer text;
  out->append(text.data(), WriteTime(t_ms, text.data()));
}

void AppendNumber(double value, std::string* out) {
  TextBuffer text;
  *out += '"';
  out->append(text.data(), WriteDouble(value, text.data()));
  *out += '"';
}

void AppendPoint(const Point& point, std::string* out) {
  TextBuffer text;
  char* at = text.data();
  *at++ = '[';
  at = WriteTime(point.t, at);
  at = Write(",\"", at);
  at = WriteDouble(point.v, at);
  at = Write("\"]", at);
  out->append(text.data(), at);
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
    *out += "{\"resultType\":\"scalar\",\"result\":[";
    AppendTime(scalar.point.t, out);
    out->append(",\"").append(base::FormatFixed(scalar.point.v)).append("\"]}");  // Never with an exponent.
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

namespace {

// Whether any of 8 bytes is a control character, a quote or a backslash. Exact for the lowest such byte.
bool AnyEscaped(const char* text) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  uint64_t word;
  std::memcpy(&word, text, sizeof word);
  const uint64_t quote = word ^ (kOnes * '"'), backslash = word ^ (kOnes * '\\');
  const uint64_t found =
      ((word - kOnes * 0x20) & ~word) | ((quote - kOnes) & ~quote) | ((backslash - kOnes) & ~backslash);
  return (found & kHigh) != 0;
}

}  // namespace

void AppendJsonString(std::string_view text, std::string* out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  *out += '"';
  size_t plain = 0;  // Where what was not written yet begins.
  for (size_t i = 0; i < text.size(); ++i) {
    while (i + 8 <= text.size() && !AnyEscaped(text.data() + i)) i += 8;
    if (i == text.size()) break;
    char c = text[i];
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && c != '"' && c != '\\') continue;
    out->append(text.substr(plain, i - plain));
    plain = i + 1;
    if (c == '"' || c == '\\') {
      *out += '\\';
      *out += c;
    } else if (c == '\n') {
      *out += "\\n";
    } else {
      *out += "\\u00";
      *out += kHex[byte >> 4];
      *out += kHex[byte & 15];
    }
  }
  out->append(text.substr(plain));
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

void AppendJson(const QueryStatistics& statistics, std::string* out) {
  auto append = [&](const char* member, double value) {
    *out += member;
    *out += base::FormatFixed(value);
  };
  auto seconds = [](int64_t nanos) { return static_cast<double>(nanos) / 1e9; };
  double evaluation = seconds(statistics.prepare_nanos + statistics.eval_nanos);
  append("{\"timings\":{\"evalTotalTime\":", evaluation);
  append(",\"resultSortTime\":", 0);  // Part of the evaluation.
  append(",\"queryPreparationTime\":", seconds(statistics.prepare_nanos));
  append(",\"innerEvalTime\":", seconds(statistics.eval_nanos));
  append(",\"execQueueTime\":", seconds(statistics.queue_nanos));
  append(",\"execTotalTime\":", seconds(statistics.queue_nanos) + evaluation);
  append("},\"samples\":{\"totalQueryableSamples\":", static_cast<double>(statistics.samples));
  append(",\"samplesRead\":", static_cast<double>(statistics.samples));
  append(",\"peakSamples\":", static_cast<double>(statistics.peak_samples));
  *out += "}}";
}

void AppendJson(const Value& value, std::string* out) { std::visit(Renderer{out}, value); }

}  // namespace tidewright::promql
