#include "scrape/ingester.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/metrics.h"

namespace tidewright::scrape {
namespace {

using ::testing::ElementsAre;

// A store that notes the order in which samples arrive, and can forget its series.
class NotingStore : public tsdb::Appendable {
 public:
  std::unique_ptr<tsdb::Appender> NewAppender() override { return std::make_unique<Appender>(*this); }
  void Forget() { names_.clear(); }
  // What came since the last call: "series value" for each sample, "exemplar series", "batch of <samples>".
  std::vector<std::string> Take() { return std::exchange(notes_, {}); }

 private:
  class Appender : public tsdb::Appender {
   public:
    explicit Appender(NotingStore& store) : store_(store) {}
    base::Result<tsdb::SeriesRef> Append(tsdb::SeriesRef ref, const tsdb::Labels& labels, int64_t,
                                         double sample) override {
      if (store_.names_.count(ref) == 0) {
        if (labels.empty()) return base::InvalidArgumentError("unknown");
        ref = ++store_.last_;
        for (const auto& [known, name] : store_.names_) {
          if (name == labels.ToString()) ref = known;
        }
        store_.names_[ref] = labels.ToString();
      }
      const std::string value = tsdb::IsStaleNan(sample) ? "stale" : base::FormatDouble(sample);
      store_.notes_.push_back(store_.names_[ref] + " " + value);
      return ref;
    }
    void AppendBatch(std::span<const tsdb::SeriesRef> refs, std::span<const double> values, int64_t t,
                     std::vector<tsdb::BatchRejection>* rejected) override {
      store_.notes_.push_back("batch of " + std::to_string(refs.size()));
      tsdb::Appender::AppendBatch(refs, values, t, rejected);
    }
    base::Status AppendExemplar(tsdb::SeriesRef ref, const tsdb::Exemplar&) override {
      store_.notes_.push_back("exemplar " + store_.names_[ref]);
      return base::Status::Ok();
    }
    void UpdateMetadata(const std::string&, const tsdb::Metadata&) override {}
    base::Status Commit() override { return base::Status::Ok(); }
    void Rollback() override {}

   private:
    NotingStore& store_;
  };

  std::map<tsdb::SeriesRef, std::string> names_;
  tsdb::SeriesRef last_ = 0;
  std::vector<std::string> notes_;
};

constexpr char kText[] = "text/plain; version=0.0.4";
constexpr char kOpenMetrics[] = "application/openmetrics-text; version=1.0.0";

class IngesterTest : public ::testing::Test {
 protected:
  // Scrapes, and returns what the store was told before the report series.
  std::vector<std::string> Scrape(const std::string& body, const std::string& content_type = kText) {
    if (!ingester_)
      ingester_ = std::make_unique<Ingester>(std::make_shared<ScrapeConfig>(config_), Target(), store_, metadata_);
    t_ += 1000;
    outcome_ = ingester_->Append(body, content_type, t_, t_, 0.1);
    std::vector<std::string> notes = store_.Take();
    notes.erase(std::find_if(notes.begin(), notes.end(), [](const auto& note) { return note.substr(0, 3) == "up "; }),
                notes.end());
    return notes;
  }

  ScrapeConfig config_;
  NotingStore store_;
  MetadataTable metadata_;
  std::unique_ptr<Ingester> ingester_;
  ScrapeOutcome outcome_;
  int64_t t_ = 1'000'000;
};

TEST_F(IngesterTest, KnownSeriesAreOneBatch) {
  EXPECT_THAT(Scrape("a 1\nb 2\nc 3\n"), ElementsAre("a 1", "b 2", "c 3"));
  EXPECT_THAT(Scrape("a 4\nb 5\nc 6\n"), ElementsAre("batch of 3", "a 4", "b 5", "c 6"));
  EXPECT_THAT(Scrape("c 7\na 8\n"), ElementsAre("batch of 2", "c 7", "a 8", "b stale"));
  EXPECT_EQ(outcome_.post_relabel, 2);
}

TEST_F(IngesterTest, SamplesThatAreMoreThanANumberKeepTheirPlace) {
  Scrape("a_total 1\nb_total 1\nc_total 1\n# EOF\n", kOpenMetrics);
  EXPECT_THAT(Scrape("a_total 2\nb_total 3 # {id=\"x\"} 1\nc_total 4\n# EOF\n", kOpenMetrics),
              ElementsAre("batch of 1", "a_total 2", "b_total 3", "exemplar b_total", "batch of 1", "c_total 4"));
  EXPECT_THAT(Scrape("a_total 2\nb_total 3 1000\nc_total 4\nnew 5\n# EOF\n", kOpenMetrics),
              ElementsAre("batch of 1", "a_total 2", "b_total 3", "batch of 1", "c_total 4", "new 5", "b_total stale"));
}

TEST_F(IngesterTest, OfTwoSpellingsTheFirstInTheBodyComesFirst) {
  Scrape("m{a=\"1\"} 1\n");
  EXPECT_THAT(Scrape("m{a=\"1\"} 2\nm{a=\"1\",} 3\n"), ElementsAre("batch of 1", "m{a=\"1\"} 2", "m{a=\"1\"} 3"));
}

TEST_F(IngesterTest, SeriesThatTheStoreForgotComeBackWithTheirLabels) {
  config_.features.type_and_unit_labels = true;
  const std::string body =
      "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds{l=\"1\"} 1\n"
      "# TYPE b counter\n# UNIT b \nb_total 1\n# EOF\n";
  const char* const a = "a_seconds{__type__=\"gauge\", __unit__=\"seconds\", l=\"1\"} 1";
  const char* const b = "b_total{__type__=\"counter\"} 1";
  EXPECT_THAT(Scrape(body, kOpenMetrics), ElementsAre(a, b));
  store_.Forget();
  EXPECT_THAT(Scrape(body, kOpenMetrics), ElementsAre("batch of 2", a, b));
  EXPECT_THAT(Scrape(body, kOpenMetrics), ElementsAre("batch of 2", a, b)) << "by their new references";
}

TEST_F(IngesterTest, AScrapeThatFailsLeavesNothingForTheNext) {
  Scrape("a 1\nb 1\n");
  EXPECT_THAT(Scrape("a 2\nb x\n"), ElementsAre("a stale", "b stale"));
  EXPECT_FALSE(outcome_.status.ok());
  EXPECT_THAT(Scrape("a 3\nb 3\n"), ElementsAre("batch of 2", "a 3", "b 3"));
}

}  // namespace
}  // namespace tidewright::scrape
