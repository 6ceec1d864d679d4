// Directories handed from us to Prometheus and back: both answer the same from the same files.
//
// The program is $PROMETHEUS, else what $PATH has; promtool likewise.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/server.h"
#include "promql/engine.h"
#include "tests/tsdb/programs.h"
#include "tests/tsdb/store.h"
#include "tsdb/db.h"
#include "web/server.h"

namespace tidewright {
namespace {

namespace fs = std::filesystem;
using base::Json;
using ::testing::HasSubstr;
using tsdb::testing::RunCommand;

constexpr int64_t kStart = 1'699'999'200'000;  // A multiple of two hours.
constexpr int64_t kMinute = 60'000;
constexpr int64_t kPatienceMs = 60'000;

// Results in the order of their labels.
Json Sorted(Json answer) {
  Json& data = answer["data"];
  Json* list = data.is_object() && data.contains("result") ? &data["result"] : &data;
  if (list->is_array()) {
    const auto key = [](const Json& one) {
      return one.is_object() && one.contains("metric") ? one["metric"].dump() : one.dump();
    };
    std::sort(list->begin(), list->end(), [&](const Json& a, const Json& b) { return key(a) < key(b); });
  }
  answer.erase("infos");
  answer.erase("warnings");
  return answer;
}

// The same but for the last digits: rounding differs from version to version.
bool Same(const Json& a, const Json& b) {
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (a.is_string()) {
    double x = 0, y = 0;
    if (a == b) return true;
    const bool numbers = base::ParseDouble(a.get<std::string>(), &x) && base::ParseDouble(b.get<std::string>(), &y);
    return numbers && std::fabs(x - y) <= 1e-9 * std::max(std::fabs(x), std::fabs(y));
  }
  if (a.is_array()) return std::equal(a.begin(), a.end(), b.begin(), Same);
  if (!a.is_object()) return a == b;
  return std::all_of(a.items().begin(), a.items().end(),
                     [&b](const auto& item) { return b.contains(item.key()) && Same(item.value(), b[item.key()]); });
}

// A Prometheus on a directory.
class Prometheus {
 public:
  Prometheus(const std::string& directory, const std::string& config)
      : url_("http://127.0.0.1:" + std::to_string(*base::FreePort())),
        log_(directory + ".log"),
        client_(*http::NewCurlClient({})) {
    std::ofstream(directory + ".yml") << config;
    auto server = base::Subprocess::Start({tsdb::testing::PrometheusProgram(), "--config.file=" + directory + ".yml",
                                           "--web.listen-address=" + url_.substr(7), "--storage.tsdb.path=" + directory,
                                           "--storage.tsdb.retention.time=50y", "--log.level=error",
                                           "--web.enable-admin-api", "--enable-feature=native-histograms"},
                                          log_);
    EXPECT_TRUE(server.ok()) << server.status().ToString();
    if (server.ok()) server_ = std::make_unique<base::Subprocess>(std::move(server).value());
  }

  bool WaitUntilReady() {
    return WaitFor([&] {
      auto response = Send("GET", "/-/ready");
      return response.ok() && response->status == 200;
    });
  }

  // Asks again and again.
  bool WaitFor(const std::function<bool()>& holds) {
    base::StopSignal never;
    for (int64_t end = base::SystemClock::Get().NowMs() + kPatienceMs; base::SystemClock::Get().NowMs() < end;) {
      if (holds()) return true;
      if (server_ == nullptr || !server_->Running()) break;
      base::SystemClock::Get().SleepFor(100, never);
    }
    ADD_FAILURE() << "prometheus does not get there; its log: " << *base::ReadFile(log_);
    return false;
  }

  base::Result<http::Response> Send(const std::string& method, const std::string& target) {
    http::ClientRequest request;
    request.method = method;
    request.url = url_ + target;
    return client_->Send(request);
  }
  Json Ask(const std::string& path, const http::QueryParams& params) {
    std::string target = path;
    for (size_t i = 0; i < params.size(); ++i) {
      target +=
          (i == 0 ? "?" : "&") + http::PercentEncode(params[i].first) + "=" + http::PercentEncode(params[i].second);
    }
    auto response = Send("GET", target);
    EXPECT_TRUE(response.ok()) << response.status().ToString();
    return response.ok() ? Json::parse(response->body) : Json();
  }

