#include "scrape/operator_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "tests/kube/memory_cluster.h"

namespace tidewright::scrape {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const kube::Resource kMonitors{"monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor", true};

class OperatorSourceTest : public ::testing::Test {
 protected:
  ~OperatorSourceTest() override {
    if (source_ != nullptr) source_->Stop();
    scheduler_.Stop();
    caches_.Stop();
  }

  void Start(OperatorSourceOptions options = {}) {
    source_ = std::make_unique<OperatorSource>(std::move(options), cluster_, caches_, scheduler_);
    source_->ReportTo([this](const base::Json& object, std::string_view reason, const std::string& message) {
      base::MutexLock lock(mu_);
      EXPECT_EQ(reason, "InvalidConfiguration");
      EXPECT_EQ(object["apiVersion"], "monitoring.coreos.com/v1");
      reports_.push_back(object["metadata"]["name"].get<std::string>() + ": " + message);
    });
    source_->Start([this] { ++changes_; });
  }
  void Serve(const std::vector<std::string>& kinds) {
    base::Json resources = base::Json::array();
    for (const std::string& kind : kinds) resources.push_back({{"name", "x"}, {"kind", kind}});
    cluster_.SetRaw("/apis/monitoring.coreos.com/v1", {{"resources", resources}});
  }
  void PutMonitor(const std::string& ns, const std::string& name, const std::string& team,
                  base::Json endpoint = {{"port", "http"}}) {
    cluster_.Put(kMonitors, {{"kind", "ServiceMonitor"},
                             {"metadata", {{"namespace", ns}, {"name", name}, {"labels", {{"team", team}}}}},
                             {"spec",
                              {{"selector", {{"matchLabels", {{"app", "web"}}}}},
                               {"endpoints", base::Json::array({std::move(endpoint)})}}}});
  }
  void PutNamespace(const std::string& name, const std::string& tier) {
    cluster_.Put(kube::resources::kNamespaces,
                 {{"kind", "Namespace"}, {"metadata", {{"name", name}, {"labels", {{"tier", tier}}}}}});
  }
  std::vector<std::string> Jobs() {
    std::vector<std::string> jobs;
    for (const ScrapeConfig& config : source_->ScrapeConfigs()) jobs.push_back(config.job_name);
    return jobs;
  }
  std::vector<std::string> reports() {
    base::MutexLock lock(mu_);
    return reports_;
  }
  // Lets time pass; the deadline only ends a test that fails anyway.
  bool Eventually(const std::function<bool()>& condition) {
    const int64_t deadline = base::MonotonicNanos() + 20'000'000'000;
    while (!condition()) {
      if (base::MonotonicNanos() > deadline) return false;
      clock_.Advance(50);
      std::this_thread::yield();
    }
    return true;
  }
  bool Reaches(const std::vector<std::string>& jobs) {
    return Eventually([&] { return Jobs() == jobs; });
  }

