// Exemplars: what is taken, what is kept, and what a query finds.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/tsdb/store.h"
#include "tsdb/frame.h"
#include "tsdb/record.h"

namespace tidewright::tsdb {
namespace {

using testing::FastTempDir;

const Labels kUp = Labels::Of({{"__name__", "requests"}, {"job", "a"}});
const Labels kOther = Labels::Of({{"__name__", "requests"}, {"job", "b"}});

Exemplar Traced(std::string_view id, int64_t t, double v) { return {Labels::Of({{"trace_id", id}}), t, v}; }

// "requests{job="a"}: x 1000=1.5, y ..." for each series.
std::vector<std::string> Select(const Queryable& db, int64_t start, int64_t end,
                                const std::vector<Matchers>& any = {{}}) {
  std::vector<std::string> found;
  auto selected = db.SelectExemplars(start, end, any);
  EXPECT_TRUE(selected.ok());
  for (const SeriesExemplars& series : *selected) {
    std::string text = series.series.ToString() + ":";
    for (const Exemplar& one : series.exemplars) {
      text += " " + std::string(one.labels.Get("trace_id")) + " " + testing::Print({one.t, one.v});
    }
    found.push_back(text);
  }
  return found;
}

class Exemplars : public ::testing::Test {
 protected:
  Exemplars() { Open(path()); }

  void Open(const std::string& path) {
    db_.reset();
    auto db = Db::Open(path, options_, clock_, &metrics_);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::move(db).value();
  }
  std::string path() const { return directory_.path() + "/data"; }

  // Appends a sample and an exemplar; what AppendExemplar() said.
  base::Code Add(const Labels& labels, const Exemplar& exemplar) {
    auto appender = db_->NewAppender();
    auto ref = appender->Append(0, labels, clock_.NowMs(), ++samples_);
    EXPECT_TRUE(ref.ok());
    clock_.Advance(1);
    base::Status added = appender->AppendExemplar(*ref, exemplar);
    EXPECT_TRUE(appender->Commit().ok());
    return added.code();
  }

