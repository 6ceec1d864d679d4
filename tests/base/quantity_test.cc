#include "base/quantity.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace tidewright::base {
namespace {

struct Case {
  const char* name;
  const char* text;
  int64_t milli;
  int64_t value;
  const char* canonical;
};

class QuantityTest : public testing::TestWithParam<Case> {};
TEST_P(QuantityTest, Row) {
  auto quantity = Quantity::Parse(GetParam().text);
  ASSERT_TRUE(quantity.ok()) << quantity.status().ToString();
  EXPECT_EQ(quantity->MilliValue(), GetParam().milli);
  EXPECT_EQ(quantity->Value(), GetParam().value);
  EXPECT_EQ(quantity->ToString(), GetParam().canonical);
}
INSTANTIATE_TEST_SUITE_P(
    Table, QuantityTest,
    testing::Values(Case{"whole", "2", 2000, 2, "2"}, Case{"milli", "1500m", 1500, 2, "1500m"},
                    Case{"milli_whole", "2000m", 2000, 2, "2"}, Case{"thousand", "2000", 2'000'000, 2000, "2k"},
                    Case{"fraction", "0.5", 500, 1, "500m"}, Case{"negative", "-1.5", -1500, -1, "-1500m"},
                    Case{"nano_rounds_up", "123456789n", 124, 1, "123456789n"},
                    Case{"below_nano_rounds_up", "0.0000000001", 1, 1, "1n"},
                    Case{"mebi", "128Mi", 134'217'728'000, 134'217'728, "128Mi"},
                    Case{"fraction_binary", "1.5Gi", 1'610'612'736'000, 1'610'612'736, "1536Mi"},
                    Case{"exponent", "12e3", 12'000'000, 12'000, "12e3"}, Case{"plus", "+5", 5000, 5, "5"},
                    Case{"point_first", ".5", 500, 1, "500m"}, Case{"point_last", "5.", 5000, 5, "5"},
                    Case{"exa", "1E", std::numeric_limits<int64_t>::max(), 1'000'000'000'000'000'000, "1E"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(QuantityParseTest, RefusesWhatKubernetesRefuses) {
  for (const char* wrong : {"", "m", "5 m", "1.2.3", "abc", "5mm", "--5", "1e", "0x10", "5KI", "NaN", "Inf", "."}) {
    EXPECT_FALSE(Quantity::Parse(wrong).ok()) << wrong;
  }
}

TEST(QuantityParseTest, SaturatesInsteadOfOverflowing) {
  auto huge = Quantity::Parse("99999999999999999999999999999999999999");
  ASSERT_TRUE(huge.ok());
  EXPECT_EQ(huge->MilliValue(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Quantity::Parse("1e999")->Value(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Quantity::Parse("0e999")->Value(), 0);
}

TEST(QuantityDoubleTest, TruncatesToMilliAndRefusesNoNumbers) {
  EXPECT_EQ(Quantity::FromDoubleMilli(1.9999)->MilliValue(), 1999);
  EXPECT_EQ(Quantity::FromDoubleMilli(-1.9999)->MilliValue(), -1999);
  EXPECT_EQ(Quantity::FromDoubleMilli(0.0009999)->MilliValue(), 0);
  EXPECT_FALSE(Quantity::FromDoubleMilli(std::numeric_limits<double>::quiet_NaN()).ok());
  EXPECT_FALSE(Quantity::FromDoubleMilli(std::numeric_limits<double>::infinity()).ok());
  EXPECT_GT(Quantity::FromDoubleMilli(1e300)->Value(), 9'000'000'000'000'000);
}

TEST(QuantityDoubleTest, DoesNotCutWhatFloatingPointLeftJustBelowAThousandth) {
  EXPECT_EQ(Quantity::FromDoubleMilli(1.9999999999999998)->MilliValue(), 2000);
  EXPECT_EQ(Quantity::FromDoubleMilli(-1.9999999999999998)->MilliValue(), -2000);
  EXPECT_EQ(Quantity::FromDoubleMilli(0.49999999999999994)->MilliValue(), 500);
  EXPECT_EQ(Quantity::FromDoubleMilli(1.1 * 3)->MilliValue(), 3300);
  EXPECT_EQ(Quantity::FromDoubleMilli(1.001)->MilliValue(), 1001);  // 1.001 * 1000 is less than 1001.
  EXPECT_EQ(Quantity::FromDoubleMilli(1.99999999)->MilliValue(), 1999);
}

}  // namespace
}  // namespace tidewright::base
