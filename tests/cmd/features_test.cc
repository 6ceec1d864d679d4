#include "cmd/features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidewright::cmd {
namespace {

using testing::ElementsAre;

TEST(FeaturesTest, SwitchesWhatTheyName) {
  std::vector<std::string> warnings;
  Features features = ParseFeatures({"extra-scrape-metrics,created-timestamp-zero-ingestion", "exemplar-storage",
                                     "type-and-unit-labels,promql-experimental-functions"},
                                    &warnings);
  EXPECT_THAT(warnings, ElementsAre());
  EXPECT_TRUE(features.scrape.extra_metrics);
  EXPECT_TRUE(features.scrape.features.start_timestamp_zero_samples);
  EXPECT_TRUE(features.scrape.features.type_and_unit_labels);
  EXPECT_EQ(features.scrape.protocols[0], "PrometheusProto") << "which says when counters began";
  EXPECT_TRUE(features.engine.experimental_functions);
  EXPECT_FALSE(features.engine.fill_modifiers);
}

TEST(FeaturesTest, AJobMaySayOtherwise) {
  std::vector<std::string> warnings;
  Features features = ParseFeatures({"extra-scrape-metrics"}, &warnings);
  auto config = scrape::ParseConfig("scrape_configs: [{job_name: a}, {job_name: b, extra_scrape_metrics: false}]",
                                    "prometheus.yml", "", features.scrape);
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_TRUE(config->scrape_configs[0].extra_metrics);
  EXPECT_FALSE(config->scrape_configs[1].extra_metrics);
}

TEST(FeaturesTest, NamesWhatHasNoEffect) {
  std::vector<std::string> warnings;
  ParseFeatures({"utf8-names,native-histograms,otlp-deltatocumulative,,nonsense"}, &warnings);
  EXPECT_THAT(warnings, ElementsAre("--enable-feature=native-histograms: it has no effect since Prometheus 3.9; set "
                                    "scrape_native_histograms: true",
                                    "--enable-feature=otlp-deltatocumulative: not supported",
                                    "--enable-feature=nonsense: not supported"));
}

}  // namespace
}  // namespace tidewright::cmd
