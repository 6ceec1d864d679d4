#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "scrape/config.h"
#include "scrape/config_print.h"

namespace tidewright::scrape {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct ErrorRow {
  const char* name;
  const char* yaml;
  const char* error;  // Part of the message, with line and field.
};

class ConfigErrors : public ::testing::TestWithParam<ErrorRow> {};

TEST_P(ConfigErrors, NamePlaceValueAndRemedy) {
  auto config = ParseConfig(GetParam().yaml, "prometheus.yml");
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.status().message(), HasSubstr(GetParam().error));
  EXPECT_THAT(config.status().message(), Not(HasSubstr("hunter2")));
}

INSTANTIATE_TEST_SUITE_P(
    Table, ConfigErrors,
    ::testing::Values(
        ErrorRow{"UnknownField", "scrape_configs:\n- job_name: a\n  scrape_intervall: 5s\n",
                 "prometheus.yml:3:3: scrape_configs[0].scrape_intervall: is not a known field; did you mean "
                 "\"scrape_interval\"?"},
        ErrorRow{"BadDuration", "global:\n  scrape_interval: 5 minutes\n",
                 "prometheus.yml:2:3: global.scrape_interval: \"5 minutes\""},
        ErrorRow{
            "TimeoutTooLong", "scrape_configs:\n- job_name: a\n  scrape_interval: 5s\n  scrape_timeout: 6s\n",
            "prometheus.yml:4:3: scrape_configs[0].scrape_timeout: \"6s\" is longer than the scrape interval of 5s"},
        ErrorRow{"DuplicateJob", "scrape_configs:\n- job_name: a\n- job_name: a\n",
                 "prometheus.yml:3:3: scrape_configs[1].job_name: \"a\" is used twice"},
        ErrorRow{"MissingJobName", "scrape_configs:\n- scrape_interval: 5s\n",
                 "prometheus.yml:2:3: scrape_configs[0].job_name: is missing"},
        ErrorRow{"BadRegex", "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {regex: '(', target_label: x}\n",
                 "prometheus.yml:4:6: scrape_configs[0].relabel_configs[0].regex: \"(\" is not a regular expression"},
        ErrorRow{"UrlAsTarget", "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['http://h']}]\n",
                 "\"http://h\" is not host:port"},
        ErrorRow{"TwoCredentials",
                 "scrape_configs:\n- job_name: a\n  bearer_token: hunter2\n  basic_auth: {username: u, password: "
                 "hunter2}\n",
                 "use only one of basic_auth and bearer_token"},
        ErrorRow{"TwoPasswords",
                 "scrape_configs:\n- job_name: a\n  basic_auth: {password: hunter2, password_file: /p}\n",
                 "use either password or password_file"}),
    [](const auto& test) { return test.param.name; });

TEST(Config, ListsWhatHasNoEffect) {
  auto config = ParseConfig(R"(
scrape_configs:
- job_name: a
- job_name: b
  consul_sd_configs: [{server: "consul:8500"}]
remote_read: [{url: "http://remote/read"}]
remote_write: [{url: "http://remote/write", sigv4: {}}]
)",
                            "prometheus.yml");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_THAT(
      config->warnings,
      ElementsAre(
          "scrape_configs[1].consul_sd_configs: not supported; its targets are not scraped. Supported are static, "
          "file, http, dns and kubernetes",
          "remote_write[0].sigv4: not supported yet; requests are sent without it"));
}

