// The query part of the HTTP API against recorded answers of Prometheus: status, kind of error, result, annotations.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "promqltest/notation.h"
#include "tsdb/db.h"
#include "web/prometheus_api.h"

namespace tidewright::web {
namespace {

constexpr int64_t kFirstMs = 1'704'067'200'000;
constexpr int64_t kIntervalMs = 60'000;

base::Result<std::string> ReadConformance(const std::string& file) {
  const char* dir = std::getenv("CONFORMANCE_DIR");
  std::string root = dir != nullptr ? dir : std::string(TIDEWRIGHT_SOURCE_DIR) + "/../shared/conformance";
  return base::ReadFile(root + "/http-api/" + file);
}

// What is answered otherwise on purpose, and why.
const std::map<std::string, std::string>& Exceptions() {
  static const std::map<std::string, std::string> kExceptions = {
      {"time huge", "a time beyond all calendars is refused; the reference takes it for 0"},
      {"time NaN", "no time; the reference takes it for its earliest one"},
      {"time Inf", "no time; the reference takes it for its earliest one"},
      {"sub-millisecond step", "refused as a bad parameter; the reference divides by zero"},
  };
  return kExceptions;
}

class HttpApi : public testing::Test {
 protected:
  void Load(const std::string& dataset) {
    std::map<int64_t, std::unique_ptr<tsdb::Appender>> appenders;
    for (const std::string& text : base::Split(dataset, '\n')) {
      if (base::TrimSpace(text).empty()) continue;
      auto line = promqltest::ParseSeriesLine(base::TrimSpace(text));
      ASSERT_TRUE(line.ok()) << text << line.status().message();
      for (size_t i = 0; i < line->items.size(); ++i) {
        const promqltest::Item& item = line->items[i];
        if (item.kind == promqltest::Item::Kind::kNone) continue;
        int64_t t = kFirstMs + static_cast<int64_t>(i) * kIntervalMs;
        auto& appender = appenders[t];
        if (appender == nullptr) appender = db_->NewAppender();
        auto ref = item.histogram == nullptr ? appender->Append(0, line->labels, t, item.value)
                                             : appender->AppendFloatHistogram(0, line->labels, t, *item.histogram);
        ASSERT_TRUE(ref.ok()) << text << ref.status().message();
      }
    }
    for (auto& [t, appender] : appenders) ASSERT_TRUE(appender->Commit().ok());
  }

  http::Response Ask(const base::Json& request) {
    http::ServerRequest asked;
    asked.method = base::FindString(request, {"method"});
    auto path = http::PercentDecode(base::FindString(request, {"path"}));
    asked.path = path.ok() ? *path : "";
    for (const char* member : {"query", "form"}) {
      const base::Json* pairs = base::Find(request, {member});
      if (pairs == nullptr) continue;
      for (const base::Json& pair : *pairs) {
        asked.query.emplace_back(pair[0], pair[1].is_string() ? pair[1].get<std::string>() : pair[1].dump());
      }
    }
    return api_.Handle(asked);
  }

  base::FakeClock clock_{kFirstMs};
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  std::unique_ptr<promql::QueryEngine> engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
  PrometheusApi api_{*engine_, clock_};
};

void SortVector(base::Json& reply, const std::string& query) {
  if (base::FindString(reply, {"data", "resultType"}) != "vector" || query.starts_with("sort")) return;
  auto& result = reply["data"]["result"];
  std::stable_sort(result.begin(), result.end(),
                   [](const base::Json& a, const base::Json& b) { return a["metric"].dump() < b["metric"].dump(); });
}

// "" when `got` answers as the reference did. Texts of errors are free, and the reference's warning about statistics.
std::string Differs(const base::Json& test, const http::Response& got) {
  const base::Json& wanted = test["response"];
  if (wanted["status"] != got.status) {
    return "status " + std::to_string(got.status) + ", reference " + wanted["status"].dump() + ": " + got.body;
  }
  if (base::Find(wanted, {"json"}) == nullptr) return "";
  auto parsed = base::ParseJson(got.body);
  if (!parsed.ok()) return "no JSON: " + got.body;
  base::Json reply = *parsed, reference = wanted["json"];
  if (reference["status"] == "error") {
    return reply["errorType"] == reference["errorType"] ? "" : "another kind of error: " + got.body;
  }
  if (bool both = reply["data"].is_object() && reply["data"].contains("stats"); both) {
    for (const char* part : {"timings", "samples"}) {
      for (const auto& [key, value] : reply["data"]["stats"][part].items()) {
        if (!reference["data"]["stats"][part].contains(key)) return "unknown statistic " + key;
      }
    }
    bool shown = reference["data"].contains("stats");
    reply["data"].erase("stats");
    reference["data"].erase("stats");
    if (!shown) return "statistics that nobody asked for";
    EXPECT_EQ(reply.contains("warnings"), reference.contains("warnings"));
    reply.erase("warnings");
    reference.erase("warnings");
  }
  std::string query;
  const base::Json* pairs = base::Find(test, {"request", "query"});
  if (pairs != nullptr && (*pairs)[0][0] == "query") query = (*pairs)[0][1];
  SortVector(reply, query);
  SortVector(reference, query);
  return reply == reference ? "" : "got " + reply.dump() + "\n  reference " + reference.dump();
}

TEST_F(HttpApi, AnswersLikeTheReference) {
  auto dataset = ReadConformance("dataset.load");
  if (!dataset.ok()) GTEST_SKIP() << "no conformance data: " << dataset.status().message();
  Load(*dataset);
  auto text = ReadConformance("responses.json");
  ASSERT_TRUE(text.ok());
  auto data = base::ParseJson(*text);
  ASSERT_TRUE(data.ok());
  std::map<std::string, int> same;
  int excepted = 0;
  for (const base::Json& test : *base::Find(*data, {"cases"})) {
    std::string group = base::FindString(test, {"group"}), name = base::FindString(test, {"name"});
    std::string method = base::FindString(test, {"request", "method"});
    bool judged = group == "query" || group == "query_range" || group == "format and parse";
    judged = judged && (method == "GET" || method == "POST");
    if (!judged || base::FindString(test, {"setup"}) != "main" || !PrometheusApi::Handles(test["request"]["path"])) {
      continue;
    }
    http::Response got = Ask(test["request"]);
    std::string difference = Differs(test, got);
    if (Exceptions().contains(name)) {
      EXPECT_FALSE(difference.empty()) << name << " is no exception any more";
      ++excepted;
      continue;
    }
    EXPECT_EQ(difference, "") << group << " " << base::FindInt(test, {"id"}) << " " << name;
    same[group] += difference.empty() ? 1 : 0;
  }
  for (const auto& [group, count] : same) std::printf("%-18s %d as recorded\n", group.c_str(), count);
  EXPECT_EQ(excepted, static_cast<int>(Exceptions().size()));
}

}  // namespace
}  // namespace tidewright::web