  void End(int signal) {
    server_->Signal(signal);
    server_->Wait();
  }

 private:
  const std::string url_;
  const std::string log_;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<base::Subprocess> server_;
};

// A store of ours, with the API in front of it.
class Ours {
 public:
  Ours(const std::string& directory, base::Clock& clock) : directory_(directory), clock_(clock) {
    auto db = tsdb::Db::Open(directory, {.retention_ms = 50LL * 365 * 24 * tsdb::testing::kHourMs}, clock, nullptr);
    EXPECT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::move(db).value();
    engine_ = promql::NewEmbeddedEngine(*db_, {}, nullptr);
    web::WebSources sources;
    sources.engine = engine_.get();
    sources.store = db_.get();
    sources.admin = db_.get();
    sources.admin_directory = directory;
    sources.board = &board_;
    sources.metrics = &metrics_;
    sources.clock = &clock;
    sources.calendar = &clock;
    web_ = std::make_unique<web::WebServer>(std::move(sources));
  }
  ~Ours() { web_->Stop(); }

  tsdb::Db& db() { return *db_; }
  web::WebServer& web() { return *web_; }

  Json Ask(const std::string& path, const http::QueryParams& params) {
    http::ServerRequest request;
    request.method = "GET";
    request.path = path;
    request.query = params;
    return Json::parse(web_->Handle(request).body);
  }

 private:
  const std::string directory_;
  base::Clock& clock_;
  base::MetricRegistry metrics_;
  scaler::StatusBoard board_{metrics_};
  std::unique_ptr<tsdb::Db> db_;
  std::unique_ptr<promql::QueryEngine> engine_;
  std::unique_ptr<web::WebServer> web_;
};

struct Question {
  std::string path;
  http::QueryParams params;
};

std::vector<Question> QuestionsAt(int64_t t_ms) {
  const std::string t = std::to_string(t_ms / 1000) + "." + std::to_string(1000 + t_ms % 1000).substr(1);
  const std::string start = std::to_string(t_ms / 1000 - 6 * 3600);
  std::vector<Question> questions;
  for (const char* query :
       {"{__name__=~\".+\"}[30h]", "{__name__=~\".+\"}", "count by (__name__) ({__name__=~\".+\"} offset 1h)",
        "sum by (job) (rate(requests_total[10m]))", "max_over_time(requests_total{instance=~\"host-[1-4]\"}[1d])",
        "histogram_count(rate(latency[20m]))", "histogram_sum(latency)"}) {
    questions.push_back({"/api/v1/query", {{"query", query}, {"time", t}}});
  }
  questions.push_back(
      {"/api/v1/query_range",
       {{"query", "sum by (job) (increase(requests_total[15m]))"}, {"start", start}, {"end", t}, {"step", "60"}}});
  questions.push_back({"/api/v1/labels", {{"start", start}, {"end", t}}});
  questions.push_back({"/api/v1/label/instance/values", {{"start", start}, {"end", t}}});
  questions.push_back({"/api/v1/series", {{"match[]", "requests_total"}, {"start", start}, {"end", t}}});
  return questions;
}

template <class Server>
std::vector<Json> AskAll(Server& server, const std::vector<Question>& questions) {
  std::vector<Json> answers;
  for (const Question& question : questions) answers.push_back(Sorted(server.Ask(question.path, question.params)));
  return answers;
}

void ExpectSame(const std::vector<Json>& ours, const std::vector<Json>& theirs,
                const std::vector<Question>& questions) {
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(theirs[i]["status"], "success") << theirs[i];
    EXPECT_TRUE(Same(ours[i], theirs[i]))
        << questions[i].path << " " << questions[i].params[0].second << "\nours:   " << ours[i].dump().substr(0, 3000)
        << "\ntheirs: " << theirs[i].dump().substr(0, 3000);
  }
  EXPECT_GT(ours[0].dump().size(), 1000u) << "there is something to compare";
}

class Interoperability : public ::testing::Test {
 protected:
  void SetUp() override {
    if (tsdb::testing::PrometheusProgram().empty() || tsdb::testing::PromtoolProgram().empty()) {
      GTEST_SKIP() << "prometheus or promtool is not installed: nothing checks that directories can be handed over";
    }
    base::SetLogLevel(base::LogLevel::kError);
  }
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  // Scrapes from minute `from` to `to`, with maintenance: some of it goes to blocks.
  static void Scrape(tsdb::Db& db, base::FakeClock& clock, int from, int to) {
    for (int minute = from; minute < to; ++minute) {
      const int64_t t = kStart + minute * kMinute;
      clock.Set(t);
      auto appender = db.NewAppender();
      for (int i = 0; i < 10; ++i) {
        if (i == 5 && minute > 250) continue;
        auto labels = tsdb::Labels::Of({{"__name__", i < 8 ? "requests_total" : "busy"},
                                        {"instance", "host-" + std::to_string(i)},
                                        {"job", i % 2 == 0 ? "node" : "日本 \"x\""}});
        const double value = i == 5 && minute == 250 ? tsdb::StaleNan() : minute * (i + 0.1) + (i == 9 ? 1e15 : 0);
        ASSERT_TRUE(appender->Append(0, labels, t, value).ok());
      }
      tsdb::FloatHistogram h;
      h.schema = 2;
      h.zero_threshold = 0.001;
      h.sum = minute;
      h.positive_spans = {{-2, 2}, {3, 2}};
      h.positive_buckets = {1.0 * minute, 2.0 * minute, 1, 5};
      h.count = 3.0 * minute + 6;
      ASSERT_TRUE(appender->AppendFloatHistogram(0, tsdb::Labels::Of({{"__name__", "latency"}}), t, h).ok());
      ASSERT_TRUE(appender->Commit().ok());
      if (minute % 10 == 9) ASSERT_TRUE(db.Maintain().ok());
    }
  }

