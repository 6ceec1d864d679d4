// How the benchmarks of queries measure one.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>

#include "promql/engine.h"
#include "promql/value_json.h"

namespace tidewright::promql {

// When an expression is asked for.
struct AskedAt {
  int64_t end_ms = 0;    // The last time.
  int64_t range_s = 0;   // 0: an instant query.
  int64_t step_s = 15;   // Of a range, and between the times of repeated queries.
  int64_t variants = 1;  // So many times are asked for in turn, going back from the end.
};

// Asks again and again, as dashboards and rules do, and renders the answers. Counts an answer's bytes.
inline void MeasureQuery(benchmark::State& state, tsdb::Queryable& storage, const std::string& expr,
                         const AskedAt& asked) {
  auto engine = NewEmbeddedEngine(storage, {}, nullptr);
  const int64_t step = asked.step_s * 1000, last = asked.end_ms / step * step;
  int64_t count = 0;
  std::string text;
  for (auto _ : state) {
    const int64_t end = last - count++ % asked.variants * step;
    auto result =
        asked.range_s == 0 ? engine->Instant(expr, end) : engine->Range(expr, end - asked.range_s * 1000, end, step);
    if (!result.ok()) return state.SkipWithError(result.status().message().c_str());
    text.clear();
    AppendJson(result->value, &text);
  }
  state.counters["bytes"] = static_cast<double>(text.size());
}

}  // namespace tidewright::promql
