// What makes a replay fast does the same as doing it sample by sample.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "tests/tsdb/store.h"
#include "tsdb/log_codec.h"
#include "tsdb/sample_replay.h"
#include "tsdb/series_chunks.h"
#include "tsdb/series_index.h"
#include "tsdb/symbol_table.h"

namespace tidewright::tsdb {
namespace {

using Samples = std::map<SeriesRef, std::vector<std::string>>;  // As text.

// Decodes records one by one, or through a SampleReplay.
class Decoder : public LogHandler, public ReplayTarget {
 public:
  Decoder(bool gather) : replay_(*this), gather_(gather) {}

  Symbol OnSymbol(std::string_view) override { return 1; }
  base::Status OnSeries(SeriesRef, std::span<const SymbolPair>) override { return base::Status::Ok(); }
  base::Status OnMetadata(std::string, Metadata) override { return base::Status::Ok(); }
  base::Status OnOther(LogPart, std::string_view) override { return base::DataLossError("other"); }
  base::Result<bool> OnPackedSamples(const PackedSamples& samples) override {
    if (!gather_) return false;
    TW_RETURN_IF_ERROR(replay_.Add(samples, ++sequence_));
    return true;
  }
  base::Status OnSamples(int64_t t, std::span<const SeriesRef> refs, std::span<const double> values) override {
    for (size_t i = 0; i < refs.size(); ++i) Take(refs[i], t, values[i]);
    return base::Status::Ok();
  }
  void BeginSteps(std::span<const ReplayStep> steps) override {
    steps_.assign(steps.begin(), steps.end());
    most_ = std::max(most_, steps.size());
  }
  void TakeSeries(SeriesRef ref, std::span<const double> values) override {
    ASSERT_EQ(values.size(), steps_.size());
    for (size_t i = 0; i < values.size(); ++i) Take(ref, steps_[i].t, values[i]);
  }

  base::Status Decode(const std::vector<std::vector<std::string>>& segments) {
    for (const auto& records : segments) {
      TW_RETURN_IF_ERROR(replay_.Flush());
      replay_.StartSegment();
      decoder_.StartSegment();
      for (const std::string& record : records) TW_RETURN_IF_ERROR(decoder_.Decode(record, this));
    }
    return replay_.Flush();
  }
  const Samples& samples() const { return samples_; }
  size_t most() const { return most_; }

 private:
  void Take(SeriesRef ref, int64_t t, double value) {
    samples_[ref].push_back(std::to_string(t) + "=" + base::FormatDouble(value));
  }

