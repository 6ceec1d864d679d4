// Remote read as a client: our own server of it answers, in both formats.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <snappy.h>

#include "base/wire_writer.h"
#include "remote/fanout.h"
#include "tests/tsdb/store.h"
#include "web/remote_read.h"

namespace tidewright::remote {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using tsdb::testing::ReadAll;

tsdb::Histogram SomeHistogram(uint64_t more) {
  tsdb::Histogram histogram;
  histogram.schema = 1;
  histogram.zero_threshold = 0.001;
  histogram.zero_count = 1;
  histogram.count = 6 + more;
  histogram.sum = 10 + static_cast<double>(more);
  histogram.positive_spans = {{0, 2}};
  histogram.positive_buckets = {2, 1 + static_cast<int64_t>(more)};
  return histogram;
}

// A server with a store of its own.
class Server : public http::Client {
 public:
  Server(const web::RemoteRead& read, std::vector<http::ClientRequest>* asked, int* status)
      : read_(read), asked_(asked), status_(status) {}
  base::Result<http::Response> Send(const http::ClientRequest& request, http::CancelToken*) override {
    asked_->push_back(request);
    if (*status_ != 200) return http::Response{*status_, {}, "as the test says"};
    http::ServerRequest received;
    received.method = request.method;
    received.headers = request.headers;
    received.body = request.body;
    return read_.Handle(received);
  }
  base::Status Stream(const http::ClientRequest&, const http::StreamHandler&, http::CancelToken*) override {
    return base::UnimplementedError("not used");
  }
  void SendAsync(http::ClientRequest, std::function<void(base::Result<http::Response>)>) override {}

 private:
  const web::RemoteRead& read_;
  std::vector<http::ClientRequest>* asked_;
  int* status_;
};

class ReadTest : public testing::Test {
 protected:
  void SetUp() override {
    config_.url = "http://server/api/v1/read";
    const auto up = tsdb::Labels::Of({{"__name__", "up"}, {"job", "a"}});
    for (int64_t t : {1000, 2000, 3000, 4000}) {
      ASSERT_TRUE(tsdb::testing::Write(*far_, {{up, t, static_cast<double>(t)}}).ok());
    }
    ASSERT_TRUE(tsdb::testing::Write(*near_, {{up, 3000, 7}, {up, 5000, 8}}).ok());
    auto appender = far_->NewAppender();
    const auto latency = tsdb::Labels::Of({{"__name__", "latency"}});
    ASSERT_TRUE(appender->Append(0, latency, 500, 1.5).ok());
    ASSERT_TRUE(appender->AppendHistogram(0, latency, 1000, SomeHistogram(0)).ok());
    ASSERT_TRUE(appender->AppendHistogram(0, latency, 2000, SomeHistogram(3)).ok());
    ASSERT_TRUE(appender->Append(0, latency, 3000, tsdb::StaleNan()).ok());
    ASSERT_TRUE(appender->Commit().ok());
  }
  // What the server says of `latency`, in a format of its list.
  std::string Reply(uint64_t format) {
    base::WireWriter matcher, query, request;
    matcher.Bytes(2, "__name__").Bytes(3, "latency");
    query.Int64(1, 0).Int64(2, 9000).Bytes(3, matcher.bytes());
    request.Bytes(1, query.bytes()).Varints(2, std::vector<uint64_t>{format});
    http::ServerRequest received;
    received.method = "POST";
    snappy::Compress(request.bytes().data(), request.bytes().size(), &received.body);
    http::Response response = server_.Handle(received);
    EXPECT_EQ(response.status, 200) << response.body;
    return response.body;
  }
  void Apply() { fanout_.Apply({config_}, external_); }

