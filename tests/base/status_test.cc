#include "base/status.h"

#include <gtest/gtest.h>

namespace tidewright::base {
namespace {

Result<int> Half(int number) {
  if (number % 2 != 0) return InvalidArgumentError(std::to_string(number) + " is odd");
  return number / 2;
}

Result<int> Quarter(int number) {
  TW_ASSIGN_OR_RETURN(int half, Half(number));
  return Half(half);
}

Status CheckEven(int number) {
  TW_RETURN_IF_ERROR(Half(number).status());
  return Status::Ok();
}

TEST(StatusTest, OkHasNoMessage) {
  Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.ToString(), "OK");
  EXPECT_EQ(status.message(), "");
  EXPECT_TRUE(status.Annotate("context").ok());
}

TEST(StatusTest, AnnotateKeepsTheCodeAndPutsContextInFront) {
  Status status = NotFoundError("no such file").Annotate("config /etc/x.yaml");
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.ToString(), "NOT_FOUND: config /etc/x.yaml: no such file");
}

TEST(StatusTest, EveryCodeHasAName) {
  for (int code = 0; code <= static_cast<int>(Code::kDataLoss); ++code) {
    EXPECT_NE(CodeName(static_cast<Code>(code)), "UNKNOWN") << code;
  }
}

TEST(ResultTest, MacrosPassErrorsUp) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().message(), "3 is odd");
  EXPECT_EQ(Quarter(5).status().message(), "5 is odd");
  EXPECT_TRUE(CheckEven(4).ok());
  EXPECT_EQ(CheckEven(3).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace tidewright::base
