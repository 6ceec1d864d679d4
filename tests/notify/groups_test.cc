// When who is told what: grouping, the three intervals, resolved alerts, failures, reloads and restarts.
#include "notify/groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/json.h"
#include "base/strings.h"

namespace tidewright::notify {
namespace {

using rules::AlertNotice;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr int64_t kSecond = 1000;
constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kStart = 1'700'000'000'000;

std::shared_ptr<const Config> Parse(const std::string& receiver) {
  auto parsed = ParseConfig(
      "route: {receiver: a, group_by: [team], group_wait: 30s, group_interval: 5m, repeat_interval: 1h}\n"
      "receivers:\n- name: a\n  webhook_configs: " +
          receiver + "\n",
      "f.yml");
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return *parsed;
}

class GroupsTest : public testing::Test {
 protected:
  void SetUp() override { groups_.SetConfig(Parse("[{url: 'http://a'}]"), kStart); }

  AlertNotice Alert(const std::string& name, int64_t valid_ms = 10 * kMinute, const std::string& team = "web") {
    return {.labels = tsdb::Labels::Of({{"alertname", name}, {"team", team}}),
            .annotations = {{"summary", "it is " + name}},
            .starts_at_ms = now_,
            .ends_at_ms = now_ + valid_ms,
            .generator_url = "http://here/graph"};
  }
  void Fire(const std::string& name, const std::string& team = "web") {
    groups_.Add({Alert(name, 10 * kMinute, team)}, now_);
  }
  void Resolve(const std::string& name) { groups_.Add({Alert(name, 0)}, now_); }

  // "team: +firing -resolved" of each message that is due now.
  std::vector<std::string> Due() {
    due_ = groups_.TakeDue(now_);
    std::vector<std::string> texts;
    for (const Notification& notification : due_) {
      const Message& message = notification.message;
      std::string text(message.group_labels.Get("team"));
      text += ":";
      for (const AlertNotice& alert : message.alerts) {
        text += (message.Fires(alert) ? " +" : " -") + std::string(alert.labels.Get("alertname"));
      }
      texts.push_back(text);
    }
    return texts;
  }
  void Answer(bool sent) {
    for (const Notification& notification : due_) groups_.Done(notification, sent, now_);
  }
  // What is sent, successfully, until `ms` later, as "seconds since the start: message". Alerts in `keep` go on firing.
  std::vector<std::string> During(int64_t ms, const std::vector<std::string>& keep = {}) {
    std::vector<std::string> sent;
    const int64_t end = now_ + ms;
    while (now_ < end) {
      now_ = std::min({end, std::max(now_ + 1, groups_.NextDueMs()), now_ + kMinute});
      for (const std::string& name : keep) groups_.Add({Alert(name)}, now_);
      for (const std::string& text : Due()) sent.push_back(std::to_string((now_ - kStart) / kSecond) + " " + text);
      Answer(true);
    }
    return sent;
  }

