#include "scrape/protobuf_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tidewright::scrape {
namespace {

using ::testing::HasSubstr;
using std::string_literals::operator""s;

// A length-delimited field, or a delimited message with field 0.
std::string Field(int field, const std::string& bytes) {
  std::string out;
  if (field > 0) out.push_back(static_cast<char>(field << 3 | 2));
  size_t length = bytes.size();
  for (; length >= 0x80; length >>= 7) out.push_back(static_cast<char>(length | 0x80));
  out.push_back(static_cast<char>(length));
  return out + bytes;
}

std::string Family(const std::string& name, int type, const std::string& metric) {
  return Field(0, Field(1, name) + "\x18"s + static_cast<char>(type) + Field(4, metric));
}

// Reads to the end; the number of samples, or -1 with the error.
int Read(const std::string& body, std::string* error) {
  ExpositionOptions options;
  options.native_histograms = options.convert_classic_histograms = true;
  ProtobufParser parser(body, options);
  int samples = 0;
  for (;;) {
    Entry entry = parser.Next();
    if (entry == Entry::kEnd) return samples;
    if (entry == Entry::kError) {
      *error = parser.status().message();
      return -1;
    }
    if (entry == Entry::kSeries || entry == Entry::kHistogram) ++samples;
  }
}

TEST(ProtobufParser, HostileBytesAreErrorsOrNothing) {
  const std::string gauge = Field(2, "\x09\0\0\0\0\0\0\xf0\x3f"s);
  struct Case {
    const char* name;
    std::string body;
    int samples;
    const char* error;
  };
  const Case cases[] = {
      {"a sample", Family("a", 1, gauge), 1, ""},
      {"nothing", "", 0, ""},
      {"half a length", "\xff", -1, "ends within a message"},
      {"a length beyond the end", "\x7f\x0a", -1, "ends within a message"},
      {"a length of eleven bytes", std::string(11, '\xff'), -1, "ends within a message"},
      {"field 0", Field(0, "\x02\x01"), -1, "damaged"},
      {"a group", Field(0, "\x0b"), -1, "damaged"},
      {"no name", Family("", 1, gauge), -1, "no valid name"},
      {"a name that is not UTF-8", Family("\xff", 1, gauge), -1, "no valid name"},
      {"an unknown type", Family("a", 9, gauge), -1, "type 9 is not known"},
      {"a label without a name", Family("a", 1, Field(1, "") + gauge), -1, "label name \"\" is not valid"},
      {"a metric of the wrong kind", Family("a", 0, gauge), 1, ""},
      {"an empty histogram", Family("a", 4, Field(7, "")), 1, ""},
      {"more counts than spans", Family("a", 4, Field(7, Field(12, "\x08\0\x10\1"s) + Field(13, "\x02\x02"))), -1,
       "spans do not fit"},
      {"a span of four billion buckets", Family("a", 4, Field(7, Field(12, "\x10\xff\xff\xff\xff\x0f"))), -1,
       "spans do not fit"},
      {"counts that overflow",
       Family("a", 4,
              Field(7, Field(12, "\x10\2"s) + Field(13, std::string(2, '\xfe') + std::string(7, '\xff') + "\1" +
                                                            std::string(2, '\xfe') + std::string(7, '\xff') + "\1"))),
       -1, "spans do not fit"},
      {"a metric of eight megabytes", Family("a", 1, std::string(8 << 20, '\x0a')), -1, "at most"},
  };
  for (const Case& c : cases) {
    std::string error;
    EXPECT_EQ(Read(c.body, &error), c.samples) << c.name << ": " << error;
    EXPECT_THAT(error, HasSubstr(c.error)) << c.name;
  }
}

}  // namespace
}  // namespace tidewright::scrape
