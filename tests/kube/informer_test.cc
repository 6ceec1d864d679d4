#include "kube/informer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "base/json.h"
#include "base/metrics.h"
#include "kube/meta.h"
#include "kube/shared_caches.h"
#include "tests/kube/scripted_api.h"

namespace tidewright::kube {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A client whose lists and watches are scripted. Models: resourceVersion, watch errors. Does not model: writes.
class ScriptedClient : public Client {
 public:
  struct WatchStep {
    std::vector<std::string> events;  // "ADDED name version"
    base::Status end;                 // OK here means: stay open until cancelled.
    bool opens = true;
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
  int lists_asked() {
    base::MutexLock lock(mu_);
    return lists_asked_;
  }
  // The resourceVersions that watches started from.
  std::vector<std::string> watched_from() {
    base::MutexLock lock(mu_);
    return watched_from_;
  }

  base::Result<base::Json> List(const Resource&, std::string_view, const ListOptions&) override {
    base::MutexLock lock(mu_);
    ++lists_asked_;
    if (lists_.empty()) return base::UnavailableError("connection refused");
    base::Json items = base::Json::array();
    for (const std::string& name : lists_.front()) items.push_back(Object(name, "1"));
    lists_.pop_front();
    ++lists_served_;
    return base::Json{{"metadata", {{"resourceVersion", "10"}}}, {"items", items}};
  }

