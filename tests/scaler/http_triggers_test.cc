// Triggers that ask by HTTP, against a server that answers what the test says. The real servers are asked in
// tests/integration/queues_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/server.h"
#include "scaler/source_pool.h"
#include "scaler/trigger.h"
#include "tests/scaler/fake_engine.h"
#include "tests/scaler/fake_kube.h"

namespace tidewright::scaler {
namespace {

using Metadata = std::map<std::string, std::string>;

class HttpTriggersTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server =
        http::Server::Create({}, [this](const http::ServerRequest& request, std::shared_ptr<http::Responder> out) {
          ++requests_;
          target_ = request.target;
          headers_ = request.headers;
          body_ = request.body;
          out->Reply({status_, {{"Content-Type", "application/json"}}, answer_});
        });
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
    auto port = server_->Listen("127.0.0.1", 0);
    ASSERT_TRUE(port.ok());
    port_ = std::to_string(*port);
    auto client = http::NewCurlClient({});
    ASSERT_TRUE(client.ok());
    client_ = std::move(*client);
    context_.control = &clock_;
    context_.calendar = &clock_;
    context_.engine = &engine_;
    context_.objects = &reader_;
    context_.http = client_.get();
    context_.resolve_host = [](const std::string& host) { return host == "peer" ? "127.0.0.1" : host; };
    secrets_.env = [this](const std::string& name) -> base::Result<std::string> {
      auto it = env_.find(name);
      if (it == env_.end()) return base::NotFoundError("no variable " + name);
      return it->second;
    };
  }
  void TearDown() override { server_->Stop(); }

  base::Result<std::unique_ptr<Trigger>> Make(const std::string& type, Metadata metadata) {
    TriggerSpec spec;
    spec.type = type;
    spec.ns = "shop";
    spec.metadata = std::move(metadata);
    return NewTrigger(spec, secrets_, context_);
  }
  // The value in milli-units with the detail, or the error's text.
  std::string Read(const std::string& type, Metadata metadata) {
    auto trigger = Make(type, std::move(metadata));
    if (!trigger.ok()) return trigger.status().message();
    auto reading = (*trigger)->Read();
    return reading.ok() ? std::to_string(reading->value_milli) + " " + reading->detail : reading.status().message();
  }
  // What is wrong with a manifest.
  std::string Check(const std::string& type, Metadata metadata) {
    TriggerSpec spec;
    spec.type = type;
    spec.metadata = std::move(metadata);
    base::ErrorList errors("web");
    CheckTrigger(spec, "trigger", errors);
    return errors.ToStatus().message();
  }
  std::string Url() const { return "http://peer:" + port_; }

  base::FakeClock clock_{1'000'000};
  FakeEngine engine_;
  FakeKube kube_;
  DirectReader reader_{kube_};
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::Client> client_;
  std::string port_;
  TriggerContext context_;
  TriggerSecrets secrets_;
  std::map<std::string, std::string> env_;
  int requests_ = 0;
  int status_ = 200;
  std::string answer_;
  std::string target_;
  std::string body_;
  http::Headers headers_;
};

struct LocationRow {
  const char* location;
  const char* want;
};

TEST_F(HttpTriggersTest, MetricsApiFindsNumbers) {
  answer_ = R"({"a":{"b":[1,{"c":2.5}]},"dot.ted":"7","size":"1.5Ki","text":"many","none":null,"low":-3})";
  const LocationRow rows[] = {
      {"a.b.1.c", "2500 a.b.1.c = 2.5"},
      {"a.b.#", "2000 a.b.# = 2"},
      {"dot\\.ted", "7000 dot\\.ted = 7"},
      {"size", "1536000 size = 1536"},
      {"low", "0 low = 0"},
      {"a.b.2", "the reply has nothing at \"a.b.2\""},
      {"a.x", "the reply has nothing at \"a.x\""},
      {"text", "what the reply has at \"text\" is not a number"},
      {"none", "what the reply has at \"none\" is not a number"},
      {"a", "what the reply has at \"a\" is not a number"},
  };
  for (const LocationRow& row : rows) {
    EXPECT_EQ(Read("metrics-api", {{"url", Url() + "/stats"}, {"valueLocation", row.location}, {"targetValue", "5"}}),
              row.want);
  }
  EXPECT_EQ(target_, "/stats");
  answer_ = "queues:\n  - length: 12\n";
  EXPECT_EQ(Read("metrics-api",
                 {{"url", Url()}, {"format", "yaml"}, {"valueLocation", "queues.0.length"}, {"targetValue", "5"}}),
            "12000 queues.0.length = 12");
  answer_ = "<html>";
  EXPECT_EQ(Read("metrics-api", {{"url", Url()}, {"valueLocation", "a"}, {"targetValue", "5"}}),
            "the reply is not JSON");
}

