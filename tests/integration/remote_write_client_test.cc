// The program writes to a real Prometheus, is killed in between, and both have the same samples in the end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "http/client.h"
#include "http/message.h"
#include "http/tls.h"
#include "remote/write_message.h"
#include "tests/eventually.h"

namespace tidewright {
namespace {

using base::Json;

class RemoteWriteClientTest : public testing::Test {
 protected:
  // `more` are further fields of the endpoint, a line each.
  void Configure(const std::string& message, const std::string& more = "") {
    const std::string config = R"(
global: {scrape_interval: 200ms, scrape_timeout: 200ms, external_labels: {cluster: c}}
scrape_configs:
- job_name: itself
  static_configs: [{targets: [')" +
                               ours_.substr(7) +
                               R"(']}]
remote_write:
- url: )" + theirs_ + R"(/api/v1/write
  protobuf_message: )" + message +
                               R"(
  send_exemplars: true
  send_native_histograms: true
  queue_config: {batch_send_deadline: 300ms}
  metadata_config: {send_interval: 1s}
)" + more;
    Write("prometheus.yml", config);
  }
  void Write(const std::string& file, const std::string& content) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/" + file, content).ok());
  }
  void StartOurs() {
    auto program = base::Subprocess::Start(
        {TIDEWRIGHT_BINARY, "run", "--kubernetes=false", "--config.file", folder_.path() + "/prometheus.yml",
         "--storage.tsdb.path", folder_.path() + "/ours", "--web.address", "127.0.0.1", "--web.port",
         ours_.substr(ours_.rfind(':') + 1), "--web.enable-remote-write-receiver"},
        folder_.path() + "/ours.log");
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    program_ = std::make_unique<base::Subprocess>(*std::move(program));
  }
  std::string Log() {
    auto text = base::ReadFile(folder_.path() + "/ours.log");
    return text.ok() ? *std::move(text) : text.status().ToString();
  }

  // What the API answers; null when it does not.
  Json Get(const std::string& url) {
    http::ClientRequest request;
    request.url = url;
    request.headers = headers_;
    auto response = http_->Send(request);
    if (!response.ok() || response->status != 200) return nullptr;
    return Json::parse(response->body)["data"];
  }
  // The result of an instant query, labels and values sorted; null when there is none.
  Json Ask(const std::string& server, const std::string& query, int64_t seconds) {
    Json answer =
        Get(server + "/api/v1/query?query=" + http::PercentEncode(query) + "&time=" + std::to_string(seconds));
    if (!answer.is_object()) return nullptr;
    answer = answer["result"];
    for (Json& one : answer) {
      if (one.is_object()) one["metric"].erase("cluster");
    }
    std::sort(answer.begin(), answer.end());
    return answer;
  }
  // How many samples of `up` a server has, up to a time.
  int64_t Samples(const std::string& server, int64_t seconds) {
    Json answer = Ask(server, "sum(count_over_time(up{job=\"itself\"}[1h]))", seconds);
    return answer.is_array() && !answer.empty() ? std::stoll(answer[0]["value"][1].get<std::string>()) : 0;
  }
  int64_t Now() const { return clock_.NowMs() / 1000; }

  virtual void StartReceiver() = 0;
  // Both servers answer alike, sooner or later.
  void SameAnswers(const std::string& query, int64_t seconds) {
    Json theirs, ours;
    EXPECT_TRUE(Eventually([&] {
      theirs = Ask(theirs_, query, seconds);
      ours = Ask(ours_, query, seconds);
      return ours.is_array() && !ours.empty() && theirs == ours;
    })) << query
        << "\ntheirs: " << theirs.dump().substr(0, 3000) << "\nours:   " << ours.dump().substr(0, 3000);
  }
  void Kill() {
    program_->Signal(SIGKILL);
    program_->Wait();
  }
  // Waits until both have some samples more than they had.
  void Scrape(const std::string& server, int64_t more) {
    const int64_t before = Samples(server, Now() + 60);
    ASSERT_TRUE(Eventually([&] { return Samples(server, Now() + 60) >= before + more; })) << Log();
  }

