#include "remote/send_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/file.h"
#include "base/json.h"

namespace tidewright::remote {

namespace {

constexpr size_t kFileBytes = 256;  // More than a state takes; the rest is blank, so that nothing older shows.

base::Json PositionJson(const tsdb::LogPosition& position) {
  return {{"segment", position.segment}, {"offset", position.offset}};
}

tsdb::LogPosition PositionOf(const base::Json& json, const char* member) {
  return {static_cast<int>(base::FindInt(json, {member, "segment"})),
          static_cast<uint64_t>(base::FindInt(json, {member, "offset"}))};
}

base::Status FileError(const std::string& path, const char* what) {
  return base::UnavailableError(std::string(what) + " " + path + ": " + std::generic_category().message(errno));
}

}  // namespace

base::Result<SendState> LoadSendState(const std::string& path) {
  TW_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path));
  if (text.empty()) return base::NotFoundError(path + " is empty");
  auto json = base::ParseJson(text);
  if (!json.ok() || !json->is_object() || !json->contains("begin")) {
    return base::DataLossError(path + " is not the state of a remote write");
  }
  SendState state;
  state.begin = PositionOf(*json, "begin");
  if (json->contains("end")) state.end = PositionOf(*json, "end");
  state.shards = std::max<int64_t>(1, base::FindInt(*json, {"shards"}, 1));
  state.samples_per_send = std::max<int64_t>(0, base::FindInt(*json, {"samples_per_send"}));
  return state;
}

SendStateFile::~SendStateFile() {
  if (fd_ >= 0) close(fd_);
}

base::Status SendStateFile::Save(const SendState& state) {
  if (fd_ < 0) fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) return FileError(path_, "create");
  base::Json json = {
      {"begin", PositionJson(state.begin)}, {"shards", state.shards}, {"samples_per_send", state.samples_per_send}};
  if (state.end) json["end"] = PositionJson(*state.end);
  std::string text = base::DumpJson(json);
  text.resize(std::max(text.size(), kFileBytes - 1), ' ');
  text += '\n';
  const ssize_t written = pwrite(fd_, text.data(), text.size(), 0);
  return written == static_cast<ssize_t>(text.size()) ? base::Status::Ok() : FileError(path_, "write to");
}

}  // namespace tidewright::remote
