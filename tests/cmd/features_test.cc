#include "cmd/features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidewright::cmd {
namespace {

using testing::ElementsAre;

class FeaturesTest : public testing::Test {
 protected:
  std::vector<std::string> TurnOn(const std::vector<std::string>& lists) {
    std::vector<std::string> warnings;
    TurnOnFeatures(lists, {scrape_, query_, concurrent_rules_}, &warnings);
    return warnings;
  }

  scrape::ScrapeDefaults scrape_;
  promql::EngineOptions query_;
  bool concurrent_rules_ = false;
};

TEST_F(FeaturesTest, SwitchesWhatTheyName) {
  EXPECT_THAT(TurnOn({"extra-scrape-metrics,created-timestamp-zero-ingestion", "exemplar-storage",
                      "type-and-unit-labels,promql-experimental-functions"}),
              ElementsAre());
  EXPECT_TRUE(scrape_.extra_metrics);
  EXPECT_TRUE(scrape_.features.start_timestamp_zero_samples);
  EXPECT_TRUE(scrape_.features.type_and_unit_labels);
  EXPECT_EQ(scrape_.protocols[0], "PrometheusProto") << "which says when counters began";
  EXPECT_TRUE(query_.experimental_functions);
  EXPECT_FALSE(query_.fill_modifiers);
  EXPECT_FALSE(concurrent_rules_);
  TurnOn({"concurrent-rule-eval"});
  EXPECT_TRUE(concurrent_rules_);
}

TEST_F(FeaturesTest, AJobMaySayOtherwise) {
  TurnOn({"extra-scrape-metrics"});
  auto config = scrape::ParseConfig("scrape_configs: [{job_name: a}, {job_name: b, extra_scrape_metrics: false}]",
                                    "prometheus.yml", "", scrape_);
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_TRUE(config->scrape_configs[0].extra_metrics);
  EXPECT_FALSE(config->scrape_configs[1].extra_metrics);
}

TEST_F(FeaturesTest, NamesWhatHasNoEffect) {
  EXPECT_THAT(TurnOn({"utf8-names,native-histograms,otlp-deltatocumulative,,nonsense"}),
              ElementsAre("--enable-feature=native-histograms: it has no effect since Prometheus 3.9; set "
                          "scrape_native_histograms: true",
                          "--enable-feature=otlp-deltatocumulative: not supported",
                          "--enable-feature=nonsense: not supported"));
}

}  // namespace
}  // namespace tidewright::cmd
