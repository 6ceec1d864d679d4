#include "base/file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

namespace tidewright::base {
namespace {

TEST(FileTest, WritesAtomicallyAndReadsBack) {
  auto folder = TempDir::Create("tidewright-file-test");
  ASSERT_TRUE(folder.ok());
  std::string path = folder->path() + "/a";
  ASSERT_TRUE(WriteFileAtomic(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomic(path, "two").ok());
  EXPECT_EQ(*ReadFile(path), "two");
  EXPECT_FALSE(ReadFile(path + ".tmp").ok());
}

TEST(FileTest, ErrorsNameThePath) {
  auto missing = ReadFile("/nonexistent/file");
  EXPECT_EQ(missing.status().code(), Code::kNotFound);
  EXPECT_NE(missing.status().message().find("/nonexistent/file"), std::string::npos);
  EXPECT_FALSE(WriteFileAtomic("/nonexistent/file", "x").ok());
}

TEST(TempDirTest, GoesWithItsContent) {
  std::string path;
  {
    auto folder = TempDir::Create("tidewright-file-test");
    ASSERT_TRUE(folder.ok());
    path = folder->path();
    ASSERT_TRUE(MakeDirectories(path + "/a/b").ok());
    ASSERT_TRUE(WriteFileAtomic(path + "/a/b/c", "x").ok());
  }
  struct stat info {};
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

TEST(SubprocessTest, ReportsExitCodesAndEnvironment) {
  auto folder = TempDir::Create("tidewright-file-test");
  ASSERT_TRUE(folder.ok());
  auto child =
      Subprocess::Start({"sh", "-c", "echo $GREETING; exit 3"}, folder->path() + "/log", {{"GREETING", "hello"}});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(child->Wait(), 3);
  EXPECT_FALSE(child->Running());
  EXPECT_EQ(*ReadFile(folder->path() + "/log"), "hello\n");
}

TEST(SubprocessTest, StopEndsAChildThatIgnoresSigterm) {
  auto child = Subprocess::Start({"sh", "-c", "trap '' TERM; while :; do sleep 1; done"});
  ASSERT_TRUE(child.ok());
  EXPECT_TRUE(child->Running());
  child->Stop(/*grace_ms=*/10);
  EXPECT_FALSE(child->Running());
}

TEST(SubprocessTest, MissingProgramIsNamed) {
  auto child = Subprocess::Start({"no-such-program-here"});
  EXPECT_EQ(child.status().code(), Code::kNotFound);
  EXPECT_NE(child.status().message().find("no-such-program-here"), std::string::npos);
  EXPECT_FALSE(HaveProgram("no-such-program-here"));
  EXPECT_TRUE(HaveProgram("sh"));
}

}  // namespace
}  // namespace tidewright::base
