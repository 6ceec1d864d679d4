#include "scrape/exposition.h"

#include "scrape/classic_histogram.h"
#include "scrape/protobuf_parser.h"
#include "scrape/text_parser.h"

namespace tidewright::scrape {

std::unique_ptr<ExpositionParser> NewExpositionParser(std::string_view body, ExpositionFormat format,
                                                      const ExpositionOptions& options) {
  if (format == ExpositionFormat::kProtobuf) return std::make_unique<ProtobufParser>(body, options);
  TextFormat text = format == ExpositionFormat::kOpenMetricsText ? TextFormat::kOpenMetrics : TextFormat::kPrometheus;
  auto parser = std::make_unique<TextParser>(body, text, options);
  if (!options.convert_classic_histograms) return parser;
  return std::make_unique<ClassicHistogramParser>(std::move(parser), options.keep_classic_histograms);
}

std::string_view MetricTypeName(tsdb::MetricType type) {
  switch (type) {
    case tsdb::MetricType::kCounter: return "counter";
    case tsdb::MetricType::kGauge: return "gauge";
    case tsdb::MetricType::kHistogram: return "histogram";
    case tsdb::MetricType::kGaugeHistogram: return "gaugehistogram";
    case tsdb::MetricType::kSummary: return "summary";
    case tsdb::MetricType::kInfo: return "info";
    case tsdb::MetricType::kStateset: return "stateset";
    case tsdb::MetricType::kUnknown: break;
  }
  return "unknown";
}

}  // namespace tidewright::scrape
