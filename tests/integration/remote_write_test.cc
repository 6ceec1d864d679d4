// A real Prometheus scrapes itself and writes to us, without a cluster; both then answer queries alike. Another reads
// what we have, by remote read and by federation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/boot_clock.h"
#include "base/file.h"
#include "base/json.h"
#include "cmd/control_plane.h"
#include "http/client.h"

namespace tidewright::cmd {
namespace {

using base::Json;

class RemoteWriteFromPrometheus : public testing::Test {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("prometheus")) GTEST_SKIP() << "prometheus is not installed: nothing writes to us";
    ControlPlaneOptions options;
    options.data_dir = folder_.path() + "/ours";
    options.web_address = "127.0.0.1";
    options.web_port = 0;
    options.remote_write_receiver = true;
    plane_ = std::make_unique<ControlPlane>(options, nullptr, clock_, clock_, metrics_);
    ASSERT_TRUE(plane_->Start().ok());
    StartPrometheus();
  }

  void StartPrometheus() {
    theirs_ = "http://127.0.0.1:" + std::to_string(*base::FreePort());
    ours_ = "http://127.0.0.1:" + std::to_string(plane_->web_port());
    const std::string config = folder_.path() + "/prometheus.yml";
    ASSERT_TRUE(base::WriteFileAtomic(config,
                                      "global: {scrape_interval: 1s}\n"
                                      "scrape_configs:\n"
                                      "- job_name: itself\n"
                                      "  static_configs: [{targets: ['" +
                                          theirs_.substr(7) +
                                          "']}]\n"
                                          "remote_write:\n"
                                          "- url: " +
                                          ours_ +
                                          "/api/v1/write\n"
                                          "  queue_config: {batch_send_deadline: 200ms}\n"
                                          "  metadata_config: {send_interval: 1s}\n")
                    .ok());
    auto server =
        base::Subprocess::Start({"prometheus", "--config.file=" + config, "--web.listen-address=" + theirs_.substr(7),
                                 "--storage.tsdb.path=" + folder_.path() + "/theirs"},
                                folder_.path() + "/prometheus.log");
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    prometheus_ = std::make_unique<base::Subprocess>(*std::move(server));
  }

  // A second one, which has nothing of its own.
  void StartReader() {
    readers_ = "http://127.0.0.1:" + std::to_string(*base::FreePort());
    const std::string config = folder_.path() + "/reader.yml";
    ASSERT_TRUE(base::WriteFileAtomic(config,
                                      "global: {scrape_interval: 1s}\n"
                                      "scrape_configs:\n"
                                      "- job_name: federation\n"
                                      "  honor_labels: true\n"
                                      "  metrics_path: /federate\n"
                                      "  params: {'match[]': ['{job=\"itself\"}']}\n"
                                      "  static_configs: [{targets: ['" +
                                          ours_.substr(7) +
                                          "'], labels: {via: federation}}]\n"
                                          "remote_read:\n"
                                          "- url: " +
                                          ours_ +
                                          "/api/v1/read\n"
                                          "  read_recent: true\n")
                    .ok());
    auto server =
        base::Subprocess::Start({"prometheus", "--config.file=" + config, "--web.listen-address=" + readers_.substr(7),
                                 "--storage.tsdb.path=" + folder_.path() + "/reader"},
                                folder_.path() + "/reader.log");
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    reader_ = std::make_unique<base::Subprocess>(*std::move(server));
  }

  // What a server answers, or null.
  Json Ask(const std::string& server, const std::string& query, int64_t seconds) {
    http::ClientRequest request;
    request.url = server + "/api/v1/query?query=" + http::PercentEncode(query) + "&time=" + std::to_string(seconds);
    auto response = http_->Send(request);
    if (!response.ok() || response->status != 200) return nullptr;
    Json answer = Json::parse(response->body)["data"]["result"];
    std::sort(answer.begin(), answer.end());
    return answer;
  }

  // Asks until `holds` is true of both answers; returns the last ones.
  template <typename Holds>
  std::pair<Json, Json> Eventually(const std::string& query, int64_t seconds, Holds holds) {
    base::StopSignal never;
    const int64_t deadline = clock_.NowMs() + 60'000;
    while (true) {
      std::pair<Json, Json> answers{Ask(theirs_, query, seconds), Ask(ours_, query, seconds)};
      if (holds(answers.first, answers.second) || clock_.NowMs() > deadline) return answers;
      clock_.SleepFor(100, never);
    }
  }

  base::Clock& clock_ = base::SystemClock::Get();
  base::TempDir folder_ = *base::TempDir::Create("tidewright-write");
  base::MetricRegistry metrics_;
  std::unique_ptr<ControlPlane> plane_;
  std::unique_ptr<base::Subprocess> prometheus_;
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  std::unique_ptr<base::Subprocess> reader_;
  std::string theirs_, ours_, readers_;
};

TEST_F(RemoteWriteFromPrometheus, BothAnswerAlike) {
  const int64_t start = clock_.NowMs() / 1000;
  // Five scrapes have arrived here.
  auto arrived = Eventually("count_over_time(up{job=\"itself\"}[10m])", start + 300, [](const Json&, const Json& ours) {
    return ours.is_array() && !ours.empty() && std::stoi(ours[0]["value"][1].get<std::string>()) >= 5;
  });
  ASSERT_TRUE(arrived.second.is_array() && !arrived.second.empty()) << arrived.second.dump();
  const int64_t now = clock_.NowMs() / 1000 - 1;
  // No rate(): how it extrapolates young counters has changed since Debian's Prometheus.
  for (const char* query : {"count({job=\"itself\"})", "count_over_time(prometheus_http_requests_total[10m])",
                            "{__name__=~\"go_memstats.*\"}", "irate(prometheus_http_requests_total[10s])",
                            "prometheus_tsdb_compaction_chunk_range_seconds_bucket"}) {
    auto same = [](const Json& theirs, const Json& ours) {
      return theirs.is_array() && !theirs.empty() && theirs == ours;
    };
    auto [theirs, ours] = Eventually(query, now, same);
    EXPECT_TRUE(same(theirs, ours)) << query << "\ntheirs: " << theirs.dump().substr(0, 2000)
                                    << "\nours:   " << ours.dump().substr(0, 2000);
  }
  EXPECT_THAT(metrics_.Render(), testing::HasSubstr("tidewright_remote_write_samples_refused_total 0\n"));
}

