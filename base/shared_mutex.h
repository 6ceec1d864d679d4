// SharedMutex: many readers or one writer, with Clang's thread-safety annotations.
#pragma once

#include <shared_mutex>

#include "base/mutex.h"

#define REQUIRES_SHARED_LOCK(...) TW_THREAD_ATTRIBUTE(requires_shared_capability(__VA_ARGS__))

namespace tidewright::base {

// Non-recursive. Thread-safe.
class CAPABILITY("mutex") SharedMutex {
 public:
  SharedMutex() = default;
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void Lock() ACQUIRE_LOCK() { mu_.lock(); }
  void Unlock() RELEASE_LOCK() { mu_.unlock(); }
  void LockShared() TW_THREAD_ATTRIBUTE(acquire_shared_capability()) { mu_.lock_shared(); }
  void UnlockShared() TW_THREAD_ATTRIBUTE(release_shared_capability()) { mu_.unlock_shared(); }

 private:
  std::shared_mutex mu_;
};

// Holds a SharedMutex for a scope, as its only holder.
class SCOPED_CAPABILITY WriterLock {
 public:
  explicit WriterLock(SharedMutex& mu) ACQUIRE_LOCK(mu) : mu_(mu) { mu_.Lock(); }
  ~WriterLock() RELEASE_LOCK() { mu_.Unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedMutex& mu_;
};

// Holds a SharedMutex for a scope, together with other readers.
class SCOPED_CAPABILITY ReaderLock {
 public:
  explicit ReaderLock(SharedMutex& mu) TW_THREAD_ATTRIBUTE(acquire_shared_capability(mu)) : mu_(mu) {
    mu_.LockShared();
  }
  ~ReaderLock() RELEASE_LOCK() { mu_.UnlockShared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedMutex& mu_;
};

}  // namespace tidewright::base
