// Sending: what arrives, in spite of answers that ask for a repetition, and of restarts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <filesystem>
#include <functional>
#include <thread>

#include "remote/manager.h"
#include "tests/eventually.h"
#include "tests/tsdb/store.h"
#include "web/remote_write.h"

namespace tidewright::remote {
namespace {

// A receiver in the same process: its store, and what it is to answer before it takes anything.
struct Peer {
  explicit Peer(base::Clock& its_clock) : clock(its_clock) {}
  http::Response Take(const http::ClientRequest& request) {
    base::MutexLock lock(mu);
    ++requests;
    if (!answers.empty()) {
      const int status = answers.front();
      answers.pop_front();
      return {status, {{"Retry-After", retry_after}}, "as the test says"};
    }
    if (only_version1 && request.headers.Get("Content-Type").find("v2") != std::string::npos) return {415, {}, "no"};
    http::ServerRequest received;
    received.method = request.method;
    received.headers = request.headers;
    received.body = request.body;
    return receiver.Handle(received);
  }
  base::Clock& clock;
  base::MetricRegistry metrics;
  std::unique_ptr<tsdb::Db> db = *tsdb::Db::Open("", {}, clock, nullptr);
  web::RemoteWriteReceiver receiver{*db, clock, metrics};
  base::Mutex mu;
  std::deque<int> answers GUARDED_BY(mu);
  std::string retry_after GUARDED_BY(mu) = "0";
  int requests GUARDED_BY(mu) = 0;
  bool only_version1 GUARDED_BY(mu) = false;
};

class PeerClient : public http::Client {
 public:
  explicit PeerClient(Peer& peer) : peer_(peer) {}
  base::Result<http::Response> Send(const http::ClientRequest&, http::CancelToken*) override {
    return base::UnimplementedError("not used");
  }
  base::Status Stream(const http::ClientRequest&, const http::StreamHandler&, http::CancelToken*) override {
    return base::UnimplementedError("not used");
  }
  void SendAsync(http::ClientRequest request, std::function<void(base::Result<http::Response>)> done) override {
    done(peer_.Take(request));
  }

 private:
  Peer& peer_;
};

class EndpointTest : public testing::Test {
 protected:
  EndpointTest() {
    config_.url = "http://peer/api/v1/write";
    config_.batch_send_deadline_ms = 20;
    config_.min_backoff_ms = 1;
    config_.max_backoff_ms = 10;
    config_.max_samples_per_send = 7;
  }
  void Open() {
    tsdb::DbOptions options;
    options.wal_segment_bytes = 4096;
    db_ = *tsdb::Db::Open(path_, options, clock_, nullptr);
  }
  void StartManager() {
    ManagerOptions options;
    options.data_directory = path_;
    options.make_client = [this](const http::ClientOptions&) -> base::Result<std::unique_ptr<http::Client>> {
      return make_client_();
    };
    options.flush_ms = flush_ms_;
    manager_ = std::make_unique<Manager>(std::move(options), clock_, metrics_);
    Apply();
  }
  void Apply() {
    base::Status applied = manager_->Apply({config_}, tsdb::Labels::Of({{"cluster", "c"}}));
    ASSERT_TRUE(applied.ok()) << applied.ToString();
    // Its place is kept from when it follows the log.
    const int64_t deadline = clock_.NowMs() + 30'000;
    while (!HasPlace() && clock_.NowMs() < deadline) clock_.SleepFor(2, never_);
    ASSERT_TRUE(HasPlace());
  }
  bool HasPlace() const {
    std::error_code error;
    return std::filesystem::exists(path_ + "/remote_write", error) &&
           !std::filesystem::is_empty(path_ + "/remote_write", error);
  }
  // A sample of each pod, `ms` after the test's start of time: a little before now, which both stores take.
  void Add(int64_t ms, int pods) {
    const int64_t t = start_ms_ + ms;
    auto appender = db_->NewAppender();
    for (int pod = 0; pod < pods; ++pod) {
      auto labels = tsdb::Labels::Of({{"__name__", "m"}, {"pod", std::to_string(pod)}});
      ASSERT_TRUE(appender->Append(0, labels, t, static_cast<double>(ms + pod)).ok());
    }
    ASSERT_TRUE(appender->Commit().ok());
  }
  static size_t Count(tsdb::Db& db) {
    size_t samples = 0;
    for (const auto& [series, points] : tsdb::testing::ReadAll(db)) samples += points.size();
    return samples;
  }
  // The value of a metric of the endpoint.
  double Metric(const std::string& name) {
    const std::string text = metrics_.Render();
    const size_t at = text.find("\nprometheus_remote_storage_" + name + "{");
    if (at == std::string::npos) return -1;
    return std::stod(text.substr(text.find("} ", at) + 2));
  }
  // Waits until the peer has as many samples.
  void Arrive(size_t samples) {
    const int64_t deadline = clock_.NowMs() + 60'000;
    while (Count(*peer_.db) < samples && clock_.NowMs() < deadline) clock_.SleepFor(5, never_);
    EXPECT_EQ(Count(*peer_.db), samples);
  }

