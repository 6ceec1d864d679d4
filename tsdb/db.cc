#include "tsdb/db.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "tsdb/head.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

class HeadAppender : public Appender {
 public:
  explicit HeadAppender(Head& head) : head_(head) { batch_.id = head.NewBatchId(); }
  ~HeadAppender() override { head_.Rollback(&batch_); }

  base::Result<SeriesRef> Append(SeriesRef ref, const Labels& labels, int64_t t, double value) override {
    return head_.Admit(&batch_, ref, labels, {t, value});
  }
  void UpdateMetadata(const std::string& family, const Metadata& metadata) override {
    batch_.families[family].metadata = metadata;
  }
  base::Status Commit() override { return head_.Commit(&batch_); }
  void Rollback() override { head_.Rollback(&batch_); }

 private:
  Head& head_;
  HeadBatch batch_;
};

// Walks the chunks that a query sees of one series.
class HeadSampleIterator : public SampleIterator {
 public:
  HeadSampleIterator(std::vector<MemorySeries::View> views, int64_t mint, int64_t maxt)
      : views_(std::move(views)), reader_(Open(0)), mint_(mint), maxt_(maxt) {}

  bool Next() override {
    while (!done_) {
      if (!reader_.Next()) {
        done_ = ++current_ >= views_.size();
        if (!done_) reader_ = Open(current_);
      } else if (reader_.At().t > maxt_) {
        done_ = true;
      } else if (reader_.At().t >= mint_) {
        started_ = true;
        return true;
      }
    }
    return false;
  }

  bool Seek(int64_t t) override {
    if (done_) return false;
    if (started_ && reader_.At().t >= t) return true;
    // Chunks that end before `t` are not decoded.
    size_t target = current_;
    while (target + 1 < views_.size() && views_[target].chunk->max_time < t) ++target;
    if (target != current_) {
      current_ = target;
      reader_ = Open(target);
    }
    while (Next()) {
      if (reader_.At().t >= t) return true;
    }
    return false;
  }

  Sample At() const override { return reader_.At(); }

 private:
  XorChunkReader Open(size_t index) const {
    if (index >= views_.size()) return XorChunkReader(kNoSamples);
    return XorChunkReader(views_[index].chunk->bytes, views_[index].visible);
  }

  static constexpr std::string_view kNoSamples{"\0\0", 2};
  const std::vector<MemorySeries::View> views_;
  size_t current_ = 0;
  XorChunkReader reader_;
  const int64_t mint_;
  const int64_t maxt_;
  bool started_ = false;
  bool done_ = false;
};

class HeadSeries : public Series {
 public:
  HeadSeries(SeriesPtr series, int64_t mint, int64_t maxt, CommitSequence reader)
      : series_(std::move(series)), mint_(mint), maxt_(maxt), reader_(reader) {}

  const Labels& labels() const override { return series_->labels(); }
  std::unique_ptr<SampleIterator> Iterator() const override {
    return std::make_unique<HeadSampleIterator>(series_->Read(mint_, maxt_, reader_), mint_, maxt_);
  }

 private:
  const SeriesPtr series_;
  const int64_t mint_;
  const int64_t maxt_;
  const CommitSequence reader_;
};

class HeadQuerier : public Querier {
 public:
  HeadQuerier(Head& head, int64_t mint, int64_t maxt)
      : head_(head), mint_(std::max(mint, head.MinValidTime())), maxt_(maxt), reader_(head.BeginRead()) {}
  ~HeadQuerier() override { head_.EndRead(reader_); }

  base::Result<std::vector<std::unique_ptr<Series>>> Select(const SelectHints&, const Matchers& matchers) override {
    std::vector<SeriesPtr> found = Find(matchers);
    std::sort(found.begin(), found.end(),
              [](const SeriesPtr& a, const SeriesPtr& b) { return a->labels() < b->labels(); });
    std::vector<std::unique_ptr<Series>> result;
    result.reserve(found.size());
    for (SeriesPtr& series : found) {
      result.push_back(std::make_unique<HeadSeries>(std::move(series), mint_, maxt_, reader_));
    }
    return result;
  }

  base::Result<std::vector<std::string>> LabelNames(const Matchers& matchers) override {
    if (matchers.empty()) return head_.LabelNames();
    std::set<std::string> names;
    for (const SeriesPtr& series : Find(matchers)) {
      for (const Label& label : series->labels()) names.insert(label.name);
    }
    return std::vector<std::string>(names.begin(), names.end());
  }

  base::Result<std::vector<std::string>> LabelValues(const std::string& name, const Matchers& matchers) override {
    if (matchers.empty()) return head_.LabelValues(name);
    std::set<std::string> values;
    for (const SeriesPtr& series : Find(matchers)) values.emplace(series->labels().Get(name));
    values.erase("");
    return std::vector<std::string>(values.begin(), values.end());
  }

 private:
  std::vector<SeriesPtr> Find(const Matchers& matchers) {
    std::vector<SeriesPtr> found = head_.Find(matchers);
    auto unseen = [this](const SeriesPtr& series) { return !series->MayHave(mint_, maxt_, reader_); };
    found.erase(std::remove_if(found.begin(), found.end(), unseen), found.end());
    return found;
  }

  Head& head_;
  const int64_t mint_;
  const int64_t maxt_;
  const CommitSequence reader_;
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
    return std::unique_ptr<Querier>(std::make_unique<HeadQuerier>(head_, mint, maxt));
  }
  std::map<std::string, Metadata> AllMetadata() const override { return head_.AllMetadata(); }
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
  TW_RETURN_IF_ERROR(db->OpenLog(directory + "/wal"));
  return std::unique_ptr<Db>(std::move(db));
}

}  // namespace tidewright::tsdb
