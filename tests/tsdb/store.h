// A database in a temporary directory with a clock that stands still, and short words for using it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/metrics.h"
#include "tsdb/db.h"

namespace tidewright::tsdb::testing {

inline constexpr int64_t kHourMs = 3600 * 1000;

// A temporary directory, in memory where there is one: thousands of logs are opened and flushed here, and what a flush
// does to a disk is not what these tests look at.
inline base::TempDir FastTempDir(const std::string& prefix) {
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", /*overwrite=*/0);
  auto directory = base::TempDir::Create(prefix);
  EXPECT_TRUE(directory.ok()) << directory.status().ToString();
  return std::move(directory).value();
}

// Samples as text, "t=value", with staleness markers as "t=stale": what tables compare.
inline std::string Print(const Sample& sample) {
  std::string value = IsStaleNan(sample.v) ? "stale" : base::FormatDouble(sample.v);
  return std::to_string(sample.t) + "=" + value;
}

using Contents = std::map<std::string, std::vector<std::string>>;  // By series, as text.

inline Contents ReadAll(Queryable& db, int64_t mint, int64_t maxt, const Matchers& matchers = {}) {
  Contents contents;
  auto querier = db.NewQuerier(mint, maxt);
  if (!querier.ok()) return {{"error: " + querier.status().ToString(), {}}};
  auto selected = (*querier)->Select({}, matchers);
  if (!selected.ok()) return {{"error: " + selected.status().ToString(), {}}};
  for (const auto& series : *selected) {
    auto& samples = contents[series->labels().ToString()];
    auto it = series->Iterator();
    while (it->Next()) samples.push_back(Print(it->At()));
  }
  return contents;
}

inline Contents ReadAll(Queryable& db) { return ReadAll(db, INT64_MIN, INT64_MAX); }

struct NewSample {
  Labels labels;
  int64_t t;
  double v;
};

// One batch; the first error of an Append, or of the Commit.
inline base::Status Write(Appendable& db, const std::vector<NewSample>& samples) {
  auto appender = db.NewAppender();
  for (const NewSample& sample : samples) {
    auto ref = appender->Append(0, sample.labels, sample.t, sample.v);
    if (!ref.ok()) return ref.status();
  }
  return appender->Commit();
}

class Store {
 public:
  explicit Store(DbOptions options = {}) : options_(options) { Open(); }

  // Ends this incarnation, properly or as a crash would (the log is not closed), and starts the next.
  void Reopen() {
    db_.reset();
    Open();
  }

  Db& db() { return *db_; }
  base::FakeClock& clock() { return clock_; }
  base::MetricRegistry& metrics() { return metrics_; }
  std::string directory() const { return directory_.path() + "/data"; }
  std::string log() const { return directory() + "/log"; }

 private:
  void Open() {
    auto db = Db::Open(directory(), options_, clock_, &metrics_);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::move(db).value();
  }

  base::TempDir directory_ = FastTempDir("tsdb-test");
  base::FakeClock clock_{1'000'000'000'000};
  base::MetricRegistry metrics_;
  DbOptions options_;
  std::unique_ptr<Db> db_;
};

}  // namespace tidewright::tsdb::testing
