// SendState: what an endpoint of remote write remembers over restarts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "tsdb/log_tail.h"

namespace tidewright::remote {

// A window is the stretch of the log that is sent as one. It is cut into requests by what the log holds and by the
// limits that are remembered here, so that the same window gives the same requests: after a crash they are sent again
// as they were, and the receiver has each as a whole or not at all.
struct SendState {
  tsdb::LogPosition begin;               // Up to here, everything was taken or refused for good.
  std::optional<tsdb::LogPosition> end;  // Of the window that is being sent.
  int64_t shards = 1;
  int64_t samples_per_send = 0;

  friend bool operator==(const SendState&, const SendState&) = default;
};

// kNotFound when there is no file, or an empty one; kDataLoss when it says something else.
base::Result<SendState> LoadSendState(const std::string& path);

// Writes the state in place, in one call: whoever is killed leaves the one before or the next. A power failure may
// leave an older one; then what was sent since is sent again. Not thread-safe.
class SendStateFile {
 public:
  explicit SendStateFile(std::string path) : path_(std::move(path)) {}
  ~SendStateFile();
  SendStateFile(const SendStateFile&) = delete;
  SendStateFile& operator=(const SendStateFile&) = delete;

  base::Status Save(const SendState& state);
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
  int fd_ = -1;
};

}  // namespace tidewright::remote
