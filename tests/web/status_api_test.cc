// /api/v1/status/...: the head's statistics, blocks, notifications.
#include "web/status_api.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"

namespace tidewright::web {
namespace {

using base::Json;

class StatusApiTest : public testing::Test {
 protected:
  void SetUp() override {
    auto appender = db_->NewAppender();
    for (const char* pod : {"a", "b", "c"}) {
      for (const char* metric : {"up", "down"}) {
        if (std::string(metric) == "down" && *pod == 'c') continue;
        auto labels = tsdb::Labels::Of({{"__name__", metric}, {"job", "node"}, {"pod", pod}});
        ASSERT_TRUE(appender->Append(0, labels, 1'000'000, 1).ok());
      }
    }
    ASSERT_TRUE(appender->Commit().ok());
  }
  Json Get(const std::string& path, const http::QueryParams& query = {}) {
    StatusSources sources;
    sources.clock = &clock_;
    sources.db = db_.get();
    sources.data_directory = directory_.path();
    sources.notifications = [] { return Json::parse(R"([{"text": "rules.yml: broken"}])"); };
    sources.runtime = [] { return RuntimeStatus{1000, false, 2000, "15d or 10GiB"}; };
    StatusApi api(std::move(sources));
    http::ServerRequest request;
    request.method = "GET";
    request.path = "/api/v1/" + path;
    request.query = query;
    EXPECT_TRUE(api.Handles(request.path)) << path;
    return Json::parse(api.Handle(request).body);
  }
  base::FakeClock clock_{1'000'000};
  base::TempDir directory_ = *base::TempDir::Create("status-api");
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open(directory_.path(), {}, clock_, nullptr);
};

TEST_F(StatusApiTest, CountsTheHead) {
  Json data = Get("status/tsdb")["data"];
  EXPECT_EQ(data["headStats"]["numSeries"], 5);
  EXPECT_EQ(data["headStats"]["numLabelPairs"], 6);
  EXPECT_EQ(data["seriesCountByMetricName"], Json::parse(R"([{"name":"up","value":3},{"name":"down","value":2}])"));
  EXPECT_EQ(data["labelValueCountByLabelName"][0], Json::parse(R"({"name":"pod","value":3})"));
  EXPECT_EQ(data["memoryInBytesByLabelName"][0], Json::parse(R"({"name":"__name__","value":6})"));
  EXPECT_EQ(data["seriesCountByLabelValuePair"][0], Json::parse(R"({"name":"job=node","value":5})"));
  EXPECT_EQ(Get("status/tsdb", {{"limit", "1"}})["data"]["seriesCountByMetricName"].size(), 1u);
  EXPECT_EQ(Get("status/tsdb", {{"limit", "x"}})["errorType"], "bad_data");
}

TEST_F(StatusApiTest, ListsBlocks) {
  EXPECT_EQ(Get("status/tsdb/blocks")["data"]["blocks"], Json::array());
  ASSERT_TRUE(db_->Close().ok());
  Json blocks = Get("status/tsdb/blocks")["data"]["blocks"];
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(blocks[0]["stats"]["numSeries"], 5);
}

TEST_F(StatusApiTest, TellsOfReloadsAndProblems) {
  Json info = Get("status/runtimeinfo")["data"];
  EXPECT_EQ(info["reloadConfigSuccess"], false);
  EXPECT_EQ(info["storageRetention"], "15d or 10GiB");
  EXPECT_EQ(info["lastConfigTime"], "1970-01-01T00:00:02Z");
  EXPECT_EQ(Get("notifications")["data"][0]["text"], "rules.yml: broken");
}

}  // namespace
}  // namespace tidewright::web
