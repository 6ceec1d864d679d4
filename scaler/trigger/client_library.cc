#include "scaler/trigger/client_library.h"

#include <dlfcn.h>
#include <poll.h>

#include <algorithm>

#include "base/boot_clock.h"
#include "base/strings.h"

namespace tidewright::scaler::trigger {

ClientLibrary::ClientLibrary(const char* soname)
    : handle_(dlopen(soname, RTLD_NOW | RTLD_LOCAL)), usable_(handle_ != nullptr) {}

void* ClientLibrary::Find(const char* name) {
  void* found = handle_ == nullptr ? nullptr : dlsym(handle_, name);
  if (found == nullptr) usable_ = false;
  return found;
}

int64_t SocketNowMs() { return base::BootClock::Get().NowMs(); }

base::Result<short> WaitForSocket(int socket, short events, int64_t deadline_ms) {
  pollfd waiting{socket, events, 0};
  int64_t left = std::max<int64_t>(0, deadline_ms - SocketNowMs());
  if (poll(&waiting, 1, static_cast<int>(left)) > 0) return waiting.revents;
  return base::DeadlineExceededError("no answer within the timeout");
}

std::string FirstLine(const char* text) {
  std::string line = text == nullptr ? "" : text;
  return std::string(base::TrimSpace(line.substr(0, std::min<size_t>(line.find('\n'), 300))));
}

}  // namespace tidewright::scaler::trigger
