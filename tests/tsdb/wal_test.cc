#include "tsdb/wal.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/file.h"
#include "tsdb/record.h"
#include "tsdb/wal_files.h"

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

struct Log {
  base::TempDir directory = *base::TempDir::Create("wal-test");
  std::string path = directory.path();

  std::vector<std::string> Replay(ReplayStats* stats = nullptr) {
    std::vector<std::string> records;
    auto result = ReplayWal(path, [&](std::string_view record) {
      if (record == "undecodable") return base::DataLossError("log record: undecodable");
      records.emplace_back(record);
      return base::Status::Ok();
    });
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    if (stats != nullptr && result.ok()) *stats = *result;
    return records;
  }
  std::vector<int> Segments() { return ListWal(path)->segments; }
};

using Strings = std::vector<std::string>;

TEST(Wal, GoesOnInANewSegmentAfterEachStart) {
  Log log;
  for (const char* text : {"one", "two"}) {
    auto writer = *WalWriter::Open(log.path, {});
    ASSERT_TRUE(writer->Append({text, std::string(text) + "!"}).ok());
  }
  { auto unused = *WalWriter::Open(log.path, {}); }
  { auto unused = *WalWriter::Open(log.path, {}); }
  EXPECT_EQ(log.Replay(), (Strings{"one", "one!", "two", "two!"}));
  EXPECT_EQ(log.Segments(), (std::vector<int>{0, 1, 2})) << "a segment without records is used again";
}

TEST(Wal, SegmentsEndAtTheirSize) {
  Log log;
  auto writer = *WalWriter::Open(log.path, {.segment_bytes = 100, .compress = false});
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(writer->Append({std::string(60, static_cast<char>('a' + i))}).ok());
  EXPECT_EQ(log.Segments(), (std::vector<int>{0, 1}));
  EXPECT_EQ(*writer->Cut(), 1);
  EXPECT_EQ(SizeOnDisk(SegmentFile(log.path, 1)), kWalPageBytes) << "finished segments are whole pages";
  EXPECT_EQ(log.Replay().size(), 4u);
}

TEST(Wal, WhatFollowsDamageIsCutOff) {
  Log log;
  {
    auto writer = *WalWriter::Open(log.path, {});
    ASSERT_TRUE(writer->Append({"kept", "undecodable", "lost"}).ok());
    ASSERT_TRUE(writer->Cut().ok());
    ASSERT_TRUE(writer->Append({"lost too"}).ok());
  }
  ReplayStats stats;
  EXPECT_EQ(log.Replay(&stats), Strings{"kept"});
  EXPECT_EQ(stats.corruptions, 1u);
  EXPECT_EQ(log.Segments(), std::vector<int>{0});
  {
    auto writer = *WalWriter::Open(log.path, {});
    ASSERT_TRUE(writer->Append({"new"}).ok());
  }
  EXPECT_EQ(log.Replay(&stats), (Strings{"kept", "new"}));
  EXPECT_EQ(stats.corruptions, 0u) << "damage is repaired once";
}

TEST(Wal, AGapIsCountedAndTheRestIsKept) {
  Log log;
  {
    auto writer = *WalWriter::Open(log.path, {});
    for (const char* text : {"a", "b", "c"}) {
      ASSERT_TRUE(writer->Append({text}).ok());
      ASSERT_TRUE(writer->Cut().ok());
    }
  }
  ASSERT_TRUE(RemoveTree(SegmentFile(log.path, 1)).ok());
  ReplayStats stats;
  EXPECT_EQ(log.Replay(&stats), (Strings{"a", "c"}));
  EXPECT_EQ(stats.corruptions, 1u);
}

TEST(Wal, ACheckpointReplacesItsSegmentsWhereverItIsInterrupted) {
  // 0: it failed; 1: the temporary directory stays; 2: the segments stay; 3: it finished.
  for (int stage = 0; stage <= 3; ++stage) {
    Log log;
    auto writer = *WalWriter::Open(log.path, {});
    ASSERT_TRUE(writer->Append({"old"}).ok());
    ASSERT_EQ(*writer->Cut(), 0);
    ASSERT_TRUE(writer->Append({"newer"}).ok());
    std::string saved = *base::ReadFile(SegmentFile(log.path, 0));
    auto size = WriteCheckpoint(log.path, 0, {}, [&](WalWriter& checkpoint) -> base::Status {
      if (stage == 0) return base::UnavailableError("stop");
      return checkpoint.Append({"old, rewritten"});
    });
    EXPECT_EQ(size.ok(), stage != 0);
    std::string checkpoint = CheckpointDirectory(log.path, 0);
    if (stage == 1) {
      ASSERT_TRUE(RenameDirectory(checkpoint, checkpoint + ".tmp").ok());
    }
    if (stage == 1 || stage == 2) {
      ASSERT_TRUE(base::WriteFileAtomic(SegmentFile(log.path, 0), saved).ok());
    }
    Strings expected = {stage < 2 ? "old" : "old, rewritten", "newer"};
    ReplayStats stats;
    EXPECT_EQ(log.Replay(&stats), expected) << stage;
    EXPECT_EQ(log.Replay(&stats), expected) << stage;
    EXPECT_EQ(stats.corruptions, 0u);
    auto listing = *ListWal(log.path);
    EXPECT_TRUE(listing.unfinished.empty());
    EXPECT_EQ(listing.checkpoints.size(), stage < 2 ? 0u : 1u);
    EXPECT_EQ(listing.segments.front(), stage < 2 ? 0 : 1);
  }
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
