#include "web/federation.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "base/strings.h"
#include "base/wire_writer.h"
#include "scrape/relabel.h"
#include "web/params.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

using base::WireWriter;

constexpr int64_t kLookbackMs = 5 * 60'000;
// Values of io.prometheus.client.MetricType.
constexpr uint64_t kUntyped = 3, kHistogramType = 4, kGaugeHistogramType = 5;

// The newest sample of a series.
struct Newest {
  tsdb::Labels labels;
  int64_t t = 0;
  double v = 0;
  std::shared_ptr<const tsdb::FloatHistogram> histogram;  // Null: a float.
};

bool Before(const Newest& a, const Newest& b) {
  const std::string_view x = a.labels.MetricName(), y = b.labels.MetricName();
  return x != y ? x < y : a.labels < b.labels;
}

// False when there is none, or the series has ended.
bool ReadNewest(const tsdb::Series& series, Newest* newest) {
  auto it = series.Iterator();
  bool any = false, histogram = false;
  while (it->Next()) {
    any = true;
    histogram = it->type() != tsdb::ValueType::kFloat;
    const tsdb::Sample sample = it->At();
    newest->t = sample.t;
    newest->v = sample.v;
    newest->histogram = histogram ? std::make_shared<tsdb::FloatHistogram>(*it->AtHistogram()) : nullptr;
  }
  if (!any || tsdb::IsStaleNan(newest->v)) return false;
  newest->labels = series.labels();
  return true;
}

base::Result<std::vector<Newest>> Collect(tsdb::Queryable& store, const std::vector<promql::Matchers>& selectors,
                                          int64_t now_ms) {
  TW_ASSIGN_OR_RETURN(auto querier, store.NewQuerier(now_ms - kLookbackMs, now_ms));
  std::vector<Newest> all;
  for (const promql::Matchers& matchers : selectors) {
    TW_ASSIGN_OR_RETURN(auto selected, querier->Select({now_ms - kLookbackMs, now_ms}, matchers));
    for (const auto& series : selected) {
      Newest newest;
      if (ReadNewest(*series, &newest)) all.push_back(std::move(newest));
    }
  }
  std::sort(all.begin(), all.end(), Before);
  auto same = [](const Newest& a, const Newest& b) { return a.labels == b.labels; };
  all.erase(std::unique(all.begin(), all.end(), same), all.end());
  return all;
}

// Names as the client can read them.
class Naming {
 public:
  explicit Naming(bool utf8) : utf8_(utf8) {}
  std::string Metric(std::string_view name) const { return Plain(name, true) ? std::string(name) : Escape(name, true); }
  std::string Label(std::string_view name) const {
    return Plain(name, false) ? std::string(name) : Escape(name, false);
  }
  static bool IsLegacy(std::string_view name, bool metric) {
    return metric ? scrape::IsValidMetricName(name, scrape::NameScheme::kLegacy)
                  : scrape::IsValidLabelName(name, scrape::NameScheme::kLegacy);
  }
  const char* scheme() const { return utf8_ ? "allow-utf-8" : "underscores"; }

 private:
  bool Plain(std::string_view name, bool metric) const { return utf8_ || IsLegacy(name, metric); }
  // One underscore for each character that a legacy name may not have.
  static std::string Escape(std::string_view name, bool metric) {
    std::string out;
    for (const char c : name) {
      if ((static_cast<unsigned char>(c) & 0xc0) == 0x80) continue;  // Not the first byte of its character.
      const bool valid = IsLegacy(out + c, metric);
      out += valid ? c : '_';
    }
    return out;
  }
  const bool utf8_;
};

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

// The labels of a series without its name, in the order in which they are shown.
std::vector<tsdb::Label> ShownLabels(const tsdb::Labels& labels, const tsdb::Labels& external) {
  std::vector<tsdb::Label> shown;
  for (const tsdb::Label& label : labels) {
    if (label.name != tsdb::kMetricName) shown.push_back(label);
  }
  for (const tsdb::Label& label : external) {
    if (!labels.Has(label.name)) shown.push_back(label);
  }
  if (!labels.Has("instance") && !external.Has("instance")) shown.push_back({"instance", ""});
  return shown;
}