  // Killed three times while it writes, with the receiver away for a time, and killed itself: nothing is lost, and
  // nothing is there twice.
  void WriteThroughKills() {
    StartOurs();
    // What is scraped before the endpoint follows the log is not sent: everything is compared from here on.
    ASSERT_TRUE(Eventually([&] { return Samples(theirs_, Now() + 60) >= 3; })) << Log();
    const int64_t begin = Now() + 1;
    ASSERT_TRUE(Eventually([&] { return Now() > begin; }));
    for (int kill = 0; kill < 3; ++kill) {
      Scrape(ours_, 5);
      if (kill == 1) {
        receiver_->Signal(SIGKILL);
        receiver_->Wait();
        Scrape(ours_, 5);
      }
      Kill();
      if (kill == 1) StartReceiver();
      StartOurs();
    }
    Scrape(theirs_, 5);
    const int64_t end = Now() - 1;
    ASSERT_GT(end, begin);
    const std::string range = "[" + std::to_string(end - begin) + "s]";
    SameAnswers("up{job=\"itself\"}" + range, end);
    SameAnswers("scrape_samples_scraped" + range, end);
    SameAnswers("{job=\"itself\"}" + range, end);
  }

  base::Clock& clock_ = base::SystemClock::Get();
  base::TempDir folder_ = *base::TempDir::Create("tidewright-remote");
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  http::Headers headers_;  // What every question has.
  const std::string their_address_ = "127.0.0.1:" + std::to_string(*base::FreePort());
  std::string theirs_ = "http://" + their_address_;
  const std::string ours_ = "http://127.0.0.1:" + std::to_string(*base::FreePort());
  std::unique_ptr<base::Subprocess> receiver_;
  std::unique_ptr<base::Subprocess> program_;
};

class RemoteWriteToPrometheus : public RemoteWriteClientTest {
 protected:
  void SetUp() override {
    if (!base::HaveProgram(program())) GTEST_SKIP() << program() << " is not installed: there is nobody to write to";
    Write("empty.yml", "global: {}\n");
    StartReceiver();
    ASSERT_TRUE(Eventually([&] { return Ask(theirs_, "vector(1)", 0).is_array(); }));
  }
  // PROMETHEUS_BINARY names another one than the machine's, for instance a newer one.
  static std::string program() {
    const char* other = std::getenv("PROMETHEUS_BINARY");
    return other != nullptr ? other : "prometheus";
  }
  void StartReceiver() override {
    auto server = base::Subprocess::Start(
        {program(), "--config.file=" + folder_.path() + "/empty.yml", "--web.listen-address=" + their_address_,
         "--web.enable-remote-write-receiver", "--enable-feature=native-histograms,exemplar-storage",
         "--storage.tsdb.path=" + folder_.path() + "/theirs", "--web.config.file=" + web_config_},
        folder_.path() + "/theirs.log");
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    receiver_ = std::make_unique<base::Subprocess>(*std::move(server));
  }
  bool TakesVersion2() { return Get(theirs_ + "/api/v1/status/buildinfo")["version"] >= "3."; }

