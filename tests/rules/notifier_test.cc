#include "rules/notifier.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/clock.h"
#include "base/json.h"

namespace tidewright::rules {
namespace {

using base::Json;
using tsdb::Labels;

AlertNotice Notice(const std::string& name) {
  return {.labels = Labels::Of({{"alertname", name}, {"job", "a"}}),
          .annotations = {{"summary", "is \"down\""}},
          .starts_at_ms = 1'700'000'000'123,
          .ends_at_ms = 1'700'000'240'000,
          .generator_url = "http://here/graph?g0.expr=up"};
}

// An Alertmanager that answers when the test says so.
class Receiver {
 public:
  Alertmanager Make(const std::string& key, const std::string& url, AlertRelabeling relabel = nullptr) {
    return {.key = key,
            .url = url,
            .relabel = std::move(relabel),
            .post = [this](const std::string& body, std::function<void(base::Status)> done) {
              for (const Json& alert : Json::parse(body))
                names.push_back(alert["labels"]["alertname"].get<std::string>());
              batches.push_back(Json::parse(body));
              if (answers) return done(answer);
              waiting = std::move(done);
            }};
  }

  bool answers = true;
  base::Status answer;
  std::function<void(base::Status)> waiting;
  std::vector<Json> batches;
  std::vector<std::string> names;
};

class NotifierTest : public ::testing::Test {
 protected:
  bool Has(const std::string& line) { return metrics_.Render().find(line + "\n") != std::string::npos; }

  Receiver one_, two_;
  base::MetricRegistry metrics_;
  Notifier notifier_{{.queue_capacity = 5, .batch_size = 3, .drain_ms = 30'000}, &metrics_};
};

TEST(AlertsBody, IsWhatAlertmanagerReads) {
  EXPECT_EQ(Json::parse(AlertsBody({Notice("A")})), Json::parse(R"([{
    "labels": {"alertname": "A", "job": "a"}, "annotations": {"summary": "is \"down\""},
    "startsAt": "2023-11-14T22:13:20.123Z", "endsAt": "2023-11-14T22:17:20.000Z",
    "generatorURL": "http://here/graph?g0.expr=up"}])"));
}

TEST_F(NotifierTest, AddsExternalLabelsAndRelabels) {
  notifier_.SetLabels({{"cluster", "c"}, {"job", "external"}}, [](tsdb::LabelsBuilder* labels) {
    labels->Set("seen", labels->Get("cluster"));
    return labels->Get("alertname") != "Drop";
  });
  auto drops_b = [](tsdb::LabelsBuilder* labels) { return labels->Get("alertname") != "B"; };
  notifier_.SetAlertmanagers({one_.Make("1", "http://one"), two_.Make("2", "http://two", drops_b)}, {"http://gone"});
  notifier_.Send({Notice("A"), Notice("Drop"), Notice("B")});
  EXPECT_EQ(one_.names, (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(two_.names, (std::vector<std::string>{"A"}));
  EXPECT_EQ(one_.batches[0][0]["labels"], (Json{{"alertname", "A"}, {"cluster", "c"}, {"job", "a"}, {"seen", "c"}}));
  EXPECT_EQ(notifier_.alertmanagers().active, (std::vector<std::string>{"http://one", "http://two"}));
  EXPECT_EQ(notifier_.alertmanagers().dropped, (std::vector<std::string>{"http://gone"}));
  EXPECT_TRUE(Has("prometheus_notifications_alertmanagers_discovered 2"));
  EXPECT_TRUE(Has("prometheus_notifications_sent_total{alertmanager=\"http://one\"} 2"));
}

TEST_F(NotifierTest, OneThatDoesNotAnswerDelaysNoOther) {
  one_.answers = false;
  notifier_.SetAlertmanagers({one_.Make("1", "http://one"), two_.Make("2", "http://two")}, {});
  for (const char* name : {"A", "B", "C", "D", "E", "F", "G"}) notifier_.Send({Notice(name)});
  EXPECT_EQ(two_.names.size(), 7u);
  EXPECT_EQ(one_.names, (std::vector<std::string>{"A"})) << "one request at a time";
  EXPECT_TRUE(Has("prometheus_notifications_queue_length{alertmanager=\"http://one\"} 5"));
  EXPECT_TRUE(Has("prometheus_notifications_dropped_total{alertmanager=\"http://one\"} 1"));
  one_.answers = true;
  one_.waiting(base::Status::Ok());
  EXPECT_EQ(one_.names, (std::vector<std::string>{"A", "C", "D", "E", "F", "G"})) << "the oldest was dropped";
  EXPECT_EQ(one_.batches.size(), 3u) << "A, three, two";
}

TEST_F(NotifierTest, WhatFailsIsCountedAndDropped) {
  one_.answer = base::UnavailableError("HTTP status 503");
  notifier_.SetAlertmanagers({one_.Make("1", "http://one")}, {});
  notifier_.Send({Notice("A"), Notice("B")});
  EXPECT_TRUE(Has("prometheus_notifications_errors_total{alertmanager=\"http://one\"} 2"));
  EXPECT_TRUE(Has("prometheus_notifications_dropped_total{alertmanager=\"http://one\"} 2"));
  one_.answer = base::Status::Ok();
  notifier_.Send({Notice("C")});
  EXPECT_EQ(one_.names, (std::vector<std::string>{"A", "B", "C"})) << "nothing is sent twice";
}

TEST_F(NotifierTest, AQueueOutlivesTheWayToItsAlertmanager) {
  one_.answers = false;
  notifier_.SetAlertmanagers({one_.Make("1", "http://one")}, {});
  notifier_.Send({Notice("A")});
  notifier_.Send({Notice("B")});
  notifier_.SetAlertmanagers({two_.Make("1", "http://one")}, {});
  one_.waiting(base::Status::Ok());
  EXPECT_EQ(two_.names, (std::vector<std::string>{"B"}));
  notifier_.SetAlertmanagers({}, {});
  notifier_.Send({Notice("C")});
  EXPECT_EQ(two_.names.size(), 1u);
}

TEST_F(NotifierTest, StopWaitsForWhatIsQueued) {
  one_.answers = false;
  notifier_.SetAlertmanagers({one_.Make("1", "http://one")}, {});
  notifier_.Send({Notice("A")});
  notifier_.Send({Notice("B")});
  std::function<void(base::Status)> done = std::move(one_.waiting);
  one_.answers = true;
  std::thread answer([&] { done(base::Status::Ok()); });
  notifier_.Stop();
  answer.join();
  EXPECT_EQ(one_.names, (std::vector<std::string>{"A", "B"}));
  notifier_.Send({Notice("C")});
  EXPECT_EQ(one_.names.size(), 2u) << "it takes no more";
}

TEST(NotifierStop, DoesNotWaitForever) {
  Receiver silent;
  silent.answers = false;
  Notifier notifier({.drain_ms = 1}, nullptr);
  notifier.SetAlertmanagers({silent.Make("1", "http://one")}, {});
  notifier.Send({Notice("A")});
  notifier.Stop();
  silent.waiting(base::Status::Ok());  // Its request ends later, and finds everything it needs.
  EXPECT_EQ(silent.names.size(), 1u);
}

}  // namespace
}  // namespace tidewright::rules
