#include "scaler/shared_read.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "scaler/source_pool.h"
#include "tests/eventually.h"

namespace tidewright::scaler {
namespace {

constexpr int64_t kNow = 1'767'873'600'000;

// Answers as it is told.
class ScriptedTrigger : public Trigger {
 public:
  explicit ScriptedTrigger(std::function<base::Result<Reading>()> answer)
      : Trigger(TriggerInfo()), answer_(std::move(answer)) {}
  base::Result<Reading> Read() override {
    ++readings;
    return answer_();
  }
  int readings = 0;

 private:
  const std::function<base::Result<Reading>()> answer_;
};

std::shared_ptr<ScriptedTrigger> Answering(int64_t value_milli) {
  return std::make_shared<ScriptedTrigger>([value_milli] { return Reading{value_milli, "value"}; });
}
std::shared_ptr<ScriptedTrigger> Failing(const base::Status& status = base::UnavailableError("away")) {
  return std::make_shared<ScriptedTrigger>([status] { return status; });
}

class SharedReadTest : public testing::Test {
 protected:
  std::shared_ptr<SharedRead> ReadOf(uint64_t question_id, uint64_t source_id = 1) {
    return pool_.ReadOf({"redis", "shop:6379", source_id, question_id}, clock_);
  }
  double Count(const char* result) {
    return metrics_.GetCounter("tidewright_trigger_reads_total", "", {{"type", "redis"}, {"result", result}}).Value();
  }

  double LeftAlone() {
    return metrics_.GetGauge("tidewright_source_left_alone", "", {{"type", "redis"}, {"source", "shop:6379"}}).Value();
  }

