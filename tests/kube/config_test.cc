#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "kube/client.h"

namespace tidewright::kube {
namespace {

using testing::HasSubstr;

class KubeconfigTest : public testing::Test {
 protected:
  base::Result<ClientConfig> Load(const std::string& text, const std::string& context = "") {
    EXPECT_TRUE(base::WriteFileAtomic(folder_.path() + "/config", text).ok());
    return LoadKubeconfig(folder_.path() + "/config", context);
  }

  base::TempDir folder_ = *base::TempDir::Create("tidewright-kubeconfig");
};

constexpr const char* kTwoContexts =
    "apiVersion: v1\n"
    "kind: Config\n"
    "current-context: one\n"
    "clusters:\n"
    "- {name: c1, cluster: {server: 'https://one:6443', certificate-authority-data: Q0E=}}\n"
    "- {name: c2, cluster: {server: 'http://127.0.0.1:1'}}\n"
    "contexts:\n"
    "- {name: one, context: {cluster: c1, user: u1, namespace: shop}}\n"
    "- {name: two, context: {cluster: c2, user: u2}}\n"
    "- {name: broken, context: {cluster: nowhere, user: u1}}\n"
    "users:\n"
    "- {name: u1, user: {token: secret, client-certificate: cert.pem}}\n"
    "- {name: u2, user: {exec: {command: aws}}}\n";

TEST_F(KubeconfigTest, ReadsTheCurrentContextAndFilesBesideIt) {
  ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/cert.pem", "CERT").ok());
  auto config = Load(kTwoContexts);
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->server, "https://one:6443");
  EXPECT_EQ(config->tls.ca_pem, "CA");
  EXPECT_EQ(config->tls.certificate_pem, "CERT");
  EXPECT_EQ(config->bearer_token, "secret");
  EXPECT_EQ(config->ns, "shop");
}

TEST_F(KubeconfigTest, ErrorsNameFileContextAndRemedy) {
  EXPECT_THAT(Load(kTwoContexts, "three").status().message(), HasSubstr("there is no context \"three\""));
  EXPECT_THAT(Load(kTwoContexts, "broken").status().message(), HasSubstr("cluster \"nowhere\""));
  EXPECT_THAT(Load(kTwoContexts, "two").status().message(), HasSubstr("users[].user.exec.apiVersion: \"\""));
  EXPECT_THAT(Load(kTwoContexts, "one").status().message(), HasSubstr("client-certificate"));  // No cert.pem here.
  EXPECT_EQ(LoadKubeconfig("/nonexistent").status().code(), base::Code::kNotFound);
}

TEST_F(KubeconfigTest, ReadsEverythingAboutClusterAndUser) {
  ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/ca.pem", "CA-FILE").ok());
  ASSERT_TRUE(base::WriteFileAtomic(folder_.path() + "/key.pem", "KEY").ok());
  auto config = Load(R"(
current-context: c
clusters:
- name: c
  cluster:
    server: https://api.example:6443/prefix
    certificate-authority: ca.pem
    tls-server-name: api.internal
    insecure-skip-tls-verify: false
    proxy-url: http://proxy:3128
    extensions:
    - name: client.authentication.k8s.io/exec
      extension: {audience: us, numbers: [1, 2]}
contexts:
- {name: c, context: {cluster: c, user: u}}
users:
- name: u
  user:
    client-certificate-data: Q0VSVA==
    client-key: key.pem
    tokenFile: token
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: bin/get-token
      args: [--cluster, "7"]
      env:
      - {name: COLOR, value: red}
      interactiveMode: IfAvailable
      provideClusterInfo: true
      installHint: ask ann
)");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->server, "https://api.example:6443/prefix");
  EXPECT_EQ(config->ca_file, folder_.path() + "/ca.pem");
  EXPECT_EQ(config->tls.ca_pem, "CA-FILE");
  EXPECT_EQ(config->tls.server_name, "api.internal");
  EXPECT_FALSE(config->tls.insecure_skip_verify);
  EXPECT_EQ(config->proxy_url, "http://proxy:3128");
  EXPECT_EQ(config->tls.certificate_pem, "CERT");
  EXPECT_EQ(config->tls.private_key_pem, "KEY");
  EXPECT_EQ(config->private_key_file, folder_.path() + "/key.pem");
  EXPECT_EQ(config->bearer_token_file, folder_.path() + "/token");
  ASSERT_TRUE(config->exec.has_value());
  EXPECT_EQ(config->exec->command, folder_.path() + "/bin/get-token");
  EXPECT_THAT(config->exec->args, testing::ElementsAre("--cluster", "7"));
  EXPECT_THAT(config->exec->env, testing::ElementsAre(testing::Pair("COLOR", "red")));
  EXPECT_TRUE(config->exec->provide_cluster_info);
  EXPECT_EQ(config->exec->install_hint, "ask ann");
  EXPECT_EQ(config->exec->cluster_config, R"({"audience":"us","numbers":[1,2]})");
}

TEST_F(KubeconfigTest, SeveralFilesAreMergedAndTheFirstWins) {
  const std::string folder = folder_.path();
  ASSERT_TRUE(base::MakeDirectories(folder + "/sub").ok());
  ASSERT_TRUE(base::WriteFileAtomic(folder + "/sub/ca.pem", "SUB-CA").ok());
  ASSERT_TRUE(base::WriteFileAtomic(folder + "/one",
                                    "current-context: \"\"\n"
                                    "users:\n- {name: u, user: {token: first}}\n"
                                    "contexts:\n- {name: x, context: {cluster: c, user: u}}\n")
                  .ok());
  ASSERT_TRUE(
      base::WriteFileAtomic(folder + "/sub/two",
                            "current-context: x\n"
                            "clusters:\n- {name: c, cluster: {server: 'https://s', certificate-authority: ca.pem}}\n"
                            "users:\n- {name: u, user: {token: second}}\n"
                            "contexts:\n- {name: x, context: {cluster: other, user: other}}\n")
          .ok());
  auto config = LoadKubeconfig(folder + "/one:" + folder + "/missing::" + folder + "/sub/two");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->server, "https://s");
  EXPECT_EQ(config->bearer_token, "first");
  EXPECT_EQ(config->tls.ca_pem, "SUB-CA") << "paths start in the folder of their own file";
  EXPECT_EQ(LoadKubeconfig(folder + "/missing:" + folder + "/gone").status().code(), base::Code::kNotFound);
}