TEST_F(HttpTriggersTest, CredentialsAreSentAndNeverShown) {
  env_ = {{"SECRET", "s3cret"}};
  answer_ = R"({"a":1})";
  const Metadata base = {{"url", Url()}, {"valueLocation", "a"}, {"targetValue", "1"}};
  auto with = [&](Metadata more) {
    more.insert(base.begin(), base.end());
    return more;
  };
  EXPECT_EQ(Read("metrics-api", with({{"username", "u"}, {"passwordFromEnv", "SECRET"}})), "1000 a = 1");
  EXPECT_EQ(headers_.Get("Authorization"), "Basic " + base::Base64Encode("u:s3cret"));
  EXPECT_EQ(Read("metrics-api", with({{"authMode", "bearer"}, {"bearerTokenFromEnv", "SECRET"}})), "1000 a = 1");
  EXPECT_EQ(headers_.Get("Authorization"), "Bearer s3cret");
  EXPECT_EQ(Read("metrics-api", with({{"apiKeyFromEnv", "SECRET"}})), "1000 a = 1");
  EXPECT_EQ(headers_.Get("X-API-KEY"), "s3cret");
  EXPECT_EQ(Read("metrics-api", with({{"apiKeyFromEnv", "SECRET"}, {"method", "query"}})), "1000 a = 1");
  EXPECT_EQ(target_, "/?api_key=s3cret");
  status_ = 401;
  answer_ = "wrong: s3cret";
  EXPECT_EQ(Read("metrics-api", with({{"apiKeyFromEnv", "SECRET"}, {"method", "query"}})),
            "the server answered 401 Unauthorized; check the credentials");
  EXPECT_NE(Read("metrics-api", with({{"apiKey", "s3cret"}})).find("must not stand in the manifest"),
            std::string::npos);
  EXPECT_NE(Read("metrics-api", with({{"authModes", "bearer"}})).find("no bearerToken is given"), std::string::npos);
  EXPECT_NE(Read("metrics-api", with({{"authModes", "oauth"}})).find("\"oauth\" is not supported"), std::string::npos);
}

TEST_F(HttpTriggersTest, Rabbitmq) {
  env_ = {{"RABBIT", "http://guest:pa%2Fss@peer:" + port_ + "/shop"}};
  answer_ = R"({"messages":42,"messages_ready":40,"message_stats":{"publish_details":{"rate":3.5}}})";
  Metadata metadata = {{"hostFromEnv", "RABBIT"}, {"queueName", "orders/eu"}};
  EXPECT_EQ(Read("rabbitmq", metadata), "42000 messages in orders/eu = 42");
  EXPECT_EQ(target_, "/api/queues/shop/orders%2Feu");
  EXPECT_EQ(headers_.Get("Authorization"), "Basic " + base::Base64Encode("guest:pa/ss"));
  metadata["excludeUnacknowledged"] = "true";
  EXPECT_EQ(Read("rabbitmq", metadata), "40000 messages in orders/eu = 40");
  metadata["mode"] = "MessageRate";
  EXPECT_EQ(Read("rabbitmq", metadata), "3500 messages/s of orders/eu = 3.5");
  metadata["mode"] = "DeliverGetRate";
  EXPECT_EQ(Read("rabbitmq", metadata), "0 messages/s of orders/eu = 0");
  answer_ = R"({"page_count":1,"items":[{"messages":4},{"messages":8}]})";
  metadata = {{"host", Url()}, {"queueName", "^o"}, {"useRegex", "true"}};
  EXPECT_EQ(Read("rabbitmq", metadata), "12000 messages in 2 queues that match ^o = 12");
  EXPECT_EQ(target_, "/api/queues/%2F?page=1&use_regex=true&pagination=false&page_size=100&name=%5Eo");
  metadata["operation"] = "avg";
  EXPECT_EQ(Read("rabbitmq", metadata), "6000 messages in 2 queues that match ^o = 6");
  metadata["operation"] = "max";
  EXPECT_EQ(Read("rabbitmq", metadata), "8000 messages in 2 queues that match ^o = 8");
  status_ = 404;
  EXPECT_EQ(Read("rabbitmq", metadata), "rabbitmq at " + Url() + ": the server answered 404 Not Found");
  std::string refused = Read("rabbitmq", {{"host", "http://u:s3cret@peer"}, {"queueName", "q"}});
  EXPECT_NE(refused.find("must not hold a password"), std::string::npos) << refused;
  EXPECT_EQ(refused.find("s3cret"), std::string::npos);
}