// The classic buckets of a histogram with custom ones: upper bounds, the last of them +Inf, and counts up to there.
std::vector<std::pair<double, double>> ClassicBuckets(const tsdb::FloatHistogram& histogram) {
  std::vector<double> counts(histogram.custom_values.size() + 1, 0);
  size_t index = 0, bucket = 0;
  for (const tsdb::BucketSpan& span : histogram.positive_spans) {
    index += static_cast<size_t>(span.offset);
    for (uint32_t i = 0; i < span.length && index < counts.size(); ++i, ++index) {
      if (bucket < histogram.positive_buckets.size()) counts[index] = histogram.positive_buckets[bucket++];
    }
  }
  std::vector<std::pair<double, double>> classic;
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    sum += counts[i];
    const bool last = i == histogram.custom_values.size();
    classic.emplace_back(last ? std::numeric_limits<double>::infinity() : histogram.custom_values[i], sum);
  }
  return classic;
}

bool HasCustomBuckets(const Newest& newest) {
  return newest.histogram != nullptr && newest.histogram->schema == tsdb::kCustomBucketsSchema;
}

class TextWriter {
 public:
  TextWriter(Naming naming, const tsdb::Labels& external) : naming_(naming), external_(external) {}

  void Add(const Newest& newest) {
    const bool classic = HasCustomBuckets(newest);
    if (newest.histogram != nullptr && !classic) return;  // The format has no native histograms.
    const std::string name = naming_.Metric(newest.labels.MetricName());
    const char* type = classic ? "histogram" : "untyped";
    if (name != family_ || type != type_) {
      out_ += "# TYPE " + (Naming::IsLegacy(name, true) ? name : "\"" + Escaped(name) + "\"") + " " + type + "\n";
      family_ = name;
      type_ = type;
    }
    std::vector<tsdb::Label> labels = ShownLabels(newest.labels, external_);
    if (!classic) return Line(name, labels, newest.v, newest.t);
    for (const auto& [bound, count] : ClassicBuckets(*newest.histogram)) {
      labels.push_back({"le", base::FormatDouble(bound)});
      Line(name + "_bucket", labels, count, newest.t);
      labels.pop_back();
    }
    Line(name + "_sum", labels, newest.histogram->sum, newest.t);
    Line(name + "_count", labels, newest.histogram->count, newest.t);
  }
  std::string Take() { return std::move(out_); }

 private:
  void Line(const std::string& name, const std::vector<tsdb::Label>& labels, double value, int64_t t) {
    const bool bare = Naming::IsLegacy(name, true);
    std::string inside = bare ? "" : "\"" + Escaped(name) + "\"";
    for (const tsdb::Label& label : labels) {
      const std::string shown = naming_.Label(label.name);
      if (!inside.empty()) inside += ',';
      inside += (Naming::IsLegacy(shown, false) ? shown : "\"" + Escaped(shown) + "\"");
      inside += "=\"" + Escaped(label.value) + "\"";
    }
    if (bare) out_ += name;
    out_ += "{" + inside + "} " + base::FormatDouble(value) + " " + std::to_string(t) + "\n";
  }

  const Naming naming_;
  const tsdb::Labels& external_;
  std::string out_;
  std::string family_;
  std::string_view type_;
};

void AppendSpans(uint32_t field, const tsdb::BucketSpans& spans, WireWriter* out) {
  for (const tsdb::BucketSpan& span : spans) {
    WireWriter message;
    message.ZigZag(1, span.offset).Varint(2, span.length);
    out->Bytes(field, message.bytes());
  }
}

