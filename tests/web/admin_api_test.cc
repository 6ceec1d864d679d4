#include "web/admin_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/json.h"
#include "tests/tsdb/store.h"

namespace tidewright::web {
namespace {

using testing::ElementsAre;
using tsdb::testing::ReadAll;

class AdminApiTest : public testing::Test {
 protected:
  AdminApiTest() {
    auto appender = db_->NewAppender();
    for (const char* job : {"a", "b"}) {
      EXPECT_TRUE(appender->Append(0, tsdb::Labels::Of({{"__name__", "up"}, {"job", job}}), kNow, 1).ok());
    }
    EXPECT_TRUE(appender->Commit().ok());
  }

  http::Response Post(const std::string& action, const http::QueryParams& query, const std::string& method = "POST") {
    http::ServerRequest request;
    request.method = method;
    request.path = "/api/v1/admin/tsdb/" + action;
    request.query = query;
    return api_.Handle(request);
  }

  static constexpr int64_t kNow = 1'700'000'000'000;
  base::TempDir directory_ = tsdb::testing::FastTempDir("tidewright-admin");
  base::FakeClock clock_{kNow};
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open(directory_.path(), {}, clock_, nullptr);
  AdminApi api_{*db_, directory_.path(), clock_};
};

TEST_F(AdminApiTest, MakesSnapshotsThatAreStores) {
  http::Response response = Post("snapshot", {});
  ASSERT_EQ(response.status, 200) << response.body;
  const std::string name = base::Json::parse(response.body)["data"]["name"];
  EXPECT_EQ(name.rfind("20231114T221320Z-", 0), 0u) << name;
  auto copy = tsdb::Db::Open(directory_.path() + "/snapshots/" + name, {}, clock_, nullptr);
  ASSERT_TRUE(copy.ok()) << copy.status().ToString();
  EXPECT_EQ(ReadAll(**copy), ReadAll(*db_));
  EXPECT_EQ(Post("snapshot", {{"skip_head", "true"}}, "PUT").status, 200);
  EXPECT_EQ(Post("snapshot", {{"skip_head", "perhaps"}}).status, 400);
}

TEST_F(AdminApiTest, DeletesSeries) {
  EXPECT_EQ(Post("delete_series", {{"match[]", "up{job=\"a\"}"}, {"start", "0"}}).status, 204);
  EXPECT_THAT(ReadAll(*db_), ElementsAre(testing::Pair("up{job=\"b\"}", ElementsAre(std::to_string(kNow) + "=1"))));
  EXPECT_EQ(Post("clean_tombstones", {}).status, 204);
  EXPECT_EQ(Post("delete_series", {}).status, 400);
  EXPECT_EQ(Post("delete_series", {{"match[]", "up{"}}).status, 400);
  EXPECT_EQ(Post("delete_series", {{"match[]", "up"}, {"end", "soon"}}).status, 400);
  EXPECT_EQ(Post("delete_series", {{"match[]", "up"}}, "GET").status, 405);
  EXPECT_EQ(Post("defragment", {}).status, 404);
}

}  // namespace
}  // namespace tidewright::web
