#include "base/strings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace tidewright::base {
namespace {

TEST(StringsTest, SplitKeepsEmptyPiecesAndJoinUndoesIt) {
  EXPECT_THAT(Split("a,,b", ','), testing::ElementsAre("a", "", "b"));
  EXPECT_THAT(Split("", ','), testing::ElementsAre(""));
  EXPECT_EQ(Join(Split("x/y/z", '/'), "/"), "x/y/z");
}

TEST(Base64Test, RoundTripsEveryLength) {
  for (const char* text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    std::string decoded;
    ASSERT_TRUE(Base64Decode(Base64Encode(text), &decoded)) << text;
    EXPECT_EQ(decoded, text);
  }
  EXPECT_EQ(Base64Encode("foobar"), "Zm9vYmFy");
  std::string ignored;
  for (const char* wrong : {"Zg", "Zg=", "Z===", "Zm9v=", "Zm9v*", "Zg==Zg=="}) {
    EXPECT_FALSE(Base64Decode(wrong, &ignored)) << wrong;
  }
}

TEST(Utf8Test, FollowsTheStandard) {
  for (const char* good : {"", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) EXPECT_TRUE(IsValidUtf8(good));
  for (const char* bad : {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff"}) {
    EXPECT_FALSE(IsValidUtf8(bad));
  }
  for (size_t at = 0; at <= 20; ++at) {
    const std::string before(at, 'a'), after(20 - at, 'b');
    EXPECT_TRUE(IsValidUtf8(before + "\xe2\x82\xac" + after)) << at;
    EXPECT_FALSE(IsValidUtf8(before + "\xff" + after)) << at;
  }
}

TEST(NumberTest, ParsesTheWholeTextOrNothing) {
  int64_t integer = 0;
  EXPECT_TRUE(ParseInt64("-42", &integer));
  EXPECT_EQ(integer, -42);
  for (const char* wrong : {"", "4x", " 4", "9223372036854775808", "+-4"}) EXPECT_FALSE(ParseInt64(wrong, &integer));
  double number = 0;
  EXPECT_TRUE(ParseDouble("+1.5e3", &number));
  EXPECT_EQ(number, 1500);
  EXPECT_TRUE(ParseDouble("1e999", &number));
  EXPECT_EQ(number, std::numeric_limits<double>::infinity());
  for (const char* wrong : {"", "-", "1.5x", "--1", "+-1"}) EXPECT_FALSE(ParseDouble(wrong, &number)) << wrong;
}

TEST(UuidTest, IsAVersion4Uuid) {
  std::string uuid = NewUuid();
  ASSERT_EQ(uuid.size(), 36U);
  EXPECT_EQ(uuid[14], '4');
  EXPECT_THAT(std::string("89ab"), testing::HasSubstr(std::string(1, uuid[19])));
  EXPECT_NE(uuid, NewUuid());
}

}  // namespace
}  // namespace tidewright::base
