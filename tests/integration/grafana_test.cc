// What Grafana's Prometheus data source asks (the catalogue of the API lists its calls), sent to the running program as
// Grafana sends it: saving and testing, graphs, tables, exemplars, completion, variables, alert lists.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "http/client.h"

namespace tidewright::cmd {
namespace {

using base::Json;

using Params = std::vector<std::pair<std::string, std::string>>;

class GrafanaTest : public testing::Test {
 protected:
  void SetUp() override {
    address_ = "127.0.0.1:" + std::to_string(*base::FreePort());
    ASSERT_TRUE(
        base::WriteFileAtomic(folder_.path() + "/prometheus.yml",
                              "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
                              "scrape_configs: [{job_name: self, static_configs: [{targets: ['" +
                                  address_ + "']}]}]\n")
            .ok());
    ASSERT_TRUE(
        base::WriteFileAtomic(folder_.path() + "/rules.yml",
                              "groups: [{name: g, rules: [{record: a, expr: sum(up)}, {alert: B, expr: up}]}]\n")
            .ok());
    auto program =
        base::Subprocess::Start({TIDEWRIGHT_BINARY, "run", "--kubernetes=false", "--config.file",
                                 folder_.path() + "/prometheus.yml", "--storage.tsdb.path", folder_.path() + "/data",
                                 "--web.address", "127.0.0.1", "--web.port", address_.substr(10)},
                                folder_.path() + "/log");
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    program_ = std::make_unique<base::Subprocess>(*std::move(program));
    base::StopSignal never;
    const int64_t deadline = clock_.NowMs() + 90'000;
    while (!HasData() && clock_.NowMs() < deadline) clock_.SleepFor(100, never);
    ASSERT_TRUE(HasData()) << *base::ReadFile(folder_.path() + "/log");
  }

  // The rules have seen what was scraped.
  bool HasData() {
    const Json alerts = Ask("GET", "alerts", {});
    return Ask("GET", "query", {{"query", "a"}})["data"]["result"].size() == 1 && !alerts["data"]["alerts"].empty();
  }

  // The reply, whose status must be 200; null without one.
  Json Ask(const std::string& method, const std::string& path, const Params& params) {
    std::string form;
    for (const auto& [name, value] : params) {
      form += (form.empty() ? "" : "&") + http::PercentEncode(name) + "=" + http::PercentEncode(value);
    }
    http::ClientRequest request;
    request.method = method;
    request.url = "http://" + address_ + "/api/v1/" + path;
    request.headers.Set("User-Agent", "Grafana/12.0.0");
    if (method == "POST") {
      request.headers.Set("Content-Type", "application/x-www-form-urlencoded");
      request.body = form;
    } else if (!form.empty()) {
      request.url += "?" + form;
    }
    auto reply = client_->Send(request);
    if (!reply.ok() || reply->status != 200) return {{"failed", reply.ok() ? reply->body : reply.status().ToString()}};
    EXPECT_EQ(reply->headers.Get("Content-Type"), "application/json") << request.url;
    auto json = base::ParseJson(reply->body);
    return json.ok() ? *json : Json{{"failed", reply->body}};
  }

  base::Clock& clock_ = base::SystemClock::Get();
  base::TempDir folder_ = *base::TempDir::Create("grafana");
  std::unique_ptr<http::Client> client_ = *http::NewCurlClient({});
  std::string address_;
  std::unique_ptr<base::Subprocess> program_;
};

TEST_F(GrafanaTest, GetsWhatItAsksFor) {
  const std::string soon = std::to_string(clock_.NowMs() / 1000 + 10) + ".25";  // After what has been scraped just now.
  const std::string start = std::to_string(clock_.NowMs() / 1000 - 300);
  const std::string later = std::to_string(clock_.NowMs() / 1000 + 60);
  const Params times = {{"start", start}, {"end", later}};
  auto with = [&times](Params more) {
    more.insert(more.end(), times.begin(), times.end());
    return more;
  };
  struct Row {
    const char* purpose;
    std::string method, path;
    Params params;
    const char* wanted;  // What the member `data` must have, at this JSON pointer.
  };
  const Params health = {{"query", "1+1"}, {"time", "4"}};
  const Params graph =
      with({{"query", "rate(process_cpu_seconds_total[1m]) or up"}, {"step", "1.5"}, {"timeout", "60s"}});
  const Params table = {{"query", "up"}, {"time", soon}, {"timeout", "60s"}};
  for (const Row& row : std::vector<Row>{
           {"save and test", "POST", "query", health, "/result/1"},
           {"save and test, by GET", "GET", "query", health, "/result/1"},
           {"flavour", "GET", "status/buildinfo", {}, "/version"},
           {"graph", "POST", "query_range", graph, "/result/0/values/0/1"},
           {"graph, by GET", "GET", "query_range", graph, "/result/0/values/0/1"},
           {"table", "POST", "query", table, "/result/0/value/1"},
           {"exemplars", "POST", "query_exemplars", with({{"query", "up"}}), ""},
           {"metric browser", "GET", "label/__name__/values", with({{"limit", "40000"}}), "/0"},
           {"metric browser, filtered", "GET", "label/__name__/values", with({{"match[]", "{job=\"self\"}"}}), "/0"},
           {"label names", "POST", "labels", with({{"limit", "40000"}, {"match[]", "up"}}), "/0"},
           {"label names, by GET", "GET", "labels", with({{"match[]", "up"}}), "/0"},
           {"label values", "GET", "label/job/values", with({{"match[]", "up"}, {"limit", "100"}}), "/0"},
           {"values of an escaped name", "GET", "label/U__job/values", times, "/0"},
           {"variables", "POST", "series", with({{"match[]", "{__name__!=\"\"}"}, {"limit", "10"}}), "/9/__name__"},
           {"variables, by GET", "GET", "series", with({{"match[]", "up"}}), "/0/__name__"},
           {"help and type", "GET", "metadata", {}, "/tidewright_scrapes_total/0/type"},
           {"help and type, limited", "GET", "metadata", {{"limit", "1"}, {"limit_per_metric", "1"}}, ""},
           {"rules", "GET", "rules", {}, "/groups/0/rules/0/query"},
           {"alert list", "GET", "alerts", {}, "/alerts/0/labels/alertname"},
           {"settings", "GET", "status/config", {}, "/yaml"},
           {"settings", "GET", "status/flags", {}, "/config.file"},
           {"settings", "GET", "status/tsdb", {}, "/headStats/numSeries"},
           {"settings", "GET", "targets", {}, "/activeTargets/0/health"},
           {"settings", "GET", "alertmanagers", {}, "/activeAlertmanagers"},
       }) {
    const Json reply = Ask(row.method, row.path, row.params);
    EXPECT_EQ(base::FindString(reply, {"status"}), "success") << row.purpose << ": " << reply.dump();
    if (!reply.contains("data")) continue;
    EXPECT_TRUE(reply["data"].contains(Json::json_pointer(row.wanted))) << row.purpose << ": " << reply.dump();
  }
}

}  // namespace
}  // namespace tidewright::cmd
