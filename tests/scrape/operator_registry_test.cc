#include "scrape/operator_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace tidewright::scrape {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

base::Json Monitor(const std::string& name, const base::Json& endpoint) {
  return {{"kind", "ServiceMonitor"},
          {"metadata", {{"namespace", "shop"}, {"name", name}, {"uid", "u-" + name}, {"generation", 1}}},
          {"spec", {{"selector", {{"matchLabels", {{"app", "web"}}}}}, {"endpoints", base::Json::array({endpoint})}}}};
}

base::Json Secret(const std::string& encoded) {
  return {{"metadata", {{"namespace", "shop"}, {"name", "s"}}}, {"data", {{"t", encoded}}}};
}

std::vector<std::string> Jobs(const OperatorRegistry& registry) {
  std::vector<std::string> jobs;
  for (const ScrapeConfig& config : registry.ScrapeConfigs()) jobs.push_back(config.job_name);
  return jobs;
}

TEST(OperatorRegistry, FollowsObjects) {
  OperatorRegistry registry(base::Json::object(), GlobalConfig());
  EXPECT_FALSE(registry.TakeChanged());
  registry.Upsert(Monitor("b", {{"port", "http"}}));
  registry.Upsert(Monitor("a", {{"port", "http"}}));
  EXPECT_TRUE(registry.TakeChanged());
  EXPECT_THAT(Jobs(registry), ElementsAre("serviceMonitor/shop/a/0", "serviceMonitor/shop/b/0"));
  base::Json annotated = Monitor("a", {{"port", "http"}});
  annotated["metadata"]["annotations"]["x"] = "y";
  registry.Upsert(annotated);
  EXPECT_FALSE(registry.TakeChanged()) << "nothing but the specification counts";
  registry.Remove("ServiceMonitor", "shop", "a");
  EXPECT_TRUE(registry.TakeChanged());
  EXPECT_THAT(Jobs(registry), ElementsAre("serviceMonitor/shop/b/0"));
  registry.Upsert({{"kind", "Pod"}, {"metadata", {{"namespace", "shop"}, {"name", "a"}}}});
  EXPECT_FALSE(registry.TakeChanged());
}

TEST(OperatorRegistry, ABadObjectIsReportedAndHurtsNobodyElse) {
  OperatorRegistry registry(base::Json::object(), GlobalConfig());
  registry.Upsert(Monitor("good", {{"port", "http"}}));
  registry.Upsert(Monitor("bad", {{"port", "http"}, {"interval", "5s"}, {"scrapeTimeout", "10s"}}));
  EXPECT_THAT(Jobs(registry), ElementsAre("serviceMonitor/shop/good/0"));
  ASSERT_EQ(registry.Statuses().size(), 2u);
  const OperatorObjectStatus bad = registry.Statuses()[0];
  EXPECT_EQ(bad.uid, "u-bad");
  EXPECT_EQ(bad.jobs, 0u);
  EXPECT_THAT(bad.error.message(), HasSubstr("endpoints[0]: scrapeTimeout \"10s\" is longer"));
  EXPECT_TRUE(registry.Statuses()[1].error.ok());
}

TEST(OperatorRegistry, SecretsMayComeLaterAndRotate) {
  const OperatorRegistry::Reference kSecret{"Secret", "shop", "s"};
  OperatorRegistry registry(base::Json::object(), GlobalConfig());
  registry.Upsert(
      Monitor("a", {{"port", "http"}, {"authorization", {{"credentials", {{"name", "s"}, {"key", "t"}}}}}}));
  EXPECT_THAT(Jobs(registry), IsEmpty());
  EXPECT_THAT(registry.Statuses()[0].error.message(), HasSubstr("Secret shop/s does not exist"));
  EXPECT_THAT(registry.References(), ElementsAre(kSecret));
  registry.SetReference(kSecret, Secret("b25l"));
  ASSERT_EQ(registry.ScrapeConfigs().size(), 1u);
  EXPECT_EQ(registry.ScrapeConfigs()[0].http.credentials.text, "one");
  registry.TakeChanged();
  registry.SetReference(kSecret, Secret("b25l"));
  EXPECT_FALSE(registry.TakeChanged());
  registry.SetReference(kSecret, Secret("dHdv"));
  EXPECT_TRUE(registry.TakeChanged());
  EXPECT_EQ(registry.ScrapeConfigs()[0].http.credentials.text, "two");
  registry.SetReference(kSecret, base::PermissionDeniedError("secrets is forbidden"));
  EXPECT_THAT(Jobs(registry), IsEmpty());
  EXPECT_THAT(registry.Statuses()[0].error.message(), HasSubstr("secrets is forbidden"));
  registry.SetReference(kSecret, Secret("dHdv"));
  EXPECT_EQ(registry.ScrapeConfigs().size(), 1u);
  registry.SetReference(kSecret, base::NotFoundError("gone"));
  EXPECT_THAT(Jobs(registry), IsEmpty());
}

TEST(OperatorRegistry, JobsFollowTheDefaults) {
  OperatorRegistry registry(base::Json::object(), GlobalConfig());
  registry.Upsert(Monitor("a", {{"port", "http"}}));
  EXPECT_TRUE(registry.TakeChanged());
  GlobalConfig global;
  registry.SetDefaults(global);
  EXPECT_FALSE(registry.TakeChanged());
  global.scrape_interval.ms = 5'000;
  global.scrape_timeout.ms = 5'000;
  registry.SetDefaults(global);
  EXPECT_TRUE(registry.TakeChanged());
  EXPECT_EQ(registry.ScrapeConfigs()[0].scrape_interval.ms, 5'000);
}

}  // namespace
}  // namespace tidewright::scrape