TEST_F(HttpTriggersTest, RabbitmqModes) {
  // Values and activity by what the management API says, at activationValue 2; "+" and "-": active by its own word.
  struct {
    const char* mode;
    int messages;
    double published, delivered;
    const char* want;
  } rows[] = {
      {"QueueLength", 7, 1, 1, "7000"},
      {"DeliverGetRate", 7, 1, 2.5, "2500"},
      {"MessageRate", 0, 3.5, 0, "3500 +"},
      {"MessageRate", 0, 1.5, 0, "1500 -"},
      {"MessageRate", 3, 0, 0, "0 +"},
      {"PublishedToDeliveredRatio", 9, 6, 2, "3000 +"},
      {"PublishedToDeliveredRatio", 9, 3, 2, "1500 -"},
      {"PublishedToDeliveredRatio", 9, 6, 0, "2000 +"},
      {"PublishedToDeliveredRatio", 9, 0, 2, "0 -"},
      {"PublishedToDeliveredRatio", 9, 0, 0, "0 -"},
      {"ExpectedQueueConsumptionTime", 12, 6, 2, "8000 +"},
      {"ExpectedQueueConsumptionTime", 2, 2, 2, "1000 -"},
      {"ExpectedQueueConsumptionTime", 2, 0, 10, "0 -"},
      {"ExpectedQueueConsumptionTime", 2, 6, 0, "2000 +"},
      {"ExpectedQueueConsumptionTime", 0, 6, 2, "0 -"},
  };
  for (const auto& row : rows) {
    const base::Json statistics = {{"publish_details", {{"rate", row.published}}},
                                   {"deliver_get_details", {{"rate", row.delivered}}}};
    answer_ = base::DumpJson({{"messages", row.messages}, {"message_stats", statistics}});
    auto trigger =
        Make("rabbitmq", {{"host", Url()}, {"queueName", "q"}, {"mode", row.mode}, {"activationValue", "2"}});
    ASSERT_TRUE(trigger.ok()) << trigger.status().ToString();
    auto reading = (*trigger)->Read();
    ASSERT_TRUE(reading.ok()) << reading.status().ToString();
    std::string seen = std::to_string(reading->value_milli);
    if (reading->active) seen += *reading->active ? " +" : " -";
    EXPECT_EQ(seen, row.want) << row.mode << ": " << reading->detail;
  }
  // Rates of several queues are composed before they are compared: 6 published for 4 that are delivered.
  answer_ = R"({"items":[{"message_stats":{"publish_details":{"rate":5},"deliver_get_details":{"rate":1}}},
                         {"message_stats":{"publish_details":{"rate":1},"deliver_get_details":{"rate":3}}}]})";
  Metadata metadata = {
      {"host", Url()}, {"queueName", "^q"}, {"useRegex", "true"}, {"mode", "PublishedToDeliveredRatio"}};
  EXPECT_EQ(Read("rabbitmq", metadata),
            "1500 messages published for each that is delivered of 2 queues that match ^q = 1.5");
  metadata["mode"] = "ExpectedQueueConsumptionTime";
  EXPECT_THAT(Read("rabbitmq", metadata), testing::HasSubstr("the reply has nothing at \"messages\""));
}

TEST_F(HttpTriggersTest, Nats) {
  answer_ = R"({"account_details":[{"name":"$G","stream_detail":[{"name":"orders","consumer_detail":[
      {"name":"work","num_pending":7,"num_ack_pending":3}]}]}]})";
  Metadata metadata = {
      {"natsServerMonitoringEndpoint", "peer:" + port_}, {"account", "$G"}, {"stream", "orders"}, {"consumer", "work"}};
  EXPECT_EQ(Read("nats-jetstream", metadata), "10000 orders/work has 10 to process");
  EXPECT_EQ(target_, "/jsz?consumers=true&config=true&acc=%24G");
  metadata["consumer"] = "other";
  EXPECT_EQ(Read("nats-jetstream", metadata),
            "nats at peer:" + port_ + ": stream \"orders\" has no consumer \"other\"");
  metadata.erase("account");
  EXPECT_NE(Read("nats-jetstream", metadata).find("account: is missing; give account or accountID"), std::string::npos);
}