  base::TempDir directory_ = FastTempDir("tsdb-exemplars");
  base::FakeClock clock_{1'000'000'000};
  base::MetricRegistry metrics_;
  DbOptions options_{.wal_segment_bytes = 1024, .max_exemplars = 4};
  std::unique_ptr<Db> db_;
  int samples_ = 0;
};

TEST_F(Exemplars, AreTakenInOrderOfTimeValueAndLabels) {
  struct Case {
    const char* name;
    Exemplar exemplar;
    base::Code code;
    size_t kept;
  };
  const std::string longest(kMaxExemplarCharacters - 8, 'x');
  std::string umlauts;
  for (size_t i = 0; i < kMaxExemplarCharacters - 8; ++i) umlauts += "ö";
  const Case cases[] = {
      {"first", Traced("m", 1000, 5), base::Code::kOk, 1},
      {"the same again", Traced("m", 1000, 5), base::Code::kOk, 1},
      {"older", Traced("z", 999, 9), base::Code::kOutOfRange, 1},
      {"same time, smaller value", Traced("z", 1000, 4), base::Code::kOutOfRange, 1},
      {"same time and value, smaller labels", Traced("a", 1000, 5), base::Code::kOutOfRange, 1},
      {"same time and value, larger labels", Traced("n", 1000, 5), base::Code::kOk, 2},
      {"same time, larger value", Traced("a", 1000, 6), base::Code::kOk, 3},
      {"too long", Traced(longest + "x", 2000, 1), base::Code::kInvalidArgument, 3},
      {"as long as may be, in characters", Traced(umlauts, 2000, 1), base::Code::kOk, 4},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Add(kUp, c.exemplar), c.code) << c.name;
    EXPECT_EQ((*db_->SelectExemplars(INT64_MIN, INT64_MAX, std::vector<Matchers>{{}}))[0].exemplars.size(), c.kept)
        << c.name;
  }
  EXPECT_EQ(db_->NewAppender()->AppendExemplar(77, Traced("x", 1, 1)).code(), base::Code::kNotFound);
}

TEST_F(Exemplars, AreSeenOnceCommitted) {
  auto appender = db_->NewAppender();
  auto ref = appender->Append(0, kUp, 1000, 1);
  ASSERT_TRUE(appender->AppendExemplar(*ref, Traced("x", 1000, 1)).ok());
  EXPECT_EQ(Select(*db_, 0, 9999).size(), 0u);
  appender->Rollback();
  EXPECT_EQ(db_->Stats().series, 0u);
  EXPECT_EQ(Add(kUp, Traced("y", 1000, 1)), base::Code::kOk);
  EXPECT_EQ(Select(*db_, 0, 9999), std::vector<std::string>{"requests{job=\"a\"}: y 1000=1"});
}

TEST_F(Exemplars, AreFoundByTimeAndSeries) {
  Add(kOther, Traced("x", 1000, 1));
  Add(kUp, Traced("y", 2000, 2));
  Add(kUp, Traced("z", 3000, 3));
  const std::string a = "requests{job=\"a\"}:", b = "requests{job=\"b\"}:";
  using Found = std::vector<std::string>;
  EXPECT_EQ(Select(*db_, 0, 9999), (Found{a + " y 2000=2 z 3000=3", b + " x 1000=1"}));
  EXPECT_EQ(Select(*db_, 1000, 2000), (Found{a + " y 2000=2", b + " x 1000=1"}));
  EXPECT_EQ(Select(*db_, 2001, 9999), Found{a + " z 3000=3"});
  EXPECT_EQ(Select(*db_, 0, 9999, {{Matcher::Equal("job", "b")}, {Matcher::Equal("job", "c")}}),
            Found{b + " x 1000=1"});
  EXPECT_EQ(Select(*db_, 0, 9999, {}), Found{});
}

TEST_F(Exemplars, TheOldestGiveWay) {
  for (int i = 1; i <= 6; ++i) Add(i % 2 == 0 ? kUp : kOther, Traced(std::to_string(i), i * 1000, i));
  const std::string a = "requests{job=\"a\"}:", b = "requests{job=\"b\"}:";
  using Found = std::vector<std::string>;
  const Found four = {a + " 4 4000=4 6 6000=6", b + " 3 3000=3 5 5000=5"};
  EXPECT_EQ(Select(*db_, 0, 9999), four);
  db_->SetMaxExemplars(6);
  EXPECT_EQ(Select(*db_, 0, 9999), four);
  Add(kUp, Traced("7", 7000, 7));
  EXPECT_EQ(Select(*db_, 0, 9999), (Found{a + " 4 4000=4 6 6000=6 7 7000=7", b + " 3 3000=3 5 5000=5"}));
  db_->SetMaxExemplars(2);
  EXPECT_EQ(Select(*db_, 0, 9999), Found{a + " 6 6000=6 7 7000=7"});
  EXPECT_EQ(Add(kOther, Traced("8", 8000, 8)), base::Code::kOk);
  EXPECT_EQ(Select(*db_, 0, 9999), (Found{a + " 7 7000=7", b + " 8 8000=8"}));
  db_->SetMaxExemplars(0);
  EXPECT_EQ(Add(kOther, Traced("9", 9000, 9)), base::Code::kOk) << "passed over";
  EXPECT_EQ(Select(*db_, 0, 9999), Found{});
}

TEST_F(Exemplars, SurviveARestartAndTheirSeries) {
  const std::string a = "requests{job=\"a\"}:", b = "requests{job=\"b\"}:";
  for (int i = 1; i <= 7; ++i) {
    Add(i % 2 == 0 ? kUp : kOther, Traced(std::to_string(i), i * 1000, i));
    if (i == 4 || i == 6) {
      ASSERT_TRUE(db_->Maintain().ok());
    }
    const std::vector<std::string> before = Select(*db_, 0, 9999);
    const std::string killed = directory_.path() + "/killed" + std::to_string(i);
    std::filesystem::copy(path(), killed, std::filesystem::copy_options::recursive);
    auto again = Db::Open(killed, options_, clock_, nullptr);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(Select(**again, 0, 9999), before) << i;
  }
  const std::vector<std::string> all = {a + " 4 4000=4 6 6000=6", b + " 5 5000=5 7 7000=7"};
  Open(path());
  EXPECT_EQ(Select(*db_, 0, 9999), all);
  clock_.Advance(100 * testing::kHourMs);
  ASSERT_TRUE(testing::Write(*db_, {{Labels::Of({{"__name__", "later"}}), clock_.NowMs(), 1}}).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(db_->Maintain().ok());
  EXPECT_EQ(db_->Stats().series, 1u);
  EXPECT_EQ(Select(*db_, 0, 9999), all) << "exemplars outlive their series";
  Open(path());
  EXPECT_EQ(Select(*db_, 0, 9999), all);
  Add(kUp, Traced("8", 8000, 8));
  EXPECT_EQ(Select(*db_, 0, 9999), (std::vector<std::string>{a + " 6 6000=6 8 8000=8", b + " 5 5000=5 7 7000=7"}));
}

TEST_F(Exemplars, OfAPrometheusAreTakenOver) {
  db_.reset();
  SeriesEncoder series;
  series.Add(1, kUp);
  SamplesEncoder sample;
  sample.Add(1, {1000, 5});
  const ExemplarRecord exemplars[] = {{1, {900, 1}, Labels::Of({{"trace_id", "x"}})},
                                      {1, {1000, 2}, Labels::Of({{"trace_id", "y"}})}};
  std::string log;
  for (const std::string& record : {series.bytes(), sample.bytes(), EncodeExemplars(exemplars)}) {
    FrameRecord(log.size(), record, /*compress=*/true, &log);
  }
  const std::string other = directory_.path() + "/prometheus";
  ASSERT_TRUE(base::MakeDirectories(other + "/wal").ok());
  ASSERT_TRUE(base::WriteFileAtomic(other + "/wal/00000000", log).ok());
  for (int start = 0; start < 2; ++start) {
    Open(other);
    EXPECT_EQ(Select(*db_, 0, 9999), std::vector<std::string>{"requests{job=\"a\"}: x 900=1 y 1000=2"}) << start;
  }
}

}  // namespace
}  // namespace tidewright::tsdb