  base::Status Watch(const Resource&, std::string_view, const ListOptions& options, const WatchHandler& handler,
                     http::CancelToken* cancel) override {
    WatchStep step;
    {
      base::MutexLock lock(mu_);
      watched_from_.push_back(options.resource_version);
      if (!watches_.empty()) {
        step = watches_.front();
        watches_.pop_front();
      }
    }
    if (step.opens) options.on_open();
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
  base::Status Delete(const Resource&, std::string_view, std::string_view, Propagation) override {
    return base::UnimplementedError("delete");
  }
  base::Result<base::Json> GetRaw(const std::string&) override { return base::UnimplementedError("raw"); }

 private:
  static base::Json Object(const std::string& name, const std::string& version) {
    if (name == "nameless") return {{"metadata", {{"resourceVersion", version}}}};
    return {{"metadata",
             {{"name", name},
              {"namespace", "n"},
              {"resourceVersion", version},
              {"managedFields", base::Json::array({"much"})}}},
            {"spec", "s"}};
  }

  base::Mutex mu_;
  std::deque<std::vector<std::string>> lists_ GUARDED_BY(mu_);
  std::deque<WatchStep> watches_ GUARDED_BY(mu_);
  std::vector<std::string> watched_from_ GUARDED_BY(mu_);
  int lists_served_ GUARDED_BY(mu_) = 0;
  int lists_asked_ GUARDED_BY(mu_) = 0;
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

// Lets time pass until something is so.
bool AdvanceUntil(base::FakeClock& clock, const std::function<bool()>& so) {
  int64_t deadline = base::SystemClock::Get().NowMs() + 20'000;
  while (!so()) {
    if (base::SystemClock::Get().NowMs() >= deadline) return false;
    clock.Advance(100);
    std::this_thread::yield();
  }
  return true;
}

TEST(InformerTest, ListsThenFollowsTheWatch) {
  ScriptedClient client;
  client.PushList({"a", "b"});
  client.PushWatch({{"ADDED c 11", "MODIFIED a 12", "DELETED b 13"}, base::Status::Ok()});
  base::FakeClock clock;
  Recorder recorder;
  Informer informer(client, clock, resources::kPods);
  informer.AddHandler(recorder.Handler());
  informer.Start();
  EXPECT_THAT(recorder.WaitFor(5), ElementsAre("added a", "added b", "added c", "modified a", "deleted b"));
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
  EXPECT_THAT(recorder.WaitFor(4), ElementsAre("added a", "added b", "deleted a", "added c"));
  informer.Stop();
}

TEST(InformerTest, ForeverGoneIsNoBusyLoop) {
  ScriptedClient client;
  for (int i = 0; i < 100; ++i) {
    client.PushList({"a"});
    client.PushWatch({{}, base::OutOfRangeError("too old resource version")});
  }
  base::FakeClock clock;
  Informer informer(client, clock, resources::kPods);
  informer.Start();
  // The second list follows at once, the third waits.
  ASSERT_TRUE(AdvanceUntil(clock, [&] { return client.lists_served() >= 6; }));
  EXPECT_GE(clock.NowMs(), 800 + 1'600 + 3'200 + 6'400);
  informer.Stop();
}

TEST(InformerTest, ResumesWhereABrokenWatchEndedAndKeepsItsObjectsMeanwhile) {
  ScriptedClient client;
  client.PushList({"a"});
  client.PushWatch({{"ADDED b 12", "BOOKMARK - 17"}, base::UnavailableError("connection reset")});
  client.PushWatch({{}, base::UnavailableError("connection refused"), false});
  client.PushWatch({{"DELETED a 18"}, base::Status::Ok()});
  base::FakeClock clock;
  Recorder recorder;
  Informer informer(client, clock, resources::kPods);
  informer.AddHandler(recorder.Handler());
  informer.Start();
  EXPECT_THAT(recorder.WaitFor(2), ElementsAre("added a", "added b"));
  EXPECT_EQ(informer.List().size(), 2U);
  ASSERT_TRUE(AdvanceUntil(clock, [&] { return recorder.WaitFor(0).size() == 3; }));
  EXPECT_EQ(recorder.WaitFor(3).back(), "deleted a");
  EXPECT_EQ(client.lists_served(), 1);
  EXPECT_THAT(client.watched_from(), ElementsAre("10", "17", "17"));
  EXPECT_TRUE(informer.last_error().ok());
  informer.Stop();
}

TEST(InformerTest, ListsAgainWhenAnEventWasLost) {
  ScriptedClient client;
  client.PushList({"a"});
  client.PushWatch({{}, base::DataLossError("watch event: no JSON")});
  client.PushList({"a", "b"});
  base::FakeClock clock;
  Informer informer(client, clock, resources::kPods);
  informer.Start();
  EXPECT_TRUE(AdvanceUntil(clock, [&] { return informer.List().size() == 2; }));
  informer.Stop();
}

TEST(InformerTest, AVersionThatNeverWorksIsGivenUp) {
  ScriptedClient client;
  client.PushList({"a"});
  for (int i = 0; i < 5; ++i) client.PushWatch({{}, base::UnavailableError("too large resource version"), false});
  client.PushList({"b"});
  base::FakeClock clock;
  Informer informer(client, clock, resources::kPods);
  informer.Start();
  EXPECT_TRUE(AdvanceUntil(clock, [&] { return informer.Get("n", "b") != nullptr; }));
  EXPECT_EQ(client.lists_served(), 2);
  informer.Stop();
}

TEST(InformerTest, BackoffGrowsAndIsForgottenAfterAHealthyWatch) {
  ScriptedClient client;
  base::FakeClock clock;
  Informer informer(client, clock, resources::kPods);
  informer.Start();
  ASSERT_TRUE(AdvanceUntil(clock, [&] { return client.lists_asked() == 9; }));
  EXPECT_GE(clock.NowMs(), 800 + 1'600 + 3'200 + 6'400 + 12'800 + 25'600 + 30'000 + 30'000);
  EXPECT_THAT(informer.last_error().message(), HasSubstr("connection refused"));
  informer.Stop();
}

TEST(InformerTest, ObjectsThatCannotBeToldApartCostOnlyThemselves) {
  ScriptedClient client;
  client.PushList({"nameless", "a"});
  client.PushWatch({{"ADDED nameless 11", "ADDED b 12"}, base::Status::Ok()});
  base::FakeClock clock;
  Recorder recorder;
  Informer informer(client, clock, resources::kPods);
  informer.AddHandler(recorder.Handler());
  informer.Start();
  EXPECT_THAT(recorder.WaitFor(2), ElementsAre("added a", "added b"));
  informer.Stop();
}

TEST(InformerTest, KeepsWhatTheTransformLeavesAndNoManagedFields) {
  ScriptedClient client;
  client.PushList({"a"});
  base::FakeClock clock;
  InformerOptions options;
  options.transform = [](base::Json& object) { object.erase("spec"); };
  Informer informer(client, clock, resources::kPods, options);
  informer.Start();
  ASSERT_TRUE(informer.WaitForSync(10'000).ok());
  EXPECT_EQ(base::DumpJson(*informer.Get("n", "a")),
            R"({"metadata":{"name":"a","namespace":"n","resourceVersion":"1"}})");
  informer.Stop();
}

TEST(InformerTest, LateHandlersGetThePresentContentAndRemovedOnesNothing) {
  ScriptedClient client;
  client.PushList({"a", "b"});
  base::FakeClock clock;
  InformerOptions options;
  options.resync_ms = 60'000;
  Informer informer(client, clock, resources::kPods, options);
  Recorder early;
  Recorder late;
  auto early_id = informer.AddHandler(early.Handler());
  informer.Start();
  EXPECT_EQ(early.WaitFor(2).size(), 2U);
  informer.AddHandler(late.Handler());
  EXPECT_THAT(late.WaitFor(2), ElementsAre("added a", "added b"));
  informer.RemoveHandler(early_id);
  // The resync reaches only who is left.
  ASSERT_TRUE(AdvanceUntil(clock, [&] { return late.WaitFor(0).size() >= 4; }));
  EXPECT_EQ(late.WaitFor(4)[2], "modified a");
  EXPECT_EQ(early.WaitFor(2).size(), 2U);
  informer.Stop();
}

TEST(InformerTest, RemovingWaitsForTheHandlerThatRuns) {
  ScriptedClient client;
  client.PushList({"a"});
  base::FakeClock clock;
  Informer informer(client, clock, resources::kPods);
  base::StopSignal entered;
  base::StopSignal leave;
  std::atomic<bool> left = false;
  auto id = informer.AddHandler([&](EventType, const auto&) {
    entered.Stop();
    base::SystemClock::Get().SleepFor(10'000, leave);
    left = true;
  });
  informer.Start();
  base::SystemClock::Get().SleepFor(10'000, entered);
  std::thread remover([&] {
    informer.RemoveHandler(id);
    EXPECT_TRUE(left);
  });
  leave.Stop();
  remover.join();
  informer.Stop();
}

TEST(InformerTest, AHandlerMayRemoveItself) {
  ScriptedClient client;
  client.PushList({"a", "b"});
  base::FakeClock clock;
  Informer informer(client, clock, resources::kPods);
  Informer::HandlerId id = 0;
  std::atomic<int> calls = 0;
  Recorder other;
  id = informer.AddHandler([&](EventType, const auto&) {
    ++calls;
    informer.RemoveHandler(id);
  });
  informer.AddHandler(other.Handler());
  informer.Start();
  EXPECT_EQ(other.WaitFor(2).size(), 2U);
  EXPECT_EQ(calls, 1);
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

TEST(InformerTest, CountsWhatEndedItsWatches) {
  ScriptedClient client;
  client.PushList({"a"});
  client.PushWatch({{}, base::OutOfRangeError("too old resource version")});
  client.PushList({"a", "b", "c"});
  base::FakeClock clock(5'000);
  base::MetricRegistry metrics;
  InformerOptions options;
  options.metrics = &metrics;
  Informer informer(client, clock, resources::kDeployments, options);
  informer.Start();
  ASSERT_TRUE(AdvanceUntil(clock, [&] { return informer.List().size() == 3; }));
  informer.Stop();
  const std::string text = metrics.Render();
  EXPECT_THAT(text, HasSubstr(R"(tidewright_kube_watch_restarts_total{resource="deployments.apps",reason="gone"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(tidewright_kube_cached_objects{resource="deployments.apps",namespace=""} 3)"));
  EXPECT_THAT(text, HasSubstr("tidewright_kube_last_sync_timestamp_seconds{resource=\"deployments.apps\""));
}

// Over real HTTP: a watch that goes silent half-way through a line is resumed, and nothing is lost.
TEST(InformerWireTest, ResumesAStalledWatch) {
  ScriptedApi api;
  api.Answer(200, R"({"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a","resourceVersion":"2"}}]})");
  api.StallWatch(
      "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"b\",\"resourceVersion\":\"6\"}}}\n"
      "{\"type\":\"ADDED\",\"object\":{\"metad");
  api.StallWatch("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"7\"}}}\n");
  InformerOptions options;
  options.watch_idle_ms = 300;
  Recorder recorder;
  Informer informer(api.client(), base::SystemClock::Get(), resources::kNodes, options);
  informer.AddHandler(recorder.Handler());
  informer.Start();
  EXPECT_THAT(recorder.WaitFor(3), ElementsAre("added a", "added b", "added c"));
  informer.Stop();
  auto requests = api.requests();
  ASSERT_GE(requests.size(), 3U);
  EXPECT_FALSE(http::HasQuery(requests[0].query, "resourceVersion")) << "lists are consistent";
  EXPECT_EQ(http::QueryValue(requests[1].query, "resourceVersion"), "5");
  EXPECT_EQ(http::QueryValue(requests[2].query, "resourceVersion"), "6");
  int64_t seconds = std::stoll(http::QueryValue(requests[1].query, "timeoutSeconds"));
  EXPECT_GE(seconds, 300);
  EXPECT_LE(seconds, 600);
}

TEST(SharedCachesTest, SharesWhatIsTheSameAndStopsWithTheLastUser) {
  ScriptedClient client;
  client.PushList({"a"});
  base::FakeClock clock;
  SharedCaches caches(client, clock);
  auto first = caches.Get(resources::kPods, {.ns = "n"});
  auto second = caches.Get(resources::kPods, {.ns = "n"});
  EXPECT_EQ(first, second);
  ASSERT_TRUE(second->WaitForSync(10'000).ok());
  EXPECT_EQ(client.lists_served(), 1);
  EXPECT_NE(caches.Get(resources::kPods, {.ns = "m"}), first);
  EXPECT_NE(caches.Get(resources::kPods, {.ns = "n", .label_selector = "a=b"}), first);
  EXPECT_NE(caches.Get(resources::kNodes, {.ns = "n"}), first);
  std::weak_ptr<Informer> known = first;
  first.reset();
  EXPECT_FALSE(known.expired());
  second.reset();
  EXPECT_TRUE(known.expired());
  client.PushList({"a", "b"});
  auto third = caches.Get(resources::kPods, {.ns = "n"});
  ASSERT_TRUE(AdvanceUntil(clock, [&] { return third->HasSynced(); }));
  EXPECT_EQ(third->List().size(), 2U);
}

TEST(SharedCachesTest, StopEndsEveryInformerWhoeverHoldsIt) {
  ScriptedClient client;
  base::FakeClock clock;
  SharedCaches caches(client, clock);
  auto held = caches.Get(resources::kPods);
  caches.Stop();
  caches.Stop();
  EXPECT_EQ(held->WaitForSync(10'000).code(), base::Code::kCancelled);
  EXPECT_EQ(caches.Get(resources::kNodes)->WaitForSync(10'000).code(), base::Code::kCancelled);
}

}  // namespace
}  // namespace tidewright::kube
