// The whole web port against recorded answers of Prometheus: status, content type, kind of error, data, annotations.
// What the recording calls volatile (times, durations, sizes) is compared by its shape.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "tests/conformance/scrape_data.h"
#include "tests/conformance/web_store.h"
#include "web/server.h"

namespace tidewright::web {
namespace {

using base::Json;

constexpr int64_t kNowMs = 1'795'255'900'000;
constexpr char kMain[] = "main";
constexpr char kAgent[] = "agent mode";
constexpr char kOneMillisecond[] = "--query.timeout=1ms";

// What is answered otherwise on purpose, and why.
const std::map<std::string, std::string>& Exceptions() {
  static const std::map<std::string, std::string> kExceptions = {
      {"query/time huge", "a time beyond all calendars is refused; the reference takes it for 0"},
      {"query/time NaN", "no time; the reference takes it for its earliest one"},
      {"query/time Inf", "no time; the reference takes it for its earliest one"},
      {"query/trailing slash", "redirects to the address that is meant; the reference loses /api/v1"},
      {"query_range/sub-millisecond step", "refused as a bad parameter; the reference divides by zero"},
      {"status/config", "sections that have no effect here are not printed"},
      {"status/self metrics", "experimental; /metrics has the same"},
      {"status/self metrics bad pattern", "experimental; /metrics has the same"},
      {"status/features", "lists what this server has"},
      {"search/metric names", "experimental, and off as in a Prometheus without that feature"},
      {"search/metric names with score and metadata", "experimental, off"},
      {"search/label names", "experimental, off"},
      {"search/label values", "experimental, off"},
      {"search/label values no label", "experimental, off"},
      {"search/limit", "experimental, off"},
      {"search/batches", "experimental, off"},
      {"search/bad limit", "experimental, off"},
      {"search/sort without search", "experimental, off"},
      {"management/GET /-/healthy", "the text names this program"},
      {"management/GET /-/ready", "the text names this program"},
      {"management/GET /", "the page is here"},
      {"management/GET /graph", "the page opens here at once; a redirect would lose the path of a proxy"},
      {"other set-ups/reload", "needs no flag: it reads files that the process was started with"},
      {"other set-ups/config empty", "sections that have no effect here are not printed"},
  };
  return kExceptions;
}

// Serves the exposition of the set-up at its one address.
class OneTarget : public http::Client {
 public:
  base::Result<http::Response> Send(const http::ClientRequest&, http::CancelToken*) override {
    return base::UnimplementedError("not used by the scraper");
  }
  base::Status Stream(const http::ClientRequest&, const http::StreamHandler&, http::CancelToken*) override {
    return base::UnimplementedError("not used by the scraper");
  }
  void SendAsync(http::ClientRequest request, std::function<void(base::Result<http::Response>)> done) override {
    if (request.url != "http://127.0.0.1:19100/metrics") return done(base::UnavailableError("connection refused"));
    auto body = base::ReadFile(scrape::ConformancePath("http-api/exposition.txt"));
    done(http::Response{200, {{"Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8"}}, *body});
  }
};

// A server in one of the recorded set-ups.
class World {
 public:
  World(bool everything, const promql::EngineOptions& options) : everything_(everything) {
    LoadDataset(*base::ReadFile(scrape::ConformancePath("http-api/dataset.load")), *db_);
    EXPECT_TRUE(db_->Close().ok());  // Which makes a block of it.
    db_.reset();
    db_ = *tsdb::Db::Open(directory_.path(), {.retention_ms = 100LL * 365 * 24 * 3600 * 1000}, clock_, nullptr);
    engine_ = promql::NewEmbeddedEngine(*db_, options, nullptr);
    rules_ = std::make_unique<rules::Manager>(*engine_, *db_, clock_, scheduler_, nullptr);
    scrape_ = std::make_unique<scrape::Manager>(
        *db_, clock_, scheduler_, nullptr, nullptr,
        [](const http::ClientOptions&) -> base::Result<std::unique_ptr<http::Client>> {
          return std::unique_ptr<http::Client>(std::make_unique<OneTarget>());
        });
    db_->SetMaxExemplars(1000);
    StartServer();
    if (everything) Run();
  }
  ~World() {
    scrape_->Stop();
    rules_->Stop();
    scheduler_.Stop();
  }

  http::Response Ask(const Json& request) {
    http::ServerRequest asked;
    asked.method = base::FindString(request, {"method"});
    auto path = http::PercentDecode(base::FindString(request, {"path"}));
    asked.path = path.ok() ? *path : "";
    if (request.contains("query")) asked.query = Pairs(request["query"]);
    const Json headers = request.value("headers", Json::object());
    for (const auto& [name, value] : headers.items()) asked.headers.Set(name, value.get<std::string>());
    if (request.contains("form")) {
      asked.headers.Set("Content-Type", "application/x-www-form-urlencoded");
      for (const auto& [name, value] : Pairs(request["form"])) {
        asked.body += (asked.body.empty() ? "" : "&") + http::PercentEncode(name) + "=" + http::PercentEncode(value);
      }
    }
    return server_->Handle(asked);
  }

