// Prometheus' protobuf exposition format: length-delimited messages io.prometheus.client.MetricFamily.
//
// It is the only format that carries native histograms. The messages are read by hand (base/wire_reader.h,
// scrape/metric_family.h): seven message types that have not changed incompatibly in ten years need no code generator,
// and one metric at a time is decoded, so that a large page costs no copy of itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/wire_reader.h"
#include "scrape/classic_histogram.h"
#include "scrape/exposition.h"
#include "scrape/metric_family.h"

namespace tidewright::scrape {

// series() is the name and the labels, each preceded by the byte 0xff, which is in no valid name.
class ProtobufParser final : public ExpositionParser {
 public:
  ProtobufParser(std::string_view body, const ExpositionOptions& options)
      : rest_(body), options_(options), metrics_(std::string_view()) {}

  Entry Next() override;
  void AppendLabels(std::vector<tsdb::Label>* labels) const override;
  int64_t StartTimestampMs() override { return metric_.start_ms; }
  void AppendExemplars(std::vector<Exemplar>* exemplars) const override;

 private:
  // What a family's entries come from, in order.
  enum class Stage { kFamily, kUnit, kType, kMetric, kPoints, kNative, kDone };
  // The classic series of a summary or histogram: the count, the sum, then one per point.
  static constexpr size_t kCountPoint = 0, kSumPoint = 1, kFirstPoint = 2;

  Entry Fail(base::Status status);
  std::optional<Entry> Step();
  std::optional<Entry> NextFamily();
  std::optional<Entry> NextMetric();
  void StartMetric();
  std::optional<Entry> NextPoint();
  std::optional<Entry> SimplePoint();
  std::optional<Entry> NativeHistogram();
  bool ConvertNative();
  bool ConvertClassic();
  void SetSeries(std::string_view suffix, std::string_view extra_name = {}, std::string extra_value = {});
  bool HasPoints() const;
  bool IsHistogram() const;
  size_t PointCount() const;

  std::string_view rest_;  // Of the body, after the family at hand.
  const ExpositionOptions options_;
  Stage stage_ = Stage::kFamily;
  MetricFamily current_;
  base::WireReader metrics_;
  Metric metric_;
  bool native_ = false;      // The histogram at hand is a native one, or a classic one to be converted.
  bool converting_ = false;  // The latter.
  bool classic_ = false;     // Its classic series are wanted.
  size_t point_ = 0;
  bool at_histogram_ = false;  // The entry at hand is a kHistogram.

  std::vector<tsdb::Label> labels_;  // Of the entry at hand.
  std::string text_buffer_;
  tsdb::Histogram integer_;
  tsdb::FloatHistogram fractions_;
  ClassicHistogram converter_;
};

}  // namespace tidewright::scrape
