// Remote read, beyond what the conformance data has: long series, damage, limits of a request.
#include "web/remote_read.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <snappy.h>

#include "base/wire_reader.h"
#include "base/wire_writer.h"
#include "tsdb/chunk.h"
#include "tsdb/db.h"
#include "tsdb/encoding.h"

namespace tidewright::web {
namespace {

using base::WireReader;
using base::WireWriter;

std::string Query(int64_t start, int64_t end, const std::string& metric) {
  WireWriter matcher, query;
  matcher.Bytes(2, "__name__").Bytes(3, metric);
  query.Int64(1, start).Int64(2, end).Bytes(3, matcher.bytes());
  return WireWriter().Bytes(1, query.bytes()).Take();
}
std::string Streamed() { return WireWriter().Varints(2, std::vector<uint64_t>{1}).Take(); }

class RemoteReadTest : public testing::Test {
 protected:
  http::Response Post(const std::string& message) {
    http::ServerRequest request;
    request.method = "POST";
    request.path = "/api/v1/read";
    snappy::Compress(message.data(), message.size(), &request.body);
    return RemoteRead(*db_, {}).Handle(request);
  }
  void Fill(int samples) {
    for (int i = 0; i < samples; ++i) {
      auto appender = db_->NewAppender();
      ASSERT_TRUE(appender->Append(0, tsdb::Labels::Of({{"__name__", "m"}}), i * 1000, i).ok());
      ASSERT_TRUE(appender->Commit().ok());
    }
  }
  base::FakeClock clock_{1'000'000};
  std::unique_ptr<tsdb::Db> db_ = *tsdb::Db::Open("", {}, clock_, nullptr);
};

// The samples of all frames, whose checksums have to be right.
std::vector<tsdb::Sample> ReadFrames(std::string_view body) {
  std::vector<tsdb::Sample> samples;
  while (!body.empty()) {
    uint64_t length = 0;
    for (int shift = 0; !body.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(body[0]);
      body.remove_prefix(1);
      length |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    uint32_t checksum = 0;
    for (int i = 0; i < 4; ++i) checksum = checksum << 8 | static_cast<unsigned char>(body[static_cast<size_t>(i)]);
    const std::string_view message = body.substr(4, length);
    EXPECT_EQ(message.size(), length);
    EXPECT_EQ(checksum, tsdb::Crc32c(message));
    body.remove_prefix(4 + length);
    for (WireReader response(message); response.Next();) {
      for (WireReader series(response.Bytes()); series.Next();) {
        if (series.field() != 2) continue;
        for (WireReader chunk(series.Bytes()); chunk.Next();) {
          if (chunk.field() != 4) continue;
          tsdb::XorChunkReader reader(chunk.Bytes());
          while (reader.Next()) samples.push_back(reader.At());
        }
      }
    }
  }
  return samples;
}

TEST_F(RemoteReadTest, StreamsLongSeriesWithinTheRange) {
  Fill(500);
  http::Response response = Post(Query(100'000, 399'000, "m") + Streamed());
  ASSERT_EQ(response.status, 200) << response.body;
  const std::vector<tsdb::Sample> samples = ReadFrames(response.body);
  ASSERT_EQ(samples.size(), 300u);
  EXPECT_EQ(samples.front().t, 100'000);
  EXPECT_EQ(samples.back().t, 399'000);
}

TEST_F(RemoteReadTest, RefusesDamage) {
  EXPECT_EQ(Post("\xff\xff").status, 400);
  EXPECT_EQ(Post(WireWriter().Bytes(1, "\xff").bytes()).status, 400);
  EXPECT_EQ(Post(Query(2, 1, "m")).status, 200) << "an empty range has no series";
  std::string many;
  for (int i = 0; i < 1001; ++i) many += Query(0, 1, "m");
  EXPECT_EQ(Post(many).status, 400);
  http::ServerRequest plain;
  plain.method = "POST";
  plain.body = "not snappy";
  EXPECT_EQ(RemoteRead(*db_, {}).Handle(plain).status, 400);
  plain.method = "GET";
  EXPECT_EQ(RemoteRead(*db_, {}).Handle(plain).status, 405);
}

}  // namespace
}  // namespace tidewright::web
