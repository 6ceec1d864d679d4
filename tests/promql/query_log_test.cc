#include "promql/query_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "tests/promql/memory_storage.h"

namespace tidewright::promql {
namespace {

class QueryLogTest : public ::testing::Test {
 protected:
  QueryLogTest() : clock_(1'700'000'000'123) {
    path_ = directory_.path() + "/queries.log";
    EngineOptions options;
    options.clock = &clock_;
    engine_ = NewEmbeddedEngine(storage_, options, &metrics_);
  }

  std::vector<base::Json> Lines() const {
    std::vector<base::Json> lines;
    std::string text = *base::ReadFile(path_);
    for (size_t at = 0; at < text.size();) {
      size_t end = text.find('\n', at);
      lines.push_back(base::Json::parse(text.substr(at, end - at)));
      at = end + 1;
    }
    return lines;
  }

  base::FakeClock clock_;
  base::MetricRegistry metrics_;
  MemoryStorage storage_;
  base::TempDir directory_ = std::move(base::TempDir::Create("query-log")).value();
  std::string path_;
  std::unique_ptr<QueryEngine> engine_;
};

TEST_F(QueryLogTest, LinesAreAsPrometheusWritesThem) {
  storage_.Add(Labels::Of({{"__name__", "up"}}), 1000, {1, 1, 1});
  ASSERT_TRUE(engine_->SetQueryLog(path_).ok());
  QueryOrigin http{"127.0.0.1", "GET", "/api/v1/query", "", ""};
  QueryOrigin rule{"", "", "", "r.yml", "g1"};
  ASSERT_TRUE(engine_->Evaluate({.expr = "up + 1", .start_ms = 1500, .end_ms = 1500, .origin = &http}).ok());
  ASSERT_TRUE(
      engine_->Evaluate({.expr = "up", .start_ms = 0, .end_ms = 60'000, .step_ms = 15'000, .origin = &rule}).ok());
  ASSERT_FALSE(engine_->Instant("\"a\" + 1", 0).ok());

  auto lines = Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["time"], "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(lines[0]["level"], "INFO");
  EXPECT_EQ(lines[0]["msg"], "promql query logged");
  EXPECT_EQ(lines[0]["params"], base::Json::parse(R"({"end":"1970-01-01T00:00:01.500Z","query":"up + 1",)"
                                                  R"("start":"1970-01-01T00:00:01.500Z","step":0})"));
  EXPECT_EQ(lines[0]["httpRequest"],
            base::Json::parse(R"({"clientIP":"127.0.0.1","method":"GET","path":"/api/v1/query"})"));
  for (const char* timing :
       {"evalTotalTime", "resultSortTime", "queryPreparationTime", "innerEvalTime", "execQueueTime", "execTotalTime"}) {
    EXPECT_TRUE(lines[0]["stats"]["timings"][timing].is_number()) << timing;
  }
  EXPECT_EQ(lines[0]["stats"]["samples"]["totalQueryableSamples"], 2);
  EXPECT_EQ(lines[1]["params"]["step"], 15);
  EXPECT_EQ(lines[1]["params"]["end"], "1970-01-01T00:01:00.000Z");
  EXPECT_EQ(lines[1]["ruleGroup"], base::Json::parse(R"({"file":"r.yml","name":"g1"})"));
  EXPECT_NE(lines[2]["error"].get<std::string>().find("parse error"), std::string::npos) << lines[2];
}

TEST_F(QueryLogTest, FilesComeAndGo) {
  ASSERT_TRUE(engine_->SetQueryLog(path_).ok());
  EXPECT_NE(metrics_.Render().find("prometheus_engine_query_log_enabled 1"), std::string::npos);
  ASSERT_TRUE(engine_->Instant("1", 0).ok());
  base::Status wrong = engine_->SetQueryLog(directory_.path() + "/none/q.log");
  EXPECT_EQ(wrong.code(), base::Code::kInvalidArgument);
  EXPECT_NE(wrong.message().find("query_log_file " + directory_.path() + "/none/q.log"), std::string::npos);
  ASSERT_TRUE(engine_->Instant("2", 0).ok());
  EXPECT_EQ(Lines().size(), 2u) << "an unusable file leaves the one before";
  std::filesystem::rename(path_, path_ + ".1");
  ASSERT_TRUE(engine_->SetQueryLog(path_).ok());
  ASSERT_TRUE(engine_->Instant("3", 0).ok());
  EXPECT_EQ(Lines().size(), 1u) << "after a rotation";
  ASSERT_TRUE(engine_->SetQueryLog("").ok());
  ASSERT_TRUE(engine_->Instant("4", 0).ok());
  EXPECT_EQ(Lines().size(), 1u);
  EXPECT_NE(metrics_.Render().find("prometheus_engine_query_log_enabled 0"), std::string::npos);
}

}  // namespace
}  // namespace tidewright::promql