  base::Clock& clock_ = base::SystemClock::Get();
  const int64_t start_ms_ = clock_.NowMs() - 600'000;
  base::StopSignal never_;
  base::TempDir directory_ = tsdb::testing::FastTempDir("remote");
  const std::string path_ = directory_.path() + "/data";
  base::MetricRegistry metrics_;
  scrape::RemoteWriteConfig config_;
  int64_t flush_ms_ = 0;
  Peer peer_{clock_};
  std::function<std::unique_ptr<http::Client>()> make_client_ = [this] { return std::make_unique<PeerClient>(peer_); };
  std::unique_ptr<tsdb::Db> db_;
  std::unique_ptr<Manager> manager_;
};

TEST_F(EndpointTest, SendsWhatIsCommittedWithExternalLabelsAndRelabelling) {
  scrape::RelabelRule drop;
  drop.source_labels = {"pod"};
  drop.regex = "3";
  drop.action = scrape::RelabelAction::kDrop;
  ASSERT_TRUE(drop.Compile().ok());
  config_.relabel_rules = {drop};
  Open();
  Add(1000, 4);  // Before the start: not sent.
  StartManager();
  for (int i = 2; i <= 20; ++i) Add(i * 1000, 4);
  Arrive(19 * 3);
  for (const auto& [series, points] : tsdb::testing::ReadAll(*peer_.db)) {
    EXPECT_NE(series.find("cluster=\"c\""), std::string::npos) << series;
    EXPECT_EQ(points.size(), 19u) << series;
  }
}

TEST_F(EndpointTest, RepeatsWhatMayHelpAndOnlyThat) {
  Open();
  {
    base::MutexLock lock(peer_.mu);
    peer_.answers = {503, 500, 502};
  }
  config_.max_samples_per_send = 1000;
  StartManager();
  Add(1000, 5);
  Arrive(5);
  EXPECT_EQ(Metric("samples_retried_total"), 15);
  {
    base::MutexLock lock(peer_.mu);
    peer_.answers = {400};
  }
  Add(2000, 5);
  // A request that is refused for good does not hold up the next ones.
  EXPECT_TRUE(Eventually([&] { return Metric("samples_failed_total") == 5; }));
  Add(3000, 5);
  Arrive(10);
  EXPECT_EQ(Metric("samples_total"), 10);
}

TEST_F(EndpointTest, TooManyRequestsIsRefusalUnlessConfigured) {
  Open();
  for (bool retry : {false, true}) {
    config_.retry_on_429 = retry;
    config_.max_samples_per_send = 1000;
    {
      base::MutexLock lock(peer_.mu);
      peer_.answers = {429};
    }
    StartManager();
    Add(retry ? 2000 : 1000, 5);
    EXPECT_TRUE(Eventually([&] { return Metric(retry ? "samples_retried_total" : "samples_failed_total") == 5; }));
    Arrive(retry ? 5 : 0);
    manager_.reset();
  }
}

TEST_F(EndpointTest, DropsWhatIsTooOld) {
  Open();
  config_.sample_age_limit_ms = 300'000;
  StartManager();
  Add(1000, 5);
  Add(599'000, 5);
  Arrive(5);
  EXPECT_TRUE(Eventually([&] { return metrics_.Render().find("reason=\"too_old\"") != std::string::npos; }));
}

// What is edited goes on where it was; what is not touched is not restarted.
TEST_F(EndpointTest, GoesOnWhenItIsReconfigured) {
  Open();
  StartManager();
  for (int i = 1; i <= 20; ++i) {
    Add(i * 1000, 4);
    if (i % 5 == 0) config_.max_samples_per_send += 3;
    if (i % 3 == 0) Apply();
  }
  Arrive(80);
}

// Two entries with the same URL and no name, as Prometheus allows, have a place each.
TEST_F(EndpointTest, SendsTwiceToTheSameReceiver) {
  Open();
  StartManager();
  scrape::RemoteWriteConfig other = config_;
  scrape::RelabelRule mark;
  mark.target_label = "second";
  mark.replacement = "yes";
  ASSERT_TRUE(mark.Compile().ok());
  other.relabel_rules = {mark};
  ASSERT_TRUE(manager_->Apply({config_, other}, {}).ok());
  auto places = [&] {
    size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_ + "/remote_write"))
      files += entry.file_size() > 0;
    return files;
  };
  ASSERT_TRUE(Eventually([&] { return places() == 2; }));
  for (int i = 1; i <= 5; ++i) Add(i * 1000, 4);
  Arrive(40);
}

TEST_F(EndpointTest, SendsTheRestWhenItStops) {
  Open();
  flush_ms_ = 30'000;
  config_.batch_send_deadline_ms = 3'600'000;
  config_.max_samples_per_send = 1000;
  StartManager();
  for (int i = 1; i <= 5; ++i) Add(i * 1000, 4);
  manager_->Stop();
  EXPECT_EQ(Count(*peer_.db), 20u);
}

// A receiver that takes its time for each request, and notes how many it has at a time.
class SlowClient : public http::Client {
 public:
  SlowClient(Peer& peer, base::Clock& clock, std::atomic<int>* most) : peer_(peer), clock_(clock), most_(most) {}
  ~SlowClient() override {
    for (std::thread& thread : threads_) thread.join();
  }
  base::Result<http::Response> Send(const http::ClientRequest&, http::CancelToken*) override {
    return base::UnimplementedError("not used");
  }
  base::Status Stream(const http::ClientRequest&, const http::StreamHandler&, http::CancelToken*) override {
    return base::UnimplementedError("not used");
  }
  void SendAsync(http::ClientRequest request, std::function<void(base::Result<http::Response>)> done) override {
    const int now = ++under_way_;
    if (now > *most_) *most_ = now;
    threads_.emplace_back([this, request = std::move(request), done = std::move(done)] {
      base::StopSignal never;
      clock_.SleepFor(3, never);
      http::Response response = peer_.Take(request);
      --under_way_;
      done(std::move(response));
    });
  }

