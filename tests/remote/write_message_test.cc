// Requests that we send, made of what a store has written to its log, and read by the receiver that we are: both
// versions say the same.
#include "remote/write_message.h"

#include <gtest/gtest.h>
#include <snappy.h>

#include "remote/request.h"
#include "tests/tsdb/store.h"
#include "web/remote_write.h"

namespace tidewright::remote {
namespace {

tsdb::Histogram SomeHistogram() {
  tsdb::Histogram histogram;
  histogram.schema = 1;
  histogram.zero_threshold = 0.001;
  histogram.zero_count = 1;
  histogram.count = 6;
  histogram.sum = 10;
  histogram.positive_spans = {{0, 2}};
  histogram.positive_buckets = {2, 1};
  return histogram;
}

class WriteMessageTest : public testing::Test {
 protected:
  void SetUp() override {
    source_ = *tsdb::Db::Open(directory_.path() + "/data", {.max_exemplars = 10}, clock_, nullptr);
    tail_ = std::make_unique<tsdb::LogTail>(directory_.path() + "/data");
    bool lost = false;
    ASSERT_TRUE(tail_->Start(std::nullopt, &lost).ok());
    Fill();
  }
  void Fill() {
    auto appender = source_->NewAppender();
    const auto up = tsdb::Labels::Of({{"__name__", "up"}, {"job", "a"}});
    auto ref = appender->Append(0, up, 1000, 1);
    ASSERT_TRUE(ref.ok());
    ASSERT_TRUE(appender->Append(*ref, up, 2000, 0).ok());
    ASSERT_TRUE(appender->AppendExemplar(*ref, {tsdb::Labels::Of({{"trace_id", "7"}}), 1500, 0.5}).ok());
    const auto latency = tsdb::Labels::Of({{"__name__", "latency"}, {"job", "a"}});
    ASSERT_TRUE(appender->AppendHistogram(0, latency, 1000, SomeHistogram()).ok());
    ASSERT_TRUE(appender->AppendFloatHistogram(0, latency, 2000, tsdb::ToFloat(SomeHistogram())).ok());
    const auto stale = tsdb::Labels::Of({{"__name__", "gone"}, {"zone", "b"}});
    ASSERT_TRUE(appender->Append(0, stale, 1000, tsdb::StaleNan()).ok());
    ASSERT_TRUE(appender->Commit().ok());
  }
  // What is in the log, as one request.
  std::string Body(bool version2, std::vector<scrape::RelabelRule> rules = {}) {
    OutgoingLabels labels(rules, tsdb::Labels::Of({{"cluster", "c"}, {"job", "other"}}));
    WindowLimits limits{100, 1, true, true};
    Window window(limits, labels);
    tsdb::LogCommit commit;
    EXPECT_TRUE(*tail_->Next(&commit));
    window.Add(&commit, *tail_);
    auto turns = window.TakeTurns();
    EXPECT_EQ(turns.size(), 1u);
    return MakeRequest(&turns[0][0], version2, metadata_, *tail_, &labels).body;
  }
  http::Response Receive(const std::string& body, const std::string& proto) {
    http::ServerRequest request;
    request.method = "POST";
    request.headers = {{"Content-Type", "application/x-protobuf;proto=" + proto}, {"Content-Encoding", "snappy"}};
    request.body = body;
    return web::RemoteWriteReceiver(*db_, clock_, metrics_).Handle(request);
  }
  // Floats as text; histograms as their count.
  std::map<std::string, std::string> Stored() {
    std::map<std::string, std::string> stored;
    auto querier = *db_->NewQuerier(0, 10'000);
    auto selected = querier->Select({}, {});
    for (const auto& series : *selected) {
      std::string& text = stored[series->labels().ToString()];
      for (auto it = series->Iterator(); it->Next();) {
        const bool is_float = it->type() == tsdb::ValueType::kFloat;
        text += (is_float ? tsdb::testing::Print(it->At())
                          : std::to_string(it->At().t) + "=count " + base::FormatDouble(it->AtHistogram()->count)) +
                " ";
      }
    }
    return stored;
  }

  base::TempDir directory_ = tsdb::testing::FastTempDir("write-message");
  base::FakeClock clock_{1'000'000};
  base::MetricRegistry metrics_;
  std::unique_ptr<tsdb::Db> source_;
  std::unique_ptr<tsdb::LogTail> tail_;
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {.max_exemplars = 10}, clock_, nullptr);
  const MetadataByFamily metadata_ = {{"up", {tsdb::MetricType::kGauge, "", "Whether it is up."}}};
  const std::map<std::string, std::string> wanted_ = {
      {"gone{cluster=\"c\", job=\"other\", zone=\"b\"}", "1000=stale "},
      {"latency{cluster=\"c\", job=\"a\"}", "1000=count 6 2000=count 6 "},
      {"up{cluster=\"c\", job=\"a\"}", "1000=1 2000=0 "}};
};

TEST_F(WriteMessageTest, Version1) {
  http::Response response = Receive(Body(false), "prometheus.WriteRequest");
  EXPECT_EQ(response.status, 204) << response.body;
  EXPECT_EQ(Stored(), wanted_);
  const std::vector<tsdb::Matchers> everything(1);
  EXPECT_EQ(db_->SelectExemplars(0, 10'000, everything)->size(), 1u);
  EXPECT_EQ(Receive(MetadataRequest(metadata_.begin(), metadata_.end()), "prometheus.WriteRequest").status, 204);
  EXPECT_EQ(db_->AllMetadata()["up"].help, "Whether it is up.");
}

TEST_F(WriteMessageTest, Version2) {
  http::Response response = Receive(Body(true), "io.prometheus.write.v2.Request");
  EXPECT_EQ(response.status, 204) << response.body;
  EXPECT_EQ(Stored(), wanted_);
  EXPECT_EQ(response.headers.Get("X-Prometheus-Remote-Write-Samples-Written"), "3");
  EXPECT_EQ(response.headers.Get("X-Prometheus-Remote-Write-Histograms-Written"), "2");
  EXPECT_EQ(response.headers.Get("X-Prometheus-Remote-Write-Exemplars-Written"), "1");
  EXPECT_EQ(db_->AllMetadata()["up"].type, tsdb::MetricType::kGauge);
}

TEST_F(WriteMessageTest, LabelsAreRewrittenAndSeriesDropped) {
  scrape::RelabelRule drop, rename;
  drop.source_labels = {"__name__"};
  drop.regex = "latency|gone";
  drop.action = scrape::RelabelAction::kDrop;
  rename.source_labels = {"cluster", "job"};
  rename.target_label = "both";
  ASSERT_TRUE(drop.Compile().ok());
  ASSERT_TRUE(rename.Compile().ok());
  EXPECT_EQ(Receive(Body(true, {drop, rename}), "io.prometheus.write.v2.Request").status, 204);
  const std::map<std::string, std::string> wanted = {{"up{both=\"c;a\", cluster=\"c\", job=\"a\"}", "1000=1 2000=0 "}};
  EXPECT_EQ(Stored(), wanted);
}

}  // namespace
}  // namespace tidewright::remote
