#include "cmd/signals.h"

#include <signal.h>
#include <time.h>

namespace tidewright::cmd {

namespace {

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

void BlockSignals() {
  sigset_t set = HandledSignals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

int WaitForSignal(int64_t timeout_ms) {
  sigset_t set = HandledSignals();
  timespec timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1'000'000};
  int signal = ::sigtimedwait(&set, nullptr, &timeout);
  return signal > 0 ? signal : 0;
}

}  // namespace tidewright::cmd
