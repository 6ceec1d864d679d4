#include "web/admin_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "tsdb/db.h"

namespace tidewright::web {
namespace {

using ::testing::HasSubstr;

class AdminApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int64_t t = 1; t <= 3; ++t) {
      auto appender = db_->NewAppender();
      for (const char* pod : {"a", "b"}) {
        ASSERT_TRUE(appender->Append(0, tsdb::Labels::Of({{"__name__", "m"}, {"pod", pod}}), t * 1000, 1).ok());
      }
      ASSERT_TRUE(appender->Commit().ok());
    }
  }

  http::Response Send(AdminApi& api, const std::string& path, const http::QueryParams& query,
                      const std::string& method = "POST") {
    http::ServerRequest request;
    request.method = method;
    request.path = "/api/v1/admin/tsdb/" + path;
    request.query = query;
    EXPECT_TRUE(AdminApi::Handles(request.path));
    return api.Handle(request);
  }
  size_t Samples() {
    size_t samples = 0;
    auto querier = *db_->NewQuerier(INT64_MIN, INT64_MAX);
    auto selected = querier->Select({}, {});
    for (const auto& series : *selected) {
      for (auto it = series->Iterator(); it->Next();) ++samples;
    }
    return samples;
  }

  base::TempDir directory_ = *base::TempDir::Create("admin-api");
  base::FakeClock clock_{5000};
  const std::string data_ = directory_.path() + "/data";
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open(data_, {}, clock_, nullptr);
  AdminApi api_{db_.get(), data_, clock_};
};

TEST_F(AdminApiTest, IsOffUnlessSwitchedOn) {
  AdminApi off(nullptr, data_, clock_);
  for (const char* path : {"snapshot", "delete_series", "clean_tombstones"}) {
    http::Response response = Send(off, path, {{"match[]", "m"}});
    EXPECT_EQ(response.status, 500) << "as Prometheus answers";
    EXPECT_THAT(response.body, HasSubstr("admin APIs disabled"));
    EXPECT_EQ(Send(api_, path, {{"match[]", "m"}}, "GET").status, 405);
  }
  EXPECT_EQ(Send(api_, "format_disk", {}).status, 404);
  EXPECT_EQ(Samples(), 6u);
}

TEST_F(AdminApiTest, Deletes) {
  EXPECT_EQ(Send(api_, "delete_series", {}).status, 400);
  EXPECT_EQ(Send(api_, "delete_series", {{"match[]", "{"}}).status, 400);
  EXPECT_EQ(Send(api_, "delete_series", {{"match[]", "m"}, {"start", "soon"}}).status, 400);
  EXPECT_EQ(Samples(), 6u);
  EXPECT_EQ(Send(api_, "delete_series", {{"match[]", "{pod=\"a\"}"}, {"start", "2"}, {"end", "2"}}).status, 204);
  EXPECT_EQ(Samples(), 5u);
  EXPECT_EQ(Send(api_, "delete_series", {{"match[]", "{pod=\"a\"}"}, {"match[]", "{pod=\"b\"}"}}, "PUT").status, 204);
  EXPECT_EQ(Samples(), 0u);
  EXPECT_GT(db_->Stats().blocks, 0u);
  EXPECT_EQ(Send(api_, "clean_tombstones", {}).status, 204);
  EXPECT_EQ(db_->Stats().blocks, 0u) << "nothing is left of it";
}

TEST_F(AdminApiTest, Snapshots) {
  EXPECT_EQ(Send(api_, "snapshot", {{"skip_head", "perhaps"}}).status, 400);
  const base::Json reply = base::Json::parse(Send(api_, "snapshot", {}).body);
  EXPECT_EQ(reply["status"], "success");
  const std::string name = reply["data"]["name"];
  EXPECT_EQ(name.rfind("19700101T000005.000Z-", 0), 0u) << name;
  auto copy = tsdb::Db::Open(data_ + "/snapshots/" + name, {}, clock_, nullptr);
  ASSERT_TRUE(copy.ok()) << copy.status().ToString();
  EXPECT_EQ((*copy)->Stats().blocks, 1u);
  const base::Json without = base::Json::parse(Send(api_, "snapshot", {{"skip_head", "true"}}).body);
  EXPECT_NE(without["data"]["name"], reply["data"]["name"]);
}

}  // namespace
}  // namespace tidewright::web
