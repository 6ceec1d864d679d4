// What is found in a cluster without any configuration.
#include "scrape/default_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>

#include "base/strings.h"
#include "base/thread_pool.h"
#include "kube/shared_caches.h"
#include "scrape/manager.h"
#include "tests/kube/memory_cluster.h"
#include "tsdb/db.h"

namespace tidewright::scrape {
namespace {

using ::testing::Contains;

// Nobody answers.
class NoHttp : public http::Client {
 public:
  base::Result<http::Response> Send(const http::ClientRequest&, http::CancelToken*) override { return Away(); }
  base::Status Stream(const http::ClientRequest&, const http::StreamHandler&, http::CancelToken*) override {
    return Away();
  }
  void SendAsync(http::ClientRequest, std::function<void(base::Result<http::Response>)> done) override { done(Away()); }

 private:
  static base::Status Away() { return base::UnavailableError("nobody is there"); }
};

class DefaultConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto config = ParseConfig(DefaultConfigText(), "default");
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    EXPECT_TRUE(config->warnings.empty());
    ASSERT_TRUE(manager_.ApplyConfig(*config).ok());
    manager_.Start();
  }
  ~DefaultConfigTest() override {
    manager_.Stop();
    scheduler_.Stop();
    caches_.Stop();
  }

  // "app=web,prometheus.io/port=80" as an object.
  static base::Json MapOf(const std::string& pairs) {
    base::Json out = base::Json::object();
    for (const std::string& pair : base::Split(pairs, ',')) {
      const size_t equals = pair.find('=');
      if (equals != std::string::npos) out[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
    return out;
  }
  static base::Json Pod(const std::string& name, const std::string& ip, const std::string& labels,
                        const std::string& annotations, const base::Json& ports) {
    return {{"metadata",
             {{"namespace", "shop"}, {"name", name}, {"labels", MapOf(labels)}, {"annotations", MapOf(annotations)}}},
            {"spec", {{"nodeName", "n1"}, {"containers", base::Json::array({{{"name", "app"}, {"ports", ports}}})}}},
            {"status", {{"podIP", ip}, {"phase", "Running"}}}};
  }
  static base::Json Port(int number, const std::string& name, const std::string& protocol = "TCP") {
    return {{"containerPort", number}, {"name", name}, {"protocol", protocol}};
  }
  static base::Json Node() {
    return {{"metadata", {{"name", "n1"}}},
            {"status",
             {{"addresses", base::Json::array({{{"type", "InternalIP"}, {"address", "10.0.0.1"}}})},
              {"daemonEndpoints", {{"kubeletEndpoint", {{"Port", 10250}}}}}}}};
  }
  // Job and URL of each target.
  std::set<std::string> Active() const {
    std::set<std::string> active;
    for (const TargetStatus& target : manager_.Targets().active) active.insert(target.job + " " + target.url);
    return active;
  }
  // Lets time pass until the targets are these, and the program itself.
  testing::AssertionResult Finds(std::set<std::string> expected) {
    expected.insert("tidewright http://localhost:9090/metrics");
    const int64_t deadline = base::MonotonicNanos() + 20'000'000'000;
    while (Active() != expected) {
      if (base::MonotonicNanos() > deadline) {
        return testing::AssertionFailure()
               << testing::PrintToString(Active()) << " instead of " << testing::PrintToString(expected);
      }
      clock_.Advance(50);
      std::this_thread::yield();
    }
    return testing::AssertionSuccess();
  }

  base::FakeClock clock_{1'700'000'000'000};
  base::ThreadPool pool_{"test", 2};
  base::Scheduler scheduler_{clock_, pool_};
  kube::MemoryCluster cluster_;
  kube::SharedCaches caches_{cluster_, clock_};
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
  Manager manager_{*db_,
                   clock_,
                   scheduler_,
                   nullptr,
                   &caches_,
                   [](const http::ClientOptions&) -> base::Result<std::unique_ptr<http::Client>> {
                     return std::unique_ptr<http::Client>(std::make_unique<NoHttp>());
                   }};
};

TEST_F(DefaultConfigTest, FindsKubeletsAndTheirCadvisors) {
  cluster_.Put(kube::resources::kNodes, Node());
  EXPECT_TRUE(Finds({"kubernetes-nodes https://10.0.0.1:10250/metrics/resource",
                     "kubernetes-cadvisor https://10.0.0.1:10250/metrics/cadvisor"}));
  EXPECT_THAT(cluster_.lists(), Contains("/api/v1/nodes").Times(1)) << "one watch is enough for both";
  cluster_.Remove(kube::resources::kNodes, "", "n1");
  EXPECT_TRUE(Finds({}));
}

struct PodRow {
  const char* name;
  const char* labels;
  const char* annotations;
  base::Json ports;
  std::set<std::string> targets;
};

TEST_F(DefaultConfigTest, FindsPods) {
  const base::Json web = base::Json::array({Port(8080, "http"), Port(9100, "prometheus"), Port(53, "dns", "UDP")});
  auto named = [](const std::string& name, int number) {
    return base::Json::array({Port(443, "https"), Port(number, name)});
  };
  const PodRow rows[] = {
      {"plain", "", "", web, {}},
      {"refused", "log=prometheus", "prometheus.io/scrape=false", web, {}},
      {"labelled", "log=prometheus", "", web, {"kubernetes-pods http://IP:9100/metrics"}},
      {"annotated",
       "",
       "prometheus.io/scrape=true",
       web,
       {"kubernetes-pods http://IP:8080/metrics", "kubernetes-pods http://IP:9100/metrics"}},
      {"port",
       "",
       "prometheus.io/scrape=true,prometheus.io/port=9999",
       web,
       {"kubernetes-pods http://IP:9999/metrics"}},
      {"port-without-ports",
       "",
       "prometheus.io/scrape=true,prometheus.io/port=9999",
       base::Json::array(),
       {"kubernetes-pods http://IP:9999/metrics"}},
      {"path-and-scheme",
       "",
       "prometheus.io/scrape=true,prometheus.io/port=8080,prometheus.io/path=/m,prometheus.io/scheme=https",
       web,
       {"kubernetes-pods https://IP:8080/m"}},
      {"state",
       "app.kubernetes.io/name=kube-state-metrics",
       "",
       named("http-metrics", 8080),
       {"kube-state-metrics http://IP:8080/metrics"}},
      {"nginx",
       "app.kubernetes.io/name=ingress-nginx",
       "",
       named("metrics", 10254),
       {"ingress-controllers http://IP:10254/metrics"}},
      {"nginx-annotated",
       "app.kubernetes.io/name=ingress-nginx",
       "prometheus.io/scrape=true,prometheus.io/port=10254",
       web,
       {"ingress-controllers http://IP:10254/metrics"}},
      {"nginx-port-prometheus",
       "app.kubernetes.io/name=ingress-nginx",
       "",
       web,
       {"ingress-controllers http://IP:9100/metrics"}},
      {"traefik",
       "app.kubernetes.io/name=traefik",
       "",
       named("metrics", 9100),
       {"ingress-controllers http://IP:9100/metrics"}},
      {"envoy",
       "app.kubernetes.io/name=envoy",
       "",
       named("metrics", 19001),
       {"ingress-controllers http://IP:19001/stats/prometheus"}},
      {"haproxy",
       "app.kubernetes.io/name=kubernetes-ingress",
       "",
       named("stat", 1024),
       {"ingress-controllers http://IP:1024/metrics"}},
  };
  for (const PodRow& row : rows) {
    SCOPED_TRACE(row.name);
    cluster_.Put(kube::resources::kPods, Pod(row.name, "10.1.0.7", row.labels, row.annotations, row.ports));
    std::set<std::string> expected;
    for (std::string target : row.targets) expected.insert(target.replace(target.find("IP"), 2, "10.1.0.7"));
    EXPECT_TRUE(Finds(expected));
    cluster_.Remove(kube::resources::kPods, "shop", row.name);
    EXPECT_TRUE(Finds({}));
  }
}

TEST_F(DefaultConfigTest, NamesPodsAndNodes) {
  cluster_.Put(kube::resources::kPods,
               Pod("web-1", "10.1.0.7", "log=prometheus", "", base::Json::array({Port(1, "prometheus")})));
  ASSERT_TRUE(Finds({"kubernetes-pods http://10.1.0.7:1/metrics"}));
  EXPECT_EQ(manager_.Targets().active[0].labels, tsdb::Labels::Of({{"container", "app"},
                                                                   {"instance", "10.1.0.7:1"},
                                                                   {"job", "kubernetes-pods"},
                                                                   {"namespace", "shop"},
                                                                   {"node", "n1"},
                                                                   {"pod", "web-1"}}));
}

}  // namespace
}  // namespace tidewright::scrape
