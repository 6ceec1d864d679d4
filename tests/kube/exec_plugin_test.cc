// Exec plugins as real programs: shell scripts that behave, and that do not.
#include "kube/exec_plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/boot_clock.h"
#include "base/duration.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "kube/credentials.h"
#include "tests/kube/scripted_api.h"

namespace tidewright::kube {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kV1 = "client.authentication.k8s.io/v1";

class ExecPluginTest : public testing::Test {
 protected:
  // A configuration whose plugin is this shell script.
  ClientConfig Plugin(const std::string& script) {
    const std::string path = folder_.path() + "/plugin";
    EXPECT_TRUE(base::WriteFileAtomic(path, "#!/bin/sh\n" + script + "\n", 0755).ok());
    ClientConfig config;
    config.server = "https://cluster:6443";
    config.exec.emplace();
    config.exec->api_version = kV1;
    config.exec->command = path;
    return config;
  }
  static std::string Printing(const std::string& status) {
    return R"(echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":)" + status + "}'";
  }
  // A script that prints a new token each time: t1, t2 ... with what else is in the status.
  std::string Counting(const std::string& more = "") {
    return "n=$(($(cat " + folder_.path() + "/n 2>/dev/null || echo 0) + 1)); echo $n > " + folder_.path() + "/n\n" +
           R"(echo "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",)" +
           R"(\"status\":{\"token\":\"t$n\")" + more + R"(}}")";
  }
  int Runs() {
    auto text = base::ReadFile(folder_.path() + "/n");
    return text.ok() ? std::stoi(*text) : 0;
  }
  base::Result<ExecCredential> Run(const ClientConfig& config) { return RunExecPlugin(config, &outcome_); }

  base::TempDir folder_ = *base::TempDir::Create("tidewright-exec");
  ExecOutcome outcome_;
};

TEST_F(ExecPluginTest, ReadsWhatItPrints) {
  auto credential = Run(Plugin(Printing(
      R"({"token":"t","expirationTimestamp":"2023-11-14T22:13:20Z","clientCertificateData":"C","clientKeyData":"K"})")));
  ASSERT_TRUE(credential.ok()) << credential.status().ToString();
  EXPECT_EQ(credential->token, "t");
  EXPECT_EQ(credential->certificate_pem, "C");
  EXPECT_EQ(credential->private_key_pem, "K");
  EXPECT_EQ(credential->expires_ms, 1'700'000'000'000);
  EXPECT_EQ(outcome_.call_status, "no_error");
}

TEST_F(ExecPluginTest, GetsArgumentsEnvironmentAndTheCluster) {
  ClientConfig config = Plugin("printf '%s\\n' \"$1|$2|$COLOR|$KUBERNETES_EXEC_INFO\" > " + folder_.path() + "/seen\n" +
                               Printing(R"({"token":"t"})"));
  config.exec->args = {"get token", "$HOME"};
  config.exec->env = {{"COLOR", "red"}};
  config.exec->provide_cluster_info = true;
  config.exec->cluster_config = R"({"audience":"x"})";
  config.tls.ca_pem = "CA";
  config.tls.server_name = "api";
  ASSERT_TRUE(Run(config).ok());
  const std::string seen = *base::ReadFile(folder_.path() + "/seen");
  EXPECT_THAT(seen, testing::StartsWith("get token|$HOME|red|"));
  base::Json info = base::Json::parse(seen.substr(seen.find('{')));
  EXPECT_EQ(info, base::Json::parse(R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
    "spec":{"interactive":false,"cluster":{"server":"https://cluster:6443","certificate-authority-data":"Q0E=",
    "tls-server-name":"api","config":{"audience":"x"}}}})"));
}

TEST_F(ExecPluginTest, SeesTheCertificateSettingsThatWeHideFromOurselves) {
  http::InitializeCpprest();
  ClientConfig config =
      Plugin("echo \"$SSL_CERT_FILE\" > " + folder_.path() + "/seen\n" + Printing(R"({"token":"t"})"));
  ASSERT_TRUE(Run(config).ok());
  EXPECT_THAT(*base::ReadFile(folder_.path() + "/seen"), Not(HasSubstr("nonexistent")));
}

