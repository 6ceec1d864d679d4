// The protobuf parser: no crash, no hang, and histograms that the store accepts or that validation refuses.
#include "scrape/exposition.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidewright::scrape;
  if (size == 0) return 0;
  ExpositionOptions options;
  options.native_histograms = (data[0] & 1) != 0;
  options.keep_classic_histograms = (data[0] & 2) != 0;
  options.convert_classic_histograms = (data[0] & 4) != 0;
  options.type_and_unit_labels = (data[0] & 8) != 0;
  std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto parser = NewExpositionParser(body, ExpositionFormat::kProtobuf, options);
  std::vector<tidewright::tsdb::Label> labels;
  std::vector<Exemplar> exemplars;
  for (;;) {
    Entry entry = parser->Next();
    if (entry == Entry::kEnd || entry == Entry::kError) return 0;
    if (entry != Entry::kSeries && entry != Entry::kHistogram) continue;
    labels.clear();
    exemplars.clear();
    parser->AppendLabels(&labels);
    parser->AppendExemplars(&exemplars);
    if (entry == Entry::kSeries) continue;
    if (parser->histogram() != nullptr && Validate(*parser->histogram()).ok()) ToFloat(*parser->histogram());
    if (parser->float_histogram() != nullptr) static_cast<void>(Validate(*parser->float_histogram()).ok());
  }
}
