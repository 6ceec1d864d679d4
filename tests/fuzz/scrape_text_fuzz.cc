// The text parsers: no crash, no hang, and the fast path agrees with the full parser.
#include <cstdlib>

#include "base/secret_hash.h"
#include "scrape/text_parser.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidewright::scrape;
  if (size == 0) return 0;
  TextFormat format = data[0] % 2 == 0 ? TextFormat::kPrometheus : TextFormat::kOpenMetrics;
  std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  ExpositionOptions converting;
  converting.convert_classic_histograms = converting.created_lines = true;
  auto converter = NewExpositionParser(
      body, format == TextFormat::kPrometheus ? ExpositionFormat::kPrometheusText : ExpositionFormat::kOpenMetricsText,
      converting);
  for (Entry entry = converter->Next(); entry != Entry::kEnd && entry != Entry::kError; entry = converter->Next()) {
    std::vector<Exemplar> exemplars;
    if (entry == Entry::kSeries || entry == Entry::kHistogram) converter->AppendExemplars(&exemplars);
    if (entry == Entry::kSeries) converter->StartTimestampMs();
  }
  TextParser parser(body, format);
  TextParser fast(body, format);
  TextParser plain(body, format);
  std::vector<tidewright::tsdb::Label> labels;
  for (;;) {
    Entry entry = parser.Next();
    if (entry == Entry::kEnd || entry == Entry::kError) break;
    if (entry != Entry::kSeries) {
      if (fast.Next() != entry || plain.Next() != entry) std::abort();
      continue;
    }
    labels.clear();
    parser.AppendLabels(&labels);
    if (fast.GuessSeries().size() > body.size()) std::abort();
    if (!fast.NextIfSeries(parser.series()) && fast.Next() != Entry::kSeries) std::abort();
    if (fast.series() != parser.series() || fast.has_timestamp() != parser.has_timestamp()) std::abort();
    const uint64_t hash = tidewright::base::SecretHash(parser.series());
    if (!plain.NextIfPlain(hash, parser.series().size()) && plain.Next() != Entry::kSeries) std::abort();
    if (plain.series() != parser.series() || plain.has_timestamp() != parser.has_timestamp()) std::abort();
  }
  return 0;
}
