// A full disk for tests.
#pragma once

#include <signal.h>
#include <sys/resource.h>

namespace tidewright::tsdb::testing {

// Limits the size of files that this process writes, which is what a full disk looks like from here. It holds for all
// threads.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_;
};

}  // namespace tidewright::tsdb::testing
