#include "promql/value_json.h"

#include <gtest/gtest.h>

namespace tidewright::promql {
namespace {

std::string Json(const Value& value) {
  std::string out;
  AppendJson(value, &out);
  return out;
}

HistogramPtr SomeHistogram() {
  Histogram h;
  h.count = 6;
  h.sum = 2.5;
  h.zero_count = 1;
  h.zero_threshold = 0.001;
  h.positive_spans = {{1, 2}};
  h.positive_buckets = {3, 0};
  h.negative_spans = {{0, 1}};
  h.negative_buckets = {2};
  return std::make_shared<const Histogram>(h);
}

TEST(ValueJson, FloatsAndHistogramsOfAVector) {
  Vector vector = {{Labels::Of({{"a", "x\"y"}}), {1500, 0.5}, nullptr}, {Labels(), {1000, 0}, SomeHistogram()}};
  EXPECT_EQ(Json(Value(vector)),
            R"({"resultType":"vector","result":[{"metric":{"a":"x\"y"},"value":[1.5,"0.5"]},)"
            R"({"metric":{},"histogram":[1,{"count":"6","sum":"2.5","buckets":[[1,"-1","-0.5","2"],)"
            R"([3,"-0.001","0.001","1"],[0,"1","2","3"]]}]}]})");
}

TEST(ValueJson, AMatrixNamesOnlyWhatItHas) {
  Matrix matrix = {{Labels(), {{0, 1}, {1000, 2}}, {}}, {Labels(), {}, {{1000, std::make_shared<const Histogram>()}}}};
  EXPECT_EQ(Json(Value(matrix)), R"({"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[1,"2"]]},)"
                                 R"({"metric":{},"histograms":[[1,{"count":"0","sum":"0"}]]}]})");
}

TEST(ValueJson, ScalarsAndStrings) {
  EXPECT_EQ(Json(Value(Scalar{{-500, 1}})), R"({"resultType":"scalar","result":[-0.5,"1"]})");
  EXPECT_EQ(Json(Value(StringValue{0, "a\nb"})), R"({"resultType":"string","result":[0,"a\nb"]})");
}

}  // namespace
}  // namespace tidewright::promql