struct BadUserCase {
  const char* name;
  const char* user;
  const char* message;
};

TEST_F(KubeconfigTest, UsersThatCannotBeUsed) {
  for (const BadUserCase& row : {
           BadUserCase{"interactive",
                       "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}}",
                       "needs a terminal"},
           BadUserCase{"alpha", "{exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}}",
                       "client.authentication.k8s.io/v1beta1"},
           BadUserCase{"no command", "{exec: {apiVersion: client.authentication.k8s.io/v1}}", "command is missing"},
           BadUserCase{"auth provider", "{auth-provider: {name: gcp}}", "auth-provider is not supported"},
           BadUserCase{"impersonation", "{token: x, as: boss}", "users[].user.as is not supported"},
           BadUserCase{"not base64", "{client-key-data: '*'}", "client-key-data is not base64"},
       }) {
    auto config = Load(
        "current-context: c\nclusters:\n- {name: c, cluster: {server: 'https://s'}}\n"
        "contexts:\n- {name: c, context: {cluster: c, user: u}}\nusers:\n- {name: u, user: " +
        std::string(row.user) + "}\n");
    ASSERT_FALSE(config.ok()) << row.name;
    EXPECT_THAT(config.status().message(), testing::AllOf(HasSubstr(row.message), HasSubstr(folder_.path())))
        << row.name;
  }
  EXPECT_THAT(Load("current-context: c\nclusters:\n- {name: c, cluster: {server: 'https://s'}}\n"
                   "contexts:\n- {name: c, context: {cluster: c, user: nobody}}\n")
                  .status()
                  .message(),
              HasSubstr("names user \"nobody\""));
}

TEST(ResourcePathTest, FollowsTheApiConventions) {
  EXPECT_EQ(resources::kPods.Path("shop", "web-1"), "/api/v1/namespaces/shop/pods/web-1");
  EXPECT_EQ(resources::kPods.Path("", ""), "/api/v1/pods");
  EXPECT_EQ(resources::kNodes.Path("ignored", "n"), "/api/v1/nodes/n");
  EXPECT_EQ(resources::kDeployments.Path("shop", "web", "scale"),
            "/apis/apps/v1/namespaces/shop/deployments/web/scale");
  EXPECT_EQ(resources::kDeployments.ApiVersion(), "apps/v1");
}

}  // namespace
}  // namespace tidewright::kube