  LogDecoder decoder_;
  SampleReplay replay_;
  const bool gather_;
  CommitSequence sequence_ = 0;
  std::vector<ReplayStep> steps_;
  size_t most_ = 0;
  Samples samples_;
};

// Records of targets whose series change now and then, so that what they name overlaps.
std::vector<std::vector<std::string>> SomeSegments(std::mt19937* random) {
  Slab slab(size_t{1} << 28);
  SymbolTable symbols(slab);
  LogEncoder encoder(symbols);
  std::vector<std::set<SeriesRef>> targets(4);
  for (size_t i = 0; i < targets.size(); ++i) {
    for (SeriesRef ref = 1; ref <= 40; ++ref) targets[i].insert(i * 37 + ref);
  }
  std::map<SeriesRef, double> last;
  std::vector<std::vector<std::string>> segments(3);
  int64_t t = 1'000'000;
  for (auto& records : segments) {
    encoder.StartSegment();
    for (int scrape = 0; scrape < 100; ++scrape) {
      for (std::set<SeriesRef>& target : targets) {
        if ((*random)() % 50 == 0) target.erase(target.begin());
        if ((*random)() % 50 == 0) target.insert(1 + (*random)() % 500);
        std::vector<SeriesRef> refs(target.begin(), target.end());
        std::vector<double> values, previous;
        for (SeriesRef ref : refs) {
          previous.push_back(last[ref]);
          if ((*random)() % 2 == 0) last[ref] += (*random)() % 10 == 0 ? 0.37 : static_cast<double>((*random)() % 300);
          values.push_back(last[ref]);
        }
        encoder.StartRecord();
        encoder.AddSamples(++t, refs, values, previous, (*random)() % 40 == 0);
        records.push_back(encoder.record());
      }
    }
  }
  return segments;
}

TEST(SampleReplay, GivesWhatTheRecordsHave) {
  std::mt19937 random(4);
  size_t most = 0;
  for (int round = 0; round < 10; ++round) {
    const auto segments = SomeSegments(&random);
    Decoder one_by_one(false), gathered(true);
    ASSERT_TRUE(one_by_one.Decode(segments).ok());
    ASSERT_TRUE(gathered.Decode(segments).ok());
    EXPECT_EQ(gathered.samples(), one_by_one.samples());
    most = std::max(most, gathered.most());
  }
  EXPECT_EQ(most, SampleReplay::kMaxSteps);
}

// Records whose checksum would fit, but whose content makes no sense, are refused or taken, and nothing worse.
TEST(SampleReplay, SurvivesAnyContent) {
  std::mt19937 random(5);
  auto segments = SomeSegments(&random);
  for (int round = 0; round < 300; ++round) {
    auto changed = segments;
    for (int change = 0; change < 20; ++change) {
      auto& records = changed[random() % changed.size()];
      std::string& record = records[random() % records.size()];
      record[random() % record.size()] = static_cast<char>(random());
    }
    Decoder gathered(true);
    (void)gathered.Decode(changed);
  }
}

TEST(SampleReplay, ManySamplesAtOnceAreTheSameAsOneByOne) {
  std::mt19937 random(6);
  for (int round = 0; round < 50; ++round) {
    SeriesChunks slow(1), fast(1);
    constexpr size_t kSeries = 7;
    SeriesData slow_series[kSeries], fast_series[kSeries];
    int64_t t = 1'000'000;
    CommitSequence sequence = 0;
    double value = 0;
    for (int step = 0; step < 12; ++step) {
      const size_t count = 1 + random() % 32;
      std::vector<CommitCursor> cursors(count);
      for (CommitCursor& cursor : cursors) {
        cursor.sequence = ++sequence;
        cursor.SetTime(t += 1 + static_cast<int64_t>(random() % 300'000));
      }
      std::vector<CommitCursor> others = cursors;
      SeriesChunks::Run run;
      for (size_t i = 0; i < kSeries; ++i) {
        if (random() % 20 == 0) continue;  // Misses these.
        std::vector<double> values;
        for (size_t k = 0; k < count; ++k) {
          values.push_back(value += random() % 3 == 0 ? 0 : static_cast<double>(random() % 1000) / (1 + i % 2 * 9));
        }
        ASSERT_EQ(fast.AppendRun(&fast_series[i], values, cursors, &run), count);
        for (size_t k = 0; k < count; ++k) ASSERT_TRUE(slow.Append(&slow_series[i], values[k], &others[k]));
      }
    }
    for (size_t i = 0; i < kSeries; ++i) {
      ChunkFileReader files(nullptr);
      ColumnBuffer slow_buffer, fast_buffer;
      SampleColumns expected, found;
      size_t damaged = 0;
      slow.Read(slow_series[i], INT64_MIN, INT64_MAX, sequence, &files, &slow_buffer, &expected, &damaged);
      fast.Read(fast_series[i], INT64_MIN, INT64_MAX, sequence, &files, &fast_buffer, &found, &damaged);
      EXPECT_EQ(std::vector(found.t.begin(), found.t.end()), std::vector(expected.t.begin(), expected.t.end()));
      EXPECT_EQ(std::vector(found.v.begin(), found.v.end()), std::vector(expected.v.begin(), expected.v.end()));
      EXPECT_EQ(slow.OpenBytes(slow_series[i]), fast.OpenBytes(fast_series[i]));
      EXPECT_EQ(damaged, 0u);
    }
  }
}

// What is found with the lock shared must not be used with it alone once the number of a symbol names another text.
TEST(SeriesIndex, CreatesEachSeriesOnceWhileSymbolsComeAndGo) {
  std::map<SeriesRef, Slab::Handle> published;
  SeriesIndex index([&](SeriesRef ref) {
    auto found = published.find(ref);
    return found == published.end() ? 0 : found->second;
  });
  constexpr int kSeries = 3000;
  auto labels_of = [](int i) { return Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}}); };
  std::atomic<int> at = 0, creations = 0;
  std::thread others([&] {
    while (at < kSeries) {
      for (const std::string& text : {std::to_string(at), "x" + std::to_string(at)}) {
        index.ReleaseSymbol(index.AcquireSymbol(text));
      }
    }
  });
  auto create_all = [&] {
    for (int i = 0; i < kSeries; at = ++i) {
      bool created = false;
      auto publish = [&](const IndexedSeries& one) { return published.emplace(one.ref, one.labels).second; };
      EXPECT_NE(index.GetOrCreate(labels_of(i), 0, &created, publish).ref, 0u);
      creations += created ? 1 : 0;
    }
  };
  std::thread second(create_all);
  create_all();
  second.join();
  at = kSeries;
  others.join();
  EXPECT_EQ(creations, kSeries);
  EXPECT_EQ(published.size(), static_cast<size_t>(kSeries));
  for (int i = 0; i < kSeries; ++i) {
    const IndexedSeries found = index.Find(labels_of(i));
    ASSERT_NE(found.ref, 0u) << i;
    EXPECT_EQ(index.Materialize(found.labels).ToString(), labels_of(i).ToString());
  }
}

// Series that were created by turns for two scrapes are defined scrape by scrape.
TEST(SeriesIndex, FindsSeriesThatCameInAnyOrder) {
  std::map<SeriesRef, Slab::Handle> published;
  SeriesIndex index([&](SeriesRef ref) {
    auto found = published.find(ref);
    return found == published.end() ? 0 : found->second;
  });
  auto labels_of = [](SeriesRef ref) {
    return Labels::Of({{"__name__", "m"}, {"i", std::to_string(ref)}, {"pod", std::to_string(ref % 7)}});
  };
  auto create = [&](SeriesRef ref) {
    bool created = false;
    IndexedSeries series = index.GetOrCreate(labels_of(ref), ref, &created, [&](const IndexedSeries& one) {
      return published.emplace(one.ref, one.labels).second;
    });
    EXPECT_TRUE(created);
    EXPECT_EQ(series.ref, ref);
  };
  auto found = [&](const char* name, const char* value) {
    std::set<SeriesRef> refs;
    for (const IndexedSeries& one : index.Select({Matcher::Equal(name, value)})) {
      refs.insert(one.ref);
    }
    return refs;
  };

  index.PostponePostings();
  std::set<SeriesRef> all, of_pod_3;
  for (SeriesRef odd : {1, 0}) {
    for (SeriesRef ref = 2 - odd; ref <= 300; ref += 2) {
      create(ref);
      EXPECT_EQ(index.Find(labels_of(ref)).ref, ref);
      all.insert(ref);
      if (ref % 7 == 3) of_pod_3.insert(ref);
    }
  }
  index.AddPostponed();
  EXPECT_EQ(found("__name__", "m"), all);
  EXPECT_EQ(found("pod", "3"), of_pod_3);

  create(301);  // 301 % 7 == 0.
  all.insert(301);
  EXPECT_EQ(found("__name__", "m"), all);
  const SeriesRef gone[] = {3};
  EXPECT_EQ(index.Remove(gone, [&](SeriesRef ref) { return published.erase(ref) == 1; }), 1u);
  of_pod_3.erase(3);
  EXPECT_EQ(found("pod", "3"), of_pod_3);
}

}  // namespace
}  // namespace tidewright::tsdb