// What Prometheus 2.42 and 3.5 do, as seen on their targets.
TEST(Config, NullInARelabelRuleIsEmptyAndNotTheDefault) {
  const std::string head = "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - ";
  struct Case {
    const char* rule;
    std::string a;  // Of the target after it: "dropped" if there is none.
  };
  for (const Case& c : {Case{"{source_labels: [a], target_label: a, replacement: x, regex: null}", "v"},
                        Case{"{source_labels: [b], target_label: a, replacement: x, regex: ~}", "x"},
                        Case{"{source_labels: [a], action: drop, regex: }", "v"},
                        Case{"{source_labels: [a], action: keep, regex: null}", "dropped"},
                        Case{"{source_labels: [a], target_label: a, replacement: null}", ""},
                        Case{"{source_labels: [a, a], target_label: a, separator: null}", "vv"},
                        Case{"{source_labels: null, target_label: a, replacement: x}", "x"},
                        Case{"{source_labels: [a], target_label: a, modulus: null}", "v"},
                        Case{"{action: labeldrop, regex: null}", "v"}}) {
    SCOPED_TRACE(c.rule);
    const std::string text = head + c.rule + "\n";
    auto config = ParseConfig(text, "prometheus.yml");
    ASSERT_TRUE(config.ok()) << config.status().ToString();
    auto printed = PrintConfig(text, "prometheus.yml");
    ASSERT_TRUE(printed.ok()) << printed.status().ToString();
    auto again = ParseConfig(*printed, "printed");
    ASSERT_TRUE(again.ok()) << *printed << again.status().ToString();
    for (const Config* one : {&*config, &*again}) {
      tsdb::LabelsBuilder labels(tsdb::Labels::FromPairs({{"a", "v"}}));
      const bool kept = Relabel(one->scrape_configs[0].relabel_rules, &labels);
      EXPECT_EQ(kept ? std::string(labels.Get("a")) : "dropped", c.a) << *printed;
    }
  }
  for (const char* rule :
       {"{source_labels: [a], target_label: a, action: null}", "{source_labels: [a], target_label: }",
        "{source_labels: [a], target_label: a, action: hashmod, modulus: null}",
        "{source_labels: [a], target_label: b, action: keepequal, regex: null}"}) {
    EXPECT_FALSE(ParseConfig(head + rule + "\n", "prometheus.yml").ok()) << rule;
  }
}

TEST(Config, JobsInheritGlobalValues) {
  auto config = ParseConfig(R"(
global: {scrape_interval: 20s, sample_limit: 7, body_size_limit: 1MB}
scrape_configs:
- job_name: inherits
- {job_name: overrides, scrape_interval: 5s, sample_limit: 9}
)",
                            "prometheus.yml");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  const ScrapeConfig &inherits = config->scrape_configs[0], &overrides = config->scrape_configs[1];
  EXPECT_EQ(inherits.scrape_interval.ms, 20'000);
  EXPECT_EQ(inherits.scrape_timeout.ms, 10'000);
  EXPECT_EQ(inherits.limits.samples, 7);
  EXPECT_EQ(overrides.scrape_timeout.ms, 5'000) << "a timeout that was not written follows the interval";
  EXPECT_EQ(overrides.limits.samples, 9);
  EXPECT_EQ(overrides.limits.body_size, 1 << 20);
}

TEST(Config, ResolvesPathsAndReadsScrapeConfigFiles) {
  auto folder = base::TempDir::Create("tidewright-config");
  ASSERT_TRUE(folder.ok());
  auto write = [&](const std::string& name, const std::string& text) {
    ASSERT_TRUE(base::WriteFileAtomic(folder->path() + "/" + name, text).ok());
  };
  write("prometheus.yml", "rule_files: ['rules-*.yml']\nscrape_config_files: ['jobs-*.yml']\n");
  write("rules-1.yml", "");
  write("jobs-1.yml", "scrape_configs:\n- job_name: extra\n  basic_auth: {username: u, password_file: secret}\n");
  auto config = LoadConfig(folder->path() + "/prometheus.yml");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_THAT(MatchFiles(config->rule_files), ElementsAre(folder->path() + "/rules-1.yml"));
  ASSERT_EQ(config->scrape_configs.size(), 1u);
  EXPECT_EQ(config->scrape_configs[0].http.password.file, folder->path() + "/secret");
}

TEST(Config, CredentialsAreReadPerRequest) {
  auto folder = base::TempDir::Create("tidewright-config");
  ASSERT_TRUE(folder.ok());
  HttpClientConfig http;
  http.authorization_type = "Bearer";
  http.credentials.file = folder->path() + "/token";
  EXPECT_FALSE(RequestHeaders(http).ok());
  for (std::string token : {"one", "two"}) {
    ASSERT_TRUE(base::WriteFileAtomic(http.credentials.file, token + "\n").ok());
    auto headers = RequestHeaders(http);
    ASSERT_TRUE(headers.ok()) << headers.status().ToString();
    EXPECT_EQ(headers->Get("Authorization"), "Bearer " + token);
  }
}

}  // namespace
}  // namespace tidewright::scrape
