#include "scrape/alertmanagers.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/file.h"

namespace tidewright::scrape {
namespace {

class AlertmanagersTest : public ::testing::Test {
 protected:
  void Apply(const std::string& alertmanagers) {
    auto config = ParseConfig("alerting:\n  alertmanagers:\n" + alertmanagers, "prometheus.yml");
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    EXPECT_TRUE(config->warnings.empty()) << config->warnings[0];
    discovery_.Apply(config->alerting.alertmanagers);
  }

  AlertmanagerTargets Found() {
    base::MutexLock lock(mu_);
    return found_;
  }
  std::vector<std::string> Urls() {
    std::vector<std::string> urls;
    for (const AlertmanagerTarget& target : Found().active) urls.push_back(target.url);
    return urls;
  }

  base::Mutex mu_;
  AlertmanagerTargets found_ GUARDED_BY(mu_);
  base::TempDir folder_ = *base::TempDir::Create("alertmanagers-test");
  base::FakeClock clock_{1'000'000};
  base::ThreadPool pool_{"test", 1};
  base::Scheduler scheduler_{clock_, pool_};
  AlertmanagerDiscovery discovery_{clock_, scheduler_, nullptr, [this](AlertmanagerTargets targets) {
                                     base::MutexLock lock(mu_);
                                     found_ = std::move(targets);
                                   }};
};

using Strings = std::vector<std::string>;

TEST_F(AlertmanagersTest, MakesUrlsOfTargets) {
  struct Row {
    const char* alertmanagers;
    Strings active, dropped;
  };
  const Row rows[] = {
      {"  - static_configs: [{targets: ['a:9093', 'b:9093', 'a:9093']}]\n",
       {"http://a:9093/api/v2/alerts", "http://b:9093/api/v2/alerts"},
       {}},
      {"  - {scheme: https, path_prefix: am/, static_configs: [{targets: ['a:9093']}]}\n",
       {"https://a:9093/am/api/v2/alerts"},
       {}},
      {"  - static_configs: [{targets: ['a:9093', 'b:9093']}]\n"
       "    relabel_configs: [{source_labels: [__address__], regex: 'b.*', action: drop}]\n",
       {"http://a:9093/api/v2/alerts"},
       {"http://b:9093/api/v2/alerts"}},
      {"  - static_configs: [{targets: ['a:9093'], labels: {path: x}}]\n"
       "    relabel_configs: [{source_labels: [path], target_label: __alerts_path__, replacement: /$1}]\n",
       {"http://a:9093/x"},
       {}},
      {"  - static_configs: [{targets: ['a:9093']}]\n"
       "    relabel_configs: [{target_label: __address__, replacement: a/b}]\n",
       {},
       {}},
      {"  - static_configs: [{targets: ['a:9093']}]\n  - static_configs: [{targets: ['a:9093']}]\n",
       {"http://a:9093/api/v2/alerts", "http://a:9093/api/v2/alerts"},
       {}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.alertmanagers);
    Apply(row.alertmanagers);
    EXPECT_EQ(Urls(), row.active);
    EXPECT_EQ(Found().dropped, row.dropped);
  }
}

TEST_F(AlertmanagersTest, FollowsDiscoveryAndKeepsWhatDidNotChange) {
  const std::string file = folder_.path() + "/targets.yml";
  ASSERT_TRUE(base::WriteFileAtomic(file, "[{targets: ['a:1']}]").ok());
  const std::string by_file = "  - file_sd_configs: [{files: ['" + file + "']}]\n";
  Apply(by_file);
  EXPECT_EQ(Urls(), (Strings{"http://a:1/api/v2/alerts"}));
  auto transport = Found().active.at(0).transport;

  ASSERT_TRUE(base::WriteFileAtomic(file, "[{targets: ['b:1', 'c:1']}]").ok());
  const int64_t deadline = base::MonotonicNanos() + 30'000'000'000;
  while (Urls().size() != 2 && base::MonotonicNanos() < deadline) {
    clock_.Advance(1000);
    std::this_thread::yield();
  }
  EXPECT_EQ(Urls(), (Strings{"http://b:1/api/v2/alerts", "http://c:1/api/v2/alerts"}));

  Apply("  - timeout: 3s\n    static_configs: [{targets: ['d:1']}]\n" + by_file);
  EXPECT_EQ(Urls().size(), 3u);
  EXPECT_EQ(Found().active.at(1).transport, transport);
  EXPECT_EQ(Found().active.at(0).config->timeout.ms, 3000);
  discovery_.Apply({});
  EXPECT_TRUE(Urls().empty());
}

}  // namespace
}  // namespace tidewright::scrape
