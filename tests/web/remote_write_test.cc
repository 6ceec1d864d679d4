// Remote write 1.0: what is stored, what is refused, and what is answered.
#include "web/remote_write.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <snappy.h>

#include <bit>
#include <cstring>

#include "remote/write_request.h"
#include "tests/tsdb/store.h"
#include "web/series_ref_cache.h"

namespace tidewright::web {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using tsdb::testing::ReadAll;

// The wire format, as far as these messages need it.
std::string Varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string Bytes(int field, const std::string& value) { return Varint(field << 3 | 2) + Varint(value.size()) + value; }
std::string Number(int field, uint64_t value) { return Varint(field << 3) + Varint(value); }
std::string ZigZag(int field, int64_t value) {
  return Number(field, static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}
std::string Double(int field, double value) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &value, 8);
  return Varint(field << 3 | 1) + bytes;
}

std::string Label(const std::string& name, const std::string& value) {
  return Bytes(1, Bytes(1, name) + Bytes(2, value));
}
std::string Up(const std::string& job) { return Label("__name__", "up") + Label("job", job); }
std::string Point(int64_t t, double v) { return Bytes(2, Double(1, v) + Number(2, static_cast<uint64_t>(t))); }
std::string Series(const std::string& parts) { return Bytes(1, parts); }

class RemoteWriteTest : public testing::Test {
 protected:
  http::Response Post(const std::string& message, http::Headers headers = {}) {
    http::ServerRequest request;
    request.method = "POST";
    request.path = "/api/v1/write";
    request.headers = std::move(headers);
    snappy::Compress(message.data(), message.size(), &request.body);
    return receiver_.Handle(request);
  }

  base::FakeClock clock_{1'000'000};
  base::MetricRegistry metrics_;
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  RemoteWriteReceiver receiver_{*db_, clock_, metrics_};
};

TEST_F(RemoteWriteTest, StoresSamplesOfNewAndKnownSeries) {
  EXPECT_EQ(Post(Series(Up("a") + Point(1000, 1)) + Series(Up("b") + Point(1000, 2))).status, 204);
  EXPECT_EQ(Post(Series(Up("a") + Point(2000, 3)) + Series(Up("b") + Point(2500, tsdb::StaleNan()))).status, 204);
  EXPECT_THAT(ReadAll(*db_), UnorderedElementsAre(Pair(R"(up{job="a"})", ElementsAre("1000=1", "2000=3")),
                                                  Pair(R"(up{job="b"})", ElementsAre("1000=2", "2500=stale"))));
}

// A request with a history of each series: many commits, and the order of the samples does not matter.
TEST_F(RemoteWriteTest, StoresManySamplesPerSeries) {
  std::string message;
  for (int job = 0; job < 100; ++job) {
    std::string series = Up(std::to_string(job));
    for (int i = 0; i < 50; ++i) series += Point(1000 * (job % 2 == 0 ? i : 49 - i), job + i);
    message += Series(series);
  }
  EXPECT_EQ(Post(message).status, 204);
  auto contents = ReadAll(*db_);
  ASSERT_EQ(contents.size(), 100u);
  for (int job = 0; job < 100; ++job) {
    const auto& samples = contents["up{job=\"" + std::to_string(job) + "\"}"];
    ASSERT_EQ(samples.size(), 50u) << job;
    EXPECT_EQ(samples[7], "7000=" + std::to_string(job % 2 == 0 ? job + 7 : job + 42));
  }
}

TEST_F(RemoteWriteTest, StoresTheRestOfARequestThatHasBadSamples) {
  ASSERT_EQ(Post(Series(Up("a") + Point(5000, 1))).status, 204);
  struct Row {
    const char* name;
    std::string bad;
    const char* reason;
  };
  int64_t t = 6000;
  for (const Row& row : {Row{"out of order", Up("a") + Point(4000, 1), "out of order sample"},
                         Row{"another value", Up("a") + Point(5000, 2), "duplicate sample for timestamp"},
                         Row{"in the future", Up("a") + Point(1'600'001, 2), "too far in the future"},
                         Row{"new, in the future", Up("new") + Point(1'600'001, 2), "too far in the future"},
                         Row{"broken histogram", Up("h") + Bytes(4, Number(1, 7) + Number(15, 5000)), "count is 7"}}) {
    auto response = Post(Series(row.bad) + Series(Up("good") + Point(t, 1)));
    EXPECT_EQ(response.status, 400) << row.name;
    EXPECT_THAT(response.body, HasSubstr(row.reason)) << row.name;
    EXPECT_EQ(ReadAll(*db_)["up{job=\"good\"}"].back(), std::to_string(t) + "=1") << row.name;
    t += 1000;
  }
  EXPECT_THAT(ReadAll(*db_)["up{job=\"a\"}"], ElementsAre("5000=1"));
  EXPECT_THAT(metrics_.Render(), HasSubstr("tidewright_remote_write_samples_refused_total 5\n"));
}