TEST_F(HttpTriggersTest, Graphite) {
  Metadata metadata = {{"serverAddress", Url() + "/"}, {"query", "sumSeries(a.*)"}, {"queryTime", "-1Minutes"}};
  answer_ = R"([{"datapoints":[[4,1],[12.5,2],[null,3]]}])";
  EXPECT_EQ(Read("graphite", metadata), "12500 query = 12.5");
  EXPECT_EQ(target_, "/render?format=json&from=-1Minutes&target=sumSeries%28a.%2A%29");
  answer_ = "[]";
  EXPECT_EQ(Read("graphite", metadata), "0 the query has no series, which counts as 0");
  answer_ = R"([{"datapoints":[[null,3]]}])";
  EXPECT_EQ(Read("graphite", metadata), "the query has only points without a value");
  answer_ = "[{},{}]";
  EXPECT_EQ(Read("graphite", metadata), "the query gives 2 series; combine them, for example with sumSeries()");
}

TEST_F(HttpTriggersTest, Influxdb) {
  env_ = {{"TOKEN", "s3cret"}};
  Metadata metadata = {{"serverURL", Url() + "/"},
                       {"organizationName", "my shop"},
                       {"query", "from(bucket: \"orders\")"},
                       {"thresholdValue", "5"},
                       {"authTokenFromEnv", "TOKEN"}};
  answer_ = "#datatype,string,long,double\r\n#default,_result,,\r\n,result,table,_value\r\n,,0,12.5\r\n,,0,99\r\n";
  EXPECT_EQ(Read("influxdb", metadata), "12500 query = 12.5");
  EXPECT_EQ(target_, "/api/v2/query?org=my%20shop");
  EXPECT_EQ(headers_.Get("Authorization"), "Token s3cret");
  EXPECT_EQ(headers_.Get("Content-Type"), "application/json");
  EXPECT_EQ(headers_.Get("Accept"), "application/csv");
  EXPECT_EQ(body_, R"json({"dialect":{"annotations":["datatype","default"],"header":true},)json"
                   R"json("query":"from(bucket: \"orders\")","type":"flux"})json");
  const std::string at = "influxdb at " + Url() + ": ";
  answer_ = "\r\n";
  EXPECT_EQ(Read("influxdb", metadata), at + "the query gives no record; look further back with range()");
  status_ = 401;
  answer_ = "wrong: s3cret";
  EXPECT_EQ(Read("influxdb", metadata), at + "the server answered 401 Unauthorized; check the credentials");

  metadata.erase("authTokenFromEnv");
  Read("influxdb", metadata);
  EXPECT_FALSE(headers_.Has("Authorization"));
  struct {
    const char* key;
    const char* value;
    const char* error;
  } rows[] = {
      {"serverURL", "influxdb:8086", "is not an http:// or https:// address"},
      {"thresholdValue", "0", "\"0\" is not positive; use a number greater than 0"},
      {"authToken", "s3cret", "must not stand in the manifest; use authTokenFromEnv or an authenticationRef"},
      {"influxVersion", "3", "\"3\" is not a version that is read; use 2"},
      {"queryType", "FlightSQL", "is not supported by this version of Tidewright; remove it"},
      {"organisationName", "x", "is not a setting of the influxdb trigger; did you mean \"organizationName\"?"},
  };
  for (const auto& row : rows) {
    Metadata changed = metadata;
    changed[row.key] = row.value;
    EXPECT_EQ(Check("influxdb", changed), std::string("web: trigger.metadata.") + row.key + ": " + row.error);
  }
}

