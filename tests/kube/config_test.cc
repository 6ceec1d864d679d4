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
