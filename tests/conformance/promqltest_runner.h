// Runs PromQL acceptance scripts (.test files: load, clear, eval) against the embedded engine over an in-memory store.
// The language is described in conformance/promqltest/README.md.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "promql/engine.h"

namespace tidewright::promqltest {

enum class Outcome { kPassed, kFailed, kSkipped };

// What became of one eval.
struct EvalResult {
  int line = 0;
  std::string expr;
  Outcome outcome = Outcome::kFailed;
  std::string reason;  // Why it failed, or the named reason for which it was skipped.
};

struct ScriptResult {
  std::vector<EvalResult> evals;
  std::string error;  // The script itself could not be run to its end.

  int Count(Outcome outcome) const;
  std::map<std::string, int> SkipReasons() const;
};

struct RunnerOptions {
  promql::EngineOptions engine;
  // Lines whose evals are skipped, with the reason.
  std::map<int, std::string> skip_lines;
  // Also asks every instant query at other times with @ added, and as the middle of a range query.
  bool strict = true;
};

// Evals that read series with native histogram samples, or expect such, are skipped as "native histograms".
ScriptResult RunScript(const std::string& text, const RunnerOptions& options);

}  // namespace tidewright::promqltest