struct BadPluginCase {
  const char* name;
  const char* script;
  const char* message;
};

TEST_F(ExecPluginTest, WhatGoesWrongIsSaidWithoutItsOutput) {
  const std::string head = R"(echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1")";
  for (const BadPluginCase& row : {
           BadPluginCase{"fails", "echo s3cret; echo s3cret >&2; exit 3", "exit code 3"},
           BadPluginCase{"killed", "kill -9 $$", "exit code 137"},
           BadPluginCase{"garbage", "echo s3cret", "did not print a JSON object"},
           BadPluginCase{"silent", "true", "did not print a JSON object"},
           BadPluginCase{"no status",
                         R"(echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}')",
                         "neither status.token"},
           BadPluginCase{"another kind", R"(echo '{"kind":"Pod","status":{"token":"s3cret"}}')", "no ExecCredential"},
           BadPluginCase{"another version",
                         R"(echo '{"kind":"ExecCredential","apiVersion":"v7","status":{"token":"s3cret"}}')",
                         "another apiVersion than client.authentication.k8s.io/v1"},
           BadPluginCase{"key without certificate",
                         R"(echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",)"
                         R"("status":{"clientKeyData":"s3cret"}}')",
                         "only one of"},
           BadPluginCase{"token that would inject a header",
                         R"(printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",)"
                         R"("status":{"token":"s3cret\\r\\nX: y"}}')",
                         "characters that no token has"},
           BadPluginCase{"time",
                         R"(echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",)"
                         R"("status":{"token":"s3cret","expirationTimestamp":"tomorrow"}}')",
                         "RFC 3339"},
           BadPluginCase{"endless", "while true; do echo s3crets3crets3crets3crets3crets3crets3cret; done",
                         "more than 1048576 bytes"},
       }) {
    auto credential = Run(Plugin(row.script));
    ASSERT_FALSE(credential.ok()) << row.name;
    EXPECT_EQ(credential.status().code(), base::Code::kUnauthenticated) << row.name;
    EXPECT_THAT(credential.status().message(),
                testing::AllOf(HasSubstr(row.message), HasSubstr("plugin"), Not(HasSubstr("s3cret"))))
        << row.name;
    EXPECT_NE(outcome_.call_status, "no_error") << row.name;
  }
}

TEST_F(ExecPluginTest, AMissingOneComesWithItsHint) {
  ClientConfig config = Plugin("true");
  config.exec->command = "no-such-program-anywhere";
  config.exec->install_hint = "install it from the shop";
  auto credential = Run(config);
  ASSERT_FALSE(credential.ok());
  EXPECT_THAT(credential.status().message(),
              testing::AllOf(HasSubstr("no-such-program-anywhere"), HasSubstr("install it from the shop")));
  EXPECT_EQ(outcome_.call_status, "plugin_not_found_error");
}

TEST_F(ExecPluginTest, ASlowOneIsKilledWithEverythingItStarted) {
  for (const char* script :
       {"sleep 100 & echo $! > $PID_FILE; wait", "exec >/dev/null; sleep 100 & echo $! > $PID_FILE; wait"}) {
    ClientConfig config = Plugin(script);
    const std::string pid_file = folder_.path() + "/pid";
    config.exec->env = {{"PID_FILE", pid_file}};
    config.exec->timeout_ms = 500;
    auto credential = Run(config);
    ASSERT_FALSE(credential.ok());
    EXPECT_THAT(credential.status().message(), HasSubstr("did not end within 500 ms"));
    // The grandchild is gone, or a zombie that waits for init.
    const std::string pid(base::TrimSpace(*base::ReadFile(pid_file)));
    auto stat = base::ReadFile("/proc/" + pid + "/stat");
    for (int i = 0; i < 200 && stat.ok() && stat->find(") S ") != std::string::npos; ++i) {
      base::StopSignal never;
      base::SystemClock::Get().SleepFor(20, never);
      stat = base::ReadFile("/proc/" + pid + "/stat");
    }
    EXPECT_TRUE(!stat.ok() || stat->find(") S ") == std::string::npos) << *stat;
  }
}