  int64_t now_ = kStart;
  Groups groups_;
  std::vector<Notification> due_;
};

TEST_F(GroupsTest, WaitsGroupsAndRepeats) {
  Fire("A");
  now_ += 10 * kSecond;
  Fire("B");
  Fire("C", "db");
  EXPECT_THAT(Due(), IsEmpty());
  EXPECT_EQ(groups_.NextDueMs(), kStart + 30 * kSecond);
  EXPECT_THAT(During(3 * kMinute, {"A", "B"}), ElementsAre("30 web: +A +B", "40 db: +C"));
  Fire("D");
  EXPECT_THAT(During(5 * kMinute, {"A", "B", "D"}), ElementsAre("330 web: +A +B +D")) << "after group_interval";
  EXPECT_THAT(During(50 * kMinute, {"A", "B", "D"}), ElementsAre("640 db: -C")) << "it was heard of no more";
  EXPECT_THAT(During(10 * kMinute, {"A", "B", "D"}), ElementsAre("3930 web: +A +B +D")) << "after repeat_interval";
}

TEST_F(GroupsTest, OneThatHasFiredForLongNeedsNotWait) {
  AlertNotice alert = Alert("A");
  alert.starts_at_ms -= kMinute;
  groups_.Add({alert}, now_);
  EXPECT_THAT(Due(), ElementsAre("web: +A"));
}

TEST_F(GroupsTest, SaysOnceWhatIsResolved) {
  Fire("A");
  Fire("B");
  During(kMinute, {"A", "B"});
  Resolve("A");
  EXPECT_THAT(During(10 * kMinute, {"B"}), ElementsAre("330 web: +B -A"));
  Resolve("A");  // The rules go on saying so for a while.
  EXPECT_THAT(During(10 * kMinute, {"B"}), IsEmpty());
  Resolve("B");
  EXPECT_THAT(During(10 * kMinute), ElementsAre("1530 web: -B"));
  EXPECT_EQ(groups_.size(), 0u);
  EXPECT_EQ(groups_.NextDueMs(), std::numeric_limits<int64_t>::max());
}

TEST_F(GroupsTest, WhatIsResolvedBeforeAnybodyHeardOfItIsNotMentioned) {
  Fire("A");
  now_ += 10 * kSecond;
  Resolve("A");
  EXPECT_THAT(During(kMinute), IsEmpty());
  EXPECT_EQ(groups_.size(), 0u);
}

TEST_F(GroupsTest, FiringAgainIsNews) {
  Fire("A");
  During(kMinute, {"A"});
  Resolve("A");
  EXPECT_THAT(During(5 * kMinute), ElementsAre("330 web: -A"));
  Fire("A");
  EXPECT_THAT(During(kMinute, {"A"}), ElementsAre("390 web: +A"));
}

TEST_F(GroupsTest, SendResolvedMayBeOff) {
  groups_.SetConfig(Parse("[{url: 'http://a', send_resolved: false}]"), now_);
  Fire("A");
  Fire("B");
  EXPECT_THAT(During(kMinute, {"A", "B"}), ElementsAre("30 web: +A +B"));
  Resolve("A");
  EXPECT_THAT(During(10 * kMinute, {"B"}), IsEmpty());
  Resolve("B");
  EXPECT_THAT(During(10 * kMinute), IsEmpty());
  Fire("B");
  EXPECT_THAT(During(kMinute, {"B"}), ElementsAre("1290 web: +B")) << "its end was noted";
}

TEST_F(GroupsTest, OneMessageAtATimeAndFailuresAreTriedAgain) {
  Fire("A");
  now_ += 30 * kSecond;
  EXPECT_THAT(Due(), ElementsAre("web: +A"));
  const std::vector<Notification> first = due_;
  now_ += 5 * kMinute;
  Fire("B");
  EXPECT_THAT(Due(), IsEmpty()) << "the first is under way";
  due_ = first;
  Answer(false);
  std::vector<int64_t> pauses;
  for (int i = 0; i < 8; ++i) {
    pauses.push_back((groups_.NextDueMs() - now_) / kSecond);
    now_ = groups_.NextDueMs();
    EXPECT_THAT(Due(), ElementsAre("web: +A +B"));
    Answer(false);
  }
  EXPECT_THAT(pauses, ElementsAre(1, 2, 4, 8, 16, 32, 60, 60));
  EXPECT_THAT(During(10 * kMinute, {"A", "B"}), ElementsAre(testing::EndsWith("web: +A +B"))) << "then never again";
}

TEST_F(GroupsTest, AResolvedAlertIsNotForgottenBeforeItWasSaid) {
  Fire("A");
  During(kMinute, {"A"});
  Resolve("A");
  now_ = groups_.NextDueMs();
  EXPECT_THAT(Due(), ElementsAre("web: -A"));
  Answer(false);
  now_ += kMinute;
  EXPECT_THAT(Due(), ElementsAre("web: -A"));
  Answer(true);
  EXPECT_EQ(groups_.size(), 0u);
}

TEST_F(GroupsTest, WhatEndsWhileItsMessageIsUnderWayIsSaidNext) {
  Fire("A");
  Fire("B");
  During(kMinute, {"A", "B"});
  now_ = groups_.NextDueMs();
  Resolve("A");
  now_ += 2;  // The rules give the time of their evaluation, which is a moment ago.
  EXPECT_THAT(Due(), ElementsAre("web: +B -A"));
  AlertNotice over = Alert("B", 0);
  over.ends_at_ms = now_ - 2;
  groups_.Add({over}, now_);
  Answer(true);
  EXPECT_THAT(During(10 * kMinute), ElementsAre(testing::EndsWith("web: -B")));
  EXPECT_EQ(groups_.size(), 0u);
}

TEST_F(GroupsTest, EachIntegrationHasItsOwnRecord) {
  groups_.SetConfig(Parse("[{url: 'http://a'}, {url: 'http://b'}]"), now_);
  Fire("A");
  now_ += 30 * kSecond;
  EXPECT_THAT(Due(), ElementsAre("web: +A", "web: +A"));
  groups_.Done(due_[0], true, now_);
  groups_.Done(due_[1], false, now_);
  now_ += kSecond;
  EXPECT_THAT(Due(), ElementsAre("web: +A"));
  EXPECT_EQ(due_[0].integration, "webhook[1]");
}

TEST_F(GroupsTest, AReloadKeepsWhatIsKnown) {
  Fire("A");
  EXPECT_THAT(During(kMinute, {"A"}), ElementsAre("30 web: +A"));
  groups_.SetConfig(Parse("[{url: 'http://other', max_alerts: 3}]"), now_);
  EXPECT_THAT(During(10 * kMinute, {"A"}), IsEmpty());
  groups_.SetConfig(Parse("[{url: 'http://other'}, {url: 'http://new'}]"), now_);
  EXPECT_THAT(During(6 * kMinute, {"A"}), ElementsAre(testing::EndsWith("web: +A"))) << "to the new one";
  EXPECT_EQ(due_.size(), 0u);
  now_ = groups_.NextDueMs();
  Fire("B");
  EXPECT_EQ(Due().size(), 2u);
  groups_.SetConfig(Parse("[{url: 'http://other'}]"), now_);
  Answer(false);  // Of one integration that is gone, and of one that is not.
  now_ += kSecond;
  EXPECT_THAT(Due(), ElementsAre("web: +A +B"));
  Answer(true);
  groups_.SetConfig(nullptr, now_);
  Fire("C");
  EXPECT_THAT(During(10 * kMinute, {"C"}), IsEmpty());
}

TEST_F(GroupsTest, ARestartNeitherRepeatsNorForgets) {
  Fire("A");
  Fire("B");
  During(kMinute, {"A", "B"});
  Fire("C");  // Nobody has heard of it yet.
  const base::Json saved = groups_.Save();
  now_ += 40 * kMinute;  // Long after all of them would have counted as resolved.
  Groups after;
  after.SetConfig(Parse("[{url: 'http://a'}]"), now_);
  ASSERT_TRUE(after.Restore(saved, now_, 15 * kMinute).ok());
  groups_ = std::move(after);
  EXPECT_THAT(During(10 * kMinute, {"A"}), IsEmpty()) << "neither a repetition nor an end that is none";
  EXPECT_THAT(During(10 * kMinute, {"A"}), ElementsAre(testing::EndsWith("web: +A -B"))) << "B ended while it was away";
  EXPECT_THAT(During(10 * kMinute, {"A"}), IsEmpty());
  EXPECT_EQ(base::ParseJson(base::DumpJson(groups_.Save()))->dump(), groups_.Save().dump());
}

TEST_F(GroupsTest, WhatIsRestoredBeganWhenItBegan) {
  Fire("A");
  During(kMinute, {"A"});
  const base::Json saved = groups_.Save();
  now_ += kMinute;
  Groups after;
  after.SetConfig(Parse("[{url: 'http://a'}]"), now_);
  ASSERT_TRUE(after.Restore(saved, now_, 15 * kMinute).ok());
  groups_ = std::move(after);
  Fire("A");
  now_ += 3 * kMinute;
  Resolve("A");
  now_ += 5 * kMinute;
  EXPECT_THAT(Due(), ElementsAre("web: -A"));
  EXPECT_EQ(due_[0].message.alerts[0].starts_at_ms, kStart);
}

TEST_F(GroupsTest, ReadsNonsenseWithoutHarm) {
  for (const char* text :
       {"null", "{}", "[]", "{\"version\":2}", "{\"version\":1,\"groups\":[]}", "{\"version\":1,\"groups\":{\"a\":1}}",
        "{\"version\":1,\"groups\":{\"a\":{\"told\":{\"x\":3},\"alerts\":[1,{}, {\"labels\":[1]}]}}}",
        "{\"version\":1,\"groups\":{\"a\":{\"told\":{\"x\":{\"firing\":[1]}},\"alerts\":{}}}}"}) {
    (void)groups_.Restore(*base::ParseJson(text), now_, kMinute);
    EXPECT_THAT(Due(), IsEmpty()) << text;
  }
  EXPECT_FALSE(groups_.Restore(*base::ParseJson("{}"), now_, kMinute).ok());
}

}  // namespace
}  // namespace tidewright::notify
