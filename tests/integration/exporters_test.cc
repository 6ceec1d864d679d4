// Real exporters, scraped by the scraper and by a Prometheus beside it: both have the same series.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "http/client.h"
#include "scrape/manager.h"
#include "tsdb/db.h"

namespace tidewright::scrape {
namespace {

using base::Json;

constexpr int64_t kPatienceMs = 120'000;

std::string Address(uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

class ExportersTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    for (const char* program : {"prometheus-node-exporter", "nginx", "prometheus-nginx-exporter", "redis-server",
                                "prometheus-redis-exporter", "prometheus"}) {
      if (!base::HaveProgram(program)) missing_ += std::string(" ") + program;
    }
  }
  void SetUp() override {
    if (!missing_.empty()) GTEST_SKIP() << "not installed:" << missing_;
    StartExporters();
    const std::string config = Config();
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/prometheus.yml", config).ok());
    Run({"prometheus", "--config.file=" + folder_.path() + "/prometheus.yml",
         "--storage.tsdb.path=" + folder_.path() + "/data", "--web.listen-address=" + Address(prometheus_)});
    auto parsed = ParseConfig(config, "prometheus.yml");
    ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
    EXPECT_TRUE(parsed->warnings.empty()) << parsed->warnings[0];
    ASSERT_TRUE(manager_.ApplyConfig(*parsed).ok());
    manager_.Start();
    for (const char* job : {"node", "nginx", "redis"}) {
      ASSERT_TRUE(Eventually([&] { return Value("up", job) == 1; })) << job << ": " << Errors();
    }
  }
  void TearDown() override {
    manager_.Stop();
    scheduler_.Stop();
    if (HasFailure() && missing_.empty()) std::cerr << *base::ReadFile(folder_.path() + "/log") << "\n";
  }

  void Run(const std::vector<std::string>& argv) {
    auto process = base::Subprocess::Start(argv, folder_.path() + "/log");
    ASSERT_TRUE(process.ok()) << process.status().ToString();
    processes_.push_back(*std::move(process));
  }

