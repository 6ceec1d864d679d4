// Runs PromQL acceptance scripts (load, clear, eval) against the embedded engine over a store in memory: the language
// of Prometheus' promqltest, in which users test their rules, too.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "promql/engine.h"
#include "promqltest/expectation.h"

namespace tidewright::promqltest {

// What became of one eval.
struct EvalResult {
  int line = 0;
  std::string expr;
  std::string failure;  // Why it failed; empty: it passed.
};

struct ScriptResult {
  std::vector<EvalResult> evals;
  std::string error;  // The script itself is wrong at this line, and was not run to its end; empty: it was.

  size_t Passed() const;
  bool Ok() const { return error.empty() && Passed() == evals.size(); }
};

struct RunnerOptions {
  promql::EngineOptions engine;
  // Also asks every instant query at other times with @ added, and as the middle of a range query.
  bool strict = true;
  // Called with every answer to an eval as it is written. May be null.
  std::function<void(const Eval& eval, const base::Result<promql::QueryResult>& answer)> on_answer;
};

// The engine that scripts assume: every part of the language on, names removed last, small limits.
promql::EngineOptions ScriptEngine();

ScriptResult RunScript(const std::string& text, const RunnerOptions& options);

}  // namespace tidewright::promqltest
