#include "tsdb/packed_cache.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/tsdb/blocks.h"
#include "tsdb/block_querier.h"

namespace tidewright::tsdb {
namespace {

std::vector<int64_t> Times(size_t count, int64_t begin = 1'000'000) {
  std::vector<int64_t> t;
  for (size_t i = 0; i < count; ++i) t.push_back(begin + static_cast<int64_t>(i) * 15'000);
  return t;
}

// Counters, decimals, and now and then what fits neither.
std::vector<double> Values(size_t count) {
  std::vector<double> v;
  uint64_t random = 88172645463325252;
  for (size_t i = 0; i < count; ++i) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    double last = v.empty() ? 0 : v.back();
    if (!(last > -1e15 && last < 1e15)) last = 0;
    v.push_back(i % 97 == 13   ? StaleNan()
                : i % 89 == 40 ? -0.0
                : i < 400      ? last + static_cast<double>(random % 32)
                               : static_cast<double>(random % 100'000) / 1000);
  }
  return v;
}

std::vector<uint64_t> BitsOf(std::span<const double> values) {
  std::vector<uint64_t> bits;
  for (double value : values) bits.push_back(std::bit_cast<uint64_t>(value));
  return bits;
}

std::shared_ptr<const NamedTimes> Named(size_t count) {
  return std::make_shared<const NamedTimes>(NamedTimes{NewTimesName(), Times(count)});
}

TEST(PackedSeries, EveryPartIsWhatWasPacked) {
  for (const size_t count : {1, 15, 16, 17, 255, 256, 257, 512, 700, 960}) {
    const std::vector<double> values = Values(count);
    const PackedSeries packed(Named(count), false, values);
    std::vector<double> v;
    for (size_t from = 0; from < count; from += 1 + count / 37) {
      for (size_t to = from + 1; to <= count; to += 1 + count / 23) {
        const size_t at = packed.Decode(from, to, &v);
        EXPECT_EQ(BitsOf(std::span(v).subspan(at, to - from)), BitsOf(std::span(values).subspan(from, to - from)))
            << count << " values, from " << from << " to " << to;
      }
    }
  }
}

class PackedCacheTest : public ::testing::Test {
 protected:
  PackedCache::Found Find(PackedCache& cache, uint64_t key) {
    PackedCache::Found found;
    cache.Find({&key, 1}, now_ms_, {&found, 1});
    return found;
  }
  // Asks for a series as a Querier does. Whether it was there.
  bool Read(PackedCache& cache, uint64_t key) {
    const PackedCache::Found found = Find(cache, key);
    if (found.series != nullptr) return true;
    if (found.wanted) cache.Add(key, now_ms_, Times(480), Values(480));
    return false;
  }

  int64_t now_ms_ = 1000;
};

TEST_F(PackedCacheTest, TakesWhatIsAskedForTwice) {
  PackedCache cache(1 << 20);
  EXPECT_FALSE(Read(cache, 7));
  EXPECT_EQ(cache.bytes(), 0u) << "nothing is packed the first time";
  EXPECT_FALSE(Read(cache, 7));
  EXPECT_TRUE(Read(cache, 7));
}

TEST_F(PackedCacheTest, SeriesShareTimesAndTheirName) {
  PackedCache cache(1 << 20);
  for (uint64_t key : {1, 2, 1, 2}) Read(cache, key);
  const auto one = Find(cache, 1).series, other = Find(cache, 2).series;
  ASSERT_NE(one, nullptr);
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(&one->times(), &other->times());
}

TEST_F(PackedCacheTest, SeveralAreFoundAsOneByOne) {
  PackedCache cache(1 << 20);
  for (uint64_t key : {1, 3, 4, 1, 3}) Read(cache, key);
  const std::vector<uint64_t> keys = {4, 1, 2, 3};
  std::vector<PackedCache::Found> found(keys.size());
  cache.Find(keys, now_ms_, found);
  EXPECT_EQ(found[0].series, nullptr);
  EXPECT_TRUE(found[0].wanted) << "asked for before";
  EXPECT_EQ(found[1].series, Find(cache, 1).series);
  EXPECT_EQ(found[2].series, nullptr);
  EXPECT_FALSE(found[2].wanted) << "the first time";
  EXPECT_EQ(found[3].series, Find(cache, 3).series);
  EXPECT_NE(found[1].series, found[3].series);
}

TEST_F(PackedCacheTest, RoomForOneIsNotTakenFromOthersThatAreWanted) {
  PackedCache cache(100'000);
  for (int round = 0; round < 3; ++round) {
    for (uint64_t key = 0; key < 500; ++key) Read(cache, key);
  }
  now_ms_ += 3 * 60 * 1000;  // Now all of them may go.
  std::vector<uint64_t> keys;
  for (uint64_t key = 1000; keys.size() < PackedCache::kMostAtOnce; ++key)
    keys.push_back(key % 2 == 0 ? key : key - 1001);
  std::vector<PackedCache::Found> found(keys.size());
  cache.Find(keys, now_ms_, found);
  cache.Find(keys, now_ms_, found);
  for (size_t i = 0; i < keys.size(); ++i) {
    if (found[i].series != nullptr) EXPECT_EQ(found[i].series->times().t, Times(480));
  }
}

TEST_F(PackedCacheTest, KeepsWithinItsMemoryAndWhatItHasWhenMoreIsScanned) {
  PackedCache cache(100'000);
  for (int round = 0; round < 10; ++round) {
    for (uint64_t key = 0; key < 1000; ++key) {
      Read(cache, key);
      ASSERT_LE(cache.bytes(), 100'000u);
    }
  }
  int found = 0;
  for (uint64_t key = 0; key < 1000; ++key) found += Read(cache, key);
  EXPECT_GT(found, 20) << "a scan turned it over";
}

TEST_F(PackedCacheTest, LetsGoOfWhatNobodyAsksForAnyMore) {
  PackedCache cache(100'000);
  for (int round = 0; round < 3; ++round) {
    for (uint64_t key = 0; key < 500; ++key) Read(cache, key);
  }
  now_ms_ += 3 * 60 * 1000;
  for (int round = 0; round < 3; ++round) {
    for (uint64_t key = 1000; key < 1020; ++key) Read(cache, key);
  }
  int found = 0;
  for (uint64_t key = 1000; key < 1020; ++key) found += Read(cache, key);
  EXPECT_EQ(found, 20);
}

// Queries of a block give the same with a cache as without, whatever they ask for and however often.
TEST(PackedCacheOfBlock, QueriesGiveTheSame) {
  std::string directory = ::testing::TempDir() + "/packed_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  std::filesystem::create_directories(directory + "/a");
  std::filesystem::create_directories(directory + "/b");
  testing::BlockBuilder builder;
  const std::vector<int64_t> t = Times(480);
  for (int i = 0; i < 5; ++i) {
    const std::vector<double> v = Values(480);
    std::vector<Sample> samples;
    for (size_t k = i; k < t.size(); ++k) samples.push_back({t[k], v[k - static_cast<size_t>(i)]});
    builder.Floats(Labels::Of({{"__name__", "x"}, {"i", std::to_string(i)}}), samples);
  }
  builder.Histograms(Labels::Of({{"__name__", "x"}, {"i", "h"}}), {{t[0], Histogram()}});
  const std::shared_ptr<Block> plain = builder.Write(directory + "/a"), cached = builder.Write(directory + "/b");
  auto cache = std::make_shared<PackedCache>(1 << 20);
  cached->UseCache(cache);
  const Matchers all = {Matcher::Equal("__name__", "x")};
  const auto read = [&](const Block& block, int64_t mint, int64_t maxt) {
    std::vector<std::string> texts;
    auto querier = block.NewQuerier(mint, maxt);
    const SeriesSetPtr set = *querier->Find({}, all);
    ColumnBuffer buffer;
    for (size_t i = 0; i < set->size(); ++i) {
      SampleColumns columns;
      std::string text = *querier->Columns(*set, i, &buffer, &columns) ? "" : "histograms";
      for (size_t k = 0; k < columns.t.size(); ++k) {
        text += std::to_string(columns.t[k]) + "=" + std::to_string(std::bit_cast<uint64_t>(columns.v[k])) + " ";
      }
      texts.push_back(std::move(text));
    }
    return texts;
  };
  for (int round = 0; round < 4; ++round) {
    for (const auto& [mint, maxt] : std::vector<std::pair<int64_t, int64_t>>{
             {t[0], t[479]}, {t[0] + 1, t[300]}, {t[100], t[470]}, {t[470], t[479]}, {t[260], t[260]}, {0, 1}}) {
      EXPECT_EQ(read(*cached, mint, maxt), read(*plain, mint, maxt)) << mint << " to " << maxt << ", round " << round;
    }
  }
  EXPECT_GT(cache->bytes(), 5 * 480u) << "nothing was packed";
  ASSERT_TRUE(cached->Delete(t[50], t[60], all).ok());
  ASSERT_TRUE(plain->Delete(t[50], t[60], all).ok());
  EXPECT_EQ(read(*cached, t[0], t[479]), read(*plain, t[0], t[479])) << "deleted samples came back";
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace tidewright::tsdb
