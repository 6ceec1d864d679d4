#include "tsdb/frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/file.h"
#include "tsdb/record.h"

namespace tidewright::tsdb {
namespace {

// Every record of one segment held in memory.
base::Result<std::vector<std::string>> ReadFrames(const std::string& segment) {
  FrameReader reader([&](uint64_t offset, char* page) -> base::Result<size_t> {
    if (offset >= segment.size()) return size_t{0};
    size_t size = std::min(kWalPageBytes, segment.size() - offset);
    std::memcpy(page, segment.data() + offset, size);
    return size;
  });
  std::vector<std::string> records;
  std::string record;
  while (true) {
    TW_ASSIGN_OR_RETURN(bool more, reader.Next(&record));
    if (!more) return records;
    records.push_back(record);
  }
}

TEST(Frames, RoundTripAtEveryPositionOfAPage) {
  for (bool compress : {false, true}) {
    for (size_t first = kWalPageBytes - 24; first <= kWalPageBytes + 8; ++first) {
      std::vector<std::string> records = {std::string(first, 'x'), "second", std::string(3 * kWalPageBytes, 'z'), ""};
      for (size_t i = 0; i < records[0].size(); ++i) records[0][i] = static_cast<char>(i * 31 + (i >> 8) * 17);
      std::string segment;
      for (const std::string& record : records) FrameRecord(segment.size(), record, compress, &segment);
      auto read = ReadFrames(segment);
      ASSERT_TRUE(read.ok()) << read.status().ToString();
      EXPECT_EQ(*read, records) << first;
    }
  }
}

TEST(Frames, CompressOnlyWhatShrinks) {
  std::string plain, repetitive;
  FrameRecord(0, "abc", true, &plain);
  EXPECT_EQ(plain.size(), kWalFragmentHeaderBytes + 3);
  FrameRecord(0, std::string(1000, 'a'), true, &repetitive);
  EXPECT_LT(repetitive.size(), 100u);
  EXPECT_EQ(*ReadFrames(repetitive), std::vector<std::string>{std::string(1000, 'a')});
}

TEST(Frames, NameWhatIsWrong) {
  std::string good;
  FrameRecord(0, "hello", false, &good);
  struct Row {
    std::string name;
    std::string bytes;
    base::Code code;
    std::string message;
  };
  auto with = [&](size_t at, char byte) {
    std::string changed = good;
    changed[at] = byte;
    return changed;
  };
  std::string zstd("\x11\0\x05\0\0\0\0\x28\xb5\x2f\xfd!", 12);
  {
    std::string body = zstd.substr(7);
    uint32_t crc = 0;
    std::string framed;
    FrameRecord(0, body, false, &framed);
    std::memcpy(&crc, framed.data() + 3, 4);
    std::memcpy(zstd.data() + 3, &crc, 4);
    zstd[1] = framed[1];
    zstd[2] = framed[2];
  }
  const Row rows[] = {
      {"checksum", with(9, 'X'), base::Code::kDataLoss, "at byte 0: wrong checksum"},
      {"length", with(1, '\x7f'), base::Code::kDataLoss, "ends beyond"},
      {"type", with(0, '\x05'), base::Code::kDataLoss, "type 5"},
      {"unused bit", with(0, '\x41'), base::Code::kDataLoss, "type 65"},
      {"middle first", with(0, '\x03'), base::Code::kDataLoss, "out of sequence"},
      {"first only", with(0, '\x02'), base::Code::kDataLoss, "torn"},
      {"not snappy", with(0, '\x09'), base::Code::kDataLoss, "does not decompress"},
      {"not zstd", with(0, '\x11'), base::Code::kDataLoss, "zstd record does not decompress"},
      {"zstd, cut short", zstd, base::Code::kDataLoss, "zstd record does not decompress"},
      {"dirty padding", good + std::string(3, '\0') + "x", base::Code::kDataLoss, "padding"},
  };
  for (const Row& row : rows) {
    auto read = ReadFrames(row.bytes);
    ASSERT_FALSE(read.ok()) << row.name;
    EXPECT_EQ(read.status().code(), row.code) << row.name;
    EXPECT_NE(read.status().message().find(row.message), std::string::npos)
        << row.name << ": " << read.status().message();
  }
}

TEST(Frames, AReadErrorIsNotDamage) {
  FrameReader reader([](uint64_t, char*) -> base::Result<size_t> { return base::UnavailableError("disk on fire"); });
  std::string record;
  EXPECT_EQ(reader.Next(&record).status().code(), base::Code::kUnavailable);
}

TEST(Records, RefuseWhatIsCutShort) {
  SeriesEncoder series;
  series.Add(1, Labels::Of({{"__name__", "up"}, {"job", "a"}}));
  SamplesEncoder samples;
  samples.Add(1, {1000, 1.5});
  MetadataEncoder metadata;
  metadata.Add({7, "family", {MetricType::kCounter, "s", "help"}});
  EXPECT_TRUE(DecodeSeries(series.bytes()).ok());
  EXPECT_EQ(DecodeMetadata(metadata.bytes())->front().family, "family");
  for (size_t size = 2; size < series.bytes().size(); ++size) {
    EXPECT_EQ(DecodeSeries(series.bytes().substr(0, size)).status().code(), base::Code::kDataLoss) << size;
  }
  for (size_t size = 2; size < samples.bytes().size(); ++size) {
    bool header_only = size == 17;  // A first reference and time without samples.
    EXPECT_EQ(DecodeSamples(samples.bytes().substr(0, size)).ok(), header_only) << size;
  }
  for (size_t size = 2; size < metadata.bytes().size(); ++size) {
    EXPECT_FALSE(DecodeMetadata(metadata.bytes().substr(0, size)).ok()) << size;
  }
  std::string liar("\x01\0\0\0\0\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 19);
  EXPECT_FALSE(DecodeSeries(liar).ok()) << "a count of labels beyond the record";
}

}  // namespace
}  // namespace tidewright::tsdb