  base::FakeClock clock_{kNow};
  base::MetricRegistry metrics_;
  SourcePool pool_{&metrics_};
};

TEST_F(SharedReadTest, AYoungValueIsReadOnce) {
  auto first = Answering(1'000), second = Answering(2'000);
  auto read = ReadOf(7);
  EXPECT_EQ(ReadOf(7), read);
  EXPECT_NE(ReadOf(8), read);
  EXPECT_EQ(read->Read(first, 500)->value_milli, 1'000);
  clock_.Advance(499);
  EXPECT_EQ(read->Read(second, 500)->value_milli, 1'000);
  EXPECT_EQ(read->Read(second, 10'000)->value_milli, 1'000);
  EXPECT_EQ(Count("made"), 1);
  EXPECT_EQ(Count("shared"), 2);
  clock_.Advance(1);
  EXPECT_EQ(read->Read(second, 500)->value_milli, 1'000) << "by the trigger that has the connection";
  EXPECT_EQ(read->Read(second, 0)->value_milli, 1'000);
  EXPECT_EQ(first->readings, 3);
  EXPECT_EQ(second->readings, 0);
}

TEST_F(SharedReadTest, AFailureIsNotKept) {
  auto broken = Failing(), sound = Answering(3'000);
  auto read = ReadOf(7);
  EXPECT_EQ(read->Read(broken, 10'000).status().code(), base::Code::kUnavailable);
  EXPECT_EQ(read->Read(sound, 10'000)->value_milli, 3'000) << "and whoever failed does not read again";
  EXPECT_EQ(read->Read(broken, 10'000)->value_milli, 3'000);
  EXPECT_EQ(broken->readings, 1);
}

TEST_F(SharedReadTest, NoValueAtPresentIsAskedForAgain) {
  auto empty = Failing(base::NotFoundError("no result")), other = Answering(1'000);
  auto read = ReadOf(7);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(read->Read(empty, 10'000).status().code(), base::Code::kNotFound);
  EXPECT_EQ(empty->readings, 5);
  EXPECT_EQ(read->Read(other, 10'000).status().code(), base::Code::kNotFound) << "it stays in use";
}

TEST_F(SharedReadTest, ASourceThatFailsIsLeftAloneByAllItsQuestions) {
  auto broken = Failing(), sound = Answering(3'000);
  auto read = ReadOf(7);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(read->Read(broken, 0).status().message(), "away");
  EXPECT_EQ(read->Read(broken, 0).status().code(), base::Code::kUnavailable);
  const base::Status refused = read->Read(broken, 0).status();
  EXPECT_EQ(refused.code(), base::Code::kCancelled);
  EXPECT_TRUE(refused.message().starts_with("away; after 3 failures in a row")) << refused.message();
  EXPECT_EQ(Count("made"), 3);
  EXPECT_EQ(Count("not_asked"), 1);
  EXPECT_EQ(LeftAlone(), 1);
  EXPECT_EQ(ReadOf(8)->Read(broken, 0).status().code(), base::Code::kUnavailable) << "each tries once";
  EXPECT_EQ(ReadOf(9)->Read(broken, 0).status().code(), base::Code::kCancelled) << "one in a second";
  EXPECT_EQ(ReadOf(10, 2)->Read(sound, 0)->value_milli, 3'000) << "another source";
  clock_.Advance(1'000);
  EXPECT_EQ(ReadOf(11)->Read(sound, 0)->value_milli, 3'000);
  EXPECT_EQ(LeftAlone(), 0);
}

// A reading that lasts until it is let go, and others that come meanwhile.
class SlowReading {
 public:
  explicit SlowReading(base::Result<Reading> answer)
      : slow_(std::make_shared<ScriptedTrigger>([this, answer] { return Wait(answer); })) {}

  // What each of eight readers gets; the first of them reads by the slow trigger, the others would by `quick`.
  std::vector<base::Result<Reading>> Run(SharedRead& read, const std::shared_ptr<Trigger>& quick, int64_t max_age_ms) {
    std::vector<base::Result<Reading>> results(8, base::InternalError("did not read"));
    std::vector<std::thread> threads;
    threads.emplace_back([&] { results[0] = read.Read(slow_, max_age_ms); });
    EXPECT_TRUE(Eventually([this] { return begun_.load(); }));
    for (size_t i = 1; i < results.size(); ++i) {
      threads.emplace_back([&, i] {
        ++come_;
        results[i] = read.Read(quick, max_age_ms);
      });
    }
    EXPECT_TRUE(Eventually([&] { return come_ + 1 == results.size(); }));
    {
      base::MutexLock lock(mu_);
      go_ = true;
    }
    changed_.NotifyAll();
    for (std::thread& thread : threads) thread.join();
    return results;
  }
  int readings() const { return slow_->readings; }

 private:
  base::Result<Reading> Wait(const base::Result<Reading>& answer) {
    begun_ = true;
    base::MutexLock lock(mu_);
    while (!go_) changed_.Wait(mu_);
    return answer;
  }

  base::Mutex mu_;
  base::CondVar changed_;
  bool go_ GUARDED_BY(mu_) = false;
  std::atomic<bool> begun_ = false;
  std::atomic<size_t> come_ = 0;
  const std::shared_ptr<ScriptedTrigger> slow_;
};

TEST_F(SharedReadTest, WhoComesDuringAReadingGetsItsValue) {
  SlowReading slow(Reading{5'000, "slow"});
  auto quick = Answering(1'000);
  for (const auto& result : slow.Run(*ReadOf(7), quick, 10'000)) EXPECT_EQ(result->value_milli, 5'000);
  EXPECT_EQ(slow.readings(), 1);
  EXPECT_EQ(quick->readings, 0);
  EXPECT_EQ(Count("made"), 1);
  EXPECT_EQ(Count("shared"), 7);
}

TEST_F(SharedReadTest, WhoComesDuringAReadingGetsItsFailure) {
  SlowReading slow(base::UnavailableError("away"));
  auto quick = Answering(1'000);
  auto results = slow.Run(*ReadOf(7), quick, 10'000);
  EXPECT_EQ(slow.readings(), 1);
  EXPECT_FALSE(results[0].ok());
  // Who came too late for it has the value that the first of them read.
  for (const auto& result : results) EXPECT_TRUE(!result.ok() || result->value_milli == 1'000);
  EXPECT_LE(quick->readings, 1);
  EXPECT_EQ(Count("made"), 1 + quick->readings);
}

}  // namespace
}  // namespace tidewright::scaler
