#include "kube/informer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "base/json.h"
#include "kube/meta.h"

namespace tidewright::kube {
namespace {

// A client whose lists and watches are scripted. Models: resourceVersion, watch errors. Does not model: writes.
class ScriptedClient : public Client {
 public:
  struct WatchStep {
    std::vector<std::string> events;  // "ADDED name version"
    base::Status end;                 // OK here means: stay open until cancelled.
  };

  void PushList(const std::vector<std::string>& names) {
    base::MutexLock lock(mu_);
    lists_.push_back(names);
  }
  void PushWatch(WatchStep step) {
    base::MutexLock lock(mu_);
    watches_.push_back(std::move(step));
  }
  int lists_served() {
    base::MutexLock lock(mu_);
    return lists_served_;
  }

  base::Result<base::Json> List(const Resource&, std::string_view, const ListOptions&) override {
    base::MutexLock lock(mu_);
    if (lists_.empty()) return base::UnavailableError("connection refused");
    base::Json items = base::Json::array();
    for (const std::string& name : lists_.front()) items.push_back(Object(name, "1"));
    lists_.pop_front();
    ++lists_served_;
    return base::Json{{"metadata", {{"resourceVersion", "10"}}}, {"items", items}};
  }

  base::Status Watch(const Resource&, std::string_view, const ListOptions&, const WatchHandler& handler,
                     http::CancelToken* cancel) override {
    WatchStep step;
    {
      base::MutexLock lock(mu_);
      if (!watches_.empty()) {
        step = watches_.front();
        watches_.pop_front();
      }
    }
    for (const std::string& event : step.events) {
      size_t a = event.find(' ');
      size_t b = event.find(' ', a + 1);
      TW_RETURN_IF_ERROR(handler(event.substr(0, a), Object(event.substr(a + 1, b - a - 1), event.substr(b + 1))));
    }
    if (!step.end.ok()) return step.end;
    base::StopSignal cancelled;
    uint64_t id = cancel->OnCancel([&] { cancelled.Stop(); });
    base::SystemClock::Get().SleepFor(3'600'000, cancelled);
    cancel->Remove(id);
    return base::CancelledError("watch cancelled");
  }

  base::Result<base::Json> Get(const Resource&, std::string_view, std::string_view, std::string_view) override {
    return base::UnimplementedError("get");
  }
  base::Result<base::Json> Create(const Resource&, std::string_view, const base::Json&) override {
    return base::UnimplementedError("create");
  }
  base::Result<base::Json> Update(const Resource&, std::string_view, std::string_view, const base::Json&,
                                  std::string_view) override {
    return base::UnimplementedError("update");
  }
  base::Result<base::Json> Patch(const Resource&, std::string_view, std::string_view, PatchType, const base::Json&,
                                 std::string_view) override {
    return base::UnimplementedError("patch");
  }
  base::Status Delete(const Resource&, std::string_view, std::string_view) override {
    return base::UnimplementedError("delete");
  }
  base::Result<base::Json> GetRaw(const std::string&) override { return base::UnimplementedError("raw"); }

 private:
  static base::Json Object(const std::string& name, const std::string& version) {
    return {{"metadata", {{"name", name}, {"namespace", "n"}, {"resourceVersion", version}}}};
  }

  base::Mutex mu_;
  std::deque<std::vector<std::string>> lists_ GUARDED_BY(mu_);
  std::deque<WatchStep> watches_ GUARDED_BY(mu_);
  int lists_served_ GUARDED_BY(mu_) = 0;
};

// Collects what handlers see and waits for it.
class Recorder {
 public:
  EventHandler Handler() {
    return [this](EventType type, const std::shared_ptr<const base::Json>& object) {
      static constexpr const char* kNames[] = {"added", "modified", "deleted"};
      base::MutexLock lock(mu_);
      events_.push_back(std::string(kNames[static_cast<int>(type)]) + " " + NameOf(*object));
      changed_.NotifyAll();
    };
  }
  std::vector<std::string> WaitFor(size_t count) {
    int64_t deadline = base::SystemClock::Get().NowMs() + 10'000;
    base::MutexLock lock(mu_);
    while (events_.size() < count && base::SystemClock::Get().NowMs() < deadline) {
      changed_.WaitFor(mu_, std::chrono::milliseconds(100));
    }
    return events_;
  }

 private:
  base::Mutex mu_;
  base::CondVar changed_;
  std::vector<std::string> events_ GUARDED_BY(mu_);
};

TEST(InformerTest, ListsThenFollowsTheWatch) {
  ScriptedClient client;
  client.PushList({"a", "b"});
  client.PushWatch({{"ADDED c 11", "MODIFIED a 12", "DELETED b 13"}, base::Status::Ok()});
  base::FakeClock clock;
  Recorder recorder;
  Informer informer(client, clock, resources::kPods);
  informer.AddHandler(recorder.Handler());
  informer.Start();
  EXPECT_THAT(recorder.WaitFor(5), testing::ElementsAre("added a", "added b", "added c", "modified a", "deleted b"));
  EXPECT_TRUE(informer.HasSynced());
  EXPECT_NE(informer.Get("n", "a"), nullptr);
  EXPECT_EQ(informer.Get("n", "b"), nullptr);
  EXPECT_EQ(informer.List().size(), 2U);
  informer.Stop();
  informer.Stop();
}

TEST(InformerTest, GoneListsAgainAndReportsTheDifference) {
  ScriptedClient client;
  client.PushList({"a", "b"});
  client.PushWatch({{}, base::OutOfRangeError("too old resource version")});
  client.PushList({"b", "c"});
  base::FakeClock clock;
  Recorder recorder;
  Informer informer(client, clock, resources::kPods);
  informer.AddHandler(recorder.Handler());
  informer.Start();
  EXPECT_THAT(recorder.WaitFor(4), testing::ElementsAre("added a", "added b", "deleted a", "added c"));
  informer.Stop();
}

TEST(InformerTest, KeepsItsObjectsWhileTheServerIsAwayAndComesBack) {
  ScriptedClient client;
  client.PushList({"a"});
  client.PushWatch({{}, base::UnavailableError("connection reset")});
  base::FakeClock clock;
  Recorder recorder;
  Informer informer(client, clock, resources::kPods);
  informer.AddHandler(recorder.Handler());
  informer.Start();
  ASSERT_TRUE(informer.WaitForSync(10'000).ok());
  EXPECT_EQ(informer.List().size(), 1U);
  client.PushList({"a", "b"});
  int64_t deadline = base::SystemClock::Get().NowMs() + 10'000;
  while (client.lists_served() < 2 && base::SystemClock::Get().NowMs() < deadline) clock.Advance(1'000);
  EXPECT_THAT(recorder.WaitFor(2), testing::ElementsAre("added a", "added b"));
  informer.Stop();
}

TEST(InformerTest, WaitForSyncSaysWhyThereIsNothing) {
  ScriptedClient client;
  base::FakeClock clock;
  Informer informer(client, clock, resources::kPods);
  informer.Start();
  EXPECT_EQ(informer.WaitForSync(50).code(), base::Code::kDeadlineExceeded);
  informer.Stop();
  EXPECT_EQ(informer.WaitForSync(50).code(), base::Code::kCancelled);
}

}  // namespace
}  // namespace tidewright::kube