  std::string web_config_;  // The file's path; none if empty.
};

// A Prometheus that wants a client certificate and a password.
class RemoteWriteToGuardedPrometheus : public RemoteWriteToPrometheus {
 protected:
  void SetUp() override {
    const int64_t now = clock_.NowMs();
    const http::KeyPair ca = *http::GenerateCa("ca", now);
    const http::KeyPair server = *http::IssueCertificate(ca, {.common_name = "p", .ip_addresses = {"127.0.0.1"}}, now);
    const http::KeyPair client = *http::IssueCertificate(ca, {.common_name = "c", .client = true}, now);
    Write("ca.pem", ca.certificate_pem);
    Write("other-ca.pem", http::GenerateCa("other", now)->certificate_pem);
    Write("server.pem", server.certificate_pem);
    Write("server.key", server.private_key_pem);
    Write("client.pem", client.certificate_pem);
    Write("client.key", client.private_key_pem);
    Write("web.yml", R"(
tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem,
                    client_auth_type: RequireAndVerifyClientCert}
basic_auth_users: {writer: $2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW}
)");
    web_config_ = folder_.path() + "/web.yml";
    theirs_ = "https://" + their_address_;
    http_ = *http::NewCurlClient({.tls = {.ca_pem = ca.certificate_pem,
                                          .certificate_pem = client.certificate_pem,
                                          .private_key_pem = client.private_key_pem}});
    headers_ = {{"Authorization", "Basic d3JpdGVyOlUqVQ=="}};  // writer:U*U
    RemoteWriteToPrometheus::SetUp();
  }
  void ConfigureGuarded(const std::string& ca) {
    Configure("prometheus.WriteRequest", "  tls_config: {ca_file: " + ca +
                                             ", cert_file: client.pem, key_file: client.key}\n"
                                             "  basic_auth: {username: writer, password_file: password}\n");
  }
  bool Logged(const std::string& text) {
    return Eventually([&] { return Log().find(text) != std::string::npos; });
  }
};

class RemoteWriteToVictoriaMetrics : public RemoteWriteClientTest {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("victoria-metrics")) {
      GTEST_SKIP() << "victoria-metrics is not installed: there is nobody to write to";
    }
    StartReceiver();
    ASSERT_TRUE(Eventually([&] { return Ask(theirs_, "vector(1)", 0).is_array(); }));
  }
  void StartReceiver() override {
    auto server =
        base::Subprocess::Start({"victoria-metrics", "-httpListenAddr=" + their_address_,
                                 "-storageDataPath=" + folder_.path() + "/theirs", "-memory.allowedBytes=64MB"},
                                folder_.path() + "/theirs.log");
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    receiver_ = std::make_unique<base::Subprocess>(*std::move(server));
  }
};

TEST_F(RemoteWriteToPrometheus, LosesNothingWhenItIsKilled) {
  Configure("prometheus.WriteRequest");
  WriteThroughKills();
}

// What is wrong is said without the secret, and what is put right counts without a restart.
TEST_F(RemoteWriteToGuardedPrometheus, TakesItFromWhoHasCertificateAndPassword) {
  Write("password", "not-the-password");
  ConfigureGuarded("ca.pem");
  StartOurs();
  ASSERT_TRUE(Logged("401")) << Log();
  EXPECT_EQ(Samples(theirs_, Now() + 60), 0);
  Write("password", "U*U\n");
  Scrape(theirs_, 3);
  EXPECT_EQ(Log().find("not-the-password"), std::string::npos) << Log();
}

TEST_F(RemoteWriteToGuardedPrometheus, IsNotTrustedWithAnotherAuthority) {
  Write("password", "U*U");
  ConfigureGuarded("other-ca.pem");
  StartOurs();
  ASSERT_TRUE(Logged("certificate")) << Log();
  EXPECT_EQ(Samples(theirs_, Now() + 60), 0);
  ConfigureGuarded("ca.pem");
  program_->Signal(SIGHUP);
  Scrape(theirs_, 3);
}

tsdb::Histogram SomeHistogram(uint64_t more) {
  tsdb::Histogram histogram;
  histogram.schema = 0;  // Bounds that every version computes alike.
  histogram.zero_threshold = 0.001;
  histogram.zero_count = 1;
  histogram.count = 6 + more;
  histogram.sum = 10.5;
  histogram.positive_spans = {{0, 2}, {3, 1}};
  histogram.positive_buckets = {2, -1, 1 + static_cast<int64_t>(more)};
  return histogram;
}