TEST_F(RemoteWriteTest, PassesOverSeriesWithoutAName) {
  struct Row {
    const char* name;
    std::string labels;
  };
  for (const Row& row :
       {Row{"no metric name", Label("job", "a")}, Row{"empty metric name", Label("__name__", "") + Label("job", "a")},
        Row{"name twice", Up("a") + Label("job", "b")}, Row{"no UTF-8", Up("\xff")},
        Row{"label without a name", Up("a") + Label("", "x")},
        Row{"not a label", Label("__name__", "up") + Bytes(1, "\x07")}}) {
    EXPECT_EQ(Post(Series(row.labels + Point(1000, 1) + Point(2000, 2))).status, 204) << row.name;
    EXPECT_THAT(ReadAll(*db_), IsEmpty()) << row.name;
  }
}

TEST_F(RemoteWriteTest, UnderstandsEverySpellingOfLabels) {
  const std::string a = Label("__name__", "up"), b = Label("job", "x"), long_value(300, 'v');
  EXPECT_EQ(Post(Series(a + b + Point(1000, 1))).status, 204);
  EXPECT_EQ(Post(Series(b + a + Point(2000, 2))).status, 204) << "not sorted";
  EXPECT_EQ(Post(Series(a + Point(3000, 3) + b) + Series(Point(4000, 4) + a + b)).status, 204) << "not in one run";
  EXPECT_EQ(Post(Series(a + b + Label("empty", "") + Point(5000, 5))).status, 204);
  EXPECT_EQ(Post(Series(a + Label("job", long_value) + Point(1000, 6))).status, 204);
  EXPECT_THAT(ReadAll(*db_), UnorderedElementsAre(
                                 Pair(R"(up{job="x"})", ElementsAre("1000=1", "2000=2", "3000=3", "4000=4", "5000=5")),
                                 Pair("up{job=\"" + long_value + "\"}", ElementsAre("1000=6"))));
}

TEST_F(RemoteWriteTest, FindsASeriesAgainThatTheStoreForgot) {
  ASSERT_EQ(Post(Series(Up("a") + Point(1000, 1))).status, 204);
  clock_.Advance(48LL * 3600 * 1000);
  const int64_t now = clock_.NowMs();
  ASSERT_EQ(Post(Series(Up("b") + Point(now, 1))).status, 204);
  ASSERT_TRUE(db_->Maintain().ok());
  ASSERT_EQ(db_->Stats().series, 1u) << "the series was to be forgotten";
  EXPECT_EQ(Post(Series(Up("a") + Point(now, 2))).status, 204);
  EXPECT_THAT(ReadAll(*db_)[R"(up{job="a"})"], ElementsAre(std::to_string(now) + "=2"));
}

