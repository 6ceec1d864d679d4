#include "cmd/features.h"

#include "base/strings.h"

namespace tidewright::cmd {

namespace {

struct Switch {
  std::string_view name;
  void (*turn_on)(Features&);  // Null: nothing to do.
  std::string_view warning;    // Why it has no effect; "" when it is always on.
};

void StartZeroSamples(Features& features) {
  features.scrape.features.start_timestamp_zero_samples = true;
  scrape::PreferProtobuf(&features.scrape);
}

// In the order of Prometheus' documentation.
constexpr Switch kSwitches[] = {
    {"exemplar-storage", nullptr, ""},
    {"memory-snapshot-on-shutdown", nullptr, ""},  // The head is always written when the program stops.
    {"extra-scrape-metrics", [](Features& f) { f.scrape.extra_metrics = true; }, ""},
    {"auto-reload-config", nullptr, ""},
    {"created-timestamp-zero-ingestion", StartZeroSamples, ""},
    {"concurrent-rule-eval", [](Features& f) { f.concurrent_rules = true; }, ""},
    {"type-and-unit-labels", [](Features& f) { f.scrape.features.type_and_unit_labels = true; }, ""},
    {"promql-experimental-functions", [](Features& f) { f.query.experimental_functions = true; }, ""},
    {"promql-delayed-name-removal", [](Features& f) { f.query.delayed_name_removal = true; }, ""},
    {"promql-extended-range-selectors", [](Features& f) { f.query.extended_selectors = true; }, ""},
    {"promql-binop-fill-modifiers", [](Features& f) { f.query.fill_modifiers = true; }, ""},
    {"use-start-timestamps", [](Features& f) { f.query.use_start_timestamps = true; }, ""},
    // Stable in Prometheus.
    {"agent", nullptr, "there is no agent mode"},
    {"expand-external-labels", nullptr, ""},
    {"native-histograms", nullptr, "it has no effect since Prometheus 3.9; set scrape_native_histograms: true"},
    {"new-service-discovery-manager", nullptr, ""},
    {"no-default-scrape-port", nullptr, ""},
    {"ooo-native-histograms", nullptr, ""},
    {"promql-at-modifier", nullptr, ""},
    {"promql-duration-expr", nullptr, ""},
    {"promql-negative-offset", nullptr, ""},
    {"utf8-names", nullptr, ""},
    // About how Prometheus works inside, with nothing to be seen from outside.
    {"auto-gomaxprocs", nullptr, ""},
    {"auto-gomemlimit", nullptr, ""},
    {"delayed-compaction", nullptr, ""},
    {"fast-startup", nullptr, ""},
    {"metadata-wal-records", nullptr, ""},
    {"use-uncached-io", nullptr, ""},
};

const Switch* Find(std::string_view name) {
  for (const Switch& known : kSwitches) {
    if (known.name == name) return &known;
  }
  return nullptr;
}

}  // namespace

void TurnOnFeatures(const std::vector<std::string>& lists, Features features, std::vector<std::string>* warnings) {
  for (const std::string& list : lists) {
    for (const std::string& name : base::Split(list, ',')) {
      if (name.empty()) continue;
      const Switch* known = Find(name);
      if (known != nullptr && known->turn_on != nullptr) known->turn_on(features);
      if (known != nullptr && known->warning.empty()) continue;
      warnings->push_back("--enable-feature=" + name + ": " +
                          (known == nullptr ? "not supported" : std::string(known->warning)));
    }
  }
}

}  // namespace tidewright::cmd
