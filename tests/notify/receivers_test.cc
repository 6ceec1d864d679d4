// The service around the groups: several replicas, a restart, receivers that do not answer.
#include "notify/receivers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "base/file.h"
#include "base/json.h"
#include "base/mutex.h"
#include "http/server.h"

namespace tidewright::notify {
namespace {

using base::Json;

class ReceiversTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = *http::Server::Create({.name = "hook", .worker_threads = 1},
                                    [this](const http::ServerRequest& request, auto responder) {
                                      {
                                        base::MutexLock lock(mu_);
                                        received_.push_back(Json::parse(request.body));
                                      }
                                      responder->Reply(http::Response{});
                                    });
    url_ = "http://127.0.0.1:" + std::to_string(*server_->Listen("127.0.0.1", 0));
  }
  void TearDown() override {
    receivers_.reset();
    scheduler_.Stop();
    server_->Stop();
  }

  void Start(std::function<bool()> leads = nullptr) {
    receivers_.reset();
    receivers_ = std::make_unique<Receivers>(
        clock_, scheduler_, &metrics_,
        ReceiversOptions{.state_file = folder_.path() + "/state.json", .leads = std::move(leads)});
    auto config = ParseConfig(
        "route: {receiver: a, group_wait: 10s, group_interval: 10s}\nreceivers: [{name: a, webhook_configs: [{url: '" +
            url_ + "'}]}]\n",
        "f.yml");
    ASSERT_TRUE(config.ok()) << config.status().message();
    receivers_->Apply(*config);
  }
  void Fire(const std::string& name) {
    receivers_->Send({{.labels = tsdb::Labels::Of({{"alertname", name}}),
                       .starts_at_ms = clock_.NowMs(),
                       .ends_at_ms = clock_.NowMs() + 3'600'000}});
  }
  size_t Received() {
    base::MutexLock lock(mu_);
    return received_.size();
  }
  size_t AlertsInLast() {
    base::MutexLock lock(mu_);
    return received_.empty() ? 0 : received_.back()["alerts"].size();
  }
  // Moves the clock on, a second at a time, until something holds.
  bool Eventually(const std::function<bool()>& wanted) {
    const int64_t deadline = base::MonotonicNanos() + 30'000'000'000;
    while (!wanted()) {
      if (base::MonotonicNanos() > deadline) return false;
      clock_.Advance(1000);
      base::SystemClock::Get().SleepFor(2, never_);
    }
    return true;
  }

  base::StopSignal never_;
  base::FakeClock clock_{1'700'000'000'000};
  base::TempDir folder_ = *base::TempDir::Create("receivers");
  base::MetricRegistry metrics_;
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  base::Mutex mu_;
  std::vector<Json> received_ GUARDED_BY(mu_);
  std::unique_ptr<http::Server> server_;
  std::string url_;
  std::unique_ptr<Receivers> receivers_;
};

TEST_F(ReceiversTest, OneThatTakesOverSaysWhatMayNotHaveBeenSaid) {
  std::atomic<bool> leads = false;
  std::atomic<int> looks = 0;
  Start([&] {
    ++looks;
    return leads.load();
  });
  Fire("A");
  ASSERT_TRUE(Eventually([&] { return looks >= 2; })) << "group_wait is over";
  EXPECT_EQ(Received(), 0u) << "another does that";
  leads = true;
  ASSERT_TRUE(Eventually([&] { return Received() == 1; }));
}

TEST_F(ReceiversTest, AStandbyAssumesThatTheOtherHasSpoken) {
  std::atomic<bool> leads = false;
  std::atomic<int> looks = 0;
  Start([&] {
    ++looks;
    return leads.load();
  });
  Fire("A");
  // At most three looks in ten seconds: a minute has passed, whatever the clock is ahead of the tasks.
  ASSERT_TRUE(Eventually([&] { return looks >= 40; }));
  leads = true;
  const int before = looks;
  ASSERT_TRUE(Eventually([&] { return looks >= before + 4; }));
  EXPECT_EQ(Received(), 0u);
  Fire("B");
  ASSERT_TRUE(Eventually([&] { return Received() > 0; })) << "of what is new, there is a message";
  EXPECT_EQ(AlertsInLast(), 2u);
}

TEST_F(ReceiversTest, StopEndsThoughAReceiverIsNotThere) {
  url_ = "http://127.0.0.1:1";
  Start();
  Fire("A");
  ASSERT_TRUE(Eventually([&] {
    return metrics_.Render().find("tidewright_receiver_notifications_failed_total{receiver=\"a\"") != std::string::npos;
  }));
  receivers_->Stop();
  receivers_->Stop();
  EXPECT_TRUE(base::ReadFile(folder_.path() + "/state.json").ok());
}

TEST_F(ReceiversTest, AStateFileThatCannotBeReadIsNoObstacle) {
  ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/state.json", "{\"version\": 7").ok());
  Start();
  Fire("A");
  EXPECT_TRUE(Eventually([&] { return Received() == 1; }));
}

TEST_F(ReceiversTest, ARestartDoesNotRepeat) {
  Start();
  Fire("A");
  ASSERT_TRUE(Eventually([&] { return Received() == 1; }));
  Start();
  Fire("A");
  Fire("B");
  ASSERT_TRUE(Eventually([&] { return AlertsInLast() == 2; })) << "B is news";
  EXPECT_EQ(Received(), 2u) << "A alone is not";
}

}  // namespace
}  // namespace tidewright::notify