 private:
  Peer& peer_;
  base::Clock& clock_;
  std::atomic<int>* most_;
  std::atomic<int> under_way_{0};
  std::vector<std::thread> threads_;
};

// While more comes than is taken, there are more requests at a time, up to the limit; what waits is in the log.
TEST_F(EndpointTest, UsesMoreShardsWhileItIsBehind) {
  Open();
  std::atomic<int> most{0};
  make_client_ = [&] { return std::make_unique<SlowClient>(peer_, clock_, &most); };
  config_.max_shards = 4;
  config_.max_samples_per_send = 10;
  StartManager();
  for (int i = 1; i <= 30; ++i) Add(i * 1000, 100);
  Arrive(3000);
  EXPECT_EQ(most, 4);
  EXPECT_EQ(Metric("shards_max"), 4);
  EXPECT_GT(Metric("shards_desired"), 0);
  EXPECT_TRUE(Eventually([&] { return Metric("samples_pending") == 0; }));
}

TEST_F(EndpointTest, FallsBackToVersion1) {
  Open();
  config_.version2 = true;
  {
    base::MutexLock lock(peer_.mu);
    peer_.only_version1 = true;
  }
  StartManager();
  for (int i = 1; i <= 5; ++i) Add(i * 1000, 3);
  Arrive(15);
}

TEST_F(EndpointTest, SendsVersion2) {
  Open();
  config_.version2 = true;
  StartManager();
  for (int i = 1; i <= 5; ++i) Add(i * 1000, 3);
  Arrive(15);
}

TEST_F(EndpointTest, GoesOnAfterARestartWithoutLossAndWithoutTwice) {
  size_t wanted = 0;
  for (int start = 0; start < 4; ++start) {
    Open();
    {
      // The receiver is away while most is written, and the endpoint stops in the middle of sending.
      base::MutexLock lock(peer_.mu);
      peer_.answers.assign(start == 3 ? 0 : 1'000'000, 503);
    }
    StartManager();
    for (int i = 1; i <= 50; ++i) Add((start * 50 + i) * 1000, 6);
    wanted += 300;
    ASSERT_TRUE(db_->Maintain().ok());
    manager_->Maintain();
    if (start == 3) Arrive(wanted);
    manager_->Stop();
    ASSERT_TRUE(db_->Close().ok());
    db_.reset();
  }
  for (const auto& [series, points] : tsdb::testing::ReadAll(*peer_.db)) EXPECT_EQ(points.size(), 200u) << series;
  EXPECT_NE(peer_.metrics.Render().find("tidewright_remote_write_samples_refused_total 0\n"), std::string::npos);
}

TEST(RetryAfter, SecondsOrADate) {
  const int64_t now = 784'111'777'000;  // Sun, 06 Nov 1994 08:49:37 GMT.
  EXPECT_EQ(RetryAfterMs("", now), 0);
  EXPECT_EQ(RetryAfterMs("soon", now), 0);
  EXPECT_EQ(RetryAfterMs("-3", now), 0);
  EXPECT_EQ(RetryAfterMs("7", now), 7000);
  EXPECT_EQ(RetryAfterMs("100000", now), 300'000);
  EXPECT_EQ(RetryAfterMs("Sun, 06 Nov 1994 08:49:47 GMT", now), 10'000);
  EXPECT_EQ(RetryAfterMs("Sun, 06 Nov 1994 08:49:27 GMT", now), 0);
}

TEST_F(EndpointTest, NeedsALog) {
  Manager manager({}, clock_, metrics_);
  EXPECT_TRUE(manager.Apply({}, {}).ok());
  EXPECT_FALSE(manager.Apply({config_}, {}).ok());
}

}  // namespace
}  // namespace tidewright::remote
