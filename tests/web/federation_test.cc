// /federate: which sample of a series is shown, and how, in text and in protobuf.
#include "web/federation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scrape/exposition.h"
#include "tsdb/db.h"

namespace tidewright::web {
namespace {

using testing::HasSubstr;

class FederationTest : public testing::Test {
 protected:
  void Add(const tsdb::Labels& labels, int64_t t, double v) {
    auto appender = db_->NewAppender();
    ASSERT_TRUE(appender->Append(0, labels, t, v).ok());
    ASSERT_TRUE(appender->Commit().ok());
  }
  void Add(const tsdb::Labels& labels, int64_t t, const tsdb::FloatHistogram& histogram) {
    auto appender = db_->NewAppender();
    ASSERT_TRUE(appender->AppendFloatHistogram(0, labels, t, histogram).ok());
    ASSERT_TRUE(appender->Commit().ok());
  }
  http::Response Get(const std::string& selector, const std::string& accept = "") {
    http::ServerRequest request;
    request.method = "GET";
    request.path = "/federate";
    request.query = {{"match[]", selector}};
    if (!accept.empty()) request.headers.Set("Accept", accept);
    return Federation(*db_, clock_, [] { return tsdb::Labels::Of({{"cluster", "c"}}); }).Handle(request);
  }

  base::FakeClock clock_{1'000'000};
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
};

TEST_F(FederationTest, ShowsTheNewestSampleUnlessItIsOldOrStale) {
  Add(tsdb::Labels::Of({{"__name__", "b"}, {"instance", "x"}}), 900'000, 1);
  Add(tsdb::Labels::Of({{"__name__", "b"}, {"instance", "x"}}), 950'000, 2);
  Add(tsdb::Labels::Of({{"__name__", "a"}, {"cluster", "own"}, {"path", "a\"b\\c\nd"}}), 999'000, 0.5);
  Add(tsdb::Labels::Of({{"__name__", "old"}}), 600'000, 1);
  Add(tsdb::Labels::Of({{"__name__", "ended"}}), 950'000, tsdb::StaleNan());
  http::Response response = Get("{__name__=~\".+\"}");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body,
            "# TYPE a untyped\n"
            "a{cluster=\"own\",path=\"a\\\"b\\\\c\\nd\",instance=\"\"} 0.5 999000\n"
            "# TYPE b untyped\n"
            "b{instance=\"x\",cluster=\"c\"} 2 950000\n");
  EXPECT_EQ(Get("nosuch").body, "");
  EXPECT_EQ(Get("{").status, 400);
}

TEST_F(FederationTest, SpellsNamesAsTheClientCanReadThem) {
  Add(tsdb::Labels::Of({{"__name__", "my.metric"}, {"a b", "1"}, {"instance", "x"}}), 999'000, 1);
  EXPECT_EQ(Get("{\"my.metric\"}").body,
            "# TYPE my_metric untyped\nmy_metric{a_b=\"1\",instance=\"x\",cluster=\"c\"} 1 999000\n");
  http::Response utf8 = Get("{\"my.metric\"}", "text/plain;version=1.0.0;escaping=allow-utf-8");
  EXPECT_EQ(utf8.body,
            "# TYPE \"my.metric\" untyped\n{\"my.metric\",\"a b\"=\"1\",instance=\"x\",cluster=\"c\"} 1 999000\n");
  EXPECT_THAT(utf8.headers.Get("Content-Type"), HasSubstr("escaping=allow-utf-8"));
}

tsdb::FloatHistogram Exponential() {
  tsdb::FloatHistogram histogram;
  histogram.schema = 1;
  histogram.zero_threshold = 0.001;
  histogram.zero_count = 1;
  histogram.count = 6;
  histogram.sum = 10;
  histogram.positive_spans = {{0, 2}};
  histogram.positive_buckets = {2, 3};
  return histogram;
}

TEST_F(FederationTest, ProtobufCarriesNativeHistogramsThatOurScraperReads) {
  Add(tsdb::Labels::Of({{"__name__", "native"}, {"instance", "x"}}), 999'000, Exponential());
  Add(tsdb::Labels::Of({{"__name__", "plain"}, {"instance", "x"}}), 999'000, 7);
  EXPECT_THAT(Get("{instance=\"x\"}").body, Not(HasSubstr("native"))) << "the text format has none";
  http::Response response = Get("{instance=\"x\"}",
                                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                                "encoding=delimited;q=0.6,text/plain;q=0.3");
  EXPECT_THAT(response.headers.Get("Content-Type"), HasSubstr("encoding=delimited"));
  scrape::ExpositionOptions options;
  options.native_histograms = true;
  auto parser = scrape::NewExpositionParser(response.body, scrape::ExpositionFormat::kProtobuf, options);
  int histograms = 0, floats = 0;
  for (scrape::Entry entry = parser->Next(); entry != scrape::Entry::kEnd; entry = parser->Next()) {
    ASSERT_NE(entry, scrape::Entry::kError) << parser->status().ToString();
    histograms += entry == scrape::Entry::kHistogram ? 1 : 0;
    floats += entry == scrape::Entry::kSeries ? 1 : 0;
  }
  EXPECT_EQ(histograms, 1);
  EXPECT_EQ(floats, 1);
}

TEST_F(FederationTest, CustomBucketsBecomeClassicOnes) {
  tsdb::FloatHistogram histogram;
  histogram.schema = tsdb::kCustomBucketsSchema;
  histogram.count = 6;
  histogram.sum = 4.5;
  histogram.custom_values = {0.5, 1};
  histogram.positive_spans = {{0, 1}, {1, 1}};
  histogram.positive_buckets = {2, 4};
  Add(tsdb::Labels::Of({{"__name__", "h"}, {"instance", "x"}}), 999'000, histogram);
  EXPECT_EQ(Get("h").body,
            "# TYPE h histogram\n"
            "h_bucket{instance=\"x\",cluster=\"c\",le=\"0.5\"} 2 999000\n"
            "h_bucket{instance=\"x\",cluster=\"c\",le=\"1\"} 2 999000\n"
            "h_bucket{instance=\"x\",cluster=\"c\",le=\"+Inf\"} 6 999000\n"
            "h_sum{instance=\"x\",cluster=\"c\"} 4.5 999000\n"
            "h_count{instance=\"x\",cluster=\"c\"} 6 999000\n");
}

}  // namespace
}  // namespace tidewright::web