// io.prometheus.client.Histogram.
std::string HistogramMessage(const tsdb::FloatHistogram& histogram) {
  WireWriter out;
  out.Double(2, histogram.sum).Double(4, histogram.count);
  if (histogram.schema == tsdb::kCustomBucketsSchema) {
    for (const auto& [bound, count] : ClassicBuckets(histogram)) {
      WireWriter bucket;
      bucket.Double(2, bound).Double(4, count);
      out.Bytes(3, bucket.bytes());
    }
    return out.Take();
  }
  out.ZigZag(5, histogram.schema).Double(6, histogram.zero_threshold).Double(8, histogram.zero_count);
  AppendSpans(9, histogram.negative_spans, &out);
  for (const double count : histogram.negative_buckets) out.Double(11, count);
  AppendSpans(12, histogram.positive_spans, &out);
  for (const double count : histogram.positive_buckets) out.Double(14, count);
  // A native histogram without buckets is told from a classic one by an empty span.
  if (histogram.positive_spans.empty() && histogram.negative_spans.empty()) AppendSpans(12, {{0, 0}}, &out);
  return out.Take();
}

uint64_t TypeOf(const Newest& newest) {
  if (newest.histogram == nullptr) return kUntyped;
  return newest.histogram->hint == tsdb::CounterResetHint::kGauge ? kGaugeHistogramType : kHistogramType;
}

std::string MetricMessage(const Newest& newest, const Naming& naming, const tsdb::Labels& external) {
  WireWriter metric;
  for (const tsdb::Label& label : ShownLabels(newest.labels, external)) {
    WireWriter pair;
    pair.Bytes(1, naming.Label(label.name)).Bytes(2, label.value);
    metric.Bytes(1, pair.bytes());
  }
  WireWriter untyped;
  untyped.Double(1, newest.v);
  metric.Varint(6, static_cast<uint64_t>(newest.t));
  if (newest.histogram == nullptr) return metric.Bytes(5, untyped.bytes()).Take();
  return metric.Bytes(7, HistogramMessage(*newest.histogram)).Take();
}

// MetricFamily messages, each after its length.
std::string WriteProtobuf(const std::vector<Newest>& all, const Naming& naming, const tsdb::Labels& external) {
  std::string out;
  for (size_t i = 0; i < all.size();) {
    const std::string_view name = all[i].labels.MetricName();
    const uint64_t type = TypeOf(all[i]);
    WireWriter family;
    family.Bytes(1, naming.Metric(name)).Varint(3, type);
    for (; i < all.size() && all[i].labels.MetricName() == name && TypeOf(all[i]) == type; ++i) {
      family.Bytes(4, MetricMessage(all[i], naming, external));
    }
    WireWriter::AppendVarint(family.bytes().size(), &out);
    out += family.bytes();
  }
  return out;
}

}  // namespace

http::Response Federation::Handle(const http::ServerRequest& request) const {
  if (request.method != "GET" && request.method != "HEAD") return MethodNotAllowed("GET");
  auto selectors = SelectorParams(request.query, SelectorRule::kAnySeries);
  if (!selectors.ok()) return PlainError(400, selectors.status().message());
  auto all = Collect(store_, *selectors, clock_.NowMs());
  if (!all.ok()) return PlainError(500, all.status().message());
  const tsdb::Labels external = external_ ? external_() : tsdb::Labels();
  const std::string accept = request.headers.Get("Accept");
  const Naming naming(accept.find("escaping=allow-utf-8") != std::string::npos);
  http::Response response;
  response.headers.Set("Vary", "Accept-Encoding");
  const std::string escaping = std::string("; escaping=") + naming.scheme();
  if (accept.find("proto=io.prometheus.client.MetricFamily") != std::string::npos) {
    response.headers.Set("Content-Type",
                         "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
                         "encoding=delimited" +
                             escaping);
    response.body = WriteProtobuf(*all, naming, external);
    return response;
  }
  const char* version = naming.scheme() == std::string_view("allow-utf-8") ? "1.0.0" : "0.0.4";
  response.headers.Set("Content-Type", std::string("text/plain; version=") + version + "; charset=utf-8" + escaping);
  TextWriter writer(naming, external);
  for (const Newest& newest : *all) writer.Add(newest);
  response.body = writer.Take();
  return response;
}

}  // namespace tidewright::web
