// The elasticsearch trigger against Elasticsearch, which Maven fetches once into the build folder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/strings.h"
#include "http/client.h"
#include "tests/integration/fetched.h"
#include "tests/integration/scaled_source.h"

namespace tidewright::scaler {
namespace {

using testing::HasSubstr;
using testing::Not;

class ElasticsearchTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* program : {"java", "unzip"}) {
      if (!base::HaveProgram(program)) GTEST_SKIP() << program << " is not installed";
    }
    const std::string missing =
        FetchByMaven(TIDEWRIGHT_SOURCE_DIR "/tests/integration/elasticsearch", TIDEWRIGHT_ELASTICSEARCH);
    if (!missing.empty()) GTEST_SKIP() << missing;
    // What the server needs to be small, to have one user, and to take any disk; and search templates as a module.
    ASSERT_EQ(Shell("unzip -q " TIDEWRIGHT_ELASTICSEARCH "/*.zip && mv elasticsearch-* server && cd server && "
                    "mkdir modules/lang-mustache && cp " TIDEWRIGHT_ELASTICSEARCH "/*.jar modules/lang-mustache && "
                    "printf '%s\\n' name=lang-mustache description=templates version=7.17.9 java.version=1.8 "
                    "elasticsearch.version=7.17.9 classname=org.elasticsearch.script.mustache.MustachePlugin "
                    "> modules/lang-mustache/plugin-descriptor.properties && "
                    "printf 'grant { permission java.lang.RuntimePermission \"accessDeclaredMembers\"; permission "
                    "java.lang.reflect.ReflectPermission \"suppressAccessChecks\"; };' "
                    "> modules/lang-mustache/plugin-security.policy && "
                    "printf '%s\\n' 'discovery.type: single-node' 'http.host: 127.0.0.1' 'http.port: " +
                    port_ +
                    "' 'transport.host: 127.0.0.1' 'transport.port: 0' 'xpack.security.enabled: true' "
                    "'cluster.routing.allocation.disk.threshold_enabled: false' > config/elasticsearch.yml && "
                    "bash bin/elasticsearch-keystore create && "
                    "echo pa55word | bash bin/elasticsearch-keystore add -x -f bootstrap.password"),
              0)
        << Log();
    // The server refuses to run as root.
    if (geteuid() == 0) ASSERT_EQ(Shell("chown -R nobody " + folder_.path()), 0);
    StartServer();
  }

  int Shell(const std::string& command) {
    auto shell = base::Subprocess::Start({"bash", "-c", "cd " + folder_.path() + " && " + kJava + command},
                                         folder_.path() + "/log");
    return shell.ok() ? shell->Wait() : -1;
  }

  void StartServer() {
    const std::string user = geteuid() == 0 ? "setpriv --reuid nobody --regid nogroup --clear-groups " : "";
    auto started = base::Subprocess::Start(
        {"bash", "-c", "cd " + folder_.path() + "/server && " + kJava + "exec " + user + "bash bin/elasticsearch"},
        folder_.path() + "/log");
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    server_ = std::make_unique<base::Subprocess>(std::move(*started));
    ASSERT_TRUE(Eventually([this] { return Send("GET", "/_cluster/health?wait_for_status=yellow", "") == 200; }))
        << Log();
  }

  int Send(const std::string& method, const std::string& path, const std::string& body) {
    http::ClientRequest request;
    request.method = method;
    request.url = Url() + path;
    request.headers = {{"Content-Type", "application/json"},
                       {"Authorization", "Basic " + base::Base64Encode("elastic:pa55word")}};
    request.body = body;
    auto response = client_->Send(request);
    answer_ = response.ok() ? response->body : response.status().ToString();
    return response.ok() ? response->status : 0;
  }

  void Write(int count) {
    std::string lines;
    for (int i = 0; i < count; ++i) lines += "{\"index\":{}}\n{\"queue\":\"eu\"}\n";
    ASSERT_EQ(Send("POST", "/orders/_bulk?refresh=true", lines), 200) << answer_;
  }

  std::string Url() const { return "http://127.0.0.1:" + port_; }
  std::string Log() {
    auto text = base::ReadFile(folder_.path() + "/log");
    return text.ok() ? *text : text.status().ToString();
  }

  const std::string kJava =
      "export ES_JAVA_HOME=$(dirname $(dirname $(readlink -f $(which java)))) "
      "ES_JAVA_OPTS='-Xms512m -Xmx512m -XX:TieredStopAtLevel=1' && ";
  base::TempDir folder_ = *base::TempDir::Create("elasticsearch");
  const std::string port_ = std::to_string(*base::FreePort());
  std::unique_ptr<base::Subprocess> server_;
  std::unique_ptr<http::Client> client_ = *http::NewCurlClient({});
  std::string answer_;
};

TEST_F(ElasticsearchTest, HitsBecomeReplicasAndAnOutageChangesNothing) {
  ASSERT_EQ(Send("PUT", "/orders", R"({"settings":{"number_of_replicas":0}})"), 200) << answer_;
  ASSERT_EQ(Send("PUT", "/_scripts/waiting",
                 R"({"script":{"lang":"mustache","source":{"size":0,"query":{"match":{"queue":"{{queue}}"}}}}})"),
            200)
      << answer_;
  const ScaledSource::Metadata metadata = {{"addresses", "http://127.0.0.1:1," + Url()},
                                           {"username", "elastic"},
                                           {"index", "orders"},
                                           {"searchTemplateName", "waiting"},
                                           {"parameters", "queue:eu"},
                                           {"valueLocation", "hits.total.value"},
                                           {"targetValue", "5"},
                                           {"timeout", "1m"}};
  ScaledSource source;
  source.Follow("elasticsearch", metadata, {{"password", "pa55word"}});
  EXPECT_EQ(source.NextReplicas(), 0);
  EXPECT_TRUE(source.Ready()) << source.Readiness();
  Write(11);
  EXPECT_EQ(source.NextReplicas(), 3);

  server_->Signal(9);
  server_->Wait();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(source.NextReplicas(), 3) << i;
  EXPECT_THAT(source.Readiness(), HasSubstr("elasticsearch at " + Url() + ": "));
  StartServer();
  Write(10);
  EXPECT_EQ(source.NextReplicas(), 5);
  EXPECT_TRUE(source.Ready()) << source.Readiness();

  source.Follow("elasticsearch", metadata, {{"password", "s3cret"}}, 9);
  EXPECT_EQ(source.NextReplicas(), 5);
  EXPECT_THAT(source.Readiness(), HasSubstr("the server answered 401 Unauthorized; check the credentials"));
  EXPECT_THAT(source.Readiness(), Not(HasSubstr("s3cret")));

  // API keys need an analyzer that this distribution lacks.
  source.Follow("elasticsearch",
                {{"addresses", Url()},
                 {"username", "elastic"},
                 {"index", "ord*"},
                 {"query", R"({"size":0,"aggs":{"eu":{"value_count":{"field":"queue.keyword"}}}})"},
                 {"valueLocation", "aggregations.eu.value"},
                 {"targetValue", "3"},
                 {"timeout", "1m"}},
                {{"password", "pa55word"}});
  EXPECT_EQ(source.NextReplicas(), 7);
  EXPECT_TRUE(source.Ready()) << source.Readiness();
}

}  // namespace
}  // namespace tidewright::scaler
