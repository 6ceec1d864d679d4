#include "scaler/trigger/external_messages.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "base/wire_reader.h"
#include "base/wire_writer.h"

namespace tidewright::scaler::trigger {
namespace {

using base::WireReader;
using base::WireWriter;

std::string Number(const std::string& name, int64_t whole, double fraction) {
  return WireWriter().Bytes(1, name).Int64(2, whole).NonZeroDouble(3, fraction).Take();
}

TEST(ExternalMessages, WhoAsksAndWithWhichSettings) {
  const std::string ref = EncodeScaledObjectRef("web", "shop", {{"queue", "orders"}, {"scalerAddress", "a:1"}});
  std::string fields;
  for (WireReader reader(ref); reader.Next();) {
    fields += std::to_string(reader.field()) + "=";
    if (reader.field() < 3) fields += std::string(reader.Bytes()) + " ";
    if (reader.field() < 3) continue;
    for (WireReader entry(reader.Bytes()); entry.Next();) fields += std::string(entry.Bytes()) + " ";
  }
  EXPECT_EQ(fields, "1=web 2=shop 3=queue orders 3=scalerAddress a:1 ");
  const std::string bytes = EncodeGetMetrics(ref, "rate");
  WireReader request(bytes);
  ASSERT_TRUE(request.Next());
  EXPECT_EQ(request.Bytes(), ref);
  ASSERT_TRUE(request.Next());
  EXPECT_EQ(request.Bytes(), "rate");
}

TEST(ExternalMessages, TargetsAreWholeOrFractions) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const struct {
    const char* name;
    std::string bytes;
    double target;  // 0: an error.
  } rows[] = {
      {"whole, from an old server", WireWriter().Bytes(1, Number("a", 5, 0)).Take(), 5},
      {"a fraction", WireWriter().Bytes(1, Number("a", 0, 0.5)).Take(), 0.5},
      {"both: the fraction", WireWriter().Bytes(1, Number("a", 1, 1.5)).Take(), 1.5},
      {"a field of later", WireWriter().Bytes(9, "x").Bytes(1, Number("a", 2, 0)).Take(), 2},
      {"none", "", 0},
      {"zero", WireWriter().Bytes(1, Number("a", 0, 0)).Take(), 0},
      {"below zero", WireWriter().Bytes(1, Number("a", -3, 0)).Take(), 0},
      {"no number", WireWriter().Bytes(1, Number("a", 3, nan)).Take(), 0},
      {"without bound", WireWriter().Bytes(1, Number("a", 3, std::numeric_limits<double>::infinity())).Take(), 0},
      {"damaged", WireWriter().Bytes(1, "\xff").Take(), 0},
      {"torn", WireWriter().Bytes(1, Number("a", 5, 0)).Take().substr(0, 3), 0},
  };
  for (const auto& row : rows) {
    auto metrics = DecodeMetricSpecs(row.bytes);
    ASSERT_EQ(metrics.ok(), row.target > 0) << row.name;
    EXPECT_EQ(metrics.ok() ? metrics->at(0).target : 0, row.target) << row.name;
  }
  std::string many;
  for (size_t i = 0; i <= kMaxExternalMetrics; ++i) many += WireWriter().Bytes(1, Number("a", 1, 0)).Take();
  EXPECT_EQ(DecodeMetricSpecs(many).status().message(), "the scaler has more than 16 metrics");
}

TEST(ExternalMessages, ValuesAreSummed) {
  const std::string two = WireWriter().Bytes(1, Number("a", 0, 2.5)).Bytes(1, Number("a", 4, 0)).Take();
  EXPECT_EQ(*DecodeMetrics(two), 6.5);
  EXPECT_EQ(*DecodeMetrics(WireWriter().Bytes(1, Number("a", 0, 0)).Take()), 0);
  EXPECT_EQ(DecodeMetrics("").status().message(), "the scaler gives no value");
  EXPECT_FALSE(DecodeMetrics("\xff\xff").ok());
}

TEST(ExternalMessages, Activity) {
  EXPECT_TRUE(*DecodeIsActive(WireWriter().Varint(1, 1).Take()));
  EXPECT_FALSE(*DecodeIsActive(""));
  EXPECT_FALSE(DecodeIsActive("\x08").ok());
}

}  // namespace
}  // namespace tidewright::scaler::trigger
