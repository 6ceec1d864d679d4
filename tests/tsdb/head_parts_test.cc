// The small parts of the head against plain models of what they do.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tsdb/id_map.h"
#include "tsdb/label_index.h"
#include "tsdb/log_codec.h"
#include "tsdb/posting_list.h"
#include "tsdb/ref_set.h"
#include "tsdb/series_chunks.h"
#include "tsdb/slab.h"
#include "tsdb/symbol_table.h"
#include "tsdb/timeline.h"

namespace tidewright::tsdb {
namespace {

TEST(Slab, PiecesKeepTheirContentAndPagesAreUsedAgain) {
  Slab slab(size_t{1} << 30);
  std::mt19937 random(1);
  struct Piece {
    Slab::Handle handle;
    std::string content;
  };
  std::vector<Piece> pieces;
  size_t most = 0;
  for (int round = 0; round < 60'000; ++round) {
    if (pieces.size() < 500 || random() % 2 == 0) {
      size_t size = random() % 20 == 0 ? 1 + random() % 200'000 : 1 + random() % 300;
      Piece piece{slab.Allocate(size), std::string(size, static_cast<char>(random()))};
      ASSERT_NE(piece.handle, 0u);
      ASSERT_GE(Slab::Capacity(size), size);
      std::memcpy(slab.At(piece.handle), piece.content.data(), size);
      pieces.push_back(std::move(piece));
    }
    if (pieces.size() > 1000 || random() % 2 == 0) {
      std::swap(pieces[random() % pieces.size()], pieces.back());
      const Piece& last = pieces.back();
      ASSERT_EQ(std::string(slab.At(last.handle), last.content.size()), last.content);
      slab.Free(last.handle, last.content.size());
      pieces.pop_back();
    }
    if (round == 30'000) most = slab.resident_bytes();
  }
  EXPECT_LT(slab.resident_bytes(), most * 2) << "what was freed is used again";
  for (const Piece& piece : pieces) slab.Free(piece.handle, piece.content.size());
  EXPECT_EQ(slab.used_bytes(), 0u);
  EXPECT_LT(slab.resident_bytes(), 64u * 64 * 1024) << "empty pages go back, but for one of each class";
}

TEST(Slab, ClassesWasteLittle) {
  for (size_t size = 1; size < 100'000; size += 1 + size / 50) {
    EXPECT_LE(Slab::Capacity(size), std::max<size_t>(size + 7, size > 32768 ? size + 65536 : size * 5 / 4 + 8)) << size;
  }
  Slab tiny(size_t{1} << 20);
  std::set<Slab::Handle> handles;
  while (Slab::Handle handle = tiny.Allocate(1000)) ASSERT_TRUE(handles.insert(handle).second);
  EXPECT_GT(handles.size(), 900u) << "and a full region says so";
}

TEST(SymbolTable, AgreesWithAMap) {
  Slab slab(size_t{1} << 28);
  SymbolTable symbols(slab);
  std::mt19937 random(2);
  std::map<std::string, std::pair<Symbol, int>> known;
  for (int round = 0; round < 50'000; ++round) {
    std::string text = std::string(random() % 30, 'a') + std::to_string(random() % 300);
    auto it = known.find(text);
    ASSERT_EQ(symbols.Find(text), it == known.end() ? 0 : it->second.first);
    if (random() % 2 == 0) {
      Symbol symbol = symbols.Acquire(text);
      ASSERT_EQ(symbols.Text(symbol), text);
      if (it != known.end()) {
        ASSERT_EQ(symbol, it->second.first);
      }
      known[text] = {symbol, it == known.end() ? 1 : it->second.second + 1};
    } else if (it != known.end()) {
      bool last = --it->second.second == 0;
      ASSERT_EQ(symbols.Release(it->second.first), last);
      if (last) known.erase(it);
    }
    ASSERT_EQ(symbols.size(), known.size());
  }
}

TEST(IdMap, AgreesWithAMap) {
  IdMap map;
  std::map<uint32_t, uint32_t> model;
  std::mt19937 random(3);
  for (int round = 0; round < 50'000; ++round) {
    uint32_t key = 1 + random() % 500;
    auto it = model.find(key);
    ASSERT_EQ(map.Find(key), it == model.end() ? IdMap::kNone : it->second);
    if (it == model.end()) {
      map.Insert(key, model[key] = random() % 1000);
    } else if (random() % 2 == 0) {
      map.Erase(key);
      model.erase(it);
    }
    ASSERT_EQ(map.size(), model.size());
  }
}

TEST(LabelIndex, AgreesWithAMapWhateverTheHashes) {
  for (uint64_t distinct : {uint64_t{3}, uint64_t{1} << 40}) {  // Nearly all collide; hardly any do.
    LabelIndex index;
    std::map<SeriesRef, uint64_t> model;
    std::mt19937_64 random(4);
    for (int round = 0; round < 30'000; ++round) {
      SeriesRef ref = 1 + random() % 3000;
      uint64_t hash = (ref * 0x9e3779b97f4a7c15 >> 20) % distinct * 0xd1342543de82ef95;
      bool present = model.count(ref) > 0;
      ASSERT_EQ(index.Find(hash, [&](SeriesRef other) { return other == ref; }), present ? ref : 0);
      if (!present) {
        index.Insert(hash, ref);
        model[ref] = hash;
      } else if (random() % 3 > 0) {
        ASSERT_TRUE(index.Erase(hash, ref));
        model.erase(ref);
      }
      ASSERT_EQ(index.size(), model.size());
    }
    EXPECT_FALSE(index.Erase(1, 99'999));
  }
}

// A random set, as ranges and as a plain set.
RefSet RandomSet(std::mt19937* random, std::set<SeriesRef>* model) {
  RefSet set;
  SeriesRef at = 0;
  for (size_t runs = (*random)() % 30; runs > 0; --runs) {
    at += (*random)() % 20;
    SeriesRef length = 1 + ((*random)() % 3 == 0 ? (*random)() % 40 : 0);
    set.Append(at, at + length);
    for (SeriesRef ref = at; ref < at + length; ++ref) model->insert(ref);
    at += length;
  }
  return set;
}

std::set<SeriesRef> Plain(const RefSet& set) {
  std::set<SeriesRef> refs;
  for (const RefRange& range : set.ranges()) {
    for (SeriesRef ref = range.begin; ref < range.end; ++ref) refs.insert(ref);
  }
  return refs;
}

TEST(RefSet, OperationsAgreeWithSets) {
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    std::set<SeriesRef> a, b, both, only, all;
    RefSet one = RandomSet(&random, &a), other = RandomSet(&random, &b);
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::inserter(both, both.end()));
    std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(only, only.end()));
    all = a;
    all.insert(b.begin(), b.end());
    std::vector<RefRange> ranges = other.ranges();
    ranges.insert(ranges.end(), one.ranges().begin(), one.ranges().end());
    ASSERT_EQ(Plain(one.Intersect(other)), both);
    ASSERT_EQ(Plain(one.Subtract(other)), only);
    RefSet merged = RefSet::Union(ranges);
    ASSERT_EQ(Plain(merged), all);
    ASSERT_EQ(merged.size(), all.size());
    for (SeriesRef ref = 0; ref < 50; ++ref) ASSERT_EQ(merged.Contains(ref), all.count(ref) > 0);
  }
}

TEST(PostingList, AgreesWithASet) {
  Slab slab(size_t{1} << 28);
  std::mt19937 random(6);
  for (int round = 0; round < 300; ++round) {
    PostingList list;
    std::set<SeriesRef> model;
    SeriesRef at = 1;
    for (int i = 0; i < 200; ++i) {
      at += random() % 4 == 0 ? 1 + random() % 100'000 : 1;
      SeriesRef ref = random() % 50 == 0 ? random() % at : at;  // Now and then one that came late.
      if (ref == 0 || !model.insert(ref).second) continue;
      ASSERT_TRUE(list.Add(slab, ref));
    }
    ASSERT_EQ(Plain(list.Decode(slab)), model);
    ASSERT_EQ(list.count(), model.size());
    RefSet gone;
    for (SeriesRef ref : std::set<SeriesRef>(model)) {
      if (random() % 3 != 0) continue;
      gone.Append(ref);
      model.erase(ref);
    }
    list.Subtract(slab, gone);
    ASSERT_EQ(Plain(list.Decode(slab)), model);
    ASSERT_EQ(list.count(), model.size());
    ASSERT_TRUE(list.Add(slab, at + 10));
    ASSERT_EQ(list.back(), at + 10);
    list.Free(slab);
  }
  EXPECT_EQ(slab.used_bytes(), 0u);
}

TEST(Timelines, SharedByThoseThatMoveTogetherAndForkedByThoseThatPart) {
  Timelines timelines(99);
  TimelinePosition a = timelines.Begin(1000, 1);
  timelines.Reference(a.segment);  // A second series.
  TimelinePosition b = a;
  a = timelines.Advance(a, 2000, 2, true);
  b = timelines.Advance(b, 2000, 2, true);
  EXPECT_EQ(a, b) << "the second finds the entry of the first";
  a = timelines.Advance(a, 3000, 3, true);
  // The second misses this commit and comes back with the next.
  a = timelines.Advance(a, 4000, 4, true);
  EXPECT_EQ(timelines.Advance(b, 4000, 4, false), TimelinePosition());
  TimelinePosition forked = timelines.Advance(b, 4000, 4, true);
  EXPECT_NE(forked.segment, a.segment);
  EXPECT_EQ(forked.index, 2u);
  EXPECT_EQ(timelines.references(a.segment), 1u);
  std::vector<int64_t> times;
  timelines.Times(forked.segment, 0, 3, &times);
  EXPECT_EQ(times, (std::vector<int64_t>{1000, 2000, 4000}));
  EXPECT_EQ(timelines.VisibleTo(3, a.segment, 0, 4), 3u);
  EXPECT_EQ(timelines.CountBefore(3000, a.segment, 0, 4), 2u);
  EXPECT_EQ(timelines.CountBefore(INT64_MAX, a.segment, 1, 3), 3u);
  EXPECT_EQ(timelines.live_segments(), 2u);
  timelines.Release(a.segment);
  timelines.Release(forked.segment);
  EXPECT_EQ(timelines.live_segments(), 0u);
}

TEST(Timelines, ASegmentEnds) {
  Timelines timelines(99);
  TimelinePosition at = timelines.Begin(0, 1);
  for (uint32_t i = 1; i < Timelines::kSegmentEntries; ++i) {
    at = timelines.Advance(at, i * 1000, i + 1, true);
    ASSERT_EQ(at.index, i);
  }
  EXPECT_EQ(timelines.Advance(at, 1'000'000, 1000, true), TimelinePosition()) << "when it is full";
  TimelinePosition other = timelines.Begin(0, 2000);
  EXPECT_EQ(timelines.Advance(other, int64_t{1} << 33, 2001, true), TimelinePosition()) << "when it spans too much";
}

// Random series against vectors: appended by commits that miss some, read at any range and by any reader.
TEST(SeriesChunks, AgreeWithVectorsForEveryReaderAndRange) {
  std::mt19937_64 random(8);
  for (int round = 0; round < 20; ++round) {
    constexpr int kSeries = 6;
    SeriesChunks chunks(7);
    std::vector<SeriesData> series(kSeries);
    struct Stored {
      Sample sample;
      CommitSequence commit;
    };
    std::vector<std::vector<Stored>> model(kSeries);
    int64_t t = static_cast<int64_t>(random() % 20'000'000) - 10'000'000;
    const unsigned miss = random() % 3 == 0 ? 3 : 40;
    for (CommitSequence commit = 1; commit <= 600; ++commit) {
      t += 1 + static_cast<int64_t>(random() % (round % 2 == 0 ? 15'000 : 3'000'000));
      CommitCursor cursor;
      cursor.sequence = commit;
      cursor.SetTime(t);
      for (int i = 0; i < kSeries; ++i) {
        if (random() % miss == 0) continue;
        double value = i % 2 == 0 ? static_cast<double>(commit * 3) : static_cast<double>(random()) / 7;
        ASSERT_TRUE(chunks.Append(&series[i], value, &cursor));
        model[i].push_back({{t, value}, commit});
        ASSERT_EQ(chunks.LastTime(series[i]), t);
      }
    }
    ColumnBuffer buffer;
    ChunkFileReader files(nullptr);
    std::map<uint64_t, std::vector<int64_t>> by_timeline;
    for (int query = 0; query < 400; ++query) {
      const int i = static_cast<int>(random() % kSeries);
      int64_t mint = t - static_cast<int64_t>(random() % 30'000'000),
              maxt = mint + static_cast<int64_t>(random() % 30'000'000);
      if (query % 10 == 0) mint = INT64_MIN, maxt = INT64_MAX;
      CommitSequence reader = random() % 700;
      std::vector<int64_t> times;
      std::vector<double> values;
      for (const Stored& one : model[i]) {
        if (one.commit > reader || one.sample.t < mint || one.sample.t > maxt) continue;
        times.push_back(one.sample.t);
        values.push_back(one.sample.v);
      }
      SampleColumns columns;
      size_t damaged = 0;
      chunks.Read(series[i], mint, maxt, reader, &files, &buffer, &columns, &damaged);
      ASSERT_EQ(damaged, 0u);
      ASSERT_EQ(std::vector<int64_t>(columns.t.begin(), columns.t.end()), times);
      ASSERT_EQ(std::vector<double>(columns.v.begin(), columns.v.end()), values);
      ASSERT_EQ(chunks.MayHave(series[i], mint, maxt, reader), !times.empty());
      if (columns.timeline != 0) {
        auto [known, added] = by_timeline.emplace(columns.timeline, times);
        ASSERT_EQ(known->second, times) << "one timeline, one list of times";
      }
      ASSERT_EQ(chunks.NextTime(series[i], mint) == INT64_MAX, model[i].empty() || model[i].back().sample.t < mint);
    }
    for (SeriesData& one : series) chunks.Free(&one);
    EXPECT_EQ(chunks.used_bytes(), 0u);
    EXPECT_EQ(chunks.timelines().live_segments(), 0u);
  }
}

TEST(SeriesChunks, SeriesThatAreScrapedTogetherShareTheirTimeline) {
  SeriesChunks chunks(7);
  std::vector<SeriesData> series(100);
  for (CommitSequence commit = 1; commit <= 300; ++commit) {
    CommitCursor cursor;
    cursor.sequence = commit;
    cursor.SetTime(static_cast<int64_t>(commit) * 15'000);
    for (SeriesData& one : series) {
      if (&one >= &series[50] && commit < 40) continue;  // Half of them come later.
      ASSERT_TRUE(chunks.Append(&one, 1, &cursor));
    }
  }
  EXPECT_LE(chunks.timelines().live_segments(), 4u);
  ColumnBuffer buffer;
  ChunkFileReader files(nullptr);
  std::set<uint64_t> seen;
  for (const SeriesData& one : series) {
    SampleColumns columns;
    size_t damaged = 0;
    chunks.Read(one, 50 * 15'000, INT64_MAX, UINT64_MAX, &files, &buffer, &columns, &damaged);
    ASSERT_EQ(columns.t.size(), 251u);
    seen.insert(columns.timeline);
  }
  EXPECT_EQ(seen.size(), 1u);
}

// What a decoder found, as text.
class Collector : public LogHandler {
 public:
  std::string text;
  Symbol OnSymbol(std::string_view symbol) override {
    names.emplace_back(symbol);
    return static_cast<Symbol>(names.size());
  }
  base::Status OnSeries(SeriesRef ref, std::span<const SymbolPair> labels) override {
    text += "series " + std::to_string(ref);
    for (const SymbolPair& pair : labels) text += " " + names[pair.name - 1] + "=" + names[pair.value - 1];
    text += "\n";
    return base::Status::Ok();
  }
  base::Status OnMetadata(std::string family, Metadata metadata) override {
    text += "family " + family + " " + metadata.help + "\n";
    return base::Status::Ok();
  }
  base::Status OnSamples(int64_t t, std::span<const SeriesRef> refs, std::span<const double> values) override {
    for (size_t i = 0; i < refs.size(); ++i) {
      text += std::to_string(refs[i]) + "@" + std::to_string(t) + "=" + std::to_string(values[i]) + "\n";
    }
    return base::Status::Ok();
  }
  base::Status OnOther(LogPart, std::string_view) override { return base::DataLossError("other"); }

 private:
  std::vector<std::string> names;
};

TEST(LogCodec, RoundTripsAndRefusesDamage) {
  Slab slab(size_t{1} << 28);
  SymbolTable symbols(slab);
  auto pair = [&](const char* name, const char* value) {
    return SymbolPair{symbols.Acquire(name), symbols.Acquire(value)};
  };
  LogEncoder encoder(symbols);
  encoder.StartSegment();
  std::vector<std::string> records;
  std::vector<SymbolPair> first = {pair("__name__", "up"), pair("job", "a")}, second = {first[0], pair("job", "b")};
  encoder.AddSeries(5, first);
  encoder.AddSeries(6, second);
  encoder.AddMetadata("up", {MetricType::kGauge, "", "Up?"});
  encoder.AddSamples(1000, std::vector<SeriesRef>{5, 6}, std::vector<double>{1, 0.25}, std::vector<double>{9, 9},
                     false);
  records.push_back(encoder.record());
  encoder.StartRecord();
  encoder.AddSamples(-7, std::vector<SeriesRef>{6, 5}, std::vector<double>{0.25, 3}, std::vector<double>{0.25, 1},
                     false);
  encoder.AddSamples(2000, std::vector<SeriesRef>{5}, std::vector<double>{1e300}, std::vector<double>{3}, true);
  records.push_back(encoder.record());

  Collector collector;
  LogDecoder decoder;
  decoder.StartSegment();
  for (const std::string& record : records) ASSERT_TRUE(decoder.Decode(record, &collector).ok());
  EXPECT_EQ(collector.text,
            "series 5 __name__=up job=a\nseries 6 __name__=up job=b\nfamily up Up?\n5@1000=1.000000\n6@1000=0.250000\n"
            "6@-7=0.250000\n5@-7=3.000000\n5@2000=" +
                std::to_string(1e300) + "\n");
  // Whatever the bytes, decoding ends.
  std::mt19937 random(9);
  for (int round = 0; round < 20'000; ++round) {
    std::string record = records[0];
    for (int change = 0; change < 3; ++change) record[random() % record.size()] = static_cast<char>(random());
    if (round % 2 == 0) record.resize(random() % record.size());
    Collector ignored;
    LogDecoder fresh;
    fresh.StartSegment();
    (void)fresh.Decode(record, &ignored);
  }
}

}  // namespace
}  // namespace tidewright::tsdb