  base::FakeClock clock_{1'700'000'000'000};
  base::ThreadPool pool_{"test", 1};
  base::Scheduler scheduler_{clock_, pool_};
  kube::MemoryCluster cluster_;
  kube::SharedCaches caches_{cluster_, clock_};
  std::unique_ptr<OperatorSource> source_;
  std::atomic<int> changes_{0};
  base::Mutex mu_;
  std::vector<std::string> reports_ GUARDED_BY(mu_);
};

TEST_F(OperatorSourceTest, KindsComeAndGo) {
  PutMonitor("shop", "a", "x");
  Start();
  const int64_t begin_ms = clock_.NowMs();
  ASSERT_TRUE(Eventually([&] { return clock_.NowMs() > begin_ms + 25'000; }));
  EXPECT_THAT(Jobs(), IsEmpty());
  EXPECT_THAT(cluster_.lists(), IsEmpty()) << "what is not served is not asked for";
  Serve({"ServiceMonitor", "PodMonitor"});
  EXPECT_TRUE(Reaches({"serviceMonitor/shop/a/0"}));
  PutMonitor("shop", "b", "x");
  EXPECT_TRUE(Reaches({"serviceMonitor/shop/a/0", "serviceMonitor/shop/b/0"}));
  cluster_.Remove(kMonitors, "shop", "a");
  EXPECT_TRUE(Reaches({"serviceMonitor/shop/b/0"}));
  EXPECT_GE(changes_, 3);
  Serve({});
  EXPECT_TRUE(Reaches({}));
  EXPECT_THAT(reports(), IsEmpty());
}

TEST_F(OperatorSourceTest, SelectsByLabelsOfObjectsAndNamespaces) {
  Serve({"ServiceMonitor"});
  PutNamespace("shop", "prod");
  PutNamespace("lab", "test");
  PutMonitor("shop", "a", "x");
  PutMonitor("shop", "b", "y");
  PutMonitor("lab", "c", "x");
  OperatorSourceOptions options;
  options.objects = *kube::LabelSelector::Parse("team=x");
  options.namespaces = *kube::LabelSelector::Parse("tier!=test");
  Start(options);
  EXPECT_TRUE(Reaches({"serviceMonitor/shop/a/0"}));
  PutMonitor("shop", "b", "x");
  EXPECT_TRUE(Reaches({"serviceMonitor/shop/a/0", "serviceMonitor/shop/b/0"}));
  PutNamespace("lab", "prod");
  PutNamespace("shop", "test");
  EXPECT_TRUE(Reaches({"serviceMonitor/lab/c/0"}));
}

TEST_F(OperatorSourceTest, ReadsSecretsByNameAndAgain) {
  const base::Json token = {{"port", "http"}, {"authorization", {{"credentials", {{"name", "s"}, {"key", "t"}}}}}};
  auto put_secret = [&](const std::string& encoded) {
    cluster_.Put(kube::resources::kSecrets,
                 {{"metadata", {{"namespace", "shop"}, {"name", "s"}}}, {"data", {{"t", encoded}}}});
  };
  Serve({"ServiceMonitor"});
  PutMonitor("shop", "a", "x", token);
  Start();
  ASSERT_TRUE(Eventually([&] { return !reports().empty(); }));
  EXPECT_THAT(reports(), ElementsAre(HasSubstr("a: endpoints[0]: authorization.credentials: Secret shop/s does not")));
  put_secret("b25l");
  ASSERT_TRUE(Reaches({"serviceMonitor/shop/a/0"}));
  EXPECT_EQ(source_->ScrapeConfigs()[0].http.credentials.text, "one");
  put_secret("dHdv");
  EXPECT_TRUE(Eventually([&] { return source_->ScrapeConfigs()[0].http.credentials.text == "two"; }));
  EXPECT_EQ(cluster_.lists().count("/api/v1/secrets"), 0u);
}

TEST_F(OperatorSourceTest, FilesHaveToBeAllowed) {
  const base::Json file = {{"port", "http"}, {"bearerTokenFile", "/token"}};
  Serve({"ServiceMonitor"});
  PutMonitor("shop", "a", "x", file);
  Start();
  ASSERT_TRUE(Eventually([&] { return !reports().empty(); }));
  EXPECT_THAT(reports()[0], HasSubstr("--monitoring-objects-allow-files"));
  // Who comes to report later hears of it, too, once.
  std::atomic<int> told{0};
  source_->ReportTo([&](const base::Json&, std::string_view, const std::string&) { ++told; });
  EXPECT_EQ(told, 1);
  PutMonitor("shop", "b", "x");
  EXPECT_TRUE(Reaches({"serviceMonitor/shop/b/0"}));
  EXPECT_EQ(told, 1);
  source_->ReportTo({});
}

TEST_F(OperatorSourceTest, FilesThatAreAllowed) {
  Serve({"ServiceMonitor"});
  PutMonitor("shop", "a", "x", {{"port", "http"}, {"bearerTokenFile", "/token"}});
  OperatorSourceOptions options;
  options.allow_files = true;
  Start(options);
  EXPECT_TRUE(Reaches({"serviceMonitor/shop/a/0"}));
}

TEST_F(OperatorSourceTest, HandsOverRuleObjects) {
  const kube::Resource rules{"monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule", true};
  auto put = [&](const std::string& ns, const std::string& name, const std::string& expr) {
    cluster_.Put(rules, {{"kind", "PrometheusRule"},
                         {"metadata", {{"namespace", ns}, {"name", name}, {"labels", {{"team", ns}}}}},
                         {"spec", {{"expr", expr}}}});
  };
  auto names = [&] {
    std::vector<std::string> found;
    for (const auto& object : source_->RuleObjects()) found.push_back((*object)["metadata"]["name"].get<std::string>());
    return found;
  };
  Serve({"PrometheusRule"});
  put("shop", "a", "good");
  put("shop", "b", "bad");
  put("lab", "c", "good");
  OperatorSourceOptions options;
  options.objects = *kube::LabelSelector::Parse("team=shop");
  options.check_rule = [](const base::Json& object) {
    return object["spec"]["expr"] == "good" ? base::Status::Ok() : base::InvalidArgumentError("bad expression");
  };
  Start(std::move(options));
  EXPECT_TRUE(Eventually([&] { return names() == std::vector<std::string>{"a"} && !reports().empty(); }));
  EXPECT_THAT(reports(), ElementsAre("b: bad expression"));
  EXPECT_THAT(Jobs(), IsEmpty());
  const int before = changes_;
  put("shop", "b", "good");
  EXPECT_TRUE(Eventually([&] { return names() == std::vector<std::string>{"a", "b"} && changes_ > before; }));
  cluster_.Remove(rules, "shop", "a");
  EXPECT_TRUE(Eventually([&] { return names() == std::vector<std::string>{"b"}; }));
  Serve({});
  EXPECT_TRUE(Eventually([&] { return names().empty(); }));
}

}  // namespace
}  // namespace tidewright::scrape