TEST_F(HttpTriggersTest, Elasticsearch) {
  env_ = {{"SECRET", "s3cret"}};
  Metadata metadata = {{"addresses", "http://peer:1/, peer:" + port_},
                       {"username", "elastic"},
                       {"passwordFromEnv", "SECRET"},
                       {"index", "orders-*; %3Cold-%7Bnow%2Fd%7D%3E"},
                       {"searchTemplateName", "waiting"},
                       {"parameters", "queue: eu; since:12:30;"},
                       {"valueLocation", "hits.total.value"},
                       {"targetValue", "5"}};
  answer_ = R"({"timed_out":false,"_shards":{"total":2,"failed":0},"hits":{"total":{"value":12}}})";
  EXPECT_EQ(Read("elasticsearch", metadata), "12000 hits.total.value = 12");
  EXPECT_EQ(target_, "/orders-%2A,%3Cold-%7Bnow%2Fd%7D%3E/_search/template");
  EXPECT_EQ(headers_.Get("Authorization"), "Basic " + base::Base64Encode("elastic:s3cret"));
  EXPECT_EQ(body_, R"({"id":"waiting","params":{"queue":"eu","since":"12:30"}})");

  metadata = {{"addresses", Url()},
              {"apiKeyFromEnv", "SECRET"},
              {"index", "orders"},
              {"query", R"({"sort":{"b":"asc","a":"desc"}})"},
              {"valueLocation", "aggregations.wait.value"},
              {"targetValue", "5"}};
  const std::string at = "elasticsearch at " + Url() + ": ";
  EXPECT_EQ(Read("elasticsearch", metadata), at + "the reply has nothing at \"aggregations.wait.value\"");
  EXPECT_EQ(target_, "/orders/_search");
  EXPECT_EQ(headers_.Get("Authorization"), "ApiKey s3cret");
  EXPECT_EQ(body_, R"({"sort":{"b":"asc","a":"desc"}})");
  answer_ = R"({"aggregations":{"wait":{"value":null}}})";
  EXPECT_EQ(Read("elasticsearch", metadata), at + "what the reply has at \"aggregations.wait.value\" is not a number");
  metadata["ignoreNullValues"] = "true";
  EXPECT_EQ(Read("elasticsearch", metadata), "0 nothing at aggregations.wait.value, which counts as 0");
  answer_ = R"({"timed_out":true})";
  EXPECT_EQ(Read("elasticsearch", metadata), at + "the search was cut short by its timeout");
  answer_ = R"({"timed_out":false,"_shards":{"total":5,"failed":2}})";
  EXPECT_EQ(Read("elasticsearch", metadata), at + "the search failed on 2 shards");
  answer_ = "<html>";
  EXPECT_EQ(Read("elasticsearch", metadata), at + "the reply is not JSON");
  status_ = 401;
  answer_ = "wrong: s3cret";
  metadata["addresses"] = Url() + "," + Url() + "/b";
  EXPECT_EQ(Read("elasticsearch", metadata),
            at + "the server answered 401 Unauthorized; check the credentials; elasticsearch at " + Url() +
                "/b: the server answered 401 Unauthorized; check the credentials");
}

TEST_F(HttpTriggersTest, ElasticsearchStaysWithTheAddressThatAnswers) {
  answer_ = R"({"n":1})";
  status_ = 503;
  auto trigger = Make("elasticsearch", {{"addresses", Url() + "/a," + Url() + "/b"},
                                        {"index", "orders"},
                                        {"query", "{}"},
                                        {"valueLocation", "n"},
                                        {"targetValue", "5"}});
  ASSERT_TRUE(trigger.ok()) << trigger.status().ToString();
  EXPECT_FALSE((*trigger)->Read().ok());
  EXPECT_EQ(target_, "/b/orders/_search") << "both were asked";
  status_ = 200;
  EXPECT_TRUE((*trigger)->Read().ok());
  EXPECT_EQ(target_, "/a/orders/_search");
}

