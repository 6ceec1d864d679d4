// The program writes to a real Prometheus, is killed in between, and both have
// the same samples in the end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "http/client.h"
#include "http/message.h"

namespace tidewright {
namespace {

using base::Json;

class RemoteWriteToPrometheus : public testing::Test {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("prometheus")) GTEST_SKIP() << "prometheus is not installed: there is nobody to write to";
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/empty.yml", "global: {}\n").ok());
    StartPrometheus();
    ASSERT_TRUE(Eventually([&] { return Ask(theirs_, "vector(1)", 0).is_array(); }));
  }
  void StartPrometheus() {
    auto server = base::Subprocess::Start(
        {"prometheus", "--config.file=" + folder_.path() + "/empty.yml", "--web.listen-address=" + theirs_.substr(7),
         "--web.enable-remote-write-receiver", "--storage.tsdb.path=" + folder_.path() + "/theirs"},
        folder_.path() + "/prometheus.log");
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    prometheus_ = std::make_unique<base::Subprocess>(*std::move(server));
  }
  void Configure(const std::string& message) {
    const std::string config =
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms, "
        "external_labels: {cluster: c}}\n"
        "scrape_configs:\n"
        "- job_name: itself\n"
        "  static_configs: [{targets: ['" +
        ours_.substr(7) +
        "']}]\n"
        "remote_write:\n"
        "- url: " +
        theirs_ +
        "/api/v1/write\n"
        "  protobuf_message: " +
        message +
        "\n"
        "  queue_config: {batch_send_deadline: 300ms}\n"
        "  metadata_config: {send_interval: 1s}\n";
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/prometheus.yml", config).ok());
  }
  void StartOurs() {
    auto program =
        base::Subprocess::Start({TIDEWRIGHT_BINARY, "run", "--kubernetes=false", "--config.file",
                                 folder_.path() + "/prometheus.yml", "--storage.tsdb.path", folder_.path() + "/ours",
                                 "--web.address", "127.0.0.1", "--web.port", ours_.substr(ours_.rfind(':') + 1)},
                                folder_.path() + "/ours.log");
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    program_ = std::make_unique<base::Subprocess>(*std::move(program));
  }
  std::string Log() { return base::ReadFile(folder_.path() + "/ours.log").value(); }

  // The result of an instant query, labels and values sorted; null when there
  // is none.
  Json Ask(const std::string& server, const std::string& query, int64_t seconds) {
    http::ClientRequest request;
    request.url = server + "/api/v1/query?query=" + http::PercentEncode(query) + "&time=" + std::to_string(seconds);
    auto response = http_->Send(request);
    if (!response.ok() || response->status != 200) return nullptr;
    Json answer = Json::parse(response->body)["data"]["result"];
    for (Json& one : answer) {
      if (one.is_object()) one["metric"].erase("cluster");
    }
    std::sort(answer.begin(), answer.end());
    return answer;
  }
  bool Eventually(const std::function<bool()>& holds) {
    base::StopSignal never;
    const int64_t deadline = clock_.NowMs() + 90'000;
    while (!holds()) {
      if (clock_.NowMs() > deadline) return false;
      clock_.SleepFor(100, never);
    }
    return true;
  }
  // How many samples of `up` a server has, up to a time.
  int64_t Samples(const std::string& server, int64_t seconds) {
    Json answer = Ask(server, "sum(count_over_time(up{job=\"itself\"}[1h]))", seconds);
    return answer.is_array() && !answer.empty() ? std::stoll(answer[0]["value"][1].get<std::string>()) : 0;
  }
  int64_t Now() const { return clock_.NowMs() / 1000; }

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
        prometheus_->Signal(SIGKILL);
        prometheus_->Wait();
        Scrape(ours_, 5);
      }
      Kill();
      if (kill == 1) StartPrometheus();
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
  const std::string theirs_ = "http://127.0.0.1:" + std::to_string(*base::FreePort());
  const std::string ours_ = "http://127.0.0.1:" + std::to_string(*base::FreePort());
  std::unique_ptr<base::Subprocess> prometheus_;
  std::unique_ptr<base::Subprocess> program_;
};

TEST_F(RemoteWriteToPrometheus, LosesNothingWhenItIsKilled) {
  Configure("prometheus.WriteRequest");
  WriteThroughKills();
}

// This receiver takes a request of version 2.0 for an empty one of version 1.0,
// and says 204.
TEST_F(RemoteWriteToPrometheus, FallsBackToVersion1) {
  Configure("io.prometheus.write.v2.Request");
  StartOurs();
  ASSERT_TRUE(Eventually([&] { return Samples(theirs_, Now() + 60) >= 5; })) << Log();
  EXPECT_THAT(Log(), testing::HasSubstr("does not take version 2.0"));
}

}  // namespace
}  // namespace tidewright
