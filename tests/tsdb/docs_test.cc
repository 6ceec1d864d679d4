// The worked examples of tsdb/docs: the bytes on the page are what the code writes and reads.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "base/strings.h"
#include "tsdb/frame.h"
#include "tsdb/record.h"
#include "tsdb/xor_chunk.h"

namespace tidewright::tsdb {
namespace {

// The bytes of the ```hex block of a page.
std::string Example(const std::string& page) {
  auto text = base::ReadFile(std::string(TIDEWRIGHT_SOURCE_DIR) + "/tsdb/docs/" + page);
  EXPECT_TRUE(text.ok()) << text.status().ToString();
  size_t begin = text->find("```hex\n");
  EXPECT_NE(begin, std::string::npos) << page;
  begin += 7;
  std::string digits;
  for (const std::string& line : base::Split(text->substr(begin, text->find("```", begin) - begin), '\n')) {
    for (char c : line.substr(0, line.find('#'))) {
      if (c != ' ') digits += c;
    }
  }
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    bytes += static_cast<char>(std::strtol(digits.substr(i, 2).c_str(), nullptr, 16));
  }
  return bytes;
}

TEST(Docs, TheLogExample) {
  const Labels up = Labels::Of({{"__name__", "up"}, {"job", "node"}});
  const Sample samples[] = {{1700000000000, 1}, {1700000015000, 0}};
  SeriesEncoder series;
  series.Add(1, up);
  MetadataEncoder metadata;
  metadata.Add({1, "", {MetricType::kGauge, "", "Up?"}});
  SamplesEncoder encoder;
  for (const Sample& sample : samples) encoder.Add(1, sample);
  const std::vector<std::string> records = {series.bytes(), metadata.bytes(), encoder.bytes()};
  std::string written;
  for (const std::string& record : records) FrameRecord(written.size(), record, /*compress=*/false, &written);
  const std::string example = Example("wal.md");
  EXPECT_EQ(written, example);

  FrameReader reader([&](uint64_t offset, char* page) -> base::Result<size_t> {
    if (offset >= example.size()) return size_t{0};
    return example.copy(page, kWalPageBytes);
  });
  std::string record;
  ASSERT_TRUE(*reader.Next(&record));
  EXPECT_EQ(DecodeSeries(record)->front().labels, up);
  ASSERT_TRUE(*reader.Next(&record));
  EXPECT_EQ(DecodeMetadata(record)->front().metadata.help, "Up?");
  ASSERT_TRUE(*reader.Next(&record));
  auto decoded = *DecodeSamples(record);
  ASSERT_EQ(decoded.size(), 2u);
  EXPECT_EQ(decoded[1].sample.t, 1700000015000);
  EXPECT_EQ(decoded[1].sample.v, 0);
  EXPECT_FALSE(*reader.Next(&record));
}

TEST(Docs, TheChunkExample) {
  const Sample samples[] = {{1700000000000, 1}, {1700000015000, 2}, {1700000030000, 2}, {1700000045001, 3}};
  const std::string example = Example("xor_chunk.md");
  XorChunkWriter writer;
  XorChunkReader reader(example);
  for (const Sample& sample : samples) {
    writer.Append(sample.t, sample.v);
    ASSERT_TRUE(reader.Next());
    EXPECT_EQ(reader.At().t, sample.t);
    EXPECT_EQ(reader.At().v, sample.v);
  }
  EXPECT_FALSE(reader.Next());
  EXPECT_FALSE(reader.corrupt());
  EXPECT_EQ(writer.bytes(), example);
}

}  // namespace
}  // namespace tidewright::tsdb