// What no target of this test has comes to us by remote write, and goes on from there.
TEST_F(RemoteWriteToPrometheus, PassesOnHistogramsExemplarsAndStaleness) {
  Configure("prometheus.WriteRequest");
  StartOurs();
  ASSERT_TRUE(Eventually([&] { return Samples(theirs_, Now() + 60) >= 1; })) << Log();
  const int64_t now = clock_.NowMs() / 1000 * 1000;
  remote::WriteRequest1 request;
  const std::vector<tsdb::LogCommit::OneHistogram> integers = {{1, {now - 2000, SomeHistogram(0)}},
                                                               {1, {now - 1000, SomeHistogram(7)}}};
  request.Add({{"__name__", "latency"}, {"kind", "integer"}}, {{}, integers, {}});
  const std::vector<tsdb::LogCommit::OneHistogram> floats = {{1, {now - 2000, tsdb::ToFloat(SomeHistogram(0))}},
                                                             {1, {now - 1000, tsdb::ToFloat(SomeHistogram(3))}}};
  request.Add({{"__name__", "latency"}, {"kind", "float"}}, {{}, floats, {}});
  const std::vector<tsdb::LogCommit::Float> ended = {{1, now - 2000, 5}, {1, now - 1000, tsdb::StaleNan()}};
  const std::vector<tsdb::LoggedExemplar> exemplars = {
      {1, {}, {tsdb::Labels::Of({{"trace_id", "abc"}}), now - 2000, 0.25}}};
  request.Add({{"__name__", "ended"}}, {ended, {}, exemplars});
  http::ClientRequest post;
  post.method = "POST";
  post.url = ours_ + "/api/v1/write";
  post.headers = {{"Content-Encoding", "snappy"}, {"Content-Type", "application/x-protobuf"}};
  post.body = request.Finish();
  auto taken = http_->Send(post);
  ASSERT_TRUE(taken.ok());
  ASSERT_EQ(taken->status, 204) << taken->body;
  SameAnswers("histogram_count(latency)", now / 1000);
  SameAnswers("latency", now / 1000);
  SameAnswers("histogram_sum(rate(latency[10s]))", now / 1000);
  SameAnswers("ended", now / 1000 - 2);
  SameAnswers("absent(ended)", now / 1000);
  auto exemplars_of = [&](const std::string& server) {
    Json answer = Get(server + "/api/v1/query_exemplars?query=ended&start=0&end=" + std::to_string(Now() + 60));
    return answer.is_array() && !answer.empty() ? answer[0]["exemplars"] : Json();
  };
  EXPECT_TRUE(Eventually([&] { return !exemplars_of(theirs_).empty(); }));
  EXPECT_EQ(exemplars_of(theirs_), exemplars_of(ours_));
}

// Another one of ours, which has nothing of its own, reads all of that by remote read.
TEST_F(RemoteWriteToPrometheus, IsReadFrom) {
  Configure("prometheus.WriteRequest");
  StartOurs();
  ASSERT_TRUE(Eventually([&] { return Samples(theirs_, Now() + 60) >= 8; })) << Log();
  program_->Stop(30'000);
  const int64_t end = Now();
  Write("prometheus.yml", R"(
global: {external_labels: {cluster: c}}
remote_read:
- url: )" + theirs_ + R"(/api/v1/read
  read_recent: true
)");
  std::filesystem::remove_all(folder_.path() + "/ours");
  StartOurs();
  ASSERT_TRUE(Eventually([&] { return Ask(ours_, "vector(1)", 0).is_array(); })) << Log();
  SameAnswers("{job=\"itself\"}[60s]", end);
  SameAnswers("sum by (slice) (rate(prometheus_engine_query_duration_histogram_seconds_count[30s]))", end);
}

// An older Prometheus takes a request of version 2.0 for an empty one of version 1.0, and says 204.
TEST_F(RemoteWriteToPrometheus, SendsVersion2ToWhoTakesIt) {
  Configure("io.prometheus.write.v2.Request");
  WriteThroughKills();
  EXPECT_EQ(Log().find("does not take version 2.0") == std::string::npos, TakesVersion2()) << Log();
}

// This one refuses nothing that it has already, so that a repetition would show.
TEST_F(RemoteWriteToVictoriaMetrics, GetsEachSampleOnceOverRestartsInOrder) {
  Configure("prometheus.WriteRequest");
  StartOurs();
  ASSERT_TRUE(Eventually([&] { return Samples(theirs_, Now() + 60) >= 3; })) << Log();
  const int64_t begin = Now() + 1;
  ASSERT_TRUE(Eventually([&] { return Now() > begin; }));
  for (int restart = 0; restart < 3; ++restart) {
    Scrape(ours_, 5);
    program_->Stop(30'000);
    StartOurs();
  }
  Scrape(theirs_, 5);
  const int64_t end = Now() - 1;
  const std::string range = "[" + std::to_string(end - begin) + "s]";
  SameAnswers("up{job=\"itself\"}" + range, end);
  SameAnswers("scrape_samples_scraped{job=\"itself\"}" + range, end);
}

}  // namespace
}  // namespace tidewright
