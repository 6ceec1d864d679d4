// A disk that is full or read-only: ingestion stops with an error that says so, goes on by itself when there is room
// again, and nothing that was acknowledged is lost. On a small file system of the test's own, which takes root.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "tests/tsdb/store.h"
#include "tsdb/verify.h"

namespace tidewright::tsdb {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using ::testing::HasSubstr;
using testing::ReadAll;

constexpr int64_t kStart = 1'699'999'200'000;
constexpr int64_t kMinute = 60'000;
constexpr int kSeries = 40;

// A file system of `size` bytes at a directory, in a mount namespace that only this process sees.
class DiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base::SetLogLevel(base::LogLevel::kError);
    ASSERT_TRUE(base::LogToFile("/dev/null").ok());
    ASSERT_TRUE(base::MakeDirectories(root_).ok());
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", root_.c_str(), "tmpfs", 0, "size=2m") != 0) {
      GTEST_SKIP() << "no file system of one's own can be mounted here (" << std::strerror(errno)
                   << "): nothing checks what a full or read-only disk does";
    }
    mounted_ = true;
    Open();
  }
  void TearDown() override {
    db_.reset();
    if (mounted_) umount2(root_.c_str(), MNT_DETACH);
  }

  void Open() {
    db_.reset();
    auto db = Db::Open(data_, options_, clock_, nullptr);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::move(db).value();
  }

  // One scrape; remembered if it was acknowledged.
  base::Status Scrape() {
    const int64_t t = kStart + minute_++ * kMinute;
    clock_.Set(t);
    std::vector<testing::NewSample> samples;
    for (int i = 0; i < kSeries; ++i) {
      auto labels = Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}});
      samples.push_back({labels, t, static_cast<double>(minute_ * minute_ * (i + 1)) / 7});
    }
    TW_RETURN_IF_ERROR(testing::Write(*db_, samples));
    for (const auto& [labels, at, value] : samples) {
      acknowledged_[labels.ToString()].push_back(testing::Print({at, value}));
    }
    return base::Status::Ok();
  }

  // Leaves `room` bytes.
  void Fill(uint64_t room) {
    const uint64_t available = fs::space(root_).available;
    std::ofstream(root_ + "/ballast", std::ios::binary) << std::string(available > room ? available - room : 0, 'x');
  }
  void MakeRoom() { fs::remove(root_ + "/ballast"); }

  base::TempDir directory_ = *base::TempDir::Create("tsdb-disk");
  const std::string root_ = directory_.path() + "/mounted";
  const std::string data_ = root_ + "/data";
  bool mounted_ = false;
  base::FakeClock clock_{kStart};
  DbOptions options_{.retention_ms = 1000 * testing::kHourMs, .wal_segment_bytes = 16 << 10};
  std::unique_ptr<Db> db_;
  int minute_ = 0;
  Contents acknowledged_;
};

TEST_F(DiskTest, IngestionStopsWhenFullAndGoesOnByItself) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Scrape().ok());
  for (int round = 0; round < 3; ++round) {
    Fill(8 << 10);
    base::Status status;
    for (int i = 0; i < 1000 && status.ok(); ++i) status = Scrape();
    EXPECT_EQ(status.code(), base::Code::kResourceExhausted) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(data_ + "/log/")) << "it says where";
    EXPECT_THAT(status.message(), HasSubstr("free space")) << "and what to do";
    EXPECT_FALSE(Scrape().ok());
    EXPECT_EQ(ReadAll(*db_), acknowledged_);
    (void)db_->Maintain();
    EXPECT_EQ(ReadAll(*db_), acknowledged_);
    if (round == 1) Open();  // Also a start on a full disk.
    EXPECT_EQ(ReadAll(*db_), acknowledged_);
    MakeRoom();
    for (int i = 0; i < 30; ++i) {
      base::Status again = Scrape();
      ASSERT_TRUE(again.ok()) << again.ToString();
    }
  }
  ASSERT_TRUE(db_->Maintain().ok());
  EXPECT_EQ(ReadAll(*db_), acknowledged_);
  Open();
  EXPECT_EQ(ReadAll(*db_), acknowledged_);
  EXPECT_EQ(db_->Stats().wal_corruptions, 0u);
  EXPECT_TRUE(VerifyDirectory(data_)->faults.empty());
}

TEST_F(DiskTest, BlocksThatDoNotFitAreMadeLater) {
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(Scrape().ok());
  for (uint64_t room : {uint64_t{0}, uint64_t{4096}, uint64_t{12 << 10}, uint64_t{24 << 10}}) {
    SCOPED_TRACE(room);
    Fill(room);
    EXPECT_FALSE(db_->Maintain().ok());
    EXPECT_EQ(ReadAll(*db_), acknowledged_);
    EXPECT_FALSE(db_->Snapshot(root_ + "/snapshot", /*without_head=*/false).ok());
    fs::remove_all(root_ + "/snapshot");
    MakeRoom();
  }
  auto maintained = db_->Maintain();
  EXPECT_TRUE(maintained.ok()) << maintained.ToString();
  EXPECT_GE(db_->Stats().blocks, 1u);
  EXPECT_EQ(ReadAll(*db_), acknowledged_);
  for (const fs::directory_entry& entry : fs::directory_iterator(data_)) {
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path() << " is left over";
  }
  // Closing with no room keeps everything in the log.
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Scrape().ok());
  Fill(0);
  (void)db_->Close();
  MakeRoom();
  Open();
  EXPECT_EQ(ReadAll(*db_), acknowledged_);
}

TEST_F(DiskTest, ReadOnlyAndBack) {
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(Scrape().ok());
  // What is opened from now on is read-only; what is open already goes on.
  ASSERT_EQ(mount(data_.c_str(), data_.c_str(), nullptr, MS_BIND, nullptr), 0);
  ASSERT_EQ(mount(nullptr, data_.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr), 0);
  base::Status status;
  for (int i = 0; i < 2000 && status.ok(); ++i) status = Scrape();
  EXPECT_EQ(status.code(), base::Code::kUnavailable) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("Read-only file system"));
  EXPECT_EQ(ReadAll(*db_), acknowledged_);
  EXPECT_FALSE(db_->Maintain().ok());
  EXPECT_EQ(ReadAll(*db_), acknowledged_);
  auto second = Db::Open(data_, options_, clock_, nullptr);
  EXPECT_THAT(second.status().ToString(), HasSubstr("Read-only file system")) << "a start says why it is none";
  ASSERT_EQ(umount2(data_.c_str(), MNT_DETACH), 0);
  for (int i = 0; i < 50; ++i) {
    base::Status again = Scrape();
    ASSERT_TRUE(again.ok()) << again.ToString();
  }
  ASSERT_TRUE(db_->Maintain().ok());
  EXPECT_EQ(ReadAll(*db_), acknowledged_);
  Open();
  EXPECT_EQ(ReadAll(*db_), acknowledged_);
}

}  // namespace
}  // namespace tidewright::tsdb
