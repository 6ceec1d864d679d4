#include "base/document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace tidewright::base {
namespace {

struct Job {
  std::string name;
  Duration interval;
  std::vector<std::string> targets;
};

struct Config {
  Duration interval;
  bool enabled = false;
  double share = 0;
  std::map<std::string, std::string> labels;
  std::vector<Job> jobs;
};

// Decodes a small configuration the way the modules do.
Status Decode(const Node& node, const std::string& origin, Config* config) {
  ErrorList errors(origin);
  ObjectReader reader(node, "", errors);
  reader.Optional("interval", &config->interval);
  reader.Optional("enabled", &config->enabled);
  reader.Optional("share", &config->share);
  reader.Optional("labels", &config->labels);
  reader.Objects("jobs", [&](ObjectReader& job) {
    config->jobs.emplace_back();
    job.Required("name", &config->jobs.back().name);
    job.Optional("interval", &config->jobs.back().interval);
    job.Optional("targets", &config->jobs.back().targets);
  });
  reader.Finish();
  return errors.ToStatus();
}

Status DecodeYaml(std::string_view text, Config* config) {
  TW_ASSIGN_OR_RETURN(Node node, ParseYaml(text, "app.yml"));
  return Decode(node, "app.yml", config);
}

TEST(DocumentTest, ReadsEveryType) {
  Config config;
  Status status = DecodeYaml(
      "interval: 1h30m\n"
      "enabled: true\n"
      "share: 0.5\n"
      "labels: {zone: a, tier: 1}\n"
      "jobs:\n"
      "- name: web\n"
      "  targets: ['a:80', b]\n",
      &config);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(config.interval.ms, 5'400'000);
  EXPECT_TRUE(config.enabled);
  EXPECT_EQ(config.share, 0.5);
  EXPECT_EQ(config.labels, (std::map<std::string, std::string>{{"zone", "a"}, {"tier", "1"}}));
  EXPECT_THAT(config.jobs.at(0).targets, testing::ElementsAre("a:80", "b"));
}

struct ErrorCase {
  const char* name;
  const char* text;
  const char* error;
};

class DocumentErrorTest : public testing::TestWithParam<ErrorCase> {};
TEST_P(DocumentErrorTest, NamesPlaceValueAndRemedy) {
  Config config;
  EXPECT_EQ(DecodeYaml(GetParam().text, &config).message(), GetParam().error);
}
INSTANTIATE_TEST_SUITE_P(
    Table, DocumentErrorTest,
    testing::Values(
        ErrorCase{"unknown_key", "intervall: 5s",
                  "app.yml:1:1: intervall: is not a known field; did you mean \"interval\"?"},
        ErrorCase{"line_of_the_key", "enabled: true\nlables:\n  a: b",
                  "app.yml:2:1: lables: is not a known field; did you mean \"labels\"?"},
        ErrorCase{"unknown_far", "enabled: true\nzzz: 5s", "app.yml:2:1: zzz: is not a known field; remove it"},
        ErrorCase{"bad_duration", "\ninterval: 5 minutes",
                  "app.yml:2:1: interval: \"5 minutes\" is not a duration; use for example 30s, 5m or 1h30m"},
        ErrorCase{"nested_path", "jobs:\n- name: a\n- name: b\n  interval: x",
                  "app.yml:4:3: jobs[1].interval: \"x\" is not a duration; use for example 30s, 5m or 1h30m"},
        ErrorCase{"missing", "jobs:\n- interval: 5s", "app.yml:2:3: jobs[0].name: is missing; it is required"},
        ErrorCase{"empty_item", "jobs:\n-", "app.yml:2:1: jobs[0]: is empty; remove it or fill it in"},
        ErrorCase{"wrong_type", "jobs: 5", "app.yml:1:1: jobs: is \"5\"; a list (- item) is expected"},
        ErrorCase{"quoted_bool", "enabled: 'true'",
                  "app.yml:1:1: enabled: \"true\" is not a truth value; use true or false"},
        ErrorCase{"duplicate", "share: 1\nshare: 2", "app.yml:2:1: key \"share\" is given twice; remove one"},
        ErrorCase{"scalar_root", "hello", "app.yml:1:1: is \"hello\"; a mapping (key: value) is expected"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(DocumentErrorTest, SeveralErrorsAreAllReported) {
  Config config;
  EXPECT_EQ(DecodeYaml("share: x\nenabled: 3", &config).message(),
            "app.yml:2:1: enabled: \"3\" is not a truth value; use true or false\n"
            "app.yml:1:1: share: \"x\" is not a number; use for example 0.5, without quotes");
}

TEST(DocumentErrorTest, BrokenYamlNamesTheLine) {
  Config config;
  EXPECT_THAT(DecodeYaml("a: 1\nb: [1, 2\n", &config).message(), testing::StartsWith("app.yml:3:1: not valid YAML"));
}

TEST(DocumentTest, JsonKeepsItsTypes) {
  Config config;
  Node node = NodeFromJson(Json::parse(R"({"enabled":true,"jobs":[{"name":5}]})"));
  EXPECT_EQ(Decode(node, "Job a/b", &config).message(), "Job a/b: jobs[0].name: 5 is not a text; put it in quotes");
  EXPECT_TRUE(config.enabled);
}

TEST(DocumentTest, NodeToJsonFollowsTheCoreSchema) {
  auto node = ParseYaml("{a: 5, b: '5', c: true, d: null, e: 1.5, f: inf, g: [x], h: 0x1}", "t");
  ASSERT_TRUE(node.ok());
  EXPECT_EQ(NodeToJson(*node),
            Json::parse(R"({"a":5,"b":"5","c":true,"d":null,"e":1.5,"f":"inf","g":["x"],"h":"0x1"})"));
}

TEST(DocumentTest, AnchorsAndMergeKeys) {
  auto node = ParseYaml("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nlist: [*b, {<<: [*b, {z: 4}]}]", "t");
  ASSERT_TRUE(node.ok()) << node.status().ToString();
  EXPECT_EQ(NodeToJson(*node), Json::parse(R"({"base":{"x":1,"y":2},"use":{"x":1,"y":3},
                                               "list":[{"x":1,"y":2},{"x":1,"y":2,"z":4}]})"));
}

TEST(DocumentTest, SeveralDocuments) {
  auto documents = ParseYamlDocuments("---\na: 1\n---\n# nothing\n---\nb: 2\n...\n", "t");
  ASSERT_TRUE(documents.ok());
  ASSERT_EQ(documents->size(), 2U);
  EXPECT_EQ((*documents)[1].Find("b")->text, "2");
  EXPECT_EQ((*documents)[1].Find("b")->at.line, 6);
}

TEST(DocumentTest, HostileDocumentsAreRefused) {
  for (const char* endless : {",", ", a", "]", "a: ,"}) EXPECT_FALSE(ParseYaml(endless, "t").ok()) << endless;
  EXPECT_FALSE(ParseYaml(std::string(100'000, '['), "t").ok());
  std::string dashes;
  for (int i = 0; i < 5000; ++i) dashes += "- ";
  EXPECT_FALSE(ParseYaml(dashes, "t").ok());
  std::string laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 10; ++i) {
    std::string previous = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + previous;
    for (int k = 0; k < 9; ++k) laughs += "," + previous;
    laughs += "]\n";
  }
  EXPECT_THAT(ParseYaml(laughs, "t").status().message(), testing::HasSubstr("1000000 values"));
  EXPECT_FALSE(ParseJson(std::string(10'000, '[')).ok());
}

TEST(NearestNameTest, FindsTyposOnly) {
  EXPECT_EQ(NearestName("scrape_intervall", {"scrape_interval", "scrape_timeout"}), "scrape_interval");
  EXPECT_EQ(NearestName("minReplicas", {"minReplicaCount"}), "minReplicaCount");
  EXPECT_EQ(NearestName("foo", {"scrape_interval"}), "");
}

}  // namespace
}  // namespace tidewright::base
