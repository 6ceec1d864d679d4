// What a Thanos sidecar asks the Prometheus beside it, call by call, and what it makes of the answers.
// Source: Thanos 0.43's cmd/thanos/sidecar.go, pkg/promclient and pkg/store/prometheus.go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/client.h"
#include "tests/eventually.h"

namespace tidewright {
namespace {

using base::Json;
using ::testing::HasSubstr;

class ThanosSidecarTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new base::TempDir(*base::TempDir::Create("tidewright-thanos"));
    http_ = (*http::NewCurlClient({})).release();
    ours_ = new std::string("http://127.0.0.1:" + std::to_string(*base::FreePort()));
    const std::string config = R"(
global: {scrape_interval: 200ms, scrape_timeout: 200ms, external_labels: {cluster: eu-1, replica: one}}
rule_files: [rules.yml]
scrape_configs:
- job_name: itself
  static_configs: [{targets: [')" +
                               ours_->substr(7) + "']}]\n";
    ASSERT_TRUE(base::WriteFileAtomic(folder_->path() + "/prometheus.yml", config).ok());
    ASSERT_TRUE(base::WriteFileAtomic(folder_->path() + "/rules.yml",
                                      "groups:\n- name: one\n  rules:\n  - {alert: Down, expr: up == 0}\n")
                    .ok());
    auto program = base::Subprocess::Start(
        {TIDEWRIGHT_BINARY, "run", "--kubernetes=false", "--config.file", folder_->path() + "/prometheus.yml",
         "--storage.tsdb.path", folder_->path() + "/data", "--storage.tsdb.max-block-duration=2h",
         "--web.enable-admin-api", "--web.address", "127.0.0.1", "--web.port", ours_->substr(ours_->rfind(':') + 1)},
        folder_->path() + "/log");
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    program_ = new base::Subprocess(*std::move(program));
    ASSERT_TRUE(Eventually([] {
      const Json answer = Get("/api/v1/query?query=up");
      return answer.is_object() && !answer["data"]["result"].empty();
    })) << base::ReadFile(folder_->path() + "/log").value();
  }
  static void TearDownTestSuite() {
    delete program_;
    delete http_;
    delete ours_;
    delete folder_;
  }

  static base::Result<http::Response> Send(http::ClientRequest request) {
    request.url = *ours_ + request.url;
    return http_->Send(request);
  }
  static std::string Text(const std::string& path) {
    http::ClientRequest request;
    request.url = path;
    auto response = Send(request);
    return response.ok() && response->status == 200 ? response->body : "";
  }
  static Json Get(const std::string& path) {
    auto answer = base::ParseJson(Text(path));
    return answer.ok() ? *answer : Json();
  }

  static base::TempDir* folder_;
  static http::Client* http_;
  static std::string* ours_;
  static base::Subprocess* program_;
};

base::TempDir* ThanosSidecarTest::folder_ = nullptr;
http::Client* ThanosSidecarTest::http_ = nullptr;
std::string* ThanosSidecarTest::ours_ = nullptr;
base::Subprocess* ThanosSidecarTest::program_ = nullptr;

// It wants all flags as texts, and the two lengths alike; an empty duration would be an error.
TEST_F(ThanosSidecarTest, FlagsSayThatBlocksAreNotMerged) {
  const Json flags = Get("/api/v1/status/flags")["data"];
  ASSERT_TRUE(flags.is_object());
  EXPECT_EQ(flags.value("storage.tsdb.min-block-duration", ""), "2h");
  EXPECT_EQ(flags.value("storage.tsdb.max-block-duration", ""), "2h");
  EXPECT_EQ(flags.value("storage.tsdb.path", ""), folder_->path() + "/data");
  EXPECT_EQ(flags.value("web.enable-admin-api", ""), "true");
  EXPECT_EQ(flags.value("web.enable-lifecycle", ""), "false");
  EXPECT_FALSE(flags.contains("storage.tsdb.delay-compact-file.path"));
  EXPECT_NE(flags.value("storage.tsdb.retention", "1d"), "");
}

// It reads global.external_labels of the configuration, each half minute.
TEST_F(ThanosSidecarTest, ConfigurationHasTheExternalLabels) {
  const std::string yaml = Get("/api/v1/status/config")["data"]["yaml"];
  EXPECT_THAT(yaml, HasSubstr("global:\n"));
  EXPECT_THAT(yaml, HasSubstr("  external_labels:\n    cluster: eu-1\n    replica: one\n"));
}

TEST_F(ThanosSidecarTest, TellsItsVersionAndItsOldestTime) {
  const std::string version = Get("/api/v1/status/buildinfo")["data"]["version"];
  EXPECT_EQ(version.substr(0, 2), "3.");
  EXPECT_THAT(Text("/metrics"), HasSubstr("\n# TYPE prometheus_tsdb_lowest_timestamp_seconds gauge\n"
                                          "prometheus_tsdb_lowest_timestamp_seconds "));
}

// The calls that it makes for others, with the parameters that it gives.
TEST_F(ThanosSidecarTest, AnswersWhatItPassesOn) {
  struct Call {
    const char* name;
    const char* path;
    const char* member;  // Of the data, that is not empty; "": the data itself.
  };
  const Call calls[] = {
      {"series", "/api/v1/series?match%5B%5D=%7B__name__%3D%22up%22%7D&start=-62135596800&end=9223372036&limit=5", ""},
      {"series with a fraction", "/api/v1/series?match%5B%5D=up&start=0.001&end=4102444800.123", ""},
      {"label names", "/api/v1/labels?start=0&end=4102444800&match%5B%5D=%7Bjob%3D%22itself%22%7D&limit=3", ""},
      {"label values", "/api/v1/label/job/values?start=0&end=4102444800&match%5B%5D=up", ""},
      {"rules", "/api/v1/rules?type=alert", "groups"},
      {"metadata", "/api/v1/metadata?metric=tidewright_tsdb_series&limit=10", ""},
      {"targets", "/api/v1/targets?state=active", "activeTargets"},
      {"statistics", "/api/v1/status/tsdb?limit=3", "headStats"},
      {"query", "/api/v1/query?query=up&time=2100-01-01T00%3A00%3A00.000Z&dedup=true&partial_response=true",
       "resultType"},
  };
  for (const Call& call : calls) {
    SCOPED_TRACE(call.name);
    const Json answer = Get(call.path);
    ASSERT_TRUE(answer.is_object());
    EXPECT_EQ(answer.value("status", ""), "success");
    const Json data = *call.member == '\0' ? answer["data"] : answer["data"][call.member];
    EXPECT_FALSE(data.empty()) << answer.dump();
  }
  EXPECT_EQ(Get("/api/v1/alerts").value("status", ""), "success");
  EXPECT_EQ(Get("/api/v1/query_exemplars?query=up&start=0&end=4102444800").value("status", ""), "success");
}

TEST_F(ThanosSidecarTest, MakesASnapshotOfBlocksAsPrometheusWritesThem) {
  http::ClientRequest request;
  request.method = "POST";
  request.url = "/api/v1/admin/tsdb/snapshot";
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
  request.body = "skip_head=false";
  auto response = Send(request);
  ASSERT_TRUE(response.ok());
  ASSERT_EQ(response->status, 200) << response->body;
  const std::string name = (*base::ParseJson(response->body))["data"]["name"];
  size_t blocks = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_->path() + "/data/snapshots/" + name)) {
    auto text = base::ReadFile(entry.path().string() + "/meta.json");
    if (!text.ok()) continue;
    ++blocks;
    const Json meta = *base::ParseJson(*text);
    EXPECT_EQ(meta["compaction"]["level"], 1);
    EXPECT_EQ(meta["ulid"], entry.path().filename().string());
    EXPECT_EQ(meta["version"], 1);
    EXPECT_FALSE(meta.contains("thanos")) << "the sidecar adds this section itself";
  }
  EXPECT_GT(blocks, 0u);
}

}  // namespace
}  // namespace tidewright
