#include "scrape/manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "base/file.h"
#include "http/server.h"
#include "tsdb/db.h"

namespace tidewright::scrape {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kStartMs = 1'700'000'000'000;
constexpr int64_t kIntervalMs = 10'000;

// Waits for another thread; the deadline only ends a test that would fail anyway.
bool Eventually(const std::function<bool()>& condition) {
  int64_t deadline = base::MonotonicNanos() + 20'000'000'000;
  while (!condition()) {
    if (base::MonotonicNanos() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// An HTTP client that answers at once, or keeps the callbacks for later.
class FakeHttp : public http::Client {
 public:
  struct Peer {
    base::Mutex mu;
    http::Response response GUARDED_BY(mu){200, {{"Content-Type", "text/plain"}}, "a 1\n"};
    bool hold GUARDED_BY(mu) = false;
    std::vector<http::ClientRequest> requests GUARDED_BY(mu);
    std::vector<std::function<void(base::Result<http::Response>)>> held GUARDED_BY(mu);

    void Answer(int status, std::string body) {
      base::MutexLock lock(mu);
      response.status = status;
      response.body = std::move(body);
    }
    size_t Requests() {
      base::MutexLock lock(mu);
      return requests.size();
    }
  };
  explicit FakeHttp(Peer& peer) : peer_(peer) {}

  base::Result<http::Response> Send(const http::ClientRequest&, http::CancelToken*) override {
    return base::UnimplementedError("not used by the scraper");
  }
  base::Status Stream(const http::ClientRequest&, const http::StreamHandler&, http::CancelToken*) override {
    return base::UnimplementedError("not used by the scraper");
  }
  void SendAsync(http::ClientRequest request, std::function<void(base::Result<http::Response>)> done) override {
    http::Response response;
    {
      base::MutexLock lock(peer_.mu);
      peer_.requests.push_back(std::move(request));
      if (peer_.hold) {
        peer_.held.push_back(std::move(done));
        return;
      }
      response = peer_.response;
    }
    done(response);
  }

 private:
  Peer& peer_;
};

class ManagerTest : public ::testing::Test {
 protected:
  ManagerTest() {
    auto db = tsdb::Db::Open("", {}, clock_, nullptr);
    EXPECT_TRUE(db.ok()) << db.status().ToString();
    db_ = *std::move(db);
    manager_ =
        std::make_unique<Manager>(*db_, clock_, scheduler_, &metrics_, nullptr,
                                  [this](const http::ClientOptions&) -> base::Result<std::unique_ptr<http::Client>> {
                                    return std::unique_ptr<http::Client>(std::make_unique<FakeHttp>(peer_));
                                  });
  }
  ~ManagerTest() override {
    manager_->Stop();
    scheduler_.Stop();
  }

  void Apply(const std::string& yaml) {
    auto config = ParseConfig(yaml, "prometheus.yml");
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    ASSERT_TRUE(manager_->ApplyConfig(*config).ok());
  }

  // One target with the given extra fields of its job.
  static std::string Job(const std::string& extra = "") {
    return "scrape_configs:\n- job_name: app\n  scrape_interval: 10s\n  static_configs: [{targets: ['h:1']}]\n" + extra;
  }

  // Moves the clock by one interval and waits until every target has been scraped again.
  void ScrapeOnce() {
    clock_.Advance(kIntervalMs);
    int64_t from = clock_.NowMs() - kIntervalMs;
    ASSERT_TRUE(Eventually([&] {
      TargetsSnapshot snapshot = manager_->Targets();
      for (const TargetStatus& target : snapshot.active) {
        if (target.state.last_scrape_ms <= from) return false;
      }
      return !snapshot.active.empty();
    })) << "no scrape within an interval";
  }

  // The samples of a series of target h:1, staleness markers as "stale".
  std::vector<std::string> Samples(const std::string& metric) {
    std::vector<std::string> out;
    for (const tsdb::Sample& sample : Stored(metric)) {
      out.push_back(tsdb::IsStaleNan(sample.v) ? "stale" : base::FormatDouble(sample.v));
    }
    return out;
  }
  std::vector<tsdb::Sample> Stored(const std::string& metric) {
    std::vector<tsdb::Sample> out;
    auto querier = db_->NewQuerier(0, INT64_MAX / 2);
    auto series = (*querier)->Select({}, {tsdb::Matcher::Equal("__name__", metric)});
    EXPECT_TRUE(series.ok());
    for (const auto& one : *series) {
      auto iterator = one->Iterator();
      while (iterator->Next()) out.push_back(iterator->At());
    }
    return out;
  }

  base::FakeClock clock_{kStartMs};
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  base::MetricRegistry metrics_;
  FakeHttp::Peer peer_;
  std::unique_ptr<tsdb::Db> db_;
  std::unique_ptr<Manager> manager_;
};

TEST_F(ManagerTest, ScrapesOnAFixedRhythm) {
  Apply(Job());
  manager_->Start();
  for (int i = 0; i < 3; ++i) ScrapeOnce();
  auto samples = Stored("a");
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples[1].t - samples[0].t, kIntervalMs);
  EXPECT_EQ(samples[2].t - samples[1].t, kIntervalMs);
  EXPECT_THAT(Samples("up"), ::testing::ElementsAre("1", "1", "1"));
  TargetsSnapshot snapshot = manager_->Targets();
  ASSERT_EQ(snapshot.active.size(), 1u);
  EXPECT_EQ(snapshot.active[0].url, "http://h:1/metrics");
  EXPECT_EQ(snapshot.active[0].state.health, Health::kUp);
}

// Short pages are stored by the thread that brings them, long ones by the pool.
TEST_F(ManagerTest, StoresPagesOfAnyLength) {
  Apply(Job());
  manager_->Start();
  ScrapeOnce();
  std::string page = "a 2\n";
  while (page.size() < 600'000)
    page += "n" + std::to_string(page.size()) + "{text=\"" + std::string(500, 'x') + "\"} 1\n";
  peer_.Answer(200, page);
  ScrapeOnce();
  peer_.Answer(200, "a 3\n");
  ScrapeOnce();
  EXPECT_THAT(Samples("a"), ::testing::ElementsAre("1", "2", "3"));
  EXPECT_THAT(Samples("n4"), ::testing::ElementsAre("1", "stale"));
}

TEST_F(ManagerTest, FailureMarksSeriesStaleAndSaysWhy) {
  Apply(Job());
  manager_->Start();
  ScrapeOnce();
  peer_.Answer(503, "");
  ScrapeOnce();
  peer_.Answer(200, "a 2\n");
  ScrapeOnce();
  EXPECT_THAT(Samples("a"), ::testing::ElementsAre("1", "stale", "2"));
  EXPECT_THAT(Samples("up"), ::testing::ElementsAre("1", "0", "1"));
  peer_.Answer(200, "a{ 2\n");
  ScrapeOnce();
  EXPECT_THAT(manager_->Targets().active[0].state.last_error, HasSubstr("line 1: expected a label name"));
}

TEST_F(ManagerTest, RemovedJobEndsItsSeriesAtTheScrapeItMisses) {
  Apply(Job());
  manager_->Start();
  ScrapeOnce();
  int64_t last = Stored("a").back().t;
  Apply("");
  EXPECT_TRUE(manager_->Targets().active.empty());
  clock_.Advance(3 * kIntervalMs);
  ASSERT_TRUE(Eventually([&] { return Samples("a").size() == 2; }));
  EXPECT_THAT(Samples("a"), ::testing::ElementsAre("1", "stale"));
  EXPECT_GT(Stored("a").back().t, last);
  EXPECT_LE(Stored("a").back().t, last + kIntervalMs) << "not when it was noticed, but when the scrape was due";
  EXPECT_THAT(Samples("up"), ::testing::ElementsAre("1", "stale"));
}

TEST_F(ManagerTest, ReloadKeepsRhythmAndSeries) {
  Apply(Job());
  manager_->Start();
  ScrapeOnce();
  Apply(Job());                          // Nothing changed.
  Apply(Job("  scrape_timeout: 5s\n"));  // The series stay known.
  ScrapeOnce();
  EXPECT_THAT(Samples("scrape_series_added"), ::testing::ElementsAre("1", "0"));
  Apply(Job("  metric_relabel_configs: [{target_label: x, replacement: y}]\n"));
  ScrapeOnce();
  clock_.Advance(2 * kIntervalMs);
  // The series without the new label ends; the one with it goes on.
  ASSERT_TRUE(Eventually([&] {
    auto samples = Samples("a");
    return std::count(samples.begin(), samples.end(), "stale") == 1;
  }));
}

TEST_F(ManagerTest, TooManyTargetsFailWithoutRequests) {
  Apply(
      "scrape_configs:\n- job_name: app\n  scrape_interval: 10s\n  target_limit: 1\n"
      "  static_configs: [{targets: ['h:1', 'h:2']}]\n");
  manager_->Start();
  ScrapeOnce();
  EXPECT_EQ(peer_.Requests(), 0u);
  EXPECT_THAT(Samples("up"), ::testing::ElementsAre("0", "0"));
  EXPECT_THAT(manager_->Targets().active[0].state.last_error, HasSubstr("target_limit exceeded: 2 targets, limit 1"));
}

TEST_F(ManagerTest, TargetFilesAreFollowed) {
  auto folder = base::TempDir::Create("tidewright-sd");
  ASSERT_TRUE(folder.ok());
  const std::string path = folder->path() + "/targets.json";
  auto write = [&](const std::string& text) { ASSERT_TRUE(base::WriteFileAtomic(path, text).ok()); };
  auto targets = [&] { return manager_->Targets().active.size(); };
  write(R"([{"targets": ["h:1", "h:2"], "labels": {"team": "a"}}])");
  Apply("scrape_configs:\n- job_name: app\n  scrape_interval: 10s\n  file_sd_configs: [{files: ['" + path + "']}]\n");
  manager_->Start();
  ASSERT_EQ(targets(), 2u);
  EXPECT_EQ(manager_->Targets().active[0].labels.Get("team"), "a");
  EXPECT_EQ(manager_->Targets().active[0].discovered.Get("__meta_filepath"), path);
  write(R"([{"targets": ["h:2"], "labels": {"team": "a"}}])");
  ScrapeOnce();
  ASSERT_TRUE(Eventually([&] { return targets() == 1; }));
  write("[{broken");
  ScrapeOnce();
  EXPECT_EQ(targets(), 1u) << "a broken file keeps its targets";
}

TEST_F(ManagerTest, SendsCredentialsAndShowsThemNowhere) {
  Apply(Job("  basic_auth: {username: u, password: hunter2}\n"));
  manager_->Start();
  peer_.Answer(401, "");
  ScrapeOnce();
  {
    base::MutexLock lock(peer_.mu);
    EXPECT_EQ(peer_.requests[0].headers.Get("Authorization"), "Basic dTpodW50ZXIy");
    EXPECT_EQ(peer_.requests[0].headers.Get("X-Prometheus-Scrape-Timeout-Seconds"), "10");
    EXPECT_EQ(peer_.requests[0].total_timeout_ms, 10'000);
  }
  TargetStatus status = manager_->Targets().active[0];
  EXPECT_EQ(status.state.last_error.find("hunter2"), std::string::npos);
}

TEST_F(ManagerTest, ReplyAfterStopIsIgnored) {
  {
    base::MutexLock lock(peer_.mu);
    peer_.hold = true;
  }
  Apply(Job());
  manager_->Start();
  clock_.Advance(kIntervalMs);
  ASSERT_TRUE(Eventually([&] { return peer_.Requests() == 1; }));
  manager_->Stop();
  manager_->Stop();
  std::vector<std::function<void(base::Result<http::Response>)>> held;
  {
    base::MutexLock lock(peer_.mu);
    held.swap(peer_.held);
  }
  for (auto& done : held) done(http::Response{200, {{"Content-Type", "text/plain"}}, "a 1\n"});
  held.clear();
  EXPECT_TRUE(Samples("up").empty());
  EXPECT_EQ(manager_->ApplyConfig({}).code(), base::Code::kFailedPrecondition);
}

TEST(FirstScrape, IsStableAndSpread) {
  Target target;
  target.interval.ms = kIntervalMs;
  std::set<int64_t> offsets;
  for (int i = 0; i < 100; ++i) {
    target.url = "http://h:" + std::to_string(i) + "/metrics";
    int64_t first = FirstScrapeMs(target, kStartMs);
    EXPECT_GE(first, kStartMs);
    EXPECT_LT(first, kStartMs + kIntervalMs);
    EXPECT_EQ(FirstScrapeMs(target, first + 1), first + kIntervalMs) << "the rhythm does not depend on the start";
    offsets.insert((first - kStartMs) / 1000);
  }
  EXPECT_EQ(offsets.size(), 10u) << "a hundred targets fall into every second of the interval";
}

TEST(FirstScrape, IsAtTheBeginningOfASlot) {
  struct Case {
    int64_t interval_ms;
    int64_t slot_ms;
    size_t slots;
  };
  for (const Case& c : {Case{30, 1, 30}, Case{1'000, 25, 40}, Case{5'000, 125, 40}, Case{5'010, 125, 40},
                        Case{15'000, 250, 60}, Case{60'000, 250, 240}}) {
    Target target;
    target.interval.ms = c.interval_ms;
    std::map<int64_t, int> targets_at;
    for (int i = 0; i < 100 * static_cast<int>(c.slots); ++i) {
      target.url = "http://h:" + std::to_string(i) + "/metrics";
      const int64_t phase = FirstScrapeMs(target, kStartMs) % c.interval_ms;
      EXPECT_EQ(phase % c.slot_ms, 0) << c.interval_ms << " ms";
      ++targets_at[phase];
    }
    EXPECT_EQ(targets_at.size(), c.slots) << c.interval_ms << " ms: none stays empty";
    for (const auto& [phase, targets] : targets_at) EXPECT_LT(targets, 200) << c.interval_ms << " ms, at " << phase;
  }
}

// The whole way over a real connection: compressed reply, libcurl, the machine's clock.
TEST(ScrapeOverHttp, StoresWhatAServerExposes) {
  std::string padding;
  for (int i = 0; i < 2000; ++i) padding += "filler{i=\"" + std::to_string(i) + "\"} 1\n";
  std::atomic<int> scrapes{0};
  auto server = http::Server::Create({}, [&](const http::ServerRequest& request, auto responder) {
    ++scrapes;
    http::Response response;
    response.status = request.path == "/metrics" ? 200 : 404;
    response.headers.Add("Content-Type", "text/plain; version=0.0.4");
    response.body = "requests_total 7\n" + padding;
    responder->Reply(std::move(response));
  });
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  auto port = (*server)->Listen("127.0.0.1", 0);
  ASSERT_TRUE(port.ok()) << port.status().ToString();
  auto& clock = base::SystemClock::Get();
  auto db = tsdb::Db::Open("", {}, clock, nullptr);
  ASSERT_TRUE(db.ok());
  base::ThreadPool pool("test", 2);
  base::Scheduler scheduler(clock, pool);
  Manager manager(**db, clock, scheduler, nullptr, nullptr);
  auto config = ParseConfig(
      "scrape_configs:\n- job_name: app\n  scrape_interval: 200ms\n  static_configs: [{targets: "
      "['127.0.0.1:" +
          std::to_string(*port) + "']}]\n",
      "prometheus.yml");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  ASSERT_TRUE(manager.ApplyConfig(*config).ok());
  manager.Start();
  ASSERT_TRUE(Eventually([&] {
    auto targets = manager.Targets().active;
    return scrapes >= 2 && targets.size() == 1 && targets[0].state.health == Health::kUp;
  })) << manager.Targets().active[0].state.last_error;
  EXPECT_EQ((*db)->Stats().series, 2001u + 5u);
  manager.Stop();
  scheduler.Stop();
}

// A target that speaks protobuf and wants a token, whose endpoint wants the client's credentials in the body.
TEST(ScrapeOverHttp, FetchesATokenAndReadsProtobuf) {
  std::atomic<int> tokens{0}, refused{0};
  base::Mutex mu;
  std::string accept;
  auto server = http::Server::Create({}, [&](const http::ServerRequest& request, auto responder) {
    http::Response response;
    if (request.path == "/token") {
      const bool known = request.body.find("client_id=me") != std::string::npos;
      tokens += known ? 1 : 0;
      response.status = known ? 200 : 401;
      response.body = R"({"access_token":"t0ken","expires_in":3600})";
    } else if (request.headers.Get("Authorization") != "Bearer t0ken") {
      ++refused;
      response.status = 403;
    } else {
      base::MutexLock lock(mu);
      accept = request.headers.Get("Accept");
      response.headers.Add("Content-Type",
                           "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
                           "encoding=delimited");
      response.body = std::string(
          "\x12\x0a\x01"
          "c\x18\x00\x22\x0b\x1a\x09\x09\x00\x00\x00\x00\x00\x00\x14\x40",
          19);
    }
    responder->Reply(std::move(response));
  });
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  auto port = (*server)->Listen("127.0.0.1", 0);
  ASSERT_TRUE(port.ok()) << port.status().ToString();
  auto& clock = base::SystemClock::Get();
  auto db = tsdb::Db::Open("", {}, clock, nullptr);
  ASSERT_TRUE(db.ok());
  base::ThreadPool pool("test", 2);
  base::Scheduler scheduler(clock, pool);
  Manager manager(**db, clock, scheduler, nullptr, nullptr);
  const std::string address = "127.0.0.1:" + std::to_string(*port);
  auto config =
      ParseConfig("scrape_configs:\n- job_name: app\n  scrape_interval: 200ms\n  scrape_native_histograms: true\n" +
                      ("  static_configs: [{targets: ['" + address + "']}]\n") +
                      "  oauth2: {client_id: me, client_secret: x, token_url: 'http://" + address + "/token'}\n",
                  "prometheus.yml");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  ASSERT_TRUE(manager.ApplyConfig(*config).ok());
  manager.Start();
  ASSERT_TRUE(Eventually([&] {
    auto targets = manager.Targets().active;
    return targets.size() == 1 && targets[0].state.health == Health::kUp;
  })) << manager.Targets().active[0].state.last_error;
  manager.Stop();
  scheduler.Stop();
  EXPECT_EQ(tokens, 1);
  EXPECT_EQ(refused, 0) << "no request goes out without its token";
  EXPECT_EQ((*db)->Stats().series, 1u + 5u);
  base::MutexLock lock(mu);
  EXPECT_EQ(accept.find("application/vnd.google.protobuf"), 0u);
}

}  // namespace
}  // namespace tidewright::scrape
