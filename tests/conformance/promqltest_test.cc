// The PromQL acceptance scripts, with a pinned number of passes per file.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "promqltest/runner.h"

namespace tidewright::promqltest {
namespace {

std::string ConformanceDir() {
  const char* dir = std::getenv("CONFORMANCE_DIR");
  return dir != nullptr ? dir : std::string(TIDEWRIGHT_SOURCE_DIR) + "/../shared/conformance";
}

struct Pinned {
  const char* file;
  size_t evals;  // All of them pass.
};

std::ostream& operator<<(std::ostream& out, const Pinned& pinned) { return out << pinned.file; }

void Report(const std::string& file, const ScriptResult& result) {
  std::printf("%-44s passed %4zu of %4zu\n", file.c_str(), result.Passed(), result.evals.size());
  for (const EvalResult& eval : result.evals) {
    if (eval.failure.empty()) continue;
    std::printf("  %s:%d %s\n      %s\n", file.c_str(), eval.line, eval.expr.c_str(), eval.failure.c_str());
  }
}

class PromqlScript : public testing::TestWithParam<Pinned> {};

TEST_P(PromqlScript, PassesEveryEval) {
  const Pinned& pinned = GetParam();
  auto text = base::ReadFile(ConformanceDir() + "/promqltest/" + pinned.file);
  if (!text.ok()) GTEST_SKIP() << "no conformance data: " << text.status().message();
  RunnerOptions options;
  options.engine = ScriptEngine();
  options.engine.delayed_name_removal = std::string(pinned.file).find("removal_disabled") == std::string::npos;
  ScriptResult result = RunScript(*text, options);
  Report(pinned.file, result);
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.evals.size(), pinned.evals);
  EXPECT_EQ(result.Passed(), pinned.evals);
}

constexpr Pinned kFiles[] = {
    {"aggregators.test", 160},
    {"at_modifier.test", 71},
    {"collision.test", 2},
    {"duration_expression.test", 59},
    {"extended_vectors.test", 169},
    {"fill-modifier.test", 46},
    {"functions.test", 431},
    {"histograms.test", 185},
    {"info.test", 42},
    {"limit.test", 37},
    {"literals.test", 25},
    {"name_label_dropping.test", 30},
    {"native_histograms.test", 522},
    {"operators.test", 213},
    {"range_queries.test", 18},
    {"selectors.test", 31},
    {"staleness.test", 17},
    {"start_timestamps.test", 26},
    {"subquery.test", 34},
    {"trig_functions.test", 19},
    {"type_and_unit.test", 58},
    {"supplement/at_modifier.next.test", 78},
    {"supplement/info.next.test", 53},
    {"supplement/operators.next.test", 214},
    {"supplement/delayed_name_removal_disabled.test", 23},
};

std::string NameOf(const testing::TestParamInfo<Pinned>& info) {
  std::string name;
  for (char c : std::string(info.param.file)) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Files, PromqlScript, testing::ValuesIn(kFiles), NameOf);

// Scripts that must pass, and scripts that a runner must find fault with.
TEST(PromqlScriptRunner, TellsGoodScriptsFromBad) {
  auto text = base::ReadFile(ConformanceDir() + "/promqltest/runner-selftest.json");
  if (!text.ok()) GTEST_SKIP() << "no conformance data: " << text.status().message();
  auto data = base::ParseJson(*text);
  ASSERT_TRUE(data.ok());
  RunnerOptions options;
  options.engine = ScriptEngine();
  int judged = 0;
  for (const base::Json& test : *base::Find(*data, {"cases"})) {
    ScriptResult result = RunScript(base::FindString(test, {"script"}), options);
    std::string failure = result.error;
    for (const EvalResult& eval : result.evals) failure += eval.failure;
    EXPECT_EQ(failure.empty(), (*base::Find(test, {"passes"})).get<bool>())
        << "case " << base::FindInt(test, {"id"}) << "\n"
        << base::FindString(test, {"script"}) << "\nours: " << failure
        << "\nreference: " << base::FindString(test, {"failure"});
    ++judged;
  }
  EXPECT_EQ(judged, 98);
}

}  // namespace
}  // namespace tidewright::promqltest
