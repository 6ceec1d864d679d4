// /api/v1/rules in pages and through filters.
#include "web/rules_api.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "tsdb/db.h"

namespace tidewright::web {
namespace {

using base::Json;

class RulesApiTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string file = directory_.path() + "/rules.yml";
    ASSERT_TRUE(base::WriteFileAtomic(file,
                                      "groups:\n"
                                      "- {name: one, rules: [{record: r, expr: 'sum(up) by(job)'}]}\n"
                                      "- {name: two, rules: [{alert: A, expr: up == 0, labels: {team: x}}]}\n"
                                      "- {name: three, rules: [{alert: B, expr: up == 0, for: 5m}]}\n")
                    .ok());
    ASSERT_TRUE(manager_.Load({file}).ok());
  }
  ~RulesApiTest() override {
    manager_.Stop();
    scheduler_.Stop();
  }
  Json Get(const http::QueryParams& query) {
    http::ServerRequest request;
    request.method = "GET";
    request.path = "/api/v1/rules";
    request.query = query;
    return Json::parse(RulesApi(&manager_, {}).Handle(request).body);
  }
  static std::vector<std::string> Names(const Json& reply) {
    std::vector<std::string> names;
    for (const Json& group : reply["data"]["groups"]) names.push_back(group["name"]);
    return names;
  }

  base::TempDir directory_ = *base::TempDir::Create("rules-api");
  base::FakeClock clock_{1'000'000};
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  std::unique_ptr<promql::QueryEngine> engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
  base::ThreadPool pool_{"test", 1};
  base::Scheduler scheduler_{clock_, pool_};
  rules::Manager manager_{*engine_, *db_, clock_, scheduler_, nullptr};
};

using Strings = std::vector<std::string>;

TEST_F(RulesApiTest, Filters) {
  EXPECT_EQ(Names(Get({})), (Strings{"one", "two", "three"}));
  EXPECT_EQ(Names(Get({{"type", "alert"}})), (Strings{"two", "three"}));
  EXPECT_EQ(Names(Get({{"type", "record"}})), (Strings{"one"}));
  EXPECT_EQ(Names(Get({{"rule_name[]", "A"}, {"rule_name[]", "r"}})), (Strings{"one", "two"}));
  EXPECT_EQ(Names(Get({{"rule_group[]", "three"}})), (Strings{"three"}));
  EXPECT_EQ(Names(Get({{"file[]", "other.yml"}})), Strings{});
  EXPECT_EQ(Names(Get({{"match[]", "{team=\"x\"}"}})), (Strings{"two"}));
  const Json rule = Get({{"type", "record"}})["data"]["groups"][0]["rules"][0];
  EXPECT_EQ(rule["query"], "sum by (job) (up)");
  EXPECT_EQ(rule["health"], "unknown");
}

TEST_F(RulesApiTest, Pages) {
  Json page = Get({{"group_limit", "2"}});
  EXPECT_EQ(Names(page), (Strings{"one", "two"}));
  const std::string token = page["data"]["groupNextToken"];
  page = Get({{"group_limit", "2"}, {"group_next_token", token}});
  EXPECT_EQ(Names(page), (Strings{"three"}));
  EXPECT_FALSE(page["data"].contains("groupNextToken"));
  EXPECT_EQ(Get({{"group_limit", "2"}, {"group_next_token", "x"}})["errorType"], "bad_data");
  EXPECT_EQ(Get({{"group_next_token", token}})["errorType"], "bad_data");
}

}  // namespace
}  // namespace tidewright::web
