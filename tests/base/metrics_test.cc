#include "base/metrics.h"

#include <gtest/gtest.h>

#include <limits>

namespace tidewright::base {
namespace {

TEST(MetricRegistryTest, RendersTheTextFormat) {
  MetricRegistry registry;
  registry.GetCounter("scrapes_total", "Scrapes.", {{"job", "a\"b"}}).Add();
  registry.GetCounter("scrapes_total", "Scrapes.", {{"job", "a\"b"}}).Add(2);
  registry.GetGauge("replicas", "Replicas.").Set(7);
  Histogram& seconds = registry.GetHistogram("seconds", "Time.", {0.1, 1});
  seconds.Observe(0.1);
  seconds.Observe(5);
  EXPECT_EQ(registry.Render(),
            "# HELP replicas Replicas.\n# TYPE replicas gauge\nreplicas 7\n"
            "# HELP scrapes_total Scrapes.\n# TYPE scrapes_total counter\nscrapes_total{job=\"a\\\"b\"} 3\n"
            "# HELP seconds Time.\n# TYPE seconds histogram\n"
            "seconds_bucket{le=\"0.1\"} 1\nseconds_bucket{le=\"1\"} 1\nseconds_bucket{le=\"+Inf\"} 2\n"
            "seconds_sum 5.1\nseconds_count 2\n");
}

TEST(MetricRegistryTest, RemoveForgetsTheMatchingSeriesOnly) {
  MetricRegistry registry;
  registry.GetGauge("g", "h", {{"ns", "a"}, {"name", "x"}}).Set(1);
  registry.GetGauge("g", "h", {{"ns", "a"}, {"name", "y"}}).Set(2);
  registry.Remove("g", {{"name", "x"}});
  EXPECT_EQ(registry.Render(), "# HELP g h\n# TYPE g gauge\ng{ns=\"a\",name=\"y\"} 2\n");
}

TEST(MetricRegistryTest, CollectorsRunBeforeRendering) {
  MetricRegistry registry;
  registry.OnCollect([&] { registry.GetGauge("now", "h").Set(4); });
  EXPECT_NE(registry.Render().find("now 4\n"), std::string::npos);
}

TEST(FormatDoubleTest, SpellsLikePrometheus) {
  EXPECT_EQ(FormatDouble(1.5), "1.5");
  EXPECT_EQ(FormatDouble(100000000), "100000000");
  EXPECT_EQ(FormatDouble(9223372036854775808.0), "9223372036854776000");
  EXPECT_EQ(FormatDouble(-0.00123), "-0.00123");
  EXPECT_EQ(FormatDouble(1e21), "1e+21");
  EXPECT_EQ(FormatDouble(1e-7), "1e-07");
  EXPECT_EQ(FormatDouble(0), "0");
  EXPECT_EQ(FormatDouble(-std::numeric_limits<double>::infinity()), "-Inf");
  EXPECT_EQ(FormatDouble(std::numeric_limits<double>::quiet_NaN()), "NaN");
}

}  // namespace
}  // namespace tidewright::base