TEST_F(HttpTriggersTest, ElasticsearchManifests) {
  const Metadata metadata = {{"addresses", "http://es:9200"}, {"index", "orders"},  {"searchTemplateName", "waiting"},
                             {"valueLocation", "n"},          {"targetValue", "5"}, {"passwordFromEnv", "P"}};
  EXPECT_EQ(Check("elasticsearch", metadata), "");
  const std::string cloud = "shop:" + base::Base64Encode("eu.cloud.example:443$abc$kib");
  const std::string port = "shop:" + base::Base64Encode("eu.cloud.example$abc:9244$kib");
  struct {
    Metadata changes;  // An empty value removes a setting.
    std::string error;
  } rows[] = {
      {{{"addresses", ""}}, "addresses: is missing; give addresses or cloudID"},
      {{{"addresses", ""}, {"addressesFromEnv", "A"}}, ""},
      {{{"addresses", ""}, {"cloudID", cloud}, {"apiKeyFromEnv", "K"}}, ""},
      {{{"addresses", ""}, {"cloudID", port}}, ""},
      {{{"cloudID", cloud}}, "cloudID: stands beside addresses; remove one of them"},
      {{{"cloudID", "shop:abc"}}, "cloudID: is not a Cloud ID; copy it from the deployment's page"},
      {{{"cloudID", "shop:" + base::Base64Encode("host")}},
       "cloudID: is not a Cloud ID; copy it from the deployment's page"},
      {{{"addresses", "ftp://es"}}, "addresses: is not an http:// or https:// address"},
      {{{"addresses", "http://u:s3cret@es"}}, "addresses: must not have a user name in it; use username and password"},
      {{{"index", "a;;b"}}, "index: \"a;;b\" has an index without a name"},
      {{{"index", "%zz"}}, "index: \"%zz\" has a bad percent escape"},
      {{{"searchTemplateName", ""}}, "searchTemplateName: is missing; give searchTemplateName or query"},
      {{{"query", "{}"}}, "query: stands beside searchTemplateName; remove one of them"},
      {{{"searchTemplateName", ""}, {"query", "[1]"}},
       "query: is not the body of a search; use for example {\"query\": {\"match_all\": {}}}"},
      {{{"searchTemplateName", ""}, {"query", "{}"}, {"parameters", "a:b"}},
       "parameters: is for searchTemplateName, not for query; remove it"},
      {{{"parameters", "a:b;c"}}, "parameters: \"c\" is not a parameter; use name:value;name:value"},
      {{{"password", "s3cret"}},
       "password: must not stand in the manifest; use passwordFromEnv or an authenticationRef"},
      {{{"ignoreNullValue", "true"}},
       "ignoreNullValue: is not a setting of the elasticsearch trigger; did you mean \"ignoreNullValues\"?"},
  };
  for (const auto& row : rows) {
    Metadata changed = metadata;
    for (const auto& [key, value] : row.changes) {
      if (value.empty()) {
        changed.erase(key);
      } else {
        changed[key] = value;
      }
    }
    EXPECT_EQ(Check("elasticsearch", changed), row.error.empty() ? "" : "web: trigger.metadata." + row.error);
  }
  env_ = {{"USER", "u"}, {"SECRET", "s3cret"}};
  Metadata both = metadata;
  both.insert({{"usernameFromEnv", "USER"}, {"apiKeyFromEnv", "SECRET"}});
  both["passwordFromEnv"] = "SECRET";
  EXPECT_NE(Read("elasticsearch", both).find("apiKey: stands beside username; remove one of them"), std::string::npos);
}

// The names that Elastic Cloud's identifiers stand for, seen by what is looked up.
TEST_F(HttpTriggersTest, ElasticsearchInElasticCloud) {
  std::string host;
  context_.resolve_host = [&host](const std::string& name) {
    host = name;
    return std::string("127.0.0.1");
  };
  for (const char* decoded : {"eu.cloud.example:1$abc$kib", "eu.cloud.example:443$abc:1$kib"}) {
    host.clear();
    std::string error = Read("elasticsearch", {{"cloudID", "shop:" + base::Base64Encode(decoded)},
                                               {"index", "orders"},
                                               {"query", "{}"},
                                               {"valueLocation", "n"},
                                               {"targetValue", "5"}});
    EXPECT_EQ(host, "abc.eu.cloud.example");
    EXPECT_EQ(error.find("elasticsearch at https://abc.eu.cloud.example:1: "), 0u) << error;
  }
}