  void StartExporters() {
    Run({"prometheus-node-exporter", "--web.listen-address=" + Address(node_)});
    const std::string nginx = "pid " + folder_.path() + "/nginx.pid;\nerror_log stderr;\ndaemon off;\nevents {}\n" +
                              "http {\n  access_log off;\n  client_body_temp_path " + folder_.path() +
                              "/body;\n  proxy_temp_path " + folder_.path() + "/proxy;\n  fastcgi_temp_path " +
                              folder_.path() + "/fastcgi;\n  uwsgi_temp_path " + folder_.path() +
                              "/uwsgi;\n  scgi_temp_path " + folder_.path() + "/scgi;\n  server {\n    listen " +
                              Address(nginx_) + ";\n    location /stub_status { stub_status; }\n" +
                              "    location / { return 200 'ok'; }\n  }\n}\n";
    ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/nginx.conf", nginx).ok());
    Run({"nginx", "-p", folder_.path(), "-c", folder_.path() + "/nginx.conf"});
    Run({"redis-server", "--port", std::to_string(redis_), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"});
    Run({"prometheus-redis-exporter", "--redis.addr=redis://" + Address(redis_),
         "--web.listen-address=" + Address(redis_exporter_)});
    // It gives up when nginx does not answer yet.
    ASSERT_TRUE(Eventually([this] { return Get(nginx_, "/stub_status").has_value(); }));
    Run({"prometheus-nginx-exporter", "-nginx.scrape-uri=http://" + Address(nginx_) + "/stub_status",
         "-web.listen-address=" + Address(nginx_exporter_)});
  }

  std::string Config() const {
    std::string config = "global: {scrape_interval: 3s, scrape_timeout: 3s}\nscrape_configs:\n";
    for (auto [job, port] : {std::pair("node", node_), {"nginx", nginx_exporter_}, {"redis", redis_exporter_}}) {
      config += std::string("- job_name: ") + job + "\n  static_configs: [{targets: ['" + Address(port) + "']}]\n";
    }
    return config;
  }

  bool Eventually(const std::function<bool()>& condition) {
    const int64_t deadline = clock_.NowMs() + kPatienceMs;
    base::StopSignal never;
    while (!condition()) {
      if (clock_.NowMs() > deadline) return false;
      clock_.SleepFor(50, never);
    }
    return true;
  }

  std::optional<std::string> Get(uint16_t port, const std::string& path) {
    http::ClientRequest request;
    request.url = "http://" + Address(port) + path;
    auto response = http_->Send(request);
    if (!response.ok() || response->status != 200) return std::nullopt;
    return response->body;
  }

  std::vector<std::pair<tsdb::Labels, tsdb::Sample>> Newest(const std::string& metric, const std::string& job) {
    std::vector<std::pair<tsdb::Labels, tsdb::Sample>> newest;
    auto querier = db_->NewQuerier(0, INT64_MAX / 2);
    tsdb::Matchers matchers = {tsdb::Matcher::Equal("job", job)};
    if (!metric.empty()) matchers.push_back(tsdb::Matcher::Equal("__name__", metric));
    auto all = (*querier)->Select({}, matchers);
    EXPECT_TRUE(all.ok());
    for (const auto& series : *all) {
      tsdb::Sample last;
      auto iterator = series->Iterator();
      while (iterator->Next()) last = iterator->At();
      newest.emplace_back(series->labels(), last);
    }
    return newest;
  }
  // Of the first series; NaN without one.
  double Value(const std::string& metric, const std::string& job) {
    auto newest = Newest(metric, job);
    return newest.empty() ? std::nan("") : newest[0].second.v;
  }

  std::string Errors() {
    std::string errors;
    for (const TargetStatus& target : manager_.Targets().active) errors += target.url + " " + target.state.last_error;
    return errors;
  }

  // Series as text. Prometheus 2 keeps the bounds of buckets and quantiles as they were written, Prometheus 3 and we do
  // not, so that they are compared as numbers.
  static std::string Text(std::vector<tsdb::Label> labels) {
    for (tsdb::Label& label : labels) {
      double number = 0;
      if ((label.name == "le" || label.name == "quantile") && base::ParseDouble(label.value, &number)) {
        label.value = base::FormatDouble(number);
      }
    }
    return tsdb::Labels::FromPairs(std::move(labels)).ToString();
  }
  std::set<std::string> OurSeries(const std::string& job) {
    std::set<std::string> series;
    for (const auto& [labels, sample] : Newest("", job)) series.insert(Text({labels.begin(), labels.end()}));
    return series;
  }
  std::set<std::string> TheirSeries(const std::string& job) {
    std::set<std::string> series;
    auto body = Get(prometheus_, "/api/v1/series?match[]=%7Bjob%3D%22" + job + "%22%7D");
    auto reply = base::ParseJson(body.value_or("{}"));
    if (!reply.ok() || !reply->contains("data")) return series;
    for (const Json& one : (*reply)["data"]) {
      std::vector<tsdb::Label> labels;
      for (const auto& [name, value] : one.items()) labels.push_back({name, value.get<std::string>()});
      series.insert(Text(std::move(labels)));
    }
    return series;
  }

  static inline std::string missing_;
  base::TempDir folder_ = *base::TempDir::Create("tidewright-exporters");
  const uint16_t node_ = *base::FreePort(), nginx_ = *base::FreePort(), nginx_exporter_ = *base::FreePort(),
                 redis_ = *base::FreePort(), redis_exporter_ = *base::FreePort(), prometheus_ = *base::FreePort();
  base::Clock& clock_ = base::SystemClock::Get();
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
  base::MetricRegistry metrics_;
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  Manager manager_{*db_, clock_, scheduler_, &metrics_, nullptr};
  std::vector<base::Subprocess> processes_;
};

double MemTotalBytes() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  double kilobytes = 0;
  file >> name >> kilobytes;
  return kilobytes * 1024;
}

TEST_F(ExportersTest, WhatTheyExposeIsStored) {
  EXPECT_EQ(Value("node_memory_MemTotal_bytes", "node"), MemTotalBytes());
  auto uname = Newest("node_uname_info", "node");
  ASSERT_EQ(uname.size(), 1u);
  EXPECT_EQ(uname[0].first.Get("sysname"), "Linux");

  EXPECT_EQ(Value("nginx_up", "nginx"), 1);
  const double requests = Value("nginx_http_requests_total", "nginx");
  for (int i = 0; i < 50; ++i) ASSERT_EQ(Get(nginx_, "/"), "ok");
  EXPECT_TRUE(Eventually([&] { return Value("nginx_http_requests_total", "nginx") >= requests + 50; }));

  EXPECT_EQ(Value("redis_up", "redis"), 1);
  EXPECT_GE(Value("redis_connected_clients", "redis"), 1);
  auto info = Newest("redis_instance_info", "redis");
  ASSERT_EQ(info.size(), 1u);
  EXPECT_EQ(info[0].first.Get("role"), "master");
}

TEST_F(ExportersTest, APrometheusBesideUsHasTheSameSeries) {
  for (const char* job : {"node", "nginx", "redis"}) {
    std::set<std::string> ours, theirs;
    const bool equal = Eventually([&] {
      ours = OurSeries(job);
      theirs = TheirSeries(job);
      return !ours.empty() && ours == theirs;
    });
    EXPECT_TRUE(equal) << job;
    std::cerr << "[ COUNT    ] " << job << ": " << ours.size() << " series here, " << theirs.size() << " there\n";
    if (equal) continue;
    for (const std::string& one : ours) EXPECT_EQ(theirs.count(one), 1u) << "only here: " << one;
    for (const std::string& one : theirs) EXPECT_EQ(ours.count(one), 1u) << "only there: " << one;
  }
}

}  // namespace
}  // namespace tidewright::scrape
