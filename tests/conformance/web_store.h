// The data that the answers of the reference were recorded with. A helper of the tests in this folder.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "base/strings.h"
#include "promqltest/notation.h"
#include "tsdb/db.h"

namespace tidewright::web {

inline constexpr int64_t kFirstMs = 1'704'067'200'000;
inline constexpr int64_t kIntervalMs = 60'000;

// Stores a point of each series of `dataset` (a series in promqltest's notation a line) every minute from kFirstMs on.
inline void LoadDataset(const std::string& dataset, tsdb::Db& db) {
  std::map<int64_t, std::unique_ptr<tsdb::Appender>> appenders;
  for (const std::string& text : base::Split(dataset, '\n')) {
    if (base::TrimSpace(text).empty()) continue;
    auto line = promqltest::ParseSeriesLine(base::TrimSpace(text));
    ASSERT_TRUE(line.ok()) << text << line.status().message();
    for (size_t i = 0; i < line->items.size(); ++i) {
      const promqltest::Item& item = line->items[i];
      if (item.kind == promqltest::Item::Kind::kNone) continue;
      int64_t t = kFirstMs + static_cast<int64_t>(i) * kIntervalMs;
      auto& appender = appenders[t];
      if (appender == nullptr) appender = db.NewAppender();
      auto ref = item.histogram == nullptr ? appender->Append(0, line->labels, t, item.value)
                                           : appender->AppendFloatHistogram(0, line->labels, t, *item.histogram);
      ASSERT_TRUE(ref.ok()) << text << ref.status().message();
    }
  }
  for (auto& [t, appender] : appenders) ASSERT_TRUE(appender->Commit().ok());
}

}  // namespace tidewright::web
