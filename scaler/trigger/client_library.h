// What the triggers with a client library of their own have in common: the library is loaded when the first of them
// needs it, so that nobody else pays for it, and its sockets are waited for with a deadline. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace tidewright::scaler::trigger {

// A shared library. It stays loaded: others keep pointers into it. Look one up once and keep its functions.
class ClientLibrary {
 public:
  // `soname` as the dynamic linker searches it, for instance "libpq.so.5".
  explicit ClientLibrary(const char* soname);

  // Sets a pointer to the function of that name. Without it the library is not usable().
  template <typename Function>
  ClientLibrary& Bind(const char* name, Function** function) {
    *function = reinterpret_cast<Function*>(Find(name));
    return *this;
  }

  // It is there, with every function that was asked for.
  bool usable() const { return usable_; }

 private:
  void* Find(const char* name);

  void* handle_;
  bool usable_;
};

// The time that deadlines of sockets are in: waits for them are about a peer, not about the time of decisions.
int64_t SocketNowMs();

// Waits until `events` of poll(2) are there and returns which; kDeadlineExceeded when they do not come.
base::Result<short> WaitForSocket(int socket, short events, int64_t deadline_ms);

// The first line of a library's message, which may be null.
std::string FirstLine(const char* text);

}  // namespace tidewright::scaler::trigger
