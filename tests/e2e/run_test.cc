// The newcomer's command: ./dev run --for 90s.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/sandbox_process.h"

namespace tidewright::e2e {
namespace {

using testing::HasSubstr;

TEST(RunTest, ScalesEveryExampleUpAndDownForTheRightReason) {
  if (!base::HaveProgram("redis-server")) GTEST_SKIP() << "redis-server is not installed";
  SandboxProcess sandbox("90s");
  ASSERT_FALSE(HasFailure());
  int exit_code = sandbox.Wait();
  std::string output = sandbox.Output();
  EXPECT_EQ(exit_code, 0) << output;
  EXPECT_THAT(output, HasSubstr("Every workload was scaled up and down for the right reason."));
  for (const char* reason :
       {"Pods http_requests_per_second", "redis orders = ", "window is open until", "ingress-requests = "}) {
    EXPECT_THAT(output, HasSubstr(reason));
  }
}

}  // namespace
}  // namespace tidewright::e2e
