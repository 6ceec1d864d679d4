// The answers on which we once differed from Prometheus.
#include <gtest/gtest.h>

#include "base/file.h"
#include "promqltest/runner.h"
#include "tests/promql/memory_storage.h"

namespace tidewright::promql {
namespace {

class Differences : public testing::TestWithParam<bool> {};

TEST_P(Differences, AreGone) {
  auto script = base::ReadFile(TIDEWRIGHT_SOURCE_DIR "/tests/promql/differences.test");
  ASSERT_TRUE(script.ok()) << script.status().message();
  promqltest::RunnerOptions options;
  options.engine = promqltest::ScriptEngine();
  options.engine.delayed_name_removal = GetParam();
  options.strict = false;  // Several cases depend on being asked as they are written.
  promqltest::ScriptResult result = promqltest::RunScript(*script, options);
  EXPECT_EQ(result.error, "");
  EXPECT_GT(result.evals.size(), 10u);
  for (const auto& eval : result.evals) EXPECT_EQ(eval.failure, "") << eval.line << ": " << eval.expr;
}

INSTANTIATE_TEST_SUITE_P(Names, Differences, testing::Bool(),
                         [](const auto& info) { return info.param ? "RemovedAtTheEnd" : "RemovedAtOnce"; });

// A name that group_left brings is one, too, that a comparison removes at the end.
TEST(Names, BroughtByGroupingGoAtTheEnd) {
  promqltest::RunnerOptions options;
  options.engine = promqltest::ScriptEngine();
  options.engine.delayed_name_removal = true;
  promqltest::ScriptResult result = promqltest::RunScript(
      "load 1m\n  one 1\n  two 2\n\neval instant at 0 one > bool on() group_left(__name__) two\n  {} 0\n", options);
  EXPECT_EQ(result.error, "");
  ASSERT_EQ(result.evals.size(), 1u);
  EXPECT_EQ(result.evals[0].failure, "");
}

// The same message at several places points to the node that is evaluated last.
TEST(Annotations, PointToTheLastOfSeveralPlaces) {
  MemoryStorage storage;
  EngineOptions options = promqltest::ScriptEngine();
  auto engine = NewEmbeddedEngine(storage, options, nullptr);
  auto warnings = [&](const std::string& expr) {
    auto result = engine->Instant(expr, 0);
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? result->warnings : std::vector<std::string>();
  };
  const std::string text = "PromQL warning: quantile value should be between 0 and 1, got 2 ";
  EXPECT_EQ(warnings("quantile(2, vector(1)) or quantile(2, vector(1))"), std::vector<std::string>{text + "(1:36)"});
  EXPECT_EQ(warnings("quantile(2, quantile(2, vector(1)))"), std::vector<std::string>{text + "(1:10)"});
  EXPECT_EQ(warnings("quantile((2 + 0), vector(1))"), std::vector<std::string>{text + "(1:11)"});
  const std::string bucket = R"(label_replace(vector(1), "le", "x", "", ""))";
  EXPECT_EQ(
      warnings("histogram_quantiles(" + bucket + ", \"q\", scalar(histogram_fraction(0, 1, " + bucket + ")) > bool 2)"),
      std::vector<std::string>{
          "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" (1:21)"});
}

}  // namespace
}  // namespace tidewright::promql
