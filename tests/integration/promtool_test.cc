// `tidewright check` and `tidewright query` next to promtool: the same files have the same outcome, the same questions
// to our server the same output. (rules_command_test.cc has unit tests of rules.)
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/strings.h"
#include "http/client.h"
#include "tests/rules/data.h"

namespace tidewright::cmd {
namespace {

struct Outcome {
  int code = -1;
  std::string out;
};

class PromtoolTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!base::HaveProgram("promtool")) GTEST_SKIP() << "promtool is not installed: nothing to compare with";
  }

  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(base::WriteFileAtomic(Path(name), text).ok());
  }

  Outcome Run(const std::string& program, const std::string& arguments) {
    Outcome outcome;
    FILE* pipe = popen(("cd " + folder_.path() + " && " + program + " " + arguments + " 2>errors").c_str(), "r");
    std::array<char, 4096> part;
    for (size_t n = 0; (n = std::fread(part.data(), 1, part.size(), pipe)) > 0;) outcome.out.append(part.data(), n);
    outcome.code = WEXITSTATUS(pclose(pipe));
    return outcome;
  }

  base::TempDir folder_ = *base::TempDir::Create("promtool");
};

TEST_F(PromtoolTest, RuleFilesHaveTheSameVerdict) {
  const base::Json cases = rules::testing::LoadCases("rule-files.json");
  if (cases.is_null()) GTEST_SKIP() << "no conformance data; set CONFORMANCE_DIR";
  std::map<std::string, const base::Json*> by_file;
  for (const base::Json& test : cases) {
    if (test.value("name_validation_scheme", "") == "legacy") continue;  // A setting that neither command has.
    std::string yaml = test.value("yaml", "");
    if (test.contains("yaml_b64")) {
      ASSERT_TRUE(base::Base64Decode(test["yaml_b64"].get<std::string>(), &yaml));
    }
    const std::string name = "case" + std::to_string(by_file.size()) + ".yml";
    Write(name, yaml);
    by_file[name] = &test;
  }
  const std::string loop = "sh -c 'for f in case*.yml; do ";
  const std::string check = " check rules $f >/dev/null 2>&1 && echo -n \"$f \"; done'";
  const std::vector<std::string> theirs = base::Split(Run(loop + "promtool", check).out, ' ');
  const std::vector<std::string> ours = base::Split(Run(loop + TIDEWRIGHT_BINARY, check).out, ' ');
  auto accepts = [](const std::vector<std::string>& accepted, const std::string& file) {
    return std::find(accepted.begin(), accepted.end(), file) != accepted.end();
  };
  size_t same = 0, newer = 0;
  for (const auto& [file, test] : by_file) {
    const std::string name = (*test)["name"];
    const bool recorded = (*test)["expect"]["ok"];
    if (accepts(ours, file) == accepts(theirs, file)) {
      ++same;
    } else if (accepts(theirs, file) != recorded) {
      ++newer;  // Debian's promtool is older than the Prometheus that the case was recorded with.
    } else {
      EXPECT_EQ(name, "rule null") << "ours says " << accepts(ours, file);
    }
  }
  printf("check rules: %zu of %zu files as promtool, %zu as a newer one\n", same, by_file.size(), newer);
  EXPECT_GT(same, by_file.size() / 2);
}

TEST_F(PromtoolTest, ConfigurationsHaveTheSameVerdict) {
  Write("rules.yml", "groups: [{name: g, rules: [{record: a, expr: up}]}]\n");
  Write("wrong.yml", "groups: [{name: g, rules: [{record: a, expr: 'up +'}]}]\n");
  Write("targets.yml", "- {targets: ['a:1']}\n");
  Write("wrong_targets.yml", "- {targets: 3}\n");
  struct Row {
    const char* name;
    const char* text;
    int code;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"fine", "rule_files: [rules.yml]\nscrape_configs: [{job_name: a, static_configs: [{targets: ['x:1']}]}]\n",
            0},
           {"empty", "{}", 0},
           {"no such rule file", "rule_files: [nowhere.yml]\n", 1},
           {"pattern without files", "rule_files: ['nowhere*.yml']\n", 0},
           {"wrong rule file", "rule_files: [wrong.yml]\n", 1},
           {"unknown field", "scrape_configs: [{job_nam: a}]\n", 1},
           {"two jobs of a name", "scrape_configs: [{job_name: a}, {job_name: a}]\n", 1},
           {"timeout too long", "scrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 10s}]\n", 1},
           {"no credentials", "scrape_configs: [{job_name: a, authorization: {credentials_file: nowhere}}]\n", 1},
           {"no token", "scrape_configs: [{job_name: a, bearer_token_file: nowhere}]\n", 1},
           {"no password", "scrape_configs: [{job_name: a, basic_auth: {username: u, password_file: nowhere}}]\n", 0},
           {"no CA", "scrape_configs: [{job_name: a, tls_config: {ca_file: nowhere}}]\n", 0},
           {"no certificate", "scrape_configs: [{job_name: a, tls_config: {cert_file: nowhere, key_file: nowhere}}]\n",
            1},
           {"targets", "scrape_configs: [{job_name: a, file_sd_configs: [{files: [targets.yml]}]}]\n", 0},
           {"no targets", "scrape_configs: [{job_name: a, file_sd_configs: [{files: [nowhere.yml]}]}]\n", 0},
           {"wrong targets", "scrape_configs: [{job_name: a, file_sd_configs: [{files: [wrong_targets.yml]}]}]\n", 1},
           {"wrong targets of Alertmanagers",
            "alerting: {alertmanagers: [{file_sd_configs: [{files: [wrong_targets.yml]}]}]}\n", 1},
           {"no YAML", "a: [", 1},
       }) {
    Write("prometheus.yml", row.text);
    const Outcome ours = Run(TIDEWRIGHT_BINARY, "check config prometheus.yml 2>&1");
    const Outcome theirs = Run("promtool", "check config prometheus.yml 2>&1");
    EXPECT_EQ(ours.code, row.code) << row.name << ": " << ours.out;
    EXPECT_EQ(theirs.code, row.code) << row.name << ": " << theirs.out;
  }
}

