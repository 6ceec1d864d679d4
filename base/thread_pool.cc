#include "base/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <limits>
#include <memory>

namespace tidewright::base {

ThreadPool::ThreadPool(std::string name, int threads) : name_(name.substr(0, 15)) {
  for (int i = 0; i < std::max(threads, 1); ++i) {
    workers_.emplace_back([this] { Work(); });
    pthread_setname_np(workers_.back().native_handle(), name_.c_str());
  }
}

ThreadPool::~ThreadPool() { Stop(); }

bool ThreadPool::Submit(std::function<void()> task) {
  MutexLock lock(mu_);
  if (stopping_) return false;
  queue_.push_back(std::move(task));
  wake_.NotifyOne();
  return true;
}

void ThreadPool::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  for (std::thread& worker : workers_) {
    if (worker.joinable()) worker.join();
  }
}

void ThreadPool::Work() {
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(mu_);
      while (queue_.empty() && !stopping_) wake_.Wait(mu_);
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

Scheduler::Scheduler(Clock& clock, ThreadPool& pool) : clock_(clock), pool_(pool), thread_([this] { Run(); }) {
  pthread_setname_np(thread_.native_handle(), "scheduler");
}

Scheduler::~Scheduler() { Stop(); }

Scheduler::TaskId Scheduler::At(int64_t when_ms, std::function<void()> task) {
  MutexLock lock(mu_);
  TaskId id = next_id_++;
  if (stopped_) return id;
  bool earliest = due_.empty() || when_ms < due_.begin()->first;
  tasks_.emplace(id, std::make_pair(when_ms, std::move(task)));
  if (earliest && when_ms <= clock_.NowMs()) {  // Waking the thread for it would only cost time.
    running_.insert(id);
    Dispatch(id);
    return id;
  }
  due_.emplace(when_ms, id);
  if (earliest && sleeping_ != nullptr) sleeping_->Stop();
  return id;
}

bool Scheduler::Cancel(TaskId id) {
  MutexLock lock(mu_);
  auto it = tasks_.find(id);
  if (it != tasks_.end()) {
    due_.erase({it->second.first, id});
    tasks_.erase(it);
    return true;
  }
  while (running_.count(id) > 0) idle_.Wait(mu_);
  return false;
}

void Scheduler::Stop() {
  {
    MutexLock lock(mu_);
    stopped_ = true;
    due_.clear();
    tasks_.clear();
    if (sleeping_ != nullptr) sleeping_->Stop();
  }
  if (thread_.joinable()) thread_.join();
  MutexLock lock(mu_);
  while (!running_.empty()) idle_.Wait(mu_);
}

void Scheduler::Run() {
  while (true) {
    // A StopSignal per sleep: stopping it wakes this thread to look at the queue again.
    StopSignal wake;
    int64_t deadline = 0;
    {
      MutexLock lock(mu_);
      if (stopped_) return;
      // Run what is due, then sleep until the next deadline.
      int64_t now = clock_.NowMs();
      while (!due_.empty() && due_.begin()->first <= now) {
        TaskId id = due_.begin()->second;
        due_.erase(due_.begin());
        running_.insert(id);
        Dispatch(id);
      }
      deadline = due_.empty() ? std::numeric_limits<int64_t>::max() : due_.begin()->first;
      sleeping_ = &wake;
    }
    clock_.SleepUntil(deadline, wake);
    MutexLock lock(mu_);
    sleeping_ = nullptr;
  }
}

void Scheduler::Dispatch(TaskId id) {
  auto node = tasks_.extract(id);
  auto task = std::make_shared<std::function<void()>>(std::move(node.mapped().second));
  bool queued = pool_.Submit([this, id, task] {
    (*task)();
    *task = nullptr;  // Captures die before Cancel() returns.
    MutexLock lock(mu_);
    running_.erase(id);
    idle_.NotifyAll();
  });
  if (!queued) running_.erase(id);
}

}  // namespace tidewright::base
