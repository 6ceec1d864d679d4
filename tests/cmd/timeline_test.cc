#include "cmd/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cmd/terminal.h"

namespace tidewright::cmd {
namespace {

using scaler::ScaleRecord;
using scaler::SignalStatus;
using scaler::WorkloadStatus;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

WorkloadStatus Worker(std::optional<int32_t> proposal, std::vector<ScaleRecord> scales, std::string error = "") {
  WorkloadStatus workload;
  workload.controller = "ScaledObject";
  workload.ns = "shop";
  workload.name = "worker";
  workload.scales = std::move(scales);
  SignalStatus signal;
  signal.name = "redis orders";
  signal.proposal = proposal;
  signal.error = std::move(error);
  workload.signals.push_back(signal);
  return workload;
}

const ScaleRecord kUp{1'500, 0, 4, "redis orders = 40"};
const ScaleRecord kDown{9'000, 4, 0, "no trigger is active"};

TEST(TimelineTest, UpAndDownForTheRightReasonIsFine) {
  Timeline timeline(1'000);
  EXPECT_THAT(timeline.Observe({Worker(0, {})}), IsEmpty());
  EXPECT_THAT(timeline.Observe({Worker(4, {kUp})}),
              ElementsAre("  +0.5 s  shop/worker          0 -> 4    redis orders = 40"));
  EXPECT_THAT(timeline.Observe({Worker(4, {kUp})}), IsEmpty());
  EXPECT_EQ(timeline.Observe({Worker(0, {kUp, kDown})}).size(), 1U);
  EXPECT_THAT(timeline.Faults(), IsEmpty());
  EXPECT_THAT(timeline.Summary(), ElementsAre("shop/worker          0 -> 4 -> 0"));
}

TEST(TimelineTest, MissingMovesAreFaults) {
  Timeline timeline(0);
  timeline.Observe({Worker(0, {})});
  EXPECT_THAT(timeline.Faults(), ElementsAre("shop/worker was never scaled up", "shop/worker was never scaled down"));
  EXPECT_THAT(Timeline(0).Faults(), ElementsAre("no workload was seen"));
}

TEST(TimelineTest, WrongReasonsAreFaults) {
  Timeline unasked(0);
  unasked.Observe({Worker(0, {kUp})});
  EXPECT_THAT(unasked.Faults(), testing::Contains(HasSubstr("no signal asked for more")));
  Timeline blind(0);
  blind.Observe({Worker(std::nullopt, {kUp, kDown}, "connection refused")});
  EXPECT_THAT(blind.Faults(), testing::Contains(HasSubstr("while redis orders could not be read")));
  Timeline wanted(0);
  wanted.Observe({Worker(4, {kUp, kDown})});
  EXPECT_THAT(wanted.Faults(), testing::Contains(HasSubstr("asked for as many")));
}

TEST(TerminalTest, TableHasALinePerSignalAndCutsLongLines) {
  WorkloadStatus workload = Worker(4, {});
  workload.signals[0].value_milli = 42'000;
  workload.signals[0].target_milli = 10'000;
  workload.signals.push_back(workload.signals[0]);
  workload.signals[1].value_milli.reset();
  workload.desired = 4;
  workload.why = "redis orders = 42";
  std::string table = RenderTable({workload}, 60, /*colors=*/false);
  EXPECT_THAT(table, HasSubstr("WORKLOAD"));
  std::string wide = RenderTable({workload}, 0, /*colors=*/false);
  EXPECT_THAT(wide, HasSubstr("42 / 10         0 -> 4    redis orders = 42\n"));
  EXPECT_THAT(wide, HasSubstr("? / 10"));
  for (size_t at = table.find('\n') + 1; at < table.size();) {
    size_t end = table.find('\n', at);
    EXPECT_LE(end - at, 60U);
    at = end + 1;
  }
}

TEST(TerminalTest, NumbersAreShort) {
  EXPECT_EQ(ShortNumber(0), "0");
  EXPECT_EQ(ShortNumber(31.234), "31.23");
  EXPECT_EQ(ShortNumber(9'999), "9999");
  EXPECT_EQ(ShortNumber(1'234'567), "1235k");
  EXPECT_EQ(ShortNumber(-12'345'678), "-12.35M");
}

}  // namespace
}  // namespace tidewright::cmd
