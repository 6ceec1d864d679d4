// StoreCopy: looks into a data directory without changing it.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "tsdb/db.h"

namespace tidewright::tsdb {

// A store opened on a copy: the log is copied, since opening repairs it; everything else is linked to. The original may
// be a store of ours or of a Prometheus, in use or not; of one in use the copy has what was written by then. Removed on
// destruction. Not thread-safe, but for db().
class StoreCopy {
 public:
  // The copy is made in a new folder in `scratch`; "" is the system's folder for temporary files. Nothing is dropped
  // for its age. Borrows `clock`.
  static base::Result<std::unique_ptr<StoreCopy>> Open(const std::string& directory, const std::string& scratch,
                                                       base::Clock& clock);
  ~StoreCopy();
  StoreCopy(const StoreCopy&) = delete;
  StoreCopy& operator=(const StoreCopy&) = delete;

  Db& db() { return *db_; }

 private:
  explicit StoreCopy(std::string copy) : copy_(std::move(copy)) {}
  base::Status Copy(const std::string& directory) const;

  const std::string copy_;
  std::unique_ptr<Db> db_;
};

}  // namespace tidewright::tsdb
