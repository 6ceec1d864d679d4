// Conformance data and stores for the tests of rules.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/metrics.h"
#include "promql/engine.h"
#include "promql/histogram.h"
#include "tsdb/db.h"

namespace tidewright::rules::testing {

inline std::string ConformanceDirectory() {
  const char* configured = std::getenv("CONFORMANCE_DIR");
  return std::string(configured != nullptr ? configured : TIDEWRIGHT_SOURCE_DIR "/../shared/conformance") + "/rules";
}

// A file, or its cases; null when there is no conformance data.
inline base::Json LoadFile(const std::string& file) {
  auto text = base::ReadFile(ConformanceDirectory() + "/" + file);
  if (!text.ok()) return nullptr;
  auto json = base::ParseJson(*text);
  EXPECT_TRUE(json.ok()) << json.status().ToString();
  return json.ok() ? *json : base::Json();
}

inline base::Json LoadCases(const std::string& file) {
  base::Json json = LoadFile(file);
  return json.is_null() ? json : json["cases"];
}

// A native histogram with its counter reset hint, as far as a head tells: that there was no reset, readers find out.
inline std::string HistogramText(const promql::Histogram& h) {
  static constexpr const char* kHints[] = {"", " reset", "", " gauge"};
  return promql::ToText(h) + kHints[static_cast<int>(h.hint)];
}

// A store in memory with the engine over it.
struct Store {
  base::FakeClock clock{0};
  std::unique_ptr<tsdb::Db> db = *tsdb::Db::Open("", {}, clock, nullptr);
  std::unique_ptr<promql::QueryEngine> engine = promql::NewEmbeddedEngine(*db, {}, nullptr);

  void Add(const tsdb::Labels& labels, int64_t t, double value) {
    auto appender = db->NewAppender();
    auto ref = appender->Append(0, labels, t, value);
    ASSERT_TRUE(ref.ok()) << ref.status().ToString();
    ASSERT_TRUE(appender->Commit().ok());
  }

  // Every series as text, with samples "t=value" in seconds; staleness markers of floats are "t=stale".
  std::map<std::string, std::vector<std::string>> Contents() const {
    std::map<std::string, std::vector<std::string>> all;
    auto querier = *db->NewQuerier(INT64_MIN, INT64_MAX);
    auto selected = querier->Select({}, {});
    for (const auto& series : *selected) {
      auto it = series->Iterator();
      while (it->Next()) {
        std::string value = tsdb::IsStaleNan(it->At().v) ? "stale" : base::FormatDouble(it->At().v);
        if (it->type() != tsdb::ValueType::kFloat) value = HistogramText(*it->AtHistogram());
        all[series->labels().ToString()].push_back(base::FormatDouble(static_cast<double>(it->At().t) / 1000) + "=" +
                                                   value);
      }
    }
    return all;
  }
};

}  // namespace tidewright::rules::testing
