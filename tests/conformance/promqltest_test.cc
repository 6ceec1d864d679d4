// The PromQL acceptance scripts, with a pinned number of passes per file.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "tests/conformance/promqltest_runner.h"

namespace tidewright::promqltest {
namespace {

std::string ConformanceDir() {
  const char* dir = std::getenv("CONFORMANCE_DIR");
  return dir != nullptr ? dir : std::string(TIDEWRIGHT_SOURCE_DIR) + "/../shared/conformance";
}

struct Pinned {
  const char* file;
  int passed;
  int native_histograms;  // Skipped: they read or expect native histograms.
  int other_skips;        // Skipped for the reasons that `Unbuilt` names.
};

std::ostream& operator<<(std::ostream& out, const Pinned& pinned) { return out << pinned.file; }

// What the engine does not do, by the name of the switch that an eval needs.
const std::map<std::string, std::string>& Unbuilt() {
  static const std::map<std::string, std::string> kReasons = {
      {"st-storage", "start timestamps"},
      {"use-start-timestamps", "start timestamps"},
  };
  return kReasons;
}

// As the scripts assume: everything on, small limits.
promql::EngineOptions ScriptEngine() {
  promql::EngineOptions options;
  options.max_samples = 10'000;
  options.timeout_ms = 100'000;
  options.experimental_functions = true;
  options.fill_modifiers = true;
  options.extended_selectors = true;
  options.delayed_name_removal = true;
  return options;
}

std::map<int, std::string> SkipLines(const std::string& file) {
  std::map<int, std::string> lines;
  auto text = base::ReadFile(ConformanceDir() + "/promqltest/index.json");
  if (!text.ok()) return lines;
  auto index = base::ParseJson(*text);
  if (!index.ok()) return lines;
  const base::Json* evals = base::Find(*index, {"files", file, "evals"});
  if (evals == nullptr) return lines;
  for (const auto& eval : *evals) {
    const base::Json* needs = base::Find(eval, {"needs"});
    if (needs == nullptr) continue;
    for (const auto& need : *needs) {
      auto reason = Unbuilt().find(need.get<std::string>());
      if (reason != Unbuilt().end()) lines[static_cast<int>(base::FindInt(eval, {"line"}))] = reason->second;
    }
  }
  // Not marked in the index, but it reads them too.
  if (file == "start_timestamps.test") lines[305] = "start timestamps";
  return lines;
}

void Report(const std::string& file, const ScriptResult& result) {
  std::printf("%-44s passed %4d  failed %3d  skipped %4d", file.c_str(), result.Count(Outcome::kPassed),
              result.Count(Outcome::kFailed), result.Count(Outcome::kSkipped));
  for (const auto& [reason, count] : result.SkipReasons()) std::printf("  [%s: %d]", reason.c_str(), count);
  std::printf("\n");
  for (const EvalResult& eval : result.evals) {
    if (eval.outcome != Outcome::kFailed) continue;
    std::printf("  %s:%d %s\n      %s\n", file.c_str(), eval.line, eval.expr.c_str(), eval.reason.c_str());
  }
}

class PromqlScript : public testing::TestWithParam<Pinned> {};

TEST_P(PromqlScript, PassesAtLeastAsManyAsPinned) {
  const Pinned& pinned = GetParam();
  auto text = base::ReadFile(ConformanceDir() + "/promqltest/" + pinned.file);
  if (!text.ok()) GTEST_SKIP() << "no conformance data: " << text.status().message();
  RunnerOptions options;
  options.engine = ScriptEngine();
  if (std::string(pinned.file).find("removal_disabled") != std::string::npos) {
    options.engine.delayed_name_removal = false;
  }
  options.skip_lines = SkipLines(pinned.file);
  ScriptResult result = RunScript(*text, options);
  Report(pinned.file, result);
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.Count(Outcome::kFailed), 0);
  EXPECT_EQ(result.Count(Outcome::kPassed), pinned.passed);
  EXPECT_EQ(result.SkipReasons()["native histograms"], pinned.native_histograms);
  EXPECT_EQ(result.Count(Outcome::kSkipped), pinned.native_histograms + pinned.other_skips);
}

constexpr Pinned kFiles[] = {
    {"aggregators.test", 125, 35, 0},
    {"at_modifier.test", 71, 0, 0},
    {"collision.test", 2, 0, 0},
    {"duration_expression.test", 59, 0, 0},
    {"extended_vectors.test", 120, 49, 0},
    {"fill-modifier.test", 46, 0, 0},
    {"functions.test", 323, 108, 0},
    {"histograms.test", 93, 92, 0},
    {"info.test", 41, 1, 0},
    {"limit.test", 1, 36, 0},
    {"literals.test", 25, 0, 0},
    {"name_label_dropping.test", 30, 0, 0},
    {"native_histograms.test", 3, 519, 0},
    {"operators.test", 141, 72, 0},
    {"range_queries.test", 16, 2, 0},
    {"selectors.test", 31, 0, 0},
    {"staleness.test", 17, 0, 0},
    {"start_timestamps.test", 2, 1, 23},
    {"subquery.test", 32, 2, 0},
    {"trig_functions.test", 19, 0, 0},
    {"type_and_unit.test", 58, 0, 0},
    {"supplement/at_modifier.next.test", 78, 0, 0},
    {"supplement/info.next.test", 52, 1, 0},
    {"supplement/operators.next.test", 142, 72, 0},
    {"supplement/delayed_name_removal_disabled.test", 19, 4, 0},
};

std::string NameOf(const testing::TestParamInfo<Pinned>& info) {
  std::string name;
  for (char c : std::string(info.param.file)) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Files, PromqlScript, testing::ValuesIn(kFiles), NameOf);

}  // namespace
}  // namespace tidewright::promqltest
