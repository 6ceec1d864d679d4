#include "rules/manager.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/rules/data.h"

namespace tidewright::rules {
namespace {

using tsdb::Labels;

class ManagerTest : public ::testing::Test {
 protected:
  ManagerTest() { store_.clock.Set(1'000'000'000); }
  ~ManagerTest() override { manager_.Stop(); }

  std::string WriteFile(const std::string& name, const std::string& text) {
    std::string path = directory_.path() + "/" + name;
    EXPECT_TRUE(base::WriteFileAtomic(path, text).ok());
    return path;
  }

  // Waits for other threads, at most half a minute.
  template <typename Done>
  void WaitUntil(const Done& done) {
    const int64_t deadline = base::MonotonicNanos() + 30'000'000'000;
    while (!done() && base::MonotonicNanos() < deadline) std::this_thread::yield();
    ASSERT_TRUE(done());
  }

  // Moves the clock on by the interval of the groups until all have run once more. One interval suffices, unless the
  // clock moves before a group has asked for its next slot: that slot is skipped, as it should be, and the one after it
  // is due.
  void RunOneInterval() {
    std::vector<GroupStatus> before = manager_.Groups();
    auto all_ran = [&] {
      std::vector<GroupStatus> now = manager_.Groups();
      for (size_t i = 0; i < now.size(); ++i) {
        if (now[i].last_evaluation_ms <= before[i].last_evaluation_ms) return false;
      }
      return true;
    };
    for (int tries = 0; tries < 30 && !all_ran(); ++tries) {
      store_.clock.Advance(10'000);
      const int64_t patience = base::MonotonicNanos() + 1'000'000'000;
      while (!all_ran() && base::MonotonicNanos() < patience) std::this_thread::yield();
    }
    ASSERT_TRUE(all_ran());
  }

  int64_t LastEvaluation(size_t group = 0) {
    auto groups = manager_.Groups();
    return groups.size() > group ? groups[group].last_evaluation_ms : 0;
  }

  testing::Store store_;
  base::TempDir directory_ = *base::TempDir::Create("rules-test");
  base::MetricRegistry metrics_;
  base::ThreadPool pool_{"rules-test", 2};
  base::Scheduler scheduler_{store_.clock, pool_};
  Manager manager_{*store_.engine, *store_.db, store_.clock, scheduler_, &metrics_};
};

TEST_F(ManagerTest, EvaluatesOnScheduleAndWritesBack) {
  store_.Add(Labels::Of({{"__name__", "up"}, {"job", "a"}}), store_.clock.NowMs(), 7);
  WriteFile("a.yml",
            "groups:\n- name: g\n  interval: 10s\n  rules:\n  - {record: twice, expr: up * 2}\n"
            "  - {alert: High, expr: twice > 1, labels: {severity: page}}\n  - {record: bad, expr: 'up + on() "
            "group_left vector(1)[1m:]'}\n");
  EXPECT_FALSE(manager_.Load({directory_.path() + "/*.yml"}).ok());
  WriteFile("a.yml",
            "groups:\n- name: g\n  interval: 10s\n  rules:\n  - {record: twice, expr: up * 2}\n"
            "  - {alert: High, expr: twice > 1, labels: {severity: page}}\n  - {record: bad, expr: '\"text\"'}\n");
  ASSERT_TRUE(manager_.Load({directory_.path() + "/*.yml"}).ok());
  ASSERT_EQ(manager_.Groups().size(), 1u);
  EXPECT_EQ(manager_.Groups()[0].rules[0].last_evaluation_ms, 0);
  manager_.Start();
  RunOneInterval();
  int64_t first = LastEvaluation();
  for (int i = 0; i < 3; ++i) RunOneInterval();
  manager_.Stop();

  GroupStatus group = manager_.Groups()[0];
  EXPECT_GE(group.last_evaluation_ms, first + 30'000);
  EXPECT_EQ((group.last_evaluation_ms - first) % 10'000, 0) << "slots are whole intervals apart";
  EXPECT_EQ(group.interval_ms, 10'000);
  EXPECT_TRUE(group.rules[0].last_error.ok());
  ASSERT_EQ(group.rules[1].alerts.size(), 1u);
  EXPECT_EQ(group.rules[1].state(), AlertState::kFiring);
  EXPECT_EQ(group.rules[1].alerts[0].labels, Labels::Of({{"alertname", "High"}, {"job", "a"}, {"severity", "page"}}));
  EXPECT_EQ(group.rules[1].alerts[0].value, 14);
  EXPECT_EQ(group.rules[1].alerts[0].active_at_ms, first) << "the alert sees what the rule before it wrote";
  EXPECT_FALSE(group.rules[2].last_error.ok()) << "and a failing rule stops nobody";

  auto contents = store_.Contents();
  EXPECT_GE(contents.at("twice{job=\"a\"}").size(), 4u);
  EXPECT_GE(contents.at("ALERTS{alertname=\"High\", alertstate=\"firing\", job=\"a\", severity=\"page\"}").size(), 2u);
  EXPECT_NE(metrics_.Render().find("prometheus_rule_evaluation_failures_total"), std::string::npos);
}

TEST_F(ManagerTest, GroupsWithoutAnIntervalFollowTheDefault) {
  std::string file = WriteFile("a.yml",
                               "groups:\n- name: own\n  interval: 10s\n  rules:\n  - {record: a, expr: up}\n"
                               "- name: default\n  rules:\n  - {record: b, expr: up}\n");
  for (int64_t interval_ms : {15'000, 5'000}) {
    manager_.SetDefaults(interval_ms, 0);
    ASSERT_TRUE(manager_.Load({file}).ok());
    EXPECT_EQ(manager_.Groups()[0].interval_ms, 10'000);
    EXPECT_EQ(manager_.Groups()[1].interval_ms, interval_ms);
  }
}

TEST_F(ManagerTest, ABadFileChangesNothingAndAllErrorsAreListed) {
  std::string good = WriteFile("a.yml", "groups:\n- name: g\n  rules:\n  - {record: a, expr: b}\n");
  ASSERT_TRUE(manager_.Load({good}).ok());
  WriteFile("a.yml", "groups:\n- name: g\n  rules:\n  - {record: a, expr: 'b +'}\n");
  std::string other = WriteFile("b.yml", "groups:\n- nome: g\n");
  base::Status status = manager_.Load({directory_.path() + "/*.yml"});
  ASSERT_FALSE(status.ok());
  for (const char* part : {"a.yml:4", "b.yml:2", "nome"}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }
  ASSERT_EQ(manager_.Groups().size(), 1u);
  EXPECT_EQ(manager_.Groups()[0].rules[0].spec.expr, "b");
  EXPECT_TRUE(manager_.Load({directory_.path() + "/none/*.yml"}).ok());
  EXPECT_TRUE(manager_.Groups().empty());
}

TEST_F(ManagerTest, ReloadKeepsWhatStaysAndEndsWhatGoes) {
  store_.Add(Labels::Of({{"__name__", "up"}}), store_.clock.NowMs(), 1);
  const std::string head = "groups:\n- name: g\n  interval: 10s\n  rules:\n";
  std::string file = WriteFile("a.yml", head + "  - {alert: Up, expr: up == 1, for: 1h}\n  - {record: x, expr: up}\n");
  std::string gone =
      WriteFile("b.yml", "groups:\n- name: gone\n  interval: 10s\n  rules:\n  - {record: y, expr: up}\n");
  ASSERT_TRUE(manager_.Load({file, gone}).ok());
  manager_.Start();
  RunOneInterval();
  int64_t active_at = manager_.Groups()[0].rules[0].alerts.at(0).active_at_ms;
  int64_t before = LastEvaluation();

  WriteFile("a.yml", head + "  - {alert: Up, expr: up >= 1, for: 1h}\n");
  ASSERT_TRUE(manager_.Load({file}).ok());
  RunOneInterval();
  EXPECT_GT(LastEvaluation(), before);
  manager_.Stop();
  ASSERT_EQ(manager_.Groups().size(), 1u);
  EXPECT_EQ(manager_.Groups()[0].rules[0].alerts.at(0).active_at_ms, active_at);
  auto contents = store_.Contents();
  EXPECT_NE(contents.at("x").back().find("=stale"), std::string::npos);
  EXPECT_NE(contents.at("y").back().find("=stale"), std::string::npos);
}

TEST_F(ManagerTest, ExternalLabelsChangeWithoutLossOfState) {
  store_.Add(Labels::Of({{"__name__", "up"}}), store_.clock.NowMs(), 1);
  std::string file = WriteFile("a.yml",
                               "groups:\n- name: g\n  interval: 10s\n  rules:\n  - {alert: Up, expr: up == 1, for: 1h, "
                               "annotations: {cluster: '<{{ $externalLabels.cluster }}>'}}\n");
  ASSERT_TRUE(manager_.Load({file}).ok());
  manager_.Start();
  RunOneInterval();
  const Alert before = manager_.Groups()[0].rules[0].alerts.at(0);
  EXPECT_EQ(before.annotations.at("cluster"), "<>");
  manager_.SetExternalLabels({{"cluster", "c"}});
  ASSERT_TRUE(manager_.Load({file}).ok());
  RunOneInterval();
  const Alert after = manager_.Groups()[0].rules[0].alerts.at(0);
  EXPECT_EQ(after.annotations.at("cluster"), "<c>");
  EXPECT_EQ(after.active_at_ms, before.active_at_ms);
}

TEST_F(ManagerTest, MetricsOfAGroupGoWithIt) {
  std::string file = WriteFile("a.yml", "groups:\n- name: g\n  rules:\n  - {record: a, expr: up}\n");
  auto parsed = ParseRuleFile("groups:\n- name: o\n  rules:\n  - {record: b, expr: up}\n", "object.yaml");
  ASSERT_TRUE(parsed.ok());
  ASSERT_TRUE(manager_.Load({file}, *parsed).ok());
  EXPECT_NE(metrics_.Render().find("prometheus_rule_group_rules{rule_group=\"" + file + ";g\"} 1"), std::string::npos);
  EXPECT_NE(metrics_.Render().find("prometheus_rule_group_rules{rule_group=\"object.yaml;o\"} 1"), std::string::npos);
  ASSERT_TRUE(manager_.Load({file}).ok());
  EXPECT_NE(metrics_.Render().find(";g\"}"), std::string::npos);
  EXPECT_EQ(metrics_.Render().find(";o\"}"), std::string::npos);
}

// An engine whose answers wait until the test lets them go.
class SlowEngine : public promql::QueryEngine {
 public:
  base::Result<promql::QueryResult> Instant(const std::string&, int64_t t) override {
    ++started;
    while (!release) std::this_thread::yield();
    return promql::QueryResult{promql::Scalar{{t, 1}}, {}, {}};
  }
  base::Result<promql::QueryResult> Range(const std::string&, int64_t, int64_t, int64_t) override {
    return base::UnimplementedError("range");
  }
  base::Result<std::vector<Labels>> Series(const std::vector<promql::Matchers>&, int64_t, int64_t) override {
    return base::UnimplementedError("series");
  }
  base::Result<std::vector<std::string>> LabelNames(const promql::Matchers&, int64_t, int64_t) override {
    return base::UnimplementedError("names");
  }
  base::Result<std::vector<std::string>> LabelValues(const std::string&, const promql::Matchers&, int64_t,
                                                     int64_t) override {
    return base::UnimplementedError("values");
  }
  std::atomic<int> started{0};
  std::atomic<bool> release{false};
};

TEST_F(ManagerTest, StopWaitsAndMissedSlotsAreCounted) {
  SlowEngine engine;
  Manager manager(engine, *store_.db, store_.clock, scheduler_, &metrics_);
  std::string file = WriteFile("a.yml", "groups:\n- name: g\n  interval: 10s\n  rules:\n  - {record: x, expr: '1'}\n");
  ASSERT_TRUE(manager.Load({file}).ok());
  manager.Start();
  store_.clock.Advance(10'000);
  WaitUntil([&] { return engine.started == 1; });
  store_.clock.Advance(30'000);
  EXPECT_EQ(manager.Groups()[0].last_evaluation_ms, 0) << "looking does not wait for the query";
  std::thread release([&] { engine.release = true; });
  manager.Stop();
  release.join();
  EXPECT_GT(manager.Groups()[0].last_evaluation_ms, 0);
  EXPECT_NE(metrics_.Render().find("prometheus_rule_group_iterations_missed_total{rule_group=\"" + file + ";g\"} 3"),
            std::string::npos)
      << metrics_.Render();
  manager.Stop();
  EXPECT_EQ(engine.started, 1);
}

}  // namespace
}  // namespace tidewright::rules
