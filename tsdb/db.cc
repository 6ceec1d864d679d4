#include "tsdb/db.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/head.h"
#include "tsdb/head_querier.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

class HeadAppender : public Appender {
 public:
  explicit HeadAppender(Head& head) : head_(head) {}
  ~HeadAppender() override { head_.Rollback(&batch_); }

  base::Result<SeriesRef> Append(SeriesRef ref, const Labels& labels, int64_t t, double value) override {
    return head_.Admit(&batch_, ref, labels, {t, value});
  }
  void AppendBatch(std::span<const SeriesRef> refs, std::span<const double> values, int64_t t,
                   std::vector<BatchRejection>* rejected) override {
    head_.AdmitAll(&batch_, refs, values, t, rejected);
  }
  void UpdateMetadata(const std::string& family, const Metadata& metadata) override {
    batch_.families[family] = metadata;
  }
  base::Status Commit() override { return head_.Commit(&batch_); }
  void Rollback() override { head_.Rollback(&batch_); }

 private:
  Head& head_;
  HeadBatch batch_;
};

// Holds the directory for this process.
class DirectoryLock {
 public:
  static base::Result<DirectoryLock> Acquire(const std::string& directory) {
    const std::string path = directory + "/lock";
    int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return FileError("open lock file", path, errno);
    DirectoryLock lock(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno != EWOULDBLOCK) return FileError("lock", path, errno);
    return base::FailedPreconditionError("database " + directory +
                                         " is in use by another process; stop it or choose another directory");
  }
  DirectoryLock() = default;
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~DirectoryLock() {
    if (fd_ >= 0) close(fd_);
  }

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

class DbImpl : public Db {
 public:
  DbImpl(DirectoryLock lock, const DbOptions& options, base::Clock& clock, base::MetricRegistry* metrics)
      : lock_(std::move(lock)), head_(options, clock, metrics) {}
  ~DbImpl() override {
    base::Status status = Close();
    if (!status.ok()) base::LogError("tsdb", "closing the database failed", {{"error", status.ToString()}});
  }

  base::Status OpenLog(const std::string& directory) { return head_.OpenLog(directory); }

  std::unique_ptr<Appender> NewAppender() override { return std::make_unique<HeadAppender>(head_); }
  base::Result<std::unique_ptr<Querier>> NewQuerier(int64_t mint, int64_t maxt) override {
    return NewHeadQuerier(head_, mint, maxt);
  }
  std::map<std::string, Metadata> AllMetadata() const override { return head_.AllMetadata(); }
  uint64_t SeriesEpoch() const override { return head_.index().epoch(); }
  base::Status Maintain() override { return head_.Maintain(); }
  DbStats Stats() const override { return head_.Stats(); }
  base::Status Close() override { return head_.CloseLog(); }

 private:
  DirectoryLock lock_;
  Head head_;
};

}  // namespace

base::Result<std::unique_ptr<Db>> Db::Open(const std::string& directory, const DbOptions& options, base::Clock& clock,
                                           base::MetricRegistry* metrics) {
  if (directory.empty()) return std::unique_ptr<Db>(new DbImpl(DirectoryLock(), options, clock, metrics));
  TW_RETURN_IF_ERROR(base::MakeDirectories(directory));
  TW_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::Acquire(directory));
  auto db = std::make_unique<DbImpl>(std::move(lock), options, clock, metrics);
  TW_RETURN_IF_ERROR(db->OpenLog(directory));
  return std::unique_ptr<Db>(std::move(db));
}

}  // namespace tidewright::tsdb