TEST_F(HttpTriggersTest, HttpRequests) {
  engine_.SetVector({150.25});
  EXPECT_EQ(Read("http", {{"ingress", "web/front.end"}, {"requestsPerReplica", "50"}}),
            "150250 150.25 requests/s over 1m");
  EXPECT_EQ(engine_.last_query(),
            R"(sum(rate(nginx_ingress_controller_requests{exported_namespace="web",ingress="front.end"}[1m])))");
  EXPECT_NE(Read("http",
                 {{"ingress", "front.end"}, {"requestsPerReplica", "50"}, {"controller", "traefik"}, {"window", "30s"}})
                .find("requests/s over 30s"),
            std::string::npos);
  EXPECT_EQ(engine_.last_query(),
            R"(sum(rate(traefik_service_requests_total{service=~"shop-front\\.end-[^@]*@kubernetes.*"}[30s])))");
  engine_.SetVector({});
  EXPECT_EQ(Read("http", {{"ingress", "shop/web"}, {"requestsPerReplica", "50"}}),
            "0 no request was counted for shop/web");
  for (const char* bad : {"shop/we\"b", "a/b/c", "/", ""}) {
    EXPECT_NE(Read("http", {{"ingress", bad}, {"requestsPerReplica", "50"}}).find("metadata.ingress"),
              std::string::npos)
        << bad;
  }
  for (const char* controller : {"envoy", "haproxy", "istio"}) {
    Read("http", {{"ingress", "web"}, {"requestsPerReplica", "1"}, {"controller", controller}});
    EXPECT_TRUE(promql::CheckExpression(engine_.last_query()).ok()) << engine_.last_query();
  }
}

TEST_F(HttpTriggersTest, KubernetesWorkload) {
  auto put = [this](const std::string& name, const std::string& phase, const std::string& node) {
    kube_.Put(kube::resources::kPods,
              {{"metadata", {{"name", name}, {"namespace", "shop"}, {"labels", {{"app", "web"}}}}},
               {"spec", {{"nodeName", node}}},
               {"status", {{"phase", phase}}}});
  };
  put("a", "Running", "n1");
  put("b", "Pending", "n1");
  put("c", "Succeeded", "n2");
  Metadata metadata = {{"podSelector", "app=web"}, {"value", "1"}};
  EXPECT_EQ(Read("kubernetes-workload", metadata), "2000 pods app=web = 2");
  metadata["groupByNode"] = "true";
  EXPECT_EQ(Read("kubernetes-workload", metadata), "1000 nodes with pods app=web = 1");
  metadata["podSelector"] = "app=other";
  EXPECT_EQ(Read("kubernetes-workload", metadata), "0 nodes with pods app=other = 0");
}

TEST_F(HttpTriggersTest, RestsOutsideOfItsHours) {
  TriggerSpec spec;
  spec.type = "metrics-api";
  spec.metadata = {{"url", Url()}, {"valueLocation", "a"}, {"targetValue", "1"}};
  spec.when = TriggerHours{"Etc/UTC", "0 8 * * *", "0 18 * * *", "12-25"};
  answer_ = R"({"a":3})";
  auto trigger = NewTrigger(spec, secrets_, context_);
  ASSERT_TRUE(trigger.ok()) << trigger.status().ToString();
  EXPECT_EQ((*trigger)->info().target_milli, 1000);
  clock_.Set(*base::ParseTime("2026-12-24T12:00:00Z"));
  EXPECT_EQ((*trigger)->Read()->value_milli, 3000);
  clock_.Set(*base::ParseTime("2026-12-24T18:00:00Z"));
  target_.clear();
  EXPECT_EQ((*trigger)->Read()->detail, "not read: `when` is closed until Sat 2026-12-26 08:00 Etc/UTC");
  EXPECT_EQ((*trigger)->Read()->value_milli, 0);
  EXPECT_EQ(target_, "") << "asked outside of its hours";
  spec.when->end = "0 25 * * *";
  EXPECT_NE(NewTrigger(spec, secrets_, context_).status().message().find("spec.triggers[0].when.end: cron expression"),
            std::string::npos);
}

TEST_F(HttpTriggersTest, PrometheusIsEvaluatedOnSamplesOfTheEmbeddedStoreOnly) {
  const struct {
    const char* name;
    Metadata metadata;
    const char* error;  // A part of it; "": none.
  } kRows[] = {
      {"samples", {{"query", "sum(up)"}, {"evaluateOn", "samples"}}, ""},
      {"the default", {{"query", "sum({job=\"a\"})"}, {"evaluateOn", "interval"}}, ""},
      {"an unknown word", {{"query", "sum(up)"}, {"evaluateOn", "scrape"}}, "use interval or samples"},
      {"no metric is named", {{"query", "sum({job=\"a\"})"}, {"evaluateOn", "samples"}}, "does not name its metric"},
      {"another server", {{"query", "up"}, {"serverAddress", Url()}, {"evaluateOn", "samples"}}, "embedded store"},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.name);
    Metadata metadata = row.metadata;
    metadata["threshold"] = "5";
    const std::string error = Check("prometheus", metadata);
    EXPECT_EQ(error.empty(), std::string(row.error).empty()) << error;
    EXPECT_NE(error.find(row.error), std::string::npos) << error;
  }
}

