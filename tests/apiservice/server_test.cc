#include "apiservice/server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/json.h"

namespace tidewright::apiservice {
namespace {

using base::Json;

constexpr int64_t kNow = 1'795'251'600'000;  // 2026-11-21T09:00:00Z

class FakeCustom : public CustomMetricsProvider {
 public:
  std::vector<CustomMetricInfo> metrics = {{{"", "pods"}, true, "http_requests"},
                                           {{"", "namespaces"}, false, "http_requests"},
                                           {{"apps", "deployments"}, true, "lag"}};
  std::string asked;
  std::string warning;
  uint64_t version = 0;
  int listed = 0;
  std::vector<CustomMetricInfo> ListMetrics() override {
    ++listed;
    return metrics;
  }
  uint64_t ListVersion() override { return version; }
  base::Result<CustomMetricValues> GetByName(const GroupResource& resource, const std::string& ns,
                                             const std::string& name, const std::string& metric,
                                             const kube::LabelSelector& selector) override {
    asked = resource.ToString() + "|" + ns + "|" + name + "|" + metric + "|" + selector.ToString();
    if (metric == "broken") return base::InternalError("the query failed");
    if (metric != "http_requests") return base::NotFoundError("no metric " + metric);
    return Values(ns, {name});
  }
  base::Result<CustomMetricValues> GetBySelector(const GroupResource& resource, const std::string& ns,
                                                 const kube::LabelSelector& objects, const std::string& metric,
                                                 const kube::LabelSelector& selector) override {
    asked = resource.ToString() + "|" + ns + "|" + objects.ToString() + "|" + metric + "|" + selector.ToString();
    return Values(ns, {"a", "b"});
  }
  CustomMetricValues Values(const std::string& ns, const std::vector<std::string>& names) const {
    auto list = std::make_shared<kube::NameList>(kube::NameList{names});
    CustomMetricValues values{"Pod", "/v1", ns, "http_requests", 60, list, {}};
    for (const std::string& name : list->names)
      values.values.push_back({name, kNow, base::Quantity::FromMilli(850), warning});
    return values;
  }
};

class FakeExternal : public ExternalMetricsProvider {
 public:
  std::vector<std::string> metrics = {"queue_depth"};
  uint64_t version = 0;
  std::vector<std::string> ListMetrics() override { return metrics; }
  uint64_t ListVersion() override { return version; }
  base::Result<std::vector<ExternalMetricValue>> Get(const std::string&, const std::string& metric,
                                                     const kube::LabelSelector& selector) override {
    if (metric != "queue_depth") return base::NotFoundError("no metric " + metric);
    std::vector<ExternalMetricValue> values = {
        {metric, {{"queue", "jobs"}}, kNow, std::nullopt, base::Quantity::FromValue(7), ""},
        {metric, {}, kNow, 300, base::Quantity::FromMilli(1500), ""}};
    if (!selector.empty()) values.pop_back();
    return values;
  }
};

class FakeResource : public ResourceMetricsProvider {
 public:
  base::Result<std::vector<PodMetrics>> Pods(const std::string& ns, const std::string& name,
                                             const kube::LabelSelector&) override {
    ResourceUsage usage{base::Quantity::FromMilli(250),
                        base::Quantity::FromValue(64 << 20, base::Quantity::Format::kBinarySi)};
    std::vector<PodMetrics> pods;
    for (const char* pod : {"a", "b"}) {
      if (!name.empty() && name != pod) continue;
      pods.push_back(
          {ns.empty() ? "shop" : ns, pod, {{"app", "web"}}, kNow, 300'000, {{"main", usage}, {"side", usage}}});
    }
    return pods;
  }
  base::Result<std::vector<NodeMetrics>> Nodes(const std::string& name, const kube::LabelSelector&) override {
    if (!name.empty() && name != "n1") return std::vector<NodeMetrics>();
    return std::vector<NodeMetrics>{
        {"n1", {}, kNow, 15'100, {base::Quantity::FromValue(2), base::Quantity::FromValue(1024)}}};
  }
};

class FakeAuthenticator : public Authenticator {
 public:
  base::Status status;
  base::Result<UserInfo> Authenticate(const http::ServerRequest&) override {
    if (!status.ok()) return status;
    return UserInfo{"hpa", "", {"system:authenticated"}, {}};
  }
};

class FakeAuthorizer : public Authorizer {
 public:
  base::Status status;
  Attributes asked;
  base::Status Authorize(const UserInfo&, const Attributes& attributes) override {
    asked = attributes;
    return status;
  }
};

class ApiServiceTest : public ::testing::Test {
 protected:
  http::Response Get(const std::string& path, const std::string& query = "", const std::string& accept = "",
                     http::Headers headers = {}) {
    http::ServerRequest request;
    request.method = "GET";
    request.path = path;
    request.query = *http::ParseQuery(query);
    request.headers = headers;
    if (!accept.empty()) request.headers.Add("Accept", accept);
    return service_.Handle(request);
  }
  Json GetJson(const std::string& path, const std::string& query = "", const std::string& accept = "") {
    http::Response response = Get(path, query, accept);
    base::Result<Json> json = base::ParseJson(response.body);
    EXPECT_TRUE(json.ok()) << path << ": " << response.body;
    return json.ok() ? *json : Json();
  }

  FakeCustom custom_;
  FakeExternal external_;
  FakeResource resource_;
  Providers providers_{&custom_, &external_, &resource_};
  FakeAuthenticator authenticator_;
  FakeAuthorizer authorizer_;
  base::FakeClock clock_{kNow};
  base::MetricRegistry metrics_;
  ApiService service_{{}, [this] { return providers_; }, authenticator_, authorizer_, clock_, metrics_};
};

constexpr char kC1[] = "/apis/custom.metrics.k8s.io/v1beta1";
constexpr char kC2[] = "/apis/custom.metrics.k8s.io/v1beta2";
constexpr char kE[] = "/apis/external.metrics.k8s.io/v1beta1";
constexpr char kR[] = "/apis/metrics.k8s.io/v1beta1";

TEST_F(ApiServiceTest, AnswersEveryPathWithItsCodeAndKind) {
  struct Row {
    std::string path, query;
    int code;
    std::string kind;
  };
  const std::vector<Row> rows = {
      {"/apis", "", 200, "APIGroupList"},
      {"/apis/", "timeout=32s", 200, "APIGroupList"},
      {"/apis/custom.metrics.k8s.io", "", 200, "APIGroup"},
      {"/apis/unknown.example.com", "", 404, "Status"},
      {kC1, "", 200, "APIResourceList"},
      {kC2, "timeout=32s", 200, "APIResourceList"},
      {"/apis/custom.metrics.k8s.io/v1", "", 404, "Status"},
      {kE, "", 200, "APIResourceList"},
      {"/apis/external.metrics.k8s.io/v1beta2", "", 404, "Status"},
      {kR, "", 200, "APIResourceList"},
      {"/apis/metrics.k8s.io/v1", "", 200, "APIResourceList"},
      {std::string(kC2) + "/namespaces/shop/pods/a/http_requests", "", 200, "MetricValueList"},
      {std::string(kC2) + "/namespaces/shop/pods/*/http_requests", "labelSelector=app%3Dweb&limit=500", 200,
       "MetricValueList"},
      {std::string(kC2) + "/namespaces/shop/metrics/http_requests", "", 200, "MetricValueList"},
      {std::string(kC2) + "/nodes/n1/http_requests", "", 200, "MetricValueList"},
      {std::string(kC2) + "/namespaces/shop/deployments.apps/web/http_requests", "", 200, "MetricValueList"},
      {std::string(kC2) + "/namespaces/shop/pods", "", 400, "Status"},
      {std::string(kC2) + "/namespaces/shop/pods/a", "", 404, "Status"},
      {std::string(kC2) + "/nodes/n1", "", 404, "Status"},
      {std::string(kC2) + "/unknown", "", 404, "Status"},
      {std::string(kC2) + "/namespaces/shop/pods/a/missing", "", 404, "Status"},
      {std::string(kC2) + "/namespaces/shop/pods/a/broken", "", 500, "Status"},
      {std::string(kC2) + "/namespaces/shop/pods/*/http_requests", "labelSelector=a%20b%20c", 400, "Status"},
      {std::string(kC2) + "/namespaces/shop/pods/*/http_requests", "metricLabelSelector=a%20b%20c", 400, "Status"},
      {std::string(kC2) + "/namespaces/shop/pods/a/http_requests", "fieldSelector=metadata.name%3Da", 200,
       "MetricValueList"},
      {std::string(kC2) + "/namespaces/shop/pods/a/http_requests", "fieldSelector=metadata.name%3Db", 400, "Status"},
      {std::string(kE) + "/namespaces/shop/queue_depth", "", 200, "ExternalMetricValueList"},
      {std::string(kE) + "/namespaces/shop", "", 404, "Status"},
      {std::string(kE) + "/queue_depth", "", 404, "Status"},
      {std::string(kE) + "/namespaces/shop//queue_depth", "", 404, "Status"},
      {std::string(kE) + "/namespaces/shop/other", "", 404, "Status"},
      {std::string(kR) + "/nodes", "", 200, "NodeMetricsList"},
      {std::string(kR) + "/nodes/n1", "", 200, "NodeMetrics"},
      {std::string(kR) + "/nodes/n2", "", 404, "Status"},
      {std::string(kR) + "/pods", "", 200, "PodMetricsList"},
      {std::string(kR) + "/namespaces/shop/pods", "limit=500", 200, "PodMetricsList"},
      {std::string(kR) + "/namespaces/shop/pods/a", "", 200, "PodMetrics"},
      {std::string(kR) + "/namespaces/shop/pods/z", "", 404, "Status"},
      {std::string(kR) + "/pods", "watch=true", 405, "Status"},
      {"/openapi/v2", "", 200, ""},
      {"/openapi/v3", "", 200, ""},
      {"/openapi/v3/apis/custom.metrics.k8s.io/v1beta2", "hash=0", 200, ""},
      {"/openapi/v3/apis/custom.metrics.k8s.io/v1", "", 404, "Status"},
      {"/openapi/v3/apis/apps/v1", "", 404, "Status"},
      {"/openapi/v1", "", 404, "Status"},
      {"/readyz/made-up", "", 404, "Status"},
      {std::string(kC2) + "/namespaces/shop/pods/a/" + std::string(5000, 'x'), "", 404, "Status"},
      {std::string(kC2) + "/namespaces/shop/pods/*/http_requests", "labelSelector=" + std::string(5000, 'x'), 200,
       "MetricValueList"},
      {std::string(kC2) + "/namespaces//pods/a/http_requests", "", 404, "Status"},
      {std::string(kC2) + "/a/b/c/d/e/f", "", 404, "Status"},
      {"/apis/CUSTOM.metrics.k8s.io/v1beta2", "", 404, "Status"},
      {"/", "", 404, "Status"},
  };
  for (const Row& row : rows) {
    http::Response response = Get(row.path, row.query);
    EXPECT_EQ(response.status, row.code) << row.path << "?" << row.query << ": " << response.body;
    base::Result<Json> json = base::ParseJson(response.body);
    ASSERT_TRUE(json.ok()) << row.path;
    EXPECT_EQ(base::FindString(*json, {"kind"}), row.kind) << row.path;
    if (row.kind == "Status") EXPECT_EQ(base::FindInt(*json, {"code"}), row.code) << row.path;
  }
}

TEST_F(ApiServiceTest, RefusesEveryVerbButReading) {
  for (const char* path : {"/apis", kC2, "/openapi/v2", "/apis/metrics.k8s.io/v1beta1/nodes",
                           "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue_depth", "/healthz"}) {
    for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"}) {
      http::ServerRequest request;
      request.method = method;
      request.path = path;
      http::Response response = service_.Handle(request);
      EXPECT_EQ(response.status, 405) << method << " " << path;
      EXPECT_EQ(base::FindString(*base::ParseJson(response.body), {"reason"}), "MethodNotAllowed");
      EXPECT_EQ(response.headers.Get("Allow"), "GET, HEAD");
    }
  }
}

TEST_F(ApiServiceTest, DocumentsAreMadeAgainOnlyWhenAListHasChanged) {
  custom_.version = external_.version = 1;
  http::Response first = Get(kC2);
  EXPECT_EQ(Get(kC2, "", "", {{"If-None-Match", first.headers.Get("ETag")}}).status, 304);
  int listed = custom_.listed;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Get(kC2).body, first.body);
  EXPECT_EQ(custom_.listed, listed);
  custom_.metrics.push_back({{"", "pods"}, true, "newcomer"});
  custom_.version = 2;
  EXPECT_NE(Get(kC2).body.find("pods/newcomer"), std::string::npos);
  providers_.custom = nullptr;
  EXPECT_EQ(GetJson("/apis")["groups"].size(), 2u) << "what is served counts, too";
  EXPECT_EQ(GetJson(kE)["resources"][0]["name"], "queue_depth");
}

TEST_F(ApiServiceTest, OpenApiDescribesWhatIsServed) {
  Json v2 = GetJson("/openapi/v2", "", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf,*/*");
  EXPECT_EQ(v2["swagger"], "2.0");
  EXPECT_TRUE(v2["paths"].contains(std::string(kR) + "/nodes/{name}"));
  // Every reference leads somewhere, and operations have names of their own.
  std::set<std::string> ids;
  for (const auto& [path, item] : v2["paths"].items()) {
    const Json& get = item["get"];
    std::string reference = get["responses"]["200"]["schema"]["$ref"];
    EXPECT_TRUE(v2["definitions"].contains(reference.substr(sizeof("#/definitions/") - 1))) << reference;
    EXPECT_TRUE(ids.insert(get["operationId"].get<std::string>()).second) << path;
  }
  Json index = GetJson("/openapi/v3");
  ASSERT_EQ(index["paths"].size(), 5u);
  for (const auto& [path, item] : index["paths"].items()) {
    std::string url = item["serverRelativeURL"];
    Json document = GetJson(url.substr(0, url.find('?')));
    EXPECT_EQ(document["openapi"], "3.0.0") << path;
    EXPECT_FALSE(document["components"]["schemas"].empty()) << path;
  }
  providers_.external = nullptr;
  EXPECT_EQ(GetJson("/openapi/v3")["paths"].size(), 4u);
  EXPECT_EQ(Get("/openapi/v3/apis/external.metrics.k8s.io/v1beta1").status, 404);
}

TEST_F(ApiServiceTest, HealthHasParts) {
  base::Status store;
  ApiServiceOptions options;
  options.ready = {{"started", [] { return base::Status::Ok(); }}, {"store", [&] { return store; }}};
  ApiService service(
      options, [this] { return providers_; }, authenticator_, authorizer_, clock_, metrics_);
  auto get = [&](const std::string& path, bool verbose) {
    http::ServerRequest request;
    request.method = "GET";
    request.path = path;
    if (verbose) request.query = {{"verbose", ""}};
    return service.Handle(request);
  };
  EXPECT_EQ(get("/readyz", false).body, "ok");
  EXPECT_EQ(get("/readyz", true).body, "[+]ping ok\n[+]started ok\n[+]store ok\nreadyz check passed\n");
  store = base::UnavailableError("disk full");
  EXPECT_EQ(get("/readyz", false).status, 503);
  EXPECT_EQ(get("/readyz", false).body, "[+]ping ok\n[+]started ok\n[-]store failed: disk full\nreadyz check failed\n");
  EXPECT_EQ(get("/readyz/store", false).status, 503);
  EXPECT_EQ(get("/readyz/started", false).status, 200);
  EXPECT_EQ(get("/livez", false).status, 200) << "being alive does not depend on being ready";
  EXPECT_EQ(get("/livez/store", false).status, 404);
}

TEST_F(ApiServiceTest, ValuesThatStandInAreAnnounced) {
  custom_.warning = "metric \"x\": a value of 1m ago stands in";
  http::Response response = Get(std::string(kC2) + "/namespaces/shop/pods/a/http_requests");
  EXPECT_EQ(response.headers.Get("Warning"), R"(299 - "metric \"x\": a value of 1m ago stands in")");
  custom_.warning.clear();
  EXPECT_FALSE(Get(std::string(kC2) + "/namespaces/shop/pods/a/http_requests").headers.Has("Warning"));
}

TEST_F(ApiServiceTest, WritesBothVersionsOfCustomMetrics) {
  Json v2 = GetJson(std::string(kC2) + "/namespaces/shop/pods/a/http_requests", "metricLabelSelector=verb%3Dget");
  EXPECT_EQ(v2,
            *base::ParseJson(R"({"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta2","metadata":{},
    "items":[{"describedObject":{"kind":"Pod","namespace":"shop","name":"a","apiVersion":"/v1"},
    "metric":{"name":"http_requests","selector":{"matchLabels":{"verb":"get"}}},
    "timestamp":"2026-11-21T09:00:00Z","windowSeconds":60,"value":"850m"}]})"));
  EXPECT_EQ(custom_.asked, "pods|shop|a|http_requests|verb=get");
  Json v1 = GetJson(std::string(kC1) + "/namespaces/shop/pods/a/http_requests");
  EXPECT_EQ(v1,
            *base::ParseJson(R"({"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta1","metadata":{},
    "items":[{"describedObject":{"kind":"Pod","namespace":"shop","name":"a","apiVersion":"/v1"},
    "metricName":"http_requests","selector":null,"timestamp":"2026-11-21T09:00:00Z","window":60,"value":"850m"}]})"));
}

TEST_F(ApiServiceTest, AsksTheProviderForTheRightObject) {
  struct Row {
    std::string path, query, asked;
  };
  const std::vector<Row> rows = {
      {"/namespaces/shop/metrics/http_requests", "", "namespaces||shop|http_requests|"},
      {"/namespaces/shop/deployments.apps/web/http_requests", "", "deployments.apps|shop|web|http_requests|"},
      {"/nodes/n1/http_requests", "", "nodes||n1|http_requests|"},
      {"/namespaces/shop/pods/*/http_requests", "labelSelector=app%3Dweb", "pods|shop|app=web|http_requests|"},
      // The name under which the walk-through of prometheus-adapter passes the selector is ignored there, too.
      {"/namespaces/shop/pods/*/http_requests", "selector=app%3Dweb", "pods|shop||http_requests|"},
  };
  for (const Row& row : rows) {
    ASSERT_EQ(Get(kC2 + row.path, row.query).status, 200) << row.path;
    EXPECT_EQ(custom_.asked, row.asked) << row.path;
  }
}

TEST_F(ApiServiceTest, WritesExternalAndResourceMetrics) {
  EXPECT_EQ(GetJson(std::string(kE) + "/namespaces/shop/queue_depth")["items"], *base::ParseJson(R"([
    {"metricName":"queue_depth","metricLabels":{"queue":"jobs"},"timestamp":"2026-11-21T09:00:00Z","value":"7"},
    {"metricName":"queue_depth","metricLabels":null,"timestamp":"2026-11-21T09:00:00Z","window":300,"value":"1500m"}])"));
  EXPECT_EQ(GetJson(std::string(kE) + "/namespaces/shop/queue_depth", "labelSelector=queue%3Djobs")["items"].size(),
            1u);
  Json pod = GetJson(std::string(kR) + "/namespaces/shop/pods/a");
  EXPECT_EQ(pod["window"], "5m0s");
  EXPECT_EQ(pod["containers"][1], *base::ParseJson(R"({"name":"side","usage":{"cpu":"250m","memory":"64Mi"}})"));
  Json node = GetJson("/apis/metrics.k8s.io/v1/nodes/n1");
  EXPECT_EQ(node["apiVersion"], "metrics.k8s.io/v1");
  EXPECT_EQ(node["window"], "15.1s");
}

TEST_F(ApiServiceTest, NegotiatesTheContent) {
  struct Row {
    std::string name, path, accept;
    int code;
    std::string kind;
  };
  const std::string table =
      "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
  const std::string v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
  const std::vector<Row> rows = {
      {"kubectl top without protobuf", std::string(kR) + "/pods", "application/json, */*", 200, "PodMetricsList"},
      {"protobuf of a document", kC2, "application/vnd.kubernetes.protobuf, */*", 200, "APIResourceList"},
      {"kubectl get", std::string(kR) + "/pods", table, 200, "Table"},
      {"kubectl get of a custom metric", std::string(kC2) + "/namespaces/shop/pods/*/http_requests", table, 200,
       "MetricValueList"},
      {"protobuf only", "/version", "application/vnd.kubernetes.protobuf", 406, "Status"},
      {"protobuf of lower q", std::string(kR) + "/pods", "application/vnd.kubernetes.protobuf;q=0.5,application/json",
       200, "PodMetricsList"},
      {"refused by q", std::string(kR) + "/pods", "application/json;q=0", 406, "Status"},
      {"aggregated discovery", "/apis", v2, 200, "APIGroupDiscoveryList"},
      {"aggregated discovery of an old client", "/apis",
       "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json", 200,
       "APIGroupList"},
      {"lower q", "/apis",
       "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;q=0.5,application/json", 200,
       "APIGroupList"},
  };
  for (const Row& row : rows) {
    http::Response response = Get(row.path, "", row.accept);
    EXPECT_EQ(response.status, row.code) << row.name;
    EXPECT_EQ(base::FindString(*base::ParseJson(response.body), {"kind"}), row.kind) << row.name;
  }
}

// The bytes of a message as protoc --decode_raw prints them, on one line: 1: 5 2: "text" 3 { ... }.
std::string Decoded(std::string_view bytes);

bool IsMessage(std::string_view bytes, std::string* text) {
  auto varint = [&](uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
      auto byte = static_cast<unsigned char>(bytes.front());
      bytes.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  };
  while (!bytes.empty()) {
    uint64_t key = 0, value = 0;
    if (!varint(&key) || key >> 3 == 0 || key >> 3 > 20 || (key & 7) % 2 != 0 || !varint(&value)) return false;
    *text += (text->empty() ? "" : " ") + std::to_string(key >> 3);
    if ((key & 7) == 0) {
      *text += ": " + std::to_string(value);
      continue;
    }
    if ((key & 7) != 2 || value > bytes.size()) return false;
    *text += Decoded(bytes.substr(0, value));
    bytes.remove_prefix(value);
  }
  return true;
}

std::string Decoded(std::string_view bytes) {
  // Messages begin with the key of their first field, which is no letter.
  bool letters = std::all_of(bytes.begin(), bytes.end(), [](char c) { return c >= ' '; });
  std::string inner;
  if (!letters && IsMessage(bytes, &inner)) return " { " + inner + " }";
  return ": \"" + std::string(bytes) + "\"";
}

TEST_F(ApiServiceTest, WritesProtobufForThoseWhoPreferIt) {
  struct Row {
    std::string path, query, expected;
  };
  const std::string time = "{ 1: 1795251600 2: 0 }", usage = R"({ 1: "cpu" 2 { 1: "250m" } })",
                    memory = R"({ 1: "memory" 2 { 1: "64Mi" } })";
  for (const Row& row : {
           Row{std::string(kC2) + "/namespaces/shop/pods/a/http_requests", "metricLabelSelector=verb%3Dget,!x",
               R"(1 { 1: "custom.metrics.k8s.io/v1beta2" 2: "MetricValueList" } 2 { 1: "" 2 { )"
               R"(1 { 1: "Pod" 2: "shop" 3: "a" 5: "/v1" } )"
               R"(2 { 1: "http_requests" 2 { 1 { 1: "verb" 2: "get" } 2 { 1: "x" 2: "DoesNotExist" } } } )"
               "3 " +
                   time + R"( 4: 60 5 { 1: "850m" } } })"},
           {std::string(kC1) + "/namespaces/shop/pods/a/http_requests", "",
            R"(1 { 1: "custom.metrics.k8s.io/v1beta1" 2: "MetricValueList" } 2 { 1: "" 2 { )"
            R"(1 { 1: "Pod" 2: "shop" 3: "a" 5: "/v1" } 2: "http_requests" 3 )" +
                time + R"( 4: 60 5 { 1: "850m" } } })"},
           {std::string(kE) + "/namespaces/shop/queue_depth", "labelSelector=a",
            R"(1 { 1: "external.metrics.k8s.io/v1beta1" 2: "ExternalMetricValueList" } 2 { 1: "" 2 { )"
            R"(1: "queue_depth" 2 { 1: "queue" 2: "jobs" } 3 )" +
                time + R"( 5 { 1: "7" } } })"},
           {std::string(kR) + "/namespaces/shop/pods/a", "",
            R"(1 { 1: "metrics.k8s.io/v1beta1" 2: "PodMetrics" } 2 { 1 { 1: "a" 3: "shop" 8 )" + time +
                R"( 11 { 1: "app" 2: "web" } } 2 )" + time + " 3 { 1: 300000000000 } 4 { 1: \"main\" 2 " + usage +
                " 2 " + memory + " } 4 { 1: \"side\" 2 " + usage + " 2 " + memory + " } }"},
           {"/apis/metrics.k8s.io/v1/nodes", "",
            R"(1 { 1: "metrics.k8s.io/v1" 2: "NodeMetricsList" } 2 { 1: "" 2 { 1 { 1: "n1" 3: "" 8 )" + time + " } 2 " +
                time + R"( 3 { 1: 15100000000 } 4 { 1: "cpu" 2 { 1: "2" } } 4 { 1: "memory" 2 { 1: "1024" } } } })"},
       }) {
    http::Response response = Get(row.path, row.query, "application/vnd.kubernetes.protobuf, */*");
    EXPECT_EQ(response.status, 200) << row.path;
    EXPECT_EQ(response.headers.Get("Content-Type"), "application/vnd.kubernetes.protobuf");
    ASSERT_EQ(response.body.substr(0, 4), std::string("k8s\0", 4)) << row.path;
    std::string text;
    ASSERT_TRUE(IsMessage(std::string_view(response.body).substr(4), &text)) << row.path;
    EXPECT_EQ(text, row.expected) << row.path;
  }
  EXPECT_EQ(
      GetJson(std::string(kC2) + "/namespaces/shop/pods/a/nothing", "", "application/vnd.kubernetes.protobuf")["kind"],
      "Status")
      << "errors are JSON, which every client reads by its Content-Type";
}

TEST_F(ApiServiceTest, TableHasTheColumnsThatKubectlPrints) {
  Json table = GetJson(std::string(kR) + "/namespaces/shop/pods", "", "application/json;as=Table;v=v1;g=meta.k8s.io");
  EXPECT_EQ(table["columnDefinitions"].size(), 4u);
  EXPECT_EQ(table["rows"][0]["cells"], *base::ParseJson(R"(["a","500m","128Mi","5m0s"])"));
  EXPECT_EQ(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
  EXPECT_EQ(table["rows"][0]["object"]["metadata"]["namespace"], "shop");
}

TEST_F(ApiServiceTest, AggregatedDiscoveryListsMetricsAsSubresourcesAndAnswers304) {
  const std::string v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  http::Response response = Get("/apis", "", v2);
  EXPECT_EQ(response.headers.Get("Content-Type"), v2);
  Json document = *base::ParseJson(response.body);
  ASSERT_EQ(document["items"].size(), 3u);
  Json version = document["items"][0]["versions"][0];
  EXPECT_EQ(version["version"], "v1beta2");
  EXPECT_EQ(version["resources"][0]["resource"], "pods");
  EXPECT_TRUE(version["resources"][0]["responseKind"].is_object());
  EXPECT_EQ(version["resources"][0]["subresources"][0]["subresource"], "http_requests");
  EXPECT_EQ(version["resources"][0]["subresources"][0]["responseKind"]["kind"], "MetricValueList");
  EXPECT_EQ(version["resources"][1]["scope"], "Cluster");
  std::string tag = response.headers.Get("ETag");
  ASSERT_FALSE(tag.empty());
  http::Response again = Get("/apis", "", v2, {{"If-None-Match", tag}});
  EXPECT_EQ(again.status, 304);
  EXPECT_TRUE(again.body.empty());
  custom_.metrics.pop_back();
  EXPECT_EQ(Get("/apis", "", v2, {{"If-None-Match", tag}}).status, 200);
}

TEST_F(ApiServiceTest, DiscoveryIsNeverEmptyAndAnAbsentProviderHasNoGroup) {
  custom_.metrics.clear();
  external_.metrics.clear();
  EXPECT_EQ(GetJson(kC2)["resources"][0]["name"], "custommetrics");
  EXPECT_EQ(GetJson(kE)["resources"][0]["name"], "externalmetrics");
  providers_.external = nullptr;
  EXPECT_EQ(GetJson("/apis")["groups"].size(), 2u);
}

// An APIService that does not answer would keep the API server from deleting any namespace.
TEST_F(ApiServiceTest, WhatNobodyProvidesIsListedAndSaysWhyItIsNotFound) {
  providers_ = {};
  struct Row {
    const char *list, *first, *metric, *why;
  };
  const std::vector<Row> rows = {
      {kC1, "custommetrics", "/namespaces/shop/pods/a/http_requests", "no rule gives custom metrics"},
      {kC2, "custommetrics", "/namespaces/shop/pods/*/http_requests", "no rule gives custom metrics"},
      {kE, "externalmetrics", "/namespaces/shop/queue_depth", "no rule gives external metrics"},
      {kR, "nodes", "/nodes", "the configuration has no `resourceRules`"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(GetJson(row.list)["resources"][0]["name"], row.first) << row.list;
    Json status = GetJson(std::string(row.list) + row.metric);
    EXPECT_EQ(status["code"], 404) << row.list;
    EXPECT_NE(base::FindString(status, {"message"}).find(row.why), std::string::npos) << status.dump();
  }
  EXPECT_EQ(GetJson("/apis")["groups"].size(), 0u);
}

TEST_F(ApiServiceTest, RefusesWhoIsUnknownOrNotAllowedButAnswersHealthChecks) {
  authenticator_.status = base::UnauthenticatedError("Unauthorized");
  EXPECT_EQ(Get(kC2).status, 401);
  EXPECT_EQ(Get(kC2).headers.Get("Connection"), "close") << "what a connection has shown does not change";
  EXPECT_EQ(GetJson(kC2)["reason"], "Unauthorized");
  for (const char* path : {"/healthz", "/livez", "/readyz", "/livez/ping"}) EXPECT_EQ(Get(path).status, 200) << path;
  authenticator_.status = base::UnavailableError("cannot ask");
  EXPECT_FALSE(Get(kC2).headers.Has("Connection"));
  EXPECT_EQ(Get(kC2).status, 503);
  authenticator_.status = base::Status::Ok();
  authorizer_.status = base::PermissionDeniedError("user \"hpa\" cannot get");
  EXPECT_EQ(Get(std::string(kC2) + "/namespaces/shop/pods/a/http_requests").status, 403);
  EXPECT_TRUE(custom_.asked.empty());
  authorizer_.status = base::UnavailableError("cannot ask");
  EXPECT_EQ(Get(kC2).status, 503);
  authorizer_.status = base::Status::Ok();
  EXPECT_EQ(Get(std::string(kR) + "/nodes").status, 200);
  EXPECT_EQ(Get("/apis/made.up/v1/by/a/client").status, 404);
  std::string rendered = metrics_.Render();
  for (const char* line :
       {"authentication_attempts{result=\"failure\"} 3\n", "authentication_attempts{result=\"error\"} 2\n",
        "authentication_attempts{result=\"success\"} 4\n", "authorization_attempts_total{result=\"denied\"} 1\n",
        "authorization_attempts_total{result=\"error\"} 1\n", "authorization_attempts_total{result=\"allowed\"} 2\n",
        "apiserver_request_total{code=\"401\",group=\"custom.metrics.k8s.io\",resource=\"\",verb=\"GET\","
        "version=\"v1beta2\"} 3\n",
        "apiserver_request_total{code=\"403\",group=\"custom.metrics.k8s.io\",resource=\"*\",verb=\"GET\","
        "version=\"v1beta2\"} 1\n",
        "apiserver_request_total{code=\"200\",group=\"metrics.k8s.io\",resource=\"nodes\",verb=\"LIST\","
        "version=\"v1beta1\"} 1\n",
        "apiserver_request_total{code=\"404\",group=\"\",resource=\"\",verb=\"GET\",version=\"\"} 1\n"}) {
    EXPECT_NE(rendered.find(line), std::string::npos) << line << rendered;
  }
}

TEST_F(ApiServiceTest, AsksTheAuthorizerWhatKubeApiserverWould) {
  struct Row {
    std::string path, expected;  // verb group resource subresource name namespace
  };
  const std::vector<Row> rows = {
      {std::string(kC2) + "/namespaces/shop/pods/*/http_requests",
       "get custom.metrics.k8s.io pods http_requests * shop"},
      {std::string(kC2) + "/namespaces/shop/metrics/rate", "get custom.metrics.k8s.io metrics  rate shop"},
      {std::string(kE) + "/namespaces/shop/queue_depth", "list external.metrics.k8s.io queue_depth   shop"},
      {std::string(kR) + "/nodes", "list metrics.k8s.io nodes   "},
      {std::string(kR) + "/namespaces/shop/pods/a", "get metrics.k8s.io pods  a shop"},
      {kC2, "get     "},
  };
  for (const Row& row : rows) {
    Get(row.path);
    const Attributes& a = authorizer_.asked;
    EXPECT_EQ(a.verb + " " + a.group + " " + a.resource + " " + a.subresource + " " + a.name + " " + a.ns, row.expected)
        << row.path;
    EXPECT_EQ(a.is_resource, row.path != kC2) << row.path;
  }
}

}  // namespace
}  // namespace tidewright::apiservice
