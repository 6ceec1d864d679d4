// Remote write 2.0: what is stored, what is refused, and what is said to have been written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <snappy.h>

#include "base/wire_writer.h"
#include "tests/tsdb/store.h"
#include "web/remote_write.h"
#include "web/write_request2.h"

namespace tidewright::web {
namespace {

using base::WireWriter;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;
using tsdb::testing::ReadAll;
using Refs = std::vector<uint64_t>;

std::string Symbols(const std::vector<std::string>& symbols) {
  WireWriter out;
  for (const std::string& symbol : symbols) out.Bytes(4, symbol);
  return out.Take();
}
std::string Series(const std::string& fields) { return WireWriter().Bytes(5, fields).Take(); }
std::string Labels(const Refs& refs) { return WireWriter().Varints(1, refs).Take(); }
std::string Point(int64_t t, double v) {
  return WireWriter().Bytes(2, WireWriter().Double(1, v).Int64(2, t).bytes()).Take();
}
std::string Exemplar(const Refs& refs, int64_t t) {
  return WireWriter().Bytes(4, WireWriter().Varints(1, refs).Double(2, 1).Int64(3, t).bytes()).Take();
}
std::string Said(uint64_t type, uint64_t help, uint64_t unit) {
  return WireWriter().Bytes(5, WireWriter().Varint(1, type).Varint(3, help).Varint(4, unit).bytes()).Take();
}

class RemoteWrite2Test : public testing::Test {
 protected:
  http::Response Post(const std::string& message) {
    http::ServerRequest request;
    request.method = "POST";
    request.path = "/api/v1/write";
    request.headers = {{"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"},
                       {"Content-Encoding", "snappy"}};
    snappy::Compress(message.data(), message.size(), &request.body);
    return receiver_.Handle(request);
  }
  static std::vector<std::string> Written(const http::Response& response) {
    std::vector<std::string> written;
    for (const char* kind : {"Samples", "Histograms", "Exemplars"}) {
      written.push_back(response.headers.Get(std::string("X-Prometheus-Remote-Write-") + kind + "-Written"));
    }
    return written;
  }

  const std::string symbols_ = Symbols({"", "__name__", "up", "job", "a", "b", "Whether it is up.", "seconds", "\xff"});
  base::FakeClock clock_{1'000'000};
  base::MetricRegistry metrics_;
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {.max_exemplars = 10}, clock_, nullptr);
  RemoteWriteReceiver receiver_{*db_, clock_, metrics_};
};

TEST_F(RemoteWrite2Test, StoresSamplesExemplarsAndMetadata) {
  http::Response response =
      Post(symbols_ + Series(Labels({1, 2, 3, 4}) + Point(1000, 1) + Point(2000, 2)) +
           Series(Labels({3, 5, 1, 2}) + Point(1000, 3) + Exemplar({3, 4}, 1000) + Said(2, 6, 7)));
  EXPECT_EQ(response.status, 204) << response.body;
  EXPECT_THAT(Written(response), ElementsAre("3", "0", "1"));
  EXPECT_THAT(ReadAll(*db_), UnorderedElementsAre(Pair(R"(up{job="a"})", ElementsAre("1000=1", "2000=2")),
                                                  Pair(R"(up{job="b"})", ElementsAre("1000=3"))));
  const auto metadata = db_->AllMetadata();
  ASSERT_EQ(metadata.count("up"), 1u);
  EXPECT_EQ(metadata.at("up").help, "Whether it is up.");
  EXPECT_EQ(metadata.at("up").unit, "seconds");
  EXPECT_EQ(metadata.at("up").type, tsdb::MetricType::kGauge);
}

TEST_F(RemoteWrite2Test, RefusesSeriesOneByOne) {
  struct Row {
    const char* name;
    std::string series;
    const char* why;
  };
  int64_t t = 1000;
  for (const Row& row : {Row{"odd references", Labels({1, 2, 3}) + Point(1, 1), "pairs"},
                         Row{"reference outside", Labels({1, 99}) + Point(1, 1), "99"},
                         Row{"no name", Labels({3, 4}) + Point(1, 1), "metric name"},
                         Row{"not UTF-8", Labels({1, 2, 3, 8}) + Point(1, 1), "UTF-8"},
                         Row{"name twice", Labels({1, 2, 3, 4, 3, 5}) + Point(1, 1), "not unique"},
                         Row{"no samples", Labels({1, 2, 3, 4}), "at least one sample"},
                         Row{"help outside", Labels({1, 2, 3, 4}) + Point(1, 1) + Said(1, 99, 0), "help_ref"},
                         Row{"exemplar outside", Labels({1, 2, 3, 4}) + Point(1, 1) + Exemplar({1, 99}, 1), "99"},
                         Row{"far in the future", Labels({1, 2, 3, 4}) + Point(9'000'000, 1), "future"}}) {
    t += 1000;
    http::Response response = Post(symbols_ + Series(row.series) + Series(Labels({1, 2, 3, 5}) + Point(t, 1)));
    EXPECT_EQ(response.status, 400) << row.name;
    EXPECT_THAT(response.body, HasSubstr(row.why)) << row.name;
    EXPECT_THAT(Written(response), ElementsAre("1", "0", "0")) << row.name << ": the other series is stored";
  }
}

TEST_F(RemoteWrite2Test, RefusesWhatSpelledOutWouldBeHuge) {
  const std::string long_value(1 << 20, 'x');
  std::string message = Symbols({"", "__name__", long_value});
  for (int i = 0; i < 300; ++i) message += Series(Labels({1, 2}) + Point(1000, 1));
  http::Response response = Post(message);
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("larger than"));
  EXPECT_TRUE(ReadAll(*db_).empty());
}

TEST(FamilyOf, TakesSuffixesOfHistogramsAndSummaries) {
  EXPECT_EQ(FamilyOf("x_bucket", tsdb::MetricType::kHistogram), "x");
  EXPECT_EQ(FamilyOf("x_bucket", tsdb::MetricType::kSummary), "x_bucket");
  EXPECT_EQ(FamilyOf("x_sum", tsdb::MetricType::kSummary), "x");
  EXPECT_EQ(FamilyOf("x_count", tsdb::MetricType::kGauge), "x_count");
}

}  // namespace
}  // namespace tidewright::web
