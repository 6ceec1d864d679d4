// The elasticsearch trigger against Elasticsearch, which Maven fetches once into the build folder.
#include <gtest/gtest.h>

#include <string>

#include "base/file.h"
#include "tests/integration/fetched.h"
#include "tests/integration/nginx_front.h"
#include "tests/integration/source_scenario.h"

namespace tidewright::scaler {
namespace {

class ElasticsearchServer : public SourceServer {
 public:
  // Why there is none, or "".
  static std::string Fetch() {
    for (const char* program : {"java", "unzip"}) {
      if (!base::HaveProgram(program)) return std::string(program) + " is not installed";
    }
    return FetchByMaven(TIDEWRIGHT_SOURCE_DIR "/tests/integration/elasticsearch", TIDEWRIGHT_ELASTICSEARCH);
  }

  // What the server needs to be small, to have one user, and to take any disk; and search templates as a module.
  ElasticsearchServer() {
    EXPECT_TRUE(
        Done(Shell("unzip -q " TIDEWRIGHT_ELASTICSEARCH "/*.zip && mv elasticsearch-* server && cd server && "
                   "mkdir modules/lang-mustache && cp " TIDEWRIGHT_ELASTICSEARCH "/*.jar modules/lang-mustache && "
                   "printf '%s\\n' name=lang-mustache description=templates version=7.17.9 java.version=1.8 "
                   "elasticsearch.version=7.17.9 "
                   "classname=org.elasticsearch.script.mustache.MustachePlugin "
                   "> modules/lang-mustache/plugin-descriptor.properties && "
                   "printf 'grant { permission java.lang.RuntimePermission \"accessDeclaredMembers\"; "
                   "permission java.lang.reflect.ReflectPermission \"suppressAccessChecks\"; };' "
                   "> modules/lang-mustache/plugin-security.policy && "
                   "printf '%s\\n' 'discovery.type: single-node' 'http.host: 127.0.0.1' 'http.port: " +
                   port_ +
                   "' 'transport.host: 127.0.0.1' 'transport.port: 0' 'xpack.security.enabled: true' "
                   "'cluster.routing.allocation.disk.threshold_enabled: false' > config/elasticsearch.yml && "
                   "bash bin/elasticsearch-keystore create && echo " +
                   kPassword + " | bash bin/elasticsearch-keystore add -x -f bootstrap.password")))
        << Log();
  }

  void Start() override {
    Launch(Unprivileged(Shell("cd server && exec bash bin/elasticsearch")),
           [this] { return Ask("GET", "/_cluster/health?wait_for_status=yellow", "") == 200; });
  }
  // In the index "orders", which is made first.
  void Hold(int64_t value) override {
    if (held_ == 0) Ask("PUT", "/orders", R"({"settings":{"number_of_replicas":0}})");
    std::string lines;
    for (; held_ < value; ++held_) lines += "{\"index\":{}}\n{\"queue\":\"eu\"}\n";
    EXPECT_TRUE(lines.empty() || Eventually([&] { return Ask("POST", "/orders/_bulk?refresh=true", lines) == 200; }))
        << answer_;
  }
  int Ask(const std::string& method, const std::string& path, const std::string& body) {
    return Send(method, "http://127.0.0.1:" + port_ + path, body, BasicLogin("elastic"));
  }
  const std::string& port() const { return port_; }

 private:
  Words Shell(const std::string& command) const {
    return {"bash", "-c",
            "cd " + folder_.path() +
                " && export ES_JAVA_HOME=$(dirname $(dirname $(readlink -f $(which java)))) "
                "ES_JAVA_OPTS='-Xms512m -Xmx512m -XX:TieredStopAtLevel=1' && " +
                command};
  }

  const std::string port_ = NewPort();
  int64_t held_ = 0;
};

TEST(ElasticsearchSource, HitsBecomeReplicas) {
  const std::string missing = ElasticsearchServer::Fetch();
  if (!missing.empty()) GTEST_SKIP() << missing;
  if (!NginxFront::Available()) GTEST_SKIP() << "nginx is not installed";
  ElasticsearchServer server;
  server.Start();
  ASSERT_EQ(server.Ask("PUT", "/_scripts/waiting",
                       R"({"script":{"lang":"mustache","source":{"size":0,"query":{"match":{"queue":"{{queue}}"}}}}})"),
            200)
      << server.Log();
  // This distribution has no TLS.
  NginxFront front(server.port(), NginxFront::Asks::kNothing, NginxFront::Speaks::kHttps);
  const ScaledSource::Metadata common = {{"username", "elastic"}, {"targetValue", "5"}, {"timeout", "1m"}};
  const ScaledSource::Metadata secrets = {{"password", kPassword}, {"ca", front.ca_pem()}};
  ScaledSource::Metadata by_template = common;
  by_template.insert({{"addresses", "https://127.0.0.1:1,https://" + front.address()},
                      {"index", "orders"},
                      {"searchTemplateName", "waiting"},
                      {"parameters", "queue:eu"},
                      {"valueLocation", "hits.total.value"}});
  SourceScenario({.type = "elasticsearch",
                  .metadata = by_template,
                  .secrets = secrets,
                  .refusal = "the server answered 401 Unauthorized; check the credentials"})
      .ExpectFollowed(server);

  // API keys need an analyzer that this distribution lacks.
  ScaledSource::Metadata by_query = common;
  by_query.insert({{"addresses", "http://127.0.0.1:" + server.port()},
                   {"index", "ord*"},
                   {"query", R"({"size":0,"aggs":{"eu":{"value_count":{"field":"queue.keyword"}}}})"},
                   {"valueLocation", "aggregations.eu.value"}});
  ScaledSource source;
  source.Follow("elasticsearch", by_query, secrets);
  SourceScenario::ExpectReached(source, 5, "an aggregation");
}

}  // namespace
}  // namespace tidewright::scaler