 private:
  static http::QueryParams Pairs(const Json& pairs) {
    http::QueryParams params;
    for (const Json& pair : pairs) {
      params.emplace_back(pair[0], pair[1].is_string() ? pair[1].get<std::string>() : pair[1].dump());
    }
    return params;
  }

  void StartServer() {
    WebSources sources;
    sources.engine = engine_.get();
    sources.store = db_.get();
    sources.data_directory = directory_.path();
    sources.metrics = &metrics_;
    sources.clock = &clock_;
    sources.scrape = scrape_.get();
    sources.rules = rules_.get();
    sources.board = &board_;
    sources.reload = [] { return base::Status::Ok(); };
    sources.config = [] { return "global: {}\n"; };
    sources.runtime = [] { return RuntimeStatus{kNowMs, true, kNowMs, "100y"}; };
    sources.flags = {{"web.listen-address", "0.0.0.0:9090"}};
    if (everything_) {
      sources.remote_write = db_.get();
      sources.admin_db = db_.get();
      sources.quit = [] {};
      sources.external_labels = [] { return tsdb::Labels::Of({{"cluster", "test"}, {"region", "eu"}}); };
      sources.alertmanagers = [] { return rules::Notifier::Urls{{"http://127.0.0.1:19093/api/v2/alerts"}, {}}; };
    }
    server_ = std::make_unique<WebServer>(std::move(sources));
  }

  // Scrapes and evaluates until every target and rule had its turn, then leaves the clock alone.
  void Run() {
    auto config =
        scrape::ParseConfig(*base::ReadFile(scrape::ConformancePath("http-api/prometheus.yml")), "prometheus.yml");
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    ASSERT_TRUE(scrape_->ApplyConfig(*config).ok());
    ASSERT_TRUE(rules_->Load({scrape::ConformancePath("http-api/rules.yml")}).ok());
    scrape_->Start();
    rules_->Start();
    const int64_t deadline = base::MonotonicNanos() + 60'000'000'000;
    for (int round = 0; round < 4; ++round) {
      clock_.Advance(1000);
      while (!Settled() && base::MonotonicNanos() < deadline) base::SystemClock::Get().SleepFor(2, never_);
      ASSERT_TRUE(Settled());
    }
  }
  // Everything that is due has been done.
  bool Settled() const {
    const int64_t since = clock_.NowMs() - 1000;
    for (const auto& target : scrape_->Targets().active) {
      if (target.state.last_scrape_ms <= since) return false;
    }
    for (const auto& group : rules_->Groups()) {
      for (const auto& rule : group.rules) {
        if (rule.last_evaluation_ms <= since) return false;
      }
    }
    return true;
  }

