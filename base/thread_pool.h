// A limited set of worker threads, and a scheduler that runs tasks on them at given times.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace tidewright::base {

// Runs tasks on a limited number of threads, first in, first out. Thread-safe. Tasks must not throw.
class ThreadPool {
 public:
  // At most `threads` (at least 1) workers, each started when a task finds the others busy; `name`: 15 bytes.
  ThreadPool(std::string name, int threads);
  ~ThreadPool();  // Stop().
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Queues `task`. Returns false, and drops the task, after Stop().
  bool Submit(std::function<void()> task);

  // Refuses new tasks, runs what is queued, joins the workers. Idempotent; must not be called from a worker.
  void Stop();

 private:
  struct Queue;
  static void Work(Queue& queue);

  const std::string name_;
  const std::shared_ptr<Queue> queue_;  // Shared with calls of Submit() that are about to end.
  std::vector<std::thread> workers_;    // Under the queue's lock, until Stop().
};

// Runs tasks at given clock times on a ThreadPool: one thread and one ordered queue for any number of periodic jobs.
// Thread-safe. Borrows `clock` and `pool`, which must outlive it.
class Scheduler {
 public:
  using TaskId = uint64_t;

  Scheduler(Clock& clock, ThreadPool& pool);
  ~Scheduler();  // Stop().
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Runs `task` once, when the clock reaches `when_ms` (at once if that has passed). After Stop() the task is dropped.
  TaskId At(int64_t when_ms, std::function<void()> task);

  // The same on the scheduler's own thread, which saves waking another: for tasks that are short and never wait for
  // anything but a lock that is held for a moment. They must not call Stop() or Cancel().
  TaskId AtBriefly(int64_t when_ms, std::function<void()> task);

  // Forgets a task; if it is running, waits for it to end. Returns true if the task had not started.
  // Must not be called by the task itself.
  bool Cancel(TaskId id);

  // Drops the tasks that have not started, waits for the running ones. Idempotent. The pool must still be running.
  void Stop();

  Clock& clock() { return clock_; }

 private:
  struct Task {
    TaskId id = 0;
    int64_t when_ms = 0;
    bool brief = false;
    std::function<void()> run;
  };

  TaskId Add(Task task);
  void Run();
  std::vector<Task> TakeDue() REQUIRES_LOCK(mu_);
  void Start(Task task);
  void End(TaskId id);

  Clock& clock_;
  ThreadPool& pool_;
  Mutex mu_;
  CondVar idle_;
  std::set<std::pair<int64_t, TaskId>> due_ GUARDED_BY(mu_);
  std::unordered_map<TaskId, Task> tasks_ GUARDED_BY(mu_);
  std::set<TaskId> running_ GUARDED_BY(mu_);
  TaskId next_id_ GUARDED_BY(mu_) = 1;
  bool stopped_ GUARDED_BY(mu_) = false;
  StopSignal* sleeping_ GUARDED_BY(mu_) = nullptr;
  std::thread thread_;  // Written by the constructor and Stop() only.
};

}  // namespace tidewright::base