bool Same(const Json& a, const Json& b) { return a.is_array() && !a.empty() && a == b; }

TEST_F(RemoteWriteFromPrometheus, AnotherReadsFromUs) {
  StartReader();
  const int64_t start = clock_.NowMs() / 1000;
  std::swap(theirs_, readers_);  // From here on the other one is asked.
  auto arrived =
      Eventually("count_over_time(up{job=\"itself\",via=\"\"}[10m])", start + 300, [](const Json& a, const Json&) {
        return a.is_array() && !a.empty() && std::stoi(a[0]["value"][1].get<std::string>()) >= 5;
      });
  ASSERT_TRUE(arrived.first.is_array() && !arrived.first.empty()) << arrived.first.dump();
  const int64_t now = clock_.NowMs() / 1000 - 1;
  for (const char* query :
       {"count({job=\"itself\",via=\"\"})", "count_over_time(prometheus_http_requests_total{via=\"\"}[10m])",
        "{__name__=~\"go_memstats.*\",via=\"\"}", "prometheus_tsdb_compaction_chunk_range_seconds_bucket{via=\"\"}"}) {
    auto [reader, ours] = Eventually(query, now, Same);
    EXPECT_TRUE(Same(reader, ours)) << query << "\nreader: " << reader.dump().substr(0, 2000)
                                    << "\nours:   " << ours.dump().substr(0, 2000);
  }
}

TEST_F(RemoteWriteFromPrometheus, AnotherFederatesFromUs) {
  StartReader();
  std::swap(theirs_, readers_);
  // A sample comes through with its own time and value. It is one of those that we have, so a range that contains it
  // has the same largest value up to its time.
  Json federated;
  const int64_t far = clock_.NowMs() / 1000 + 120;
  Eventually("last_over_time(timestamp(go_memstats_frees_total{via=\"federation\"})[5m:1s])", far,
             [&](const Json& answer, const Json&) {
               federated = answer;
               return answer.is_array() && !answer.empty();
             });
  ASSERT_TRUE(federated.is_array() && !federated.empty()) << federated.dump();
  const std::string t = federated[0]["value"][1];
  const std::string at = "(go_memstats_frees_total{job=\"itself\"} @ " + t + ")";
  auto [reader, ours] = Eventually("max" + at, far, Same);
  EXPECT_TRUE(Same(reader, ours)) << reader.dump() << "\n" << ours.dump();
}

// What Grafana's data source for Prometheus asks.
TEST_F(RemoteWriteFromPrometheus, AnswersWhatGrafanaAsks) {
  auto arrived = Eventually("up", clock_.NowMs() / 1000 + 60,
                            [](const Json&, const Json& ours) { return ours.is_array() && !ours.empty(); });
  ASSERT_FALSE(arrived.second.empty());
  const std::string now = std::to_string(clock_.NowMs() / 1000), then = std::to_string(clock_.NowMs() / 1000 - 600);
  const std::string range = "start=" + then + "&end=" + now;
  struct Call {
    const char* method;
    std::string path, form;
  };
  for (const Call& call :
       std::vector<Call>{{"POST", "query", "query=1%2B1&time=4"},
                         {"GET", "query?query=1%2B1&time=4", ""},
                         {"GET", "status/buildinfo", ""},
                         {"POST", "query_range", "query=up&step=15&" + range},
                         {"POST", "query", "query=up&timeout=10s&time=" + now},
                         {"POST", "query_exemplars", "query=up&" + range},
                         {"GET", "label/__name__/values?limit=40000&match%5B%5D=up&" + range, ""},
                         {"GET", "labels?limit=40000&" + range, ""},
                         {"POST", "labels", "limit=40000&match%5B%5D=up&" + range},
                         {"GET", "label/job/values?limit=40000&" + range, ""},
                         {"GET", "label/U__job/values?" + range, ""},
                         {"POST", "series", "match%5B%5D=%7B__name__!%3D%22%22%7D&limit=40000&" + range},
                         {"GET", "metadata?limit=10&limit_per_metric=1", ""},
                         {"GET", "rules", ""},
                         {"GET", "alerts", ""},
                         {"GET", "status/config", ""},
                         {"GET", "status/flags", ""},
                         {"GET", "status/tsdb", ""},
                         {"GET", "targets", ""},
                         {"GET", "alertmanagers", ""}}) {
    http::ClientRequest request;
    request.method = call.method;
    request.url = ours_ + "/api/v1/" + call.path;
    request.body = call.form;
    if (!call.form.empty()) request.headers.Set("Content-Type", "application/x-www-form-urlencoded");
    auto response = http_->Send(request);
    ASSERT_TRUE(response.ok()) << call.path << response.status().ToString();
    EXPECT_EQ(response->status, 200) << call.path << response->body;
    EXPECT_EQ(Json::parse(response->body)["status"], "success") << call.path;
  }
}

}  // namespace
}  // namespace tidewright::cmd
