// /api/v1/targets, /scrape_pools and /metadata against the answers of Prometheus 3.14 (conformance/http-api).
#include "web/targets_api.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "tsdb/db.h"

namespace tidewright::web {
namespace {

using base::Json;

std::string DataPath(const std::string& file) {
  const char* folder = std::getenv("CONFORMANCE_DIR");
  return (folder != nullptr ? std::string(folder) : std::string(TIDEWRIGHT_SOURCE_DIR) + "/../shared/conformance") +
         "/http-api/" + file;
}

// One target that exposes `body`, and nothing else that answers.
class OneTarget : public http::Client {
 public:
  explicit OneTarget(std::string body) : body_(std::move(body)) {}
  base::Result<http::Response> Send(const http::ClientRequest&, http::CancelToken*) override {
    return base::UnimplementedError("not used by the scraper");
  }
  base::Status Stream(const http::ClientRequest&, const http::StreamHandler&, http::CancelToken*) override {
    return base::UnimplementedError("not used by the scraper");
  }
  void SendAsync(http::ClientRequest request, std::function<void(base::Result<http::Response>)> done) override {
    if (request.url != "http://127.0.0.1:19100/metrics") return done(base::UnavailableError("connection refused"));
    done(http::Response{200, {{"Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8"}}, body_});
  }

 private:
  const std::string body_;
};

class TargetsApiTest : public ::testing::Test {
 protected:
  TargetsApiTest()
      : manager_(*db_, clock_, scheduler_, nullptr, nullptr,
                 [this](const http::ClientOptions&) -> base::Result<std::unique_ptr<http::Client>> {
                   return std::unique_ptr<http::Client>(std::make_unique<OneTarget>(body_));
                 }) {}
  ~TargetsApiTest() override {
    manager_.Stop();
    scheduler_.Stop();
  }

  // Scrapes every target of the recorded server once.
  void Start(const std::string& yaml, const std::string& body) {
    body_ = body;
    auto config = scrape::ParseConfig(yaml, "prometheus.yml");
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    ASSERT_TRUE(manager_.ApplyConfig(*config).ok());
    manager_.Start();
    const int64_t deadline = base::MonotonicNanos() + 20'000'000'000;
    clock_.Advance(1000);
    auto scraped = [this] {
      auto targets = manager_.Targets().active;
      return std::all_of(targets.begin(), targets.end(),
                         [](const auto& target) { return target.state.last_scrape_ms > 0; });
    };
    while (!scraped() && base::MonotonicNanos() < deadline) base::SystemClock::Get().SleepFor(5, never_);
    ASSERT_TRUE(scraped());
  }

  http::Response Get(const std::string& path, const http::QueryParams& query = {}) {
    http::ServerRequest request;
    request.method = "GET";
    request.path = path;
    request.query = query;
    EXPECT_TRUE(TargetsApi::Handles(path)) << path;
    return api_.Handle(request);
  }
  Json Data(const http::Response& response) {
    EXPECT_EQ(response.status, 200) << response.body;
    return base::ParseJson(response.body).value()["data"];
  }

  base::StopSignal never_;
  base::FakeClock clock_{1'700'000'000'000};
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  std::string body_;
  scrape::Manager manager_;
  TargetsApi api_{manager_, *db_};
};

// Without what differs from run to run, or by design: times, texts of errors, the host of the global URL, our reasons.
Json Comparable(Json json) {
  if (json.is_object() && json.contains("error")) json["error"] = "";
  Json& data = json["data"];
  if (!data.is_object() || !data.contains("activeTargets")) return json;
  for (Json& target : data["activeTargets"]) {
    for (const char* field : {"lastScrape", "lastScrapeDuration", "globalUrl"}) target[field] = "";
    target["lastError"] = target["lastError"] != "";
  }
  for (Json& target : data["droppedTargets"]) target.erase("reason");
  std::sort(data["activeTargets"].begin(), data["activeTargets"].end());
  return json;
}

TEST_F(TargetsApiTest, AnswersAsTheReferenceDoes) {
  auto text = base::ReadFile(DataPath("responses.json"));
  if (!text.ok()) GTEST_SKIP() << "conformance data is not here";
  Start(*base::ReadFile(DataPath("prometheus.yml")), *base::ReadFile(DataPath("exposition.txt")));
  const Json document = *base::ParseJson(*text);
  // Decided otherwise: the limit of target metadata is exact, instead of being looked at once per target.
  const std::set<std::string> other = {"target metadata by target", "limit 1"};
  int passed = 0, total = 0;
  for (const Json& test : document["cases"]) {
    if (test["setup"] != "main" || (test["group"] != "targets" && test["group"] != "metadata")) continue;
    const std::string path = test["request"]["path"];
    if (!TargetsApi::Handles(path)) continue;
    http::QueryParams query;
    for (const Json& pair : test["request"].value("query", Json::array())) query.emplace_back(pair[0], pair[1]);
    http::Response response = Get(path, query);
    ++total;
    const Json expected = Comparable(test["response"]["json"]), actual = Comparable(*base::ParseJson(response.body));
    const bool same = response.status == test["response"]["status"] && actual == expected;
    passed += same ? 1 : 0;
    if (same || other.count(test["name"]) > 0) continue;
    ADD_FAILURE() << test["name"] << ": " << response.status << " " << actual.dump() << "\n  not " << expected.dump();
  }
  std::cerr << "[ COUNT    ] http-api targets and metadata: " << passed << " of " << total << " pass\n";
  EXPECT_GE(passed, total - static_cast<int>(other.size()));
}

TEST_F(TargetsApiTest, SaysWhyTargetsWereDropped) {
  Start(
      "scrape_configs:\n- job_name: app\n  scrape_interval: 1s\n"
      "  static_configs: [{targets: ['127.0.0.1:19100', 'h:1', 'h:2']}]\n  relabel_configs:\n"
      "  - {source_labels: [__address__], regex: 'h:1', action: drop}\n"
      "  - {source_labels: [__address__], regex: 'h:2', target_label: __scrape_timeout__, replacement: 2s}\n",
      "a 1\n# EOF\n");
  Json dropped = Data(Get("/api/v1/targets", {{"state", "dropped"}}))["droppedTargets"];
  ASSERT_EQ(dropped.size(), 2u);
  EXPECT_EQ(dropped[0]["reason"], "relabel_configs[0] (action drop)");
  EXPECT_EQ(dropped[1]["reason"], "the scrape timeout of 2s is longer than the interval of 1s");
}

TEST_F(TargetsApiTest, LimitsAreExact) {
  Start("scrape_configs:\n- {job_name: app, scrape_interval: 1s, static_configs: [{targets: ['127.0.0.1:19100']}]}\n",
        "# TYPE a counter\na_total 1\n# TYPE b gauge\nb 1\n# TYPE c gauge\nc 1\n# EOF\n");
  EXPECT_EQ(Data(Get("/api/v1/targets/metadata", {{"limit", "2"}})).size(), 2u);
  EXPECT_EQ(Data(Get("/api/v1/metadata", {{"limit", "1"}})),
            Json::parse(R"({"a": [{"type": "counter", "help": "", "unit": ""}]})"));
}

}  // namespace
}  // namespace tidewright::web
