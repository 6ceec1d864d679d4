#include "cmd/startup_memory.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace tidewright::cmd {
namespace {

int64_t MappedFilesKb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssFile:", 0) == 0) return std::stoll(line.substr(8));
  }
  return -1;
}

int g_initialized = 41;  // In a writable page, which keeps what is written.
const char* const g_relocated[] = {"one", "two"};

TEST(StartupMemory, UnmapsWhatFilesHoldAndKeepsWhatWasWritten) {
  g_initialized = 42;
  std::string on_the_heap(100'000, 'x');
  const int64_t before = MappedFilesKb();
  ReleaseStartupMemory();
  const int64_t after = MappedFilesKb();
  EXPECT_GT(after, 0);
  EXPECT_LT(after, before);
  EXPECT_EQ(g_initialized, 42);
  EXPECT_STREQ(g_relocated[1], "two");
  EXPECT_EQ(on_the_heap, std::string(100'000, 'x'));
}

}  // namespace
}  // namespace tidewright::cmd