  // promtool reads the directory, and a Prometheus on a copy of it answers as we did.
  void HandOver(const std::string& directory, const std::vector<Question>& questions,
                const std::vector<Json>& answers) {
    const std::string promtool = tsdb::testing::PromtoolProgram() + " tsdb ";
    for (const char* command : {"list ", "analyze ", "dump "}) {
      auto result = RunCommand(promtool + command + directory + " 2>&1");
      EXPECT_EQ(result.exit_code, 0) << command << result.output;
    }
    const std::string copy = directory + "-copy";
    fs::copy(directory, copy, fs::copy_options::recursive);
    Prometheus prometheus(copy, "global: {}\n");
    ASSERT_TRUE(prometheus.WaitUntilReady());
    ExpectSame(answers, AskAll(prometheus, questions), questions);
    prometheus.End(SIGTERM);
  }

  base::TempDir directory_ = tsdb::testing::FastTempDir("tsdb-interop");
};

TEST_F(Interoperability, PrometheusOnADirectoryOfOurs) {
  base::FakeClock clock(kStart);
  const std::vector<Question> questions = QuestionsAt(kStart + 420 * kMinute - 500);
  std::vector<Json> answers;
  {
    Ours ours(Path("data"), clock);
    Scrape(ours.db(), clock, 0, 420);
    ASSERT_TRUE(
        ours.db()
            .Delete(kStart + 100 * kMinute, kStart + 130 * kMinute, {tsdb::Matcher::Equal("instance", "host-3")})
            .ok());
    answers = AskAll(ours, questions);
    ASSERT_TRUE(ours.db().Close().ok());
  }
  HandOver(Path("data"), questions, answers);
}

TEST_F(Interoperability, PrometheusOnASnapshotOfOurs) {
  base::FakeClock clock(kStart);
  Ours ours(Path("data"), clock);
  Scrape(ours.db(), clock, 0, 300);
  ASSERT_TRUE(ours.web().Start("127.0.0.1", 0).ok());
  const std::string url = "http://127.0.0.1:" + std::to_string(ours.web().port());
  auto result = RunCommand(std::string(TIDEWRIGHT_BINARY) + " tsdb snapshot --url " + url);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  ASSERT_FALSE(result.output.empty());
  result.output.pop_back();
  const std::vector<Question> questions = QuestionsAt(kStart + 300 * kMinute - 500);
  const std::vector<Json> answers = AskAll(ours, questions);
  Scrape(ours.db(), clock, 300, 310);  // It goes on.
  HandOver(Path("data/snapshots/") + result.output, questions, answers);
}

// Serves the same samples again and again: several of each series, with their times, so that one scrape fills chunks.
class Target {
 public:
  explicit Target(int64_t now_ms) {
    const int64_t first = (now_ms / 1000 - 300 * 15) * 1000;
    for (const char* type : {"# TYPE requests_total counter\n"}) page_ += type;
    for (int i = 0; i < 12; ++i) {
      for (int k = 0; k < 300; ++k) {
        page_ += "requests_total{instance=\"host-" + std::to_string(i) + "\",job=\"j" + std::to_string(i % 3) + "\"} " +
                 std::to_string(k * (i + 0.25)) + " " + std::to_string(first + k * 15'000) + "\n";
      }
    }
    page_ += "odd{text=\"a\\\\b\\nc\\\"d\"} NaN\nodd{text=\"日本\"} +Inf\n";
    auto server =
        http::Server::Create({}, [this](const http::ServerRequest&, std::shared_ptr<http::Responder> responder) {
          http::Response response;
          response.headers.Set("Content-Type", "text/plain; version=0.0.4");
          response.body = page_;
          responder->Reply(std::move(response));
        });
    EXPECT_TRUE(server.ok());
    server_ = std::move(server).value();
    port_ = *server_->Listen("127.0.0.1", 0);
  }
  ~Target() { server_->Stop(); }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  std::string page_;
  std::unique_ptr<http::Server> server_;
  uint16_t port_ = 0;
};

class TakenOver : public Interoperability, public ::testing::WithParamInterface<int> {};

TEST_P(TakenOver, WeOnADirectoryOfPrometheus) {
  const int64_t now = base::SystemClock::Get().NowMs();
  // A block of yesterday.
  std::ofstream yesterday(Path("in.om"));
  yesterday << "# TYPE busy gauge\n";
  for (int k = 0; k < 200; ++k)
    yesterday << "busy{instance=\"old\"} " << k << " " << now / 1000 - 86'400 + k * 30 << "\n";
  yesterday << "# EOF\n";
  yesterday.close();
  auto made = RunCommand(tsdb::testing::PromtoolProgram() + " tsdb create-blocks-from openmetrics " + Path("in.om") +
                         " " + Path("theirs") + " 2>&1");
  ASSERT_EQ(made.exit_code, 0) << made.output;

  Target target(now);
  Prometheus prometheus(Path("theirs"),
                        "scrape_configs:\n- job_name: target\n  scrape_interval: 1s\n  honor_labels: true\n"
                        "  static_configs: [{targets: ['" +
                            target.address() + "']}]\n");
  ASSERT_TRUE(prometheus.WaitUntilReady());
  ASSERT_TRUE(prometheus.WaitFor([&] {
    const Json answer = prometheus.Ask("/api/v1/query", {{"query", "sum(count_over_time(up[5m])) > 2"}});
    return !answer["data"]["result"].empty();
  }));
  auto deleted = prometheus.Send(
      "POST", "/api/v1/admin/tsdb/delete_series?match[]=requests_total%7Binstance%3D%22host-7%22%7D&end=" +
                  std::to_string(now / 1000 - 3000));
  ASSERT_TRUE(deleted.ok() && deleted->status == 204) << (deleted.ok() ? deleted->body : deleted.status().ToString());
  // What the last whole scrape left; later ones do not count.
  const Json last = prometheus.Ask("/api/v1/query", {{"query", "timestamp(up)"}});
  const auto t_ms =
      static_cast<int64_t>(std::llround(std::stod(last["data"]["result"][0]["value"][1].get<std::string>()) * 1000));
  const std::vector<Question> questions = QuestionsAt(t_ms);
  const std::vector<Json> answers = AskAll(prometheus, questions);
  prometheus.End(GetParam());
  fs::copy(Path("theirs"), Path("ours"), fs::copy_options::recursive);
  auto verified = RunCommand(std::string(TIDEWRIGHT_BINARY) + " tsdb verify " + Path("ours") + " 2>&1");
  EXPECT_EQ(verified.exit_code, 0) << verified.output;
  {
    Ours ours(Path("ours"), base::SystemClock::Get());
    ExpectSame(AskAll(ours, questions), answers, questions);
    EXPECT_FALSE(fs::exists(Path("ours/chunks_head")));
  }
  // And after a stop of ours it is theirs again.
  HandOver(Path("ours"), questions, answers);
}

INSTANTIATE_TEST_SUITE_P(Ended, TakenOver, ::testing::Values(SIGTERM, SIGKILL),
                         [](const auto& one) { return one.param == SIGTERM ? "Properly" : "Killed"; });

}  // namespace
}  // namespace tidewright