class PromtoolQueryTest : public PromtoolTest {
 protected:
  void SetUp() override {
    PromtoolTest::SetUp();
    if (IsSkipped()) return;
    std::string text = "# TYPE requests counter\n";
    for (int t = 0; t <= 1200; t += 15) {
      for (const char* code : {"200", "500"}) {
        text += std::string("requests_total{code=\"") + code + "\",path=\"/a\\\"b\\\\c\"} " + std::to_string(t * 1.25) +
                " " + std::to_string(1'700'000'000 + t) + ".5\n";
      }
    }
    text += "# TYPE temperature gauge\n";
    for (const char* value : {"-0.25", "1e+21", "NaN", "+Inf"}) {
      text += std::string("temperature{of=\"") + value + "\"} " + value + " 1700001000\n";
    }
    Write("samples.txt", text + "# EOF\n");
    ASSERT_EQ(Run(TIDEWRIGHT_BINARY, "tsdb create-blocks-from openmetrics samples.txt data").code, 0);
    address_ = "127.0.0.1:" + std::to_string(*base::FreePort());
    auto program = base::Subprocess::Start(
        {TIDEWRIGHT_BINARY, "run", "--kubernetes=false", "--storage.tsdb.path", Path("data"),
         "--storage.tsdb.retention.time=100y", "--web.address", "127.0.0.1", "--web.port", address_.substr(10)},
        Path("log"));
    ASSERT_TRUE(program.ok()) << program.status().ToString();
    program_ = std::make_unique<base::Subprocess>(*std::move(program));
    base::StopSignal never;
    const int64_t deadline = base::SystemClock::Get().NowMs() + 60'000;
    while (!Ready() && base::SystemClock::Get().NowMs() < deadline) base::SystemClock::Get().SleepFor(50, never);
    ASSERT_TRUE(Ready()) << *base::ReadFile(Path("log"));
  }

  bool Ready() {
    auto client = http::NewCurlClient({});
    http::ClientRequest request;
    request.url = "http://" + address_ + "/-/ready";
    auto reply = (*client)->Send(request);
    return reply.ok() && reply->status == 200;
  }

  std::string address_;
  std::unique_ptr<base::Subprocess> program_;
};

TEST_F(PromtoolQueryTest, AnswersLookTheSame) {
  const std::string at = " --time=1700001000 http://" + address_ + " ";
  const std::string range = " --start=1700000100 --end=1700000400 --step=60s http://" + address_ + " ";
  const std::string times = " --start=1700000000 --end=1700002000 ";
  for (const std::string& arguments :
       std::vector<std::string>{"instant" + at + "'sum by (code) (requests_total)'",
                                "instant" + at + "'sort(requests_total)'",
                                "instant" + at + "'sort_by_label(temperature, \"of\")'",
                                "instant" + at + "'sort(temperature)'",
                                "instant" + at + "'1.5 + 1'",
                                "instant" + at + "nothing",
                                "instant" + at + "'sum(requests_total) offset 7ms'",
                                "instant" + at + "'requests_total{code=\"200\"}[1m]'",
                                "instant --time=2023-11-14T22:30:00.25Z http://" + address_ + " 'sum(requests_total)'",
                                "instant -o json" + at + "'sort(requests_total)'",
                                "instant -o json" + at + "1",
                                "range" + range + "'rate(requests_total{code=\"200\"}[1m])'",
                                "range" + range + "'scalar(sum(requests_total))'",
                                "range -o json" + range + "'sum(requests_total)'",
                                "range" + range + "nothing",
                                "series" + times + "--match=requests_total http://" + address_,
                                "series" + times + "--match=requests_total --match='{of=\"NaN\"}' http://" + address_,
                                "series -o json" + times + "--match=temperature http://" + address_,
                                "labels" + times + "http://" + address_ + " __name__",
                                "labels" + times + "http://" + address_ + " code",
                                "labels" + times + "--match=temperature http://" + address_ + " of",
                                "labels http://" + address_ + " nothing",
                                "labels -o json" + times + "http://" + address_ + " code",
                                "instant" + at + "'sum('",
                                "series" + times + "--match='{}' http://" + address_,
                                "instant http://127.0.0.1:1 up"}) {
    SCOPED_TRACE(arguments);
    const Outcome ours = Run(TIDEWRIGHT_BINARY, "query " + arguments);
    const std::string our_errors = *base::ReadFile(Path("errors"));
    const Outcome theirs = Run("promtool", "query " + arguments);
    const std::string their_errors = *base::ReadFile(Path("errors"));
    if (their_errors.find("unknown function") != std::string::npos) continue;
    EXPECT_EQ(ours.code, theirs.code) << our_errors << "\n" << their_errors;
    EXPECT_EQ(ours.out, theirs.out);
    EXPECT_EQ(our_errors.starts_with("query error:"), their_errors.find("query error:") != std::string::npos)
        << our_errors << "\n"
        << their_errors;
  }
}

}  // namespace
}  // namespace tidewright::cmd