TEST_F(RemoteWriteTest, StoresHistogramsAndMetadata) {
  const std::string spans = Bytes(11, ZigZag(1, 0) + Number(2, 2));
  const std::string integer =
      Number(1, 5) + Double(3, 10) + ZigZag(4, 1) + spans + Bytes(12, std::string("\x04\x02", 2)) + Number(15, 1000);
  // Schema 9 is finer than what is stored: neighbours are joined.
  const std::string finer = Double(2, 5) + Double(3, 10) + ZigZag(4, 9) + spans +
                            Bytes(13, Double(0, 2).substr(1) + Double(0, 3).substr(1)) + Number(15, 2000);
  const std::string metadata = Bytes(3, Number(1, 1) + Bytes(2, "up") + Bytes(4, "Whether.") + Bytes(5, "bool"));
  EXPECT_EQ(Post(metadata + Series(Up("h") + Bytes(4, integer)) + Series(Up("f") + Bytes(4, finer))).status, 204);
  auto querier = *db_->NewQuerier(0, 10'000);
  auto series = *querier->Select({}, {});
  ASSERT_EQ(series.size(), 2u);
  auto floats = series[0]->Iterator(), integers = series[1]->Iterator();
  ASSERT_TRUE(floats->Next() && floats->AtHistogram() != nullptr);
  EXPECT_EQ(floats->AtHistogram()->schema, 8);
  EXPECT_EQ(floats->AtHistogram()->positive_buckets, (std::vector<double>{2, 3}));
  ASSERT_TRUE(integers->Next() && integers->AtHistogram() != nullptr);
  EXPECT_EQ(integers->AtHistogram()->positive_buckets, (std::vector<double>{2, 3}));
  EXPECT_EQ(db_->AllMetadata()["up"].help, "Whether.");
  EXPECT_EQ(db_->AllMetadata()["up"].type, tsdb::MetricType::kCounter);
}

TEST_F(RemoteWriteTest, StoresExemplars) {
  auto exemplar = [](const std::string& trace, int64_t t) {
    return Bytes(3, Label("trace_id", trace) + Double(2, 0.5) + Number(3, static_cast<uint64_t>(t)));
  };
  db_->SetMaxExemplars(10);
  EXPECT_EQ(Post(Series(Up("a") + Point(1000, 1) + exemplar("x", 900) + exemplar("\xff", 950))).status, 204);
  EXPECT_EQ(Post(Series(Up("a") + exemplar("y", 1900))).status, 204) << "no sample";
  EXPECT_EQ(Post(Series(Up("unknown") + exemplar("z", 1900))).status, 204);
  const tsdb::Matchers all[1];
  auto found = db_->SelectExemplars(0, 10'000, all);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ((*found)[0].series.ToString(), R"(up{job="a"})");
  EXPECT_THAT((*found)[0].exemplars, ElementsAre(tsdb::Exemplar{tsdb::Labels::Of({{"trace_id", "x"}}), 900, 0.5},
                                                 tsdb::Exemplar{tsdb::Labels::Of({{"trace_id", "y"}}), 1900, 0.5}));
}

TEST_F(RemoteWriteTest, RefusesWhatItCannotRead) {
  const std::string good = Series(Up("a") + Point(1000, 1));
  http::ServerRequest plain;
  plain.method = "POST";
  plain.body = good;
  EXPECT_EQ(receiver_.Handle(plain).status, 400) << "not compressed";
  plain.body = "";
  EXPECT_EQ(receiver_.Handle(plain).status, 400) << "empty";
  plain.body = Varint((32 << 20) + 1) + "abc";
  EXPECT_THAT(receiver_.Handle(plain).body, HasSubstr("decoded size exceeds the 33554432 bytes limit"));
  EXPECT_EQ(Post(good + "\x0b").status, 400) << "a group";
  EXPECT_EQ(Post(good.substr(0, good.size() - 1)).status, 400) << "cut off";
  EXPECT_THAT(Post(good + Series(Up("a") + std::string(2 * remote::WriteRequestReader::kMaxParts, '\x12'))).body,
              HasSubstr("time series"));
  std::string samples;
  for (size_t i = 0; i <= remote::WriteRequestReader::kMaxParts; ++i) samples += Bytes(2, "");
  EXPECT_THAT(Post(Series(Up("a") + samples)).body, HasSubstr("more than 2000000 series, samples, histograms"));
  EXPECT_THAT(ReadAll(*db_), IsEmpty()) << "nothing of a request that cannot be read is stored";
  plain.method = "GET";
  EXPECT_EQ(receiver_.Handle(plain).status, 405);
}

TEST_F(RemoteWriteTest, ChecksWhatTheHeadersSay) {
  struct Row {
    const char* type;
    const char* encoding;
    int status;
  };
  for (const Row& row : {Row{"", "", 204}, Row{"application/x-protobuf", "snappy", 204},
                         Row{"application/x-protobuf;proto=prometheus.WriteRequest", "Snappy", 204},
                         Row{"application/x-protobuf; proto=prometheus.WriteRequest", "", 204},
                         Row{"application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy", 204},
                         Row{"application/x-protobuf;proto=x", "snappy", 415}, Row{"application/json", "snappy", 415},
                         Row{"application/x-protobuf", "zstd", 415}, Row{"application/x-protobuf", "gzip", 415}}) {
    http::Headers headers;
    if (*row.type != '\0') headers.Set("Content-Type", row.type);
    if (*row.encoding != '\0') headers.Set("Content-Encoding", row.encoding);
    EXPECT_EQ(Post(Series(Up("a") + Point(1000, 1)), headers).status, row.status) << row.type << " " << row.encoding;
  }
}

TEST(SeriesRefCacheTest, KeepsWhatIsUsedAndForgetsTheRestWhenItGrows) {
  SeriesRefCache cache;
  auto hash = [](uint64_t i) { return i * 0x9e3779b97f4a7c15; };
  cache.SetTime(0);
  for (uint64_t i = 1; i <= 10'000; ++i) cache.Put(hash(i), i);
  for (uint64_t i = 1; i <= 10'000; ++i) ASSERT_EQ(cache.Find(hash(i)), i);
  EXPECT_EQ(cache.Find(hash(10'001)), 0u);
  cache.Put(hash(7), 70'007);
  EXPECT_EQ(cache.Find(hash(7)), 70'007u);
  EXPECT_EQ(cache.size(), 10'000u);
  cache.SetTime(3'600'000);
  for (uint64_t i = 1; i <= 100; ++i) cache.Find(hash(i));
  for (uint64_t i = 20'001; i <= 30'000; ++i) cache.Put(hash(i), i);
  EXPECT_EQ(cache.size(), 10'100u);
  EXPECT_EQ(cache.Find(hash(100)), 100u);
  EXPECT_EQ(cache.Find(hash(101)), 0u);
}

TEST(SeriesRefCacheTest, HoldsNoMoreThanItMay) {
  SeriesRefCache cache(1000);
  for (uint64_t i = 1; i <= 5000; ++i) {
    cache.Put(i << 20 | i, i);
    ASSERT_LE(cache.size(), 1000u);
    ASSERT_EQ(cache.Find(i << 20 | i), i);
  }
}

}  // namespace
}  // namespace tidewright::web