TEST_F(HttpTriggersTest, WhatIsReadOnceForTwoTriggers) {
  SourcePool pool;
  context_.sources = &pool;
  answer_ = R"({"a":1,"b":2,"status":"success","data":{"resultType":"scalar","result":[1,"3"]}})";
  const Metadata orders = {{"url", Url() + "/orders"}, {"valueLocation", "a"}, {"targetValue", "5"}};
  const Metadata query = {{"serverAddress", Url()}, {"query", "sum(up)"}, {"threshold", "5"}};
  using Parameters = std::map<std::string, std::string>;
  const struct {
    const char* name;
    const char* type;
    Metadata first;
    Metadata other;  // Differs from the first by this.
    Parameters first_login, other_login;
    int requests;
  } kRows[] = {
      {"the same", "metrics-api", orders, {}, {}, {}, 1},
      {"another target", "metrics-api", orders, {{"targetValue", "9"}, {"activationTargetValue", "3"}}, {}, {}, 1},
      {"the same by PromQL", "prometheus", query, {{"activationThreshold", "2"}}, {}, {}, 1},
      {"the same login", "metrics-api", orders, {}, {{"bearerToken", "x"}}, {{"bearerToken", "x"}}, 1},
      {"another login", "metrics-api", orders, {}, {{"bearerToken", "x"}}, {{"bearerToken", "y"}}, 2},
      {"no login", "metrics-api", orders, {}, {{"bearerToken", "x"}}, {}, 2},
      {"another way to log in", "metrics-api", orders, {}, {{"apiKey", "x"}}, {{"bearerToken", "x"}}, 2},
      {"another user", "metrics-api", orders, {{"username", "b"}}, {{"password", "x"}}, {{"password", "x"}}, 2},
      {"another address", "metrics-api", orders, {{"url", Url() + "/returns"}}, {}, {}, 2},
      {"another number", "metrics-api", orders, {{"valueLocation", "b"}}, {}, {}, 2},
      {"another query", "prometheus", query, {{"query", "sum(down)"}}, {}, {}, 2},
      {"another tenant", "prometheus", query, {{"customHeaders", "X-Scope-OrgID=b"}}, {}, {}, 2},
      {"another patience", "metrics-api", orders, {{"timeout", "5s"}}, {}, {}, 2},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.name);
    requests_ = 0;
    Metadata second = row.other;
    second.insert(row.first.begin(), row.first.end());
    std::vector<std::unique_ptr<Trigger>> triggers;
    for (const auto& [metadata, login] : {std::pair(row.first, row.first_login), std::pair(second, row.other_login)}) {
      secrets_.parameters = login;
      TriggerSpec spec;
      spec.type = row.type;
      spec.ns = "shop";
      spec.object = "web" + std::to_string(triggers.size());
      spec.metadata = metadata;
      spec.max_age_ms = 1'000;
      auto made = NewTrigger(spec, secrets_, context_);
      ASSERT_TRUE(made.ok()) << made.status().ToString();
      triggers.push_back(std::move(*made));
    }
    for (auto& trigger : triggers) EXPECT_TRUE(trigger->Read().ok());
    EXPECT_EQ(requests_, row.requests);
  }
}

TEST_F(HttpTriggersTest, ARefusalIsAnAnswerAndAnErrorOfTheServerIsNone) {
  for (const auto& [status, code] : {std::pair(404, base::Code::kFailedPrecondition),
                                     {401, base::Code::kFailedPrecondition},
                                     {408, base::Code::kUnavailable},
                                     {429, base::Code::kUnavailable},
                                     {500, base::Code::kUnavailable},
                                     {503, base::Code::kUnavailable}}) {
    SCOPED_TRACE(status);
    status_ = status;
    auto trigger = Make("metrics-api", {{"url", Url()}, {"valueLocation", "a"}, {"targetValue", "5"}});
    EXPECT_EQ((*trigger)->Read().status().code(), code);
  }
}

}  // namespace
}  // namespace tidewright::scaler
