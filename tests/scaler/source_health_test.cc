#include "scaler/source_health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;

const base::Status kOk;
const base::Status kDown = base::UnavailableError("connection refused");

class SourceHealthTest : public testing::Test {
 protected:
  // What became of one reading: "asked", or "refused".
  std::string Ask(SourceHealth::Question& question, const base::Status& outcome = kDown) {
    base::Status admitted = health_.Admit(question);
    if (!admitted.ok()) {
      EXPECT_EQ(admitted.code(), base::Code::kCancelled);
      EXPECT_THAT(admitted.message(), HasSubstr("; after 3 failures in a row"));
      return "refused";
    }
    EXPECT_EQ(health_.Report(question, outcome).code(), outcome.code());
    return "asked";
  }

  base::FakeClock clock_{1'000'000};
  std::vector<bool> shown_;
  SourceHealth health_{"redis shop:6379", clock_, [this](bool left_alone) { shown_.push_back(left_alone); }};
  SourceHealth::Question question_;
};

TEST_F(SourceHealthTest, WaitsTwiceAsLongEachTime) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(question_), "asked");
  for (int64_t wait_ms : {1'000, 2'000, 4'000, 8'000, 16'000, 25'000, 25'000}) {
    SCOPED_TRACE(wait_ms);
    clock_.Advance(wait_ms - 1);
    EXPECT_EQ(Ask(question_), "refused");
    clock_.Advance(1);
    EXPECT_EQ(Ask(question_), "asked");
    EXPECT_EQ(Ask(question_), "refused");
  }
  EXPECT_EQ(shown_, std::vector<bool>{true});
  EXPECT_FALSE(health_.Idle());
  clock_.Advance(25'000);
  EXPECT_EQ(Ask(question_, kOk), "asked");
  EXPECT_EQ(shown_, (std::vector<bool>{true, false}));
  EXPECT_TRUE(health_.Idle());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(question_), "asked") << "it begins anew";
  clock_.Advance(1'000);
  EXPECT_EQ(Ask(question_), "asked") << "after the shortest wait";
}

TEST_F(SourceHealthTest, WhatCountsAsAFailure) {
  const struct {
    const char* name;
    base::Status outcome;
    bool failure;
  } kCases[] = {
      {"a value", kOk, false},
      {"nobody there", kDown, true},
      {"no answer in time", base::DeadlineExceededError("timed out"), true},
      {"no value at present", base::NotFoundError("no offset"), false},
      {"a refusal", base::FailedPreconditionError("WRONGPASS"), false},
      {"a reply that is too long", base::ResourceExhaustedError("too long"), false},
      {"no client library", base::UnimplementedError("not installed"), false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    SourceHealth health("source", clock_, {});
    SourceHealth::Question question;
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(health.Admit(question).ok());
      (void)health.Report(question, c.outcome);
    }
    EXPECT_EQ(health.Admit(question).ok(), !c.failure);
    EXPECT_EQ(health.Idle(), !c.failure);
  }
}

TEST_F(SourceHealthTest, FailuresOfAllQuestionsCountTogetherAndAnAnswerEndsThem) {
  SourceHealth::Question other;
  EXPECT_EQ(Ask(question_), "asked");
  EXPECT_EQ(Ask(other), "asked");
  EXPECT_EQ(Ask(other, kOk), "asked");
  EXPECT_EQ(Ask(question_), "asked");
  EXPECT_EQ(Ask(other), "asked");
  EXPECT_EQ(Ask(question_), "asked");
  EXPECT_EQ(Ask(question_), "refused");
  EXPECT_EQ(Ask(other), "refused");
}

TEST_F(SourceHealthTest, OneQuestionThatIsNotAnsweredKeepsNobodyFromAsking) {
  const base::Status slow = base::DeadlineExceededError("the query took too long");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(question_, slow), "asked");
  EXPECT_EQ(Ask(question_, slow), "refused");
  SourceHealth::Question other, third;
  EXPECT_EQ(Ask(other, kOk), "asked") << "it has not failed itself";
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(question_, slow), "asked");
  // Both wait for their turn, one in a second.
  EXPECT_EQ(Ask(other), "asked");
  EXPECT_EQ(Ask(third), "refused");
  clock_.Advance(999);
  EXPECT_EQ(Ask(third), "refused");
  clock_.Advance(1);
  EXPECT_EQ(Ask(third, kOk), "asked");
}

TEST_F(SourceHealthTest, OneReadingAtATimeTries) {
  SourceHealth::Question others[4];
  for (int i = 0; i < 3; ++i) Ask(others[i]);
  clock_.Advance(1'000);
  ASSERT_TRUE(health_.Admit(others[0]).ok());
  EXPECT_EQ(Ask(others[1]), "refused") << "the first one is under way";
  ASSERT_TRUE(health_.Admit(others[3]).ok()) << "another turn: it has not failed yet";
  clock_.Advance(5'000);
  EXPECT_EQ(Ask(question_), "refused") << "and neither has this one, which has to wait for it";
  EXPECT_EQ(Ask(others[1]), "refused");
  (void)health_.Report(others[3], kDown);
  EXPECT_EQ(Ask(others[1]), "refused");
  (void)health_.Report(others[0], kOk);
  EXPECT_EQ(Ask(others[1], kOk), "asked");
}

TEST_F(SourceHealthTest, ForgetsASourceThatNobodyAsksAnyMore) {
  Ask(question_);
  EXPECT_FALSE(health_.Idle());
  clock_.Advance(600'001);
  EXPECT_TRUE(health_.Idle());
}

}  // namespace
}  // namespace tidewright::scaler
