// Mutex, MutexLock and CondVar with Clang's thread-safety annotations.
//
// libstdc++'s mutexes carry no annotations, so these thin wrappers exist. Members that a lock guards say
// GUARDED_BY(mu_); private methods that expect it say REQUIRES_LOCK(mu_); the `clang` preset checks both with
// -Wthread-safety.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define TW_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define TW_THREAD_ATTRIBUTE(x)
#endif

#define CAPABILITY(x) TW_THREAD_ATTRIBUTE(capability(x))
#define SCOPED_CAPABILITY TW_THREAD_ATTRIBUTE(scoped_lockable)
#define GUARDED_BY(x) TW_THREAD_ATTRIBUTE(guarded_by(x))
#define PT_GUARDED_BY(x) TW_THREAD_ATTRIBUTE(pt_guarded_by(x))
#define REQUIRES_LOCK(...) TW_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define ACQUIRE_LOCK(...) TW_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE_LOCK(...) TW_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define EXCLUDES_LOCK(...) TW_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS TW_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace tidewright::base {

// A non-recursive mutual exclusion lock. Thread-safe.
class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ACQUIRE_LOCK() { mu_.lock(); }
  void Unlock() RELEASE_LOCK() { mu_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mu_;
};

// Holds a Mutex for a scope.
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mu) ACQUIRE_LOCK(mu) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() RELEASE_LOCK() { mu_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

// A condition variable that waits on a Mutex. Wakeups may be spurious: wait in a loop over the condition.
class CondVar {
 public:
  // Releases `mu`, waits, and holds it again on return.
  void Wait(Mutex& mu) REQUIRES_LOCK(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // As Wait, at most `timeout`. Returns false when the time ran out.
  bool WaitFor(Mutex& mu, std::chrono::milliseconds timeout) REQUIRES_LOCK(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    // An absolute system_clock wait: libstdc++ maps it to pthread_cond_timedwait, which thread sanitizers intercept.
    bool woken = cv_.wait_until(lock, std::chrono::system_clock::now() + timeout) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace tidewright::base