  base::FakeClock clock_{1'000'000};
  base::MetricRegistry metrics_;
  scrape::RemoteReadConfig config_;
  tsdb::Labels external_;
  std::unique_ptr<tsdb::Db> near_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  std::unique_ptr<tsdb::Db> far_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  web::RemoteRead server_{*far_, [] { return tsdb::Labels::Of({{"cluster", "c"}}); }};
  std::vector<http::ClientRequest> asked_;
  int status_ = 200;
  int64_t local_start_ = 3000;
  Fanout fanout_{*near_, [this] { return local_start_; }, clock_, metrics_,
                 [this](const http::ClientOptions&) -> base::Result<std::unique_ptr<http::Client>> {
                   return std::unique_ptr<http::Client>(std::make_unique<Server>(server_, &asked_, &status_));
                 }};
};

TEST_F(ReadTest, AddsWhatTheLocalStoreDoesNotHave) {
  external_ = tsdb::Labels::Of({{"cluster", "c"}});
  Apply();
  const tsdb::Matchers up = {tsdb::Matcher::Equal("__name__", "up")};
  EXPECT_THAT(ReadAll(fanout_, 0, 9000, up),
              ElementsAre(Pair("up{job=\"a\"}", ElementsAre("1000=1000", "2000=2000", "3000=7", "5000=8"))));
  EXPECT_EQ(asked_.size(), 1u);
  EXPECT_THAT(ReadAll(fanout_, 3000, 9000, up), ElementsAre(Pair("up{job=\"a\"}", ElementsAre("3000=7", "5000=8"))));
  EXPECT_EQ(asked_.size(), 1u) << "the local store has all of that";
  config_.read_recent = true;
  Apply();
  EXPECT_THAT(ReadAll(fanout_, 3000, 9000, up),
              ElementsAre(Pair("up{job=\"a\"}", ElementsAre("3000=7", "4000=4000", "5000=8"))));
}

TEST_F(ReadTest, AsksOnlyForSelectorsWithTheRequiredMatchers) {
  config_.required_matchers = {{"job", "b"}};
  Apply();
  EXPECT_THAT(ReadAll(fanout_, 0, 2500, {tsdb::Matcher::Equal("job", "a")}), IsEmpty());
  EXPECT_THAT(asked_, IsEmpty());
  config_.required_matchers = {{"job", "a"}};
  Apply();
  EXPECT_EQ(ReadAll(fanout_, 0, 2500, {tsdb::Matcher::Equal("job", "a")}).size(), 1u);
}

TEST_F(ReadTest, FailsWhenTheServerDoes) {
  Apply();
  status_ = 503;
  const auto contents = ReadAll(fanout_, 0, 2500, {tsdb::Matcher::Equal("job", "a")});
  ASSERT_EQ(contents.size(), 1u);
  EXPECT_THAT(contents.begin()->first,
              testing::HasSubstr("remote read from http://server/api/v1/read: HTTP status 503"));
}

TEST_F(ReadTest, WithoutServersIsTheLocalStore) {
  EXPECT_EQ(fanout_.SeriesEpoch(), near_->SeriesEpoch());
  Apply();
  EXPECT_EQ(fanout_.SeriesEpoch(), 0u);
}

// "t=value" or "t=count" of one series.
std::vector<std::string> Values(const ReadSeries& series) {
  std::vector<std::string> values;
  for (size_t i = 0; i < series.samples.size(); ++i) {
    const bool histogram = i < series.histograms.size() && series.histograms[i] != nullptr;
    values.push_back(histogram ? std::to_string(series.samples[i].t) + "=count " +
                                     base::FormatDouble(series.histograms[i]->count)
                               : tsdb::testing::Print(series.samples[i]));
  }
  return values;
}

TEST_F(ReadTest, BothFormatsSayTheSame) {
  const std::vector<std::string> wanted = {"500=1.5", "1000=count 6", "2000=count 9", "3000=stale"};
  const std::string streamed = Reply(1);
  auto chunks = ParseStreamedReply(streamed, 0, 9000, {});
  ASSERT_TRUE(chunks.ok()) << chunks.status().ToString();
  ASSERT_EQ(chunks->size(), 1u);
  EXPECT_EQ(Values(chunks->front()), wanted);
  std::string message;
  const std::string body = Reply(0);
  ASSERT_TRUE(snappy::Uncompress(body.data(), body.size(), &message));
  auto samples = ParseSampledReply(message, 0, 9000, {});
  ASSERT_TRUE(samples.ok()) << samples.status().ToString();
  ASSERT_EQ(samples->size(), 1u);
  EXPECT_EQ(Values(samples->front()), wanted);
  // Damage is found, whatever is cut off or changed.
  for (size_t size = 1; size < streamed.size(); ++size) {
    EXPECT_FALSE(ParseStreamedReply(streamed.substr(0, size), 0, 9000, {}).ok()) << size;
    std::string changed = streamed;
    changed[size] = static_cast<char>(changed[size] ^ 0x55);
    EXPECT_FALSE(ParseStreamedReply(changed, 0, 9000, {}).ok()) << size;
  }
  EXPECT_EQ(ParseSampledReply(message, 0, 9000, {3, 100}).status().code(), base::Code::kResourceExhausted);
  EXPECT_EQ(ParseStreamedReply(streamed, 0, 9000, {100, 10}).status().code(), base::Code::kResourceExhausted);
}

}  // namespace
}  // namespace tidewright::remote