class ExecCredentialsTest : public ExecPluginTest {
 protected:
  std::string Token(CredentialSource& source) {
    auto credentials = source.Get();
    return credentials.ok() ? credentials->authorization : credentials.status().ToString();
  }
  base::FakeClock clock_{1'000};
  base::FakeClock calendar_{1'700'000'000'000};
};

TEST_F(ExecCredentialsTest, AreCachedUntilTheyExpire) {
  auto source = NewCredentialSource(Plugin(Counting(R"(,\"expirationTimestamp\":\"2023-11-14T22:23:20Z\")")), clock_,
                                    calendar_, nullptr);
  EXPECT_EQ(Token(*source), "Bearer t1");
  calendar_.Advance(599'000);
  clock_.Advance(599'000);
  EXPECT_EQ(Token(*source), "Bearer t1");
  calendar_.Advance(1'000);
  EXPECT_EQ(Token(*source), "Bearer t2");
  // What has expired when it is printed is used all the same, for a while: the clocks may differ.
  EXPECT_EQ(Token(*source), "Bearer t2");
  clock_.Advance(5'000);
  EXPECT_EQ(Token(*source), "Bearer t3");
}

TEST_F(ExecCredentialsTest, AreFetchedAnewWhenRefusedButNotInALoop) {
  auto source = NewCredentialSource(Plugin(Counting()), clock_, calendar_, nullptr);
  Credentials first = *source->Get();
  EXPECT_TRUE(source->Refused(first));
  EXPECT_TRUE(source->Refused(first)) << "another request had used the old ones";
  EXPECT_EQ(Runs(), 2);
  EXPECT_FALSE(source->Refused(*source->Get())) << "too soon to try others again";
  EXPECT_EQ(Runs(), 2);
  clock_.Advance(5'000);
  EXPECT_TRUE(source->Refused(*source->Get()));
  EXPECT_EQ(Token(*source), "Bearer t3");
}

TEST_F(ExecCredentialsTest, AFailingPluginIsNotRunForEveryRequest) {
  base::MetricRegistry metrics;
  auto source =
      NewCredentialSource(Plugin("echo x >> " + folder_.path() + "/runs; exit 1"), clock_, calendar_, &metrics);
  for (int i = 0; i < 10; ++i) EXPECT_THAT(Token(*source), HasSubstr("exit code 1"));
  EXPECT_EQ(*base::ReadFile(folder_.path() + "/runs"), "x\n");
  clock_.Advance(5'000);
  EXPECT_FALSE(source->Get().ok());
  EXPECT_EQ(*base::ReadFile(folder_.path() + "/runs"), "x\nx\n");
  EXPECT_THAT(metrics.Render(),
              HasSubstr(R"(rest_client_exec_plugin_call_total{code="1",call_status="plugin_execution_error"} 2)"));
}

TEST_F(ExecCredentialsTest, SignRequestsAndAreReplacedUpon401) {
  ScriptedApi api({}, Plugin(Counting()));
  api.Answer(200, "{}");
  api.Answer(401, "{}");
  api.Answer(200, "{}");
  EXPECT_TRUE(api.client().Get(resources::kPods, "a", "b").ok());
  EXPECT_TRUE(api.client().Get(resources::kPods, "a", "b").ok());
  std::vector<std::string> tokens;
  for (const auto& request : api.requests()) tokens.push_back(request.headers.Get("Authorization"));
  EXPECT_THAT(tokens, testing::ElementsAre("Bearer t1", "Bearer t1", "Bearer t2"));
}

}  // namespace
}  // namespace tidewright::kube