  const bool everything_;
  base::StopSignal never_;
  base::FakeClock clock_{kNowMs};
  base::MetricRegistry metrics_;
  base::TempDir directory_ = *base::TempDir::Create("http-api");
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open(directory_.path(), {}, clock_, nullptr);
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  scaler::StatusBoard board_{metrics_};
  std::unique_ptr<promql::QueryEngine> engine_;
  std::unique_ptr<rules::Manager> rules_;
  std::unique_ptr<scrape::Manager> scrape_;
  std::unique_ptr<WebServer> server_;
};

std::string FirstQuery(const Json& test) {
  for (const char* part : {"query", "form"}) {
    const Json* pairs = base::Find(test, {"request", part});
    if (pairs != nullptr && !pairs->empty() && (*pairs)[0][0] == "query") return (*pairs)[0][1];
  }
  return "";
}

// Only sort(), topk() and their like order a vector.
void SortVector(Json& reply, const std::string& query) {
  if (base::FindString(reply, {"data", "resultType"}) != "vector" || query.starts_with("sort")) return;
  auto& result = reply["data"]["result"];
  std::stable_sort(result.begin(), result.end(),
                   [](const Json& a, const Json& b) { return a["metric"].dump() < b["metric"].dump(); });
}

// Takes the statistics out of both: their values are times. "" when they are of the same kind.
std::string CompareStatistics(Json& reply, Json& reference) {
  if (!reply["data"].is_object() || !reply["data"].contains("stats")) return "";
  if (!reference["data"].contains("stats")) return "statistics that nobody asked for";
  for (const char* part : {"timings", "samples"}) {
    for (const auto& [key, value] : reply["data"]["stats"][part].items()) {
      if (!reference["data"]["stats"][part].contains(key)) return "unknown statistic " + key;
    }
  }
  reply["data"].erase("stats");
  reference["data"].erase("stats");
  if (reply.contains("warnings") != reference.contains("warnings")) return "warnings";
  reply.erase("warnings");
  reference.erase("warnings");
  return "";
}

// Where `got` has not the members and types of `wanted`. Lists are compared by their first elements; names that depend
// on the moment (labels, metrics, flags) may differ.
std::string ShapeDiffers(const Json& got, const Json& wanted, const std::string& path) {
  static const std::set<std::string> kFree = {"labels", "discoveredLabels", "annotations", "droppedTargetCounts",
                                              "target", "data.metadata",    "flags"};
  const bool numbers = got.is_number() && wanted.is_number();
  if (!numbers && got.type() != wanted.type()) return path + " is " + got.dump() + " instead of " + wanted.dump();
  const std::string name = path.substr(path.rfind('.') + 1);
  if (got.is_array()) {
    if (wanted.empty()) return "";
    return got.empty() ? path + " is empty" : ShapeDiffers(got[0], wanted[0], path + ".0");
  }
  if (!got.is_object() || kFree.contains(name)) return "";
  for (const auto& [key, value] : wanted.items()) {
    if (!got.contains(key)) return path + " lacks " + key;
    std::string difference = ShapeDiffers(got[key], value, path + "." + key);
    if (!difference.empty()) return difference;
  }
  return "";
}

std::string BodyDiffers(const Json& test, const http::Response& got) {
  const Json& wanted = test["response"];
  const bool is_volatile = base::FindBool(test, {"volatile"});
  if (!wanted.contains("json")) {
    const bool head = test["request"]["method"] == "HEAD";  // The server leaves the body out.
    if (!wanted.contains("text") || wanted["text"].is_null() || is_volatile || head || got.status >= 400) return "";
    return got.body == wanted["text"] ? "" : "text " + got.body;
  }
  auto parsed = base::ParseJson(got.body);
  if (!parsed.ok()) return "no JSON: " + got.body;
  Json reply = *parsed, reference = wanted["json"];
  if (reference.contains("status") && reference["status"] == "error") {
    return reply["errorType"] == reference["errorType"] ? "" : "another kind of error: " + got.body;
  }
  const std::string path = test["request"]["path"];
  if (path == "/api/v1/status/flags" || path == "/api/v1/metadata") {
    if (is_volatile) return reply["data"].is_object() ? "" : "no object";
  }
  const bool statistics = reference["data"].is_object() && reference["data"].contains("stats");
  std::string difference = CompareStatistics(reply, reference);
  if (!difference.empty()) return difference;
  if (is_volatile && !statistics) return ShapeDiffers(reply, reference, "");
  if (path == "/api/v1/targets") {  // Our addition.
    for (Json& dropped : reply["data"]["droppedTargets"]) dropped.erase("reason");
  }
  SortVector(reply, FirstQuery(test));
  SortVector(reference, FirstQuery(test));
  return reply == reference ? "" : "got " + reply.dump() + "\n  reference " + reference.dump();
}

// "" when `got` answers as the reference did. Texts of errors are free.
std::string Differs(const Json& test, const http::Response& got) {
  const Json& wanted = test["response"];
  if (wanted["status"] != got.status) {
    return "status " + std::to_string(got.status) + ", reference " + wanted["status"].dump() + ": " + got.body;
  }
  for (const char* header : {"content-type", "location"}) {
    const std::string value = base::FindString(wanted, {"headers", header});
    if (!value.empty() && got.headers.Get(header) != value) {
      return std::string(header) + " " + got.headers.Get(header) + ", reference " + value;
    }
  }
  return BodyDiffers(test, got);
}

TEST(HttpApiConformance, AnswersAsRecorded) {
  const Json cases = scrape::LoadCases("http-api/responses.json");
  if (cases.is_null()) GTEST_SKIP() << "no conformance data; set CONFORMANCE_DIR";
  promql::EngineOptions few, hasty;
  few.max_samples = 10;
  hasty.timeout_ms = 1;
  World main(true, {}), bare(false, few), slow(false, hasty);
  std::map<std::string, std::pair<int, int>> groups;  // How many are as recorded, and of how many.
  std::set<std::string> excepted;
  int agent = 0;
  for (const Json& test : cases) {
    const std::string group = test["group"], setup = test["setup"],
                      label = group + "/" + test["name"].get<std::string>();
    if (setup == kAgent) {
      ++agent;
      continue;
    }
    World& world = setup == kMain ? main : setup == kOneMillisecond ? slow : bare;
    const std::string difference = Differs(test, world.Ask(test["request"]));
    ++groups[group].second;
    if (Exceptions().contains(label)) {
      EXPECT_FALSE(difference.empty()) << label << " is no exception any more";
      excepted.insert(label);
      continue;
    }
    EXPECT_EQ(difference, "") << label << " (" << test["id"] << ")";
    groups[group].first += difference.empty() ? 1 : 0;
  }
  int same = 0, all = 0;
  for (const auto& [group, counts] : groups) {
    std::cerr << "[ COUNT    ] http-api " << group << ": " << counts.first << " of " << counts.second
              << " as recorded\n";
    same += counts.first;
    all += counts.second;
  }
  std::cerr << "[ COUNT    ] http-api: " << same << " of " << all << " as recorded, " << excepted.size()
            << " decided against; there is no agent mode, which has " << agent << " more\n";
  for (const std::string& label : excepted)
    std::cerr << "[ DECIDED  ] " << label << ": " << Exceptions().at(label) << "\n";
  EXPECT_EQ(excepted.size(), Exceptions().size());
  EXPECT_EQ(all + agent, 293);
}

}  // namespace
}  // namespace tidewright::web
