#include "tsdb/store_copy.h"

#include <filesystem>
#include <utility>

#include "base/file.h"
#include "tsdb/block_meta.h"
#include "tsdb/wal_files.h"

namespace tidewright::tsdb {

namespace {

namespace fs = std::filesystem;

base::Status CopyError(const fs::path& from, const std::error_code& error) {
  return base::UnavailableError("copy " + from.string() + ": " + error.message());
}

// `to` gets links to the files of the folder `from`, or copies where `copied` says so.
template <class Copied>
base::Status LinkFiles(const fs::path& from, const fs::path& to, Copied copied) {
  TW_RETURN_IF_ERROR(base::MakeDirectories(to.string()));
  std::error_code error;
  for (fs::directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    const fs::path name = it->path().filename();
    std::error_code failed;
    if (copied(name.string())) {
      fs::copy(it->path(), to / name, fs::copy_options::recursive, failed);
    } else {
      fs::create_symlink(it->path(), to / name, failed);
    }
    // Of a store in use, files go as well as come.
    if (failed && failed != std::errc::no_such_file_or_directory) return CopyError(it->path(), failed);
  }
  return error ? CopyError(from, error) : base::Status::Ok();
}

bool Always(const std::string&) { return true; }
bool Never(const std::string&) { return false; }
// What of a block may be written anew.
bool Changes(const std::string& name) { return name == "meta.json" || name == "tombstones"; }

}  // namespace

base::Result<std::unique_ptr<StoreCopy>> StoreCopy::Open(const std::string& directory, const std::string& scratch,
                                                         base::Clock& clock) {
  std::error_code error;
  const fs::path from = fs::absolute(directory, error);
  if (error || !fs::is_directory(from, error)) {
    return base::NotFoundError("open " + directory + ": there is no such directory");
  }
  const std::string root = scratch.empty() ? fs::temp_directory_path(error).string() : scratch;
  if (error) return base::UnavailableError("find a folder for temporary files: " + error.message());
  std::unique_ptr<StoreCopy> copy(new StoreCopy(root + "/tidewright-copy-" + NewUlid(clock.NowMs())));
  TW_RETURN_IF_ERROR(copy->Copy(from.string()));
  DbOptions options;
  options.retention_ms = INT64_MAX;
  TW_ASSIGN_OR_RETURN(copy->db_, Db::Open(copy->copy_, options, clock, nullptr));
  return copy;
}

StoreCopy::~StoreCopy() {
  db_.reset();
  (void)RemoveTree(copy_);
}

// The log goes first and blocks last: what moves from one to the other in the meantime is then in both.
base::Status StoreCopy::Copy(const std::string& directory) const {
  TW_RETURN_IF_ERROR(base::MakeDirectories(copy_));
  const fs::path from = directory, to = copy_;
  std::error_code error;
  if (fs::exists(from / "log", error)) TW_RETURN_IF_ERROR(LinkFiles(from / "log", to / "log", Always));
  for (const char* name : {"head_chunks", "wal", "wbl", "chunks_head"}) {
    if (fs::exists(from / name, error)) TW_RETURN_IF_ERROR(LinkFiles(from / name, to / name, Never));
  }
  for (fs::directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    const fs::path name = it->path().filename();
    if (IsUlid(name.string())) TW_RETURN_IF_ERROR(LinkFiles(it->path(), to / name, Changes));
  }
  return error ? CopyError(from, error) : base::Status::Ok();
}

}  // namespace tidewright::tsdb
