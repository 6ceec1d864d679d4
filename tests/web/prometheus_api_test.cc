#include "web/prometheus_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/json.h"
#include "tsdb/db.h"
#include "web/series_api.h"

namespace tidewright::web {
namespace {

class PrometheusApiTest : public testing::Test {
 protected:
  PrometheusApiTest() {
    auto appender = db_->NewAppender();
    for (int i = 0; i <= 60; ++i) {
      for (const char* pod : {"a", "b"}) {
        auto labels = tsdb::Labels::Of({{"__name__", "requests_total"}, {"pod", pod}});
        EXPECT_TRUE(appender->Append(0, labels, i * 1000, i * (pod[0] == 'a' ? 1.0 : 2.0)).ok());
      }
    }
    EXPECT_TRUE(
        appender->Append(0, tsdb::Labels::Of({{"__name__", "odd"}}), 60'000, std::numeric_limits<double>::infinity())
            .ok());
    EXPECT_TRUE(appender->Commit().ok());
  }

  http::Response Get(const std::string& path, const http::QueryParams& query) {
    http::ServerRequest request;
    request.method = "GET";
    request.path = path;
    request.query = query;
    return SeriesApi::Handles(path) ? series_api_.Handle(request) : api_.Handle(request);
  }
  base::Json Data(const http::Response& response) {
    EXPECT_EQ(response.status, 200) << response.body;
    return base::Json::parse(response.body)["data"];
  }

  base::FakeClock clock_{60'000};
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  std::unique_ptr<promql::QueryEngine> engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
  PrometheusApi api_{*engine_, clock_};
  SeriesApi series_api_{*engine_, db_.get()};
};

TEST_F(PrometheusApiTest, InstantVector) {
  EXPECT_EQ(Data(Get("/api/v1/query", {{"query", "sum(requests_total)"}})),
            base::Json::parse(R"({"resultType":"vector","result":[{"metric":{},"value":[60,"180"]}]})"));
  EXPECT_EQ(
      Data(Get("/api/v1/query", {{"query", "odd"}, {"time", "1970-01-01T00:01:00.5Z"}})),
      base::Json::parse(R"({"resultType":"vector","result":[{"metric":{"__name__":"odd"},"value":[60.5,"+Inf"]}]})"));
}

TEST_F(PrometheusApiTest, ScalarStringAndMatrix) {
  EXPECT_EQ(Data(Get("/api/v1/query", {{"query", "1.5"}, {"time", "0"}})),
            base::Json::parse(R"({"resultType":"scalar","result":[0,"1.5"]})"));
  EXPECT_EQ(Data(Get("/api/v1/query", {{"query", R"("a\"b")"}, {"time", "0"}})),
            base::Json::parse(R"({"resultType":"string","result":[0,"a\"b"]})"));
  EXPECT_EQ(Data(Get("/api/v1/query_range",
                     {{"query", "requests_total{pod=\"b\"}"}, {"start", "10"}, {"end", "20"}, {"step", "10s"}})),
            base::Json::parse(R"({"resultType":"matrix","result":[
              {"metric":{"__name__":"requests_total","pod":"b"},"values":[[10,"20"],[20,"40"]]}]})"));
}

TEST_F(PrometheusApiTest, FormsInTheBodyCount) {
  http::ServerRequest request;
  request.method = "POST";
  request.path = "/api/v1/query";
  request.headers.Set("Content-Type", "application/x-www-form-urlencoded");
  request.body = "query=sum%28requests_total%29&time=60";
  EXPECT_EQ(Data(api_.Handle(request))["result"][0]["value"][1], "180");
}

TEST_F(PrometheusApiTest, SeriesAndLabels) {
  EXPECT_EQ(Data(Get("/api/v1/series", {{"match[]", "requests_total{pod=\"a\"}"}})),
            base::Json::parse(R"([{"__name__":"requests_total","pod":"a"}])"));
  EXPECT_EQ(Data(Get("/api/v1/labels", {})), base::Json::parse(R"(["__name__","pod"])"));
  EXPECT_EQ(Data(Get("/api/v1/label/pod/values", {})), base::Json::parse(R"(["a","b"])"));
  EXPECT_EQ(Data(Get("/api/v1/label/pod/values", {{"match[]", "odd"}})), base::Json::parse("[]"));
}

TEST_F(PrometheusApiTest, LabelNamesInTheirSpellings) {
  for (const auto& [spelling, name] : std::map<std::string, std::string>{{"job", "job"},
                                                                         {"U__a_2e_b", "a.b"},
                                                                         {"U__a__b", "a_b"},
                                                                         {"U___fc_n", "\u00fcn"},
                                                                         {"U__a_20ac_", "a\u20ac"},
                                                                         {"U__a_1f600_", "a\U0001f600"},
                                                                         {"U__a_d800_", "U__a_d800_"},
                                                                         {"U__a_zz_", "U__a_zz_"},
                                                                         {"U__a_2e", "U__a_2e"}}) {
    EXPECT_EQ(UnescapeLabelName(spelling), name) << spelling;
  }
  EXPECT_EQ(Get("/api/v1/label/a\xff/values", {}).status, 400);
}

TEST_F(PrometheusApiTest, Exemplars) {
  db_->SetMaxExemplars(10);
  auto appender = db_->NewAppender();
  auto ref = appender->Append(0, tsdb::Labels::Of({{"__name__", "requests_total"}, {"pod", "a"}}), 61'000, 61);
  ASSERT_TRUE(ref.ok());
  ASSERT_TRUE(appender->AppendExemplar(*ref, {tsdb::Labels::Of({{"trace_id", "7"}}), 60'500, 0.25}).ok());
  ASSERT_TRUE(appender->Commit().ok());
  const base::Json wanted = base::Json::parse(R"([{"seriesLabels":{"__name__":"requests_total","pod":"a"},
      "exemplars":[{"labels":{"trace_id":"7"},"value":"0.25","timestamp":60.5}]}])");
  EXPECT_EQ(Data(Get("/api/v1/query_exemplars", {{"query", "rate(requests_total[5m]) + on() odd"}})), wanted);
  EXPECT_EQ(Data(Get("/api/v1/query_exemplars", {{"query", "requests_total"}, {"end", "60"}})), base::Json::array());
  EXPECT_EQ(Get("/api/v1/query_exemplars", {{"query", "1"}}).status, 204);
}

TEST_F(PrometheusApiTest, FormatsAndParses) {
  EXPECT_EQ(Data(Get("/api/v1/format_query", {{"query", "sum(up)by(job)"}})), "sum by (job) (up)");
  base::Json tree = Data(Get("/api/v1/parse_query", {{"query", "rate(up[5m])"}}));
  EXPECT_EQ(tree["func"],
            base::Json::parse(R"({"name":"rate","argTypes":["matrix"],"returnType":"vector","variadic":0})"));
  EXPECT_EQ(tree["args"][0]["range"], 300'000);
}

TEST_F(PrometheusApiTest, StatisticsOnlyOnDemand) {
  EXPECT_FALSE(Data(Get("/api/v1/query", {{"query", "requests_total"}})).contains("stats"));
  base::Json stats = Data(Get("/api/v1/query", {{"query", "rate(requests_total[10s])"}, {"stats", "all"}}))["stats"];
  EXPECT_EQ(stats["samples"]["samplesRead"], 20);
  EXPECT_GT(stats["timings"]["execTotalTime"], 0.0);
}

TEST_F(PrometheusApiTest, LimitCutsAndSaysSo) {
  http::Response response = Get("/api/v1/query", {{"query", "requests_total"}, {"limit", "1"}});
  EXPECT_EQ(Data(response)["result"].size(), 1u);
  EXPECT_EQ(base::Json::parse(response.body)["warnings"], base::Json::parse(R"(["results truncated due to limit"])"));
}

TEST_F(PrometheusApiTest, ShowsTenAnnotationsOfAKind) {
  std::string query = "quantile(2, requests_total)";
  for (int i = 3; i < 15; ++i) query += " or quantile(" + std::to_string(i) + ", requests_total)";
  base::Json warnings = base::Json::parse(Get("/api/v1/query", {{"query", query}}).body)["warnings"];
  ASSERT_EQ(warnings.size(), 11u);
  EXPECT_EQ(warnings[10], "3 more warning annotations omitted");
}

TEST_F(PrometheusApiTest, ARequestMayNarrowTheTimeoutAndTheLookback) {
  EXPECT_EQ(Data(Get("/api/v1/query", {{"query", "odd"}, {"time", "90"}, {"lookback_delta", "10s"}}))["result"].size(),
            0u);
  EXPECT_EQ(Get("/api/v1/query", {{"query", "odd"}, {"timeout", "x"}}).status, 400);
}

TEST_F(PrometheusApiTest, AQueryEndsWhenItsClientIsGone) {
  http::ServerRequest request;
  request.method = "GET";
  request.path = "/api/v1/query";
  request.query = {{"query", "requests_total"}};
  request.client_gone = std::make_shared<const std::atomic<bool>>(true);
  http::Response response = api_.Handle(request);
  EXPECT_EQ(response.status, 499);
  EXPECT_EQ(base::Json::parse(response.body)["errorType"], "canceled");
}

struct ErrorCase {
  const char* path;
  http::QueryParams query;
  int status;
  const char* type;
};

TEST_F(PrometheusApiTest, ErrorsCarryPrometheusCodes) {
  for (const ErrorCase& row :
       {ErrorCase{"/api/v1/query", {{"query", "sum("}}, 400, "bad_data"},
        ErrorCase{"/api/v1/query", {{"query", "1"}, {"time", "yesterday"}}, 400, "bad_data"},
        ErrorCase{
            "/api/v1/query_range", {{"query", "1"}, {"start", "0"}, {"end", "9"}, {"step", "0"}}, 400, "bad_data"},
        ErrorCase{
            "/api/v1/query_range", {{"query", "1"}, {"start", "9"}, {"end", "0"}, {"step", "1"}}, 400, "bad_data"},
        ErrorCase{
            "/api/v1/query_range", {{"query", "1"}, {"start", "0"}, {"end", "11001"}, {"step", "1"}}, 400, "bad_data"},
        ErrorCase{"/api/v1/query", {{"query", "requests_total + on() requests_total"}}, 422, "execution"},
        ErrorCase{"/api/v1/series", {}, 400, "bad_data"},
        ErrorCase{"/api/v1/series", {{"match[]", "{"}}, 400, "bad_data"},
        ErrorCase{"/api/v1/label/pod", {}, 404, "not_found"}}) {
    http::Response response = Get(row.path, row.query);
    EXPECT_EQ(response.status, row.status) << row.path << " " << response.body;
    base::Json body = base::Json::parse(response.body);
    EXPECT_EQ(body["status"], "error");
    EXPECT_EQ(body["errorType"], row.type) << response.body;
    EXPECT_NE(body["error"], "");
  }
}

}  // namespace
}  // namespace tidewright::web
