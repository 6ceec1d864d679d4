#include "http/io_loop.h"

#include <pthread.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <utility>

#include "base/log.h"

namespace tidewright::http {

namespace {

// How long the other connections wait for a task. Waking a thread takes a tenth of it, most answers less than half.
constexpr int64_t kPatienceNanos = 200'000;

}  // namespace

IoLoop::IoLoop(const std::string& name) : timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {
  auto start = [this, &name](bool leads) {
    return std::thread([this, name, leads] {
      pthread_setname_np(pthread_self(), name.c_str());
      Work(leads);
    });
  };
  threads_[0] = start(/*leads=*/true);
  if (timer_ >= 0) threads_[1] = start(/*leads=*/false);
}

IoLoop::~IoLoop() {
  Stop();
  if (timer_ >= 0) close(timer_);
}

bool IoLoop::Offer(std::function<void()>& task) {
  if (timer_ < 0) return false;
  base::MutexLock lock(mu_);
  if (state_ != Task::kNone) return false;
  state_ = Task::kOffered;
  task_ = std::move(task);
  return true;
}

void IoLoop::WaitForTask() {
  base::MutexLock lock(mu_);
  while (state_ != Task::kNone) ended_.Wait(mu_);
}

void IoLoop::Stop() {
  work_.reset();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  // What responders posted while the threads ended refers to the loop that would keep it.
  context.restart();
  context.poll();
}

void IoLoop::Work(bool leads) {
  while (leads || WaitToLead()) {
    leads = false;
    if (Lead()) continue;
    {
      base::MutexLock lock(mu_);
      stopped_ = true;
    }
    return SetTimer(1);
  }
}

// Until the other thread leads: true, or there is nothing left to do.
bool IoLoop::Lead() {
  while (RunSome(&boost::asio::io_context::run_one)) {
    if (!task_) continue;
    RunSome(&boost::asio::io_context::poll);  // Whatever came together with it is for the workers.
    if (!RunTask()) return true;
  }
  return false;
}

// False when there was nothing to run.
bool IoLoop::RunSome(size_t (boost::asio::io_context::*run)()) {
  try {
    return (context.*run)() > 0;
  } catch (const std::exception& error) {
    // Out of memory in one connection's handler; the others go on.
    base::LogError("http", "unexpected exception on an I/O thread", {{"error", error.what()}});
    return true;
  }
}

// False when the other thread has taken the lead meanwhile.
bool IoLoop::RunTask() {
  std::function<void()> task = std::exchange(task_, nullptr);
  {
    base::MutexLock lock(mu_);
    state_ = Task::kRunning;
  }
  SetTimer(kPatienceNanos);
  task();
  task = nullptr;  // Captures die before WaitForTask() returns.
  bool leads = false;
  {
    base::MutexLock lock(mu_);
    leads = std::exchange(state_, Task::kNone) == Task::kRunning;
    ended_.NotifyAll();
  }
  if (leads) SetTimer(0);
  return leads;
}

// False when the loop was stopped.
bool IoLoop::WaitToLead() {
  while (true) {
    uint64_t expirations = 0;
    const ssize_t count = read(timer_, &expirations, sizeof expirations);
    base::MutexLock lock(mu_);
    if (stopped_) return false;
    if (count < 0 && errno != EINTR) return false;
    // The timer may have been set for a task that has ended.
    if (state_ != Task::kRunning) continue;
    state_ = Task::kLeftBehind;
    return true;
  }
}

// Has it expire once, or with 0 not at all.
void IoLoop::SetTimer(int64_t nanos) {
  itimerspec when = {};
  when.it_value.tv_nsec = nanos;
  timerfd_settime(timer_, 0, &when, nullptr);
}

}  // namespace tidewright::http
