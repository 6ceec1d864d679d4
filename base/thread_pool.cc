#include "base/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <system_error>

namespace tidewright::base {

struct ThreadPool::Queue {
  explicit Queue(int threads) : max_workers(static_cast<size_t>(std::max(threads, 1))) {}
  bool WantsWorker(size_t workers) const REQUIRES_LOCK(mu) { return tasks.size() > idle && workers < max_workers; }
  static void AddWorker(const std::shared_ptr<Queue>& queue, const std::string& name,
                        std::vector<std::thread>* workers);

  const size_t max_workers;
  Mutex mu;
  CondVar wake;
  std::deque<std::function<void()>> tasks GUARDED_BY(mu);
  size_t idle GUARDED_BY(mu) = 0;  // Workers that wait for a task, or have been woken for one.
  bool stopping GUARDED_BY(mu) = false;
};

// A thread that the system refuses leaves its tasks to the others.
void ThreadPool::Queue::AddWorker(const std::shared_ptr<Queue>& queue, const std::string& name,
                                  std::vector<std::thread>* workers) {
  try {
    workers->emplace_back([queue, name] {
      pthread_setname_np(pthread_self(), name.c_str());  // From outside it would go through /proc.
      Work(*queue);
    });
  } catch (const std::system_error&) {
    if (workers->empty()) throw;
  }
}

ThreadPool::ThreadPool(std::string name, int threads)
    : name_(name.substr(0, 15)), queue_(std::make_shared<Queue>(threads)) {}

ThreadPool::~ThreadPool() { Stop(); }

bool ThreadPool::Submit(std::function<void()> task) {
  // The task may be what the owner of the pool waited for before it lets the pool go.
  const std::shared_ptr<Queue> queue = queue_;
  {
    MutexLock lock(queue->mu);
    if (queue->stopping) return false;
    queue->tasks.push_back(std::move(task));
    if (queue->WantsWorker(workers_.size())) {
      Queue::AddWorker(queue, name_, &workers_);
      return true;
    }
  }
  // Whoever wakes wants the lock: without it here, it need not go to sleep again at once.
  queue->wake.NotifyOne();
  return true;
}

void ThreadPool::Stop() {
  {
    MutexLock lock(queue_->mu);
    queue_->stopping = true;
    queue_->wake.NotifyAll();
  }
  for (std::thread& worker : workers_) {
    if (worker.joinable()) worker.join();
  }
}

void ThreadPool::Work(Queue& queue) {
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(queue.mu);
      ++queue.idle;
      while (queue.tasks.empty() && !queue.stopping) queue.wake.Wait(queue.mu);
      --queue.idle;
      if (queue.tasks.empty()) return;
      task = std::move(queue.tasks.front());
      queue.tasks.pop_front();
    }
    task();
  }
}

Scheduler::Scheduler(Clock& clock, ThreadPool& pool)
    : clock_(clock), pool_(pool), thread_([this] {
        pthread_setname_np(pthread_self(), "scheduler");
        Run();
      }) {}

Scheduler::~Scheduler() { Stop(); }

Scheduler::TaskId Scheduler::At(int64_t when_ms, std::function<void()> task) {
  return Add({.when_ms = when_ms, .run = std::move(task)});
}

Scheduler::TaskId Scheduler::AtBriefly(int64_t when_ms, std::function<void()> task) {
  return Add({.when_ms = when_ms, .brief = true, .run = std::move(task)});
}

Scheduler::TaskId Scheduler::Add(Task task) {
  const int64_t when_ms = task.when_ms;
  TaskId id = 0;
  {
    MutexLock lock(mu_);
    id = task.id = next_id_++;
    if (stopped_) return id;
    const bool earliest = due_.empty() || when_ms < due_.begin()->first;
    const bool at_once = !task.brief && earliest && when_ms <= clock_.NowMs();
    if (!at_once) {
      tasks_.emplace(id, std::move(task));
      due_.emplace(when_ms, id);
      if (earliest && sleeping_ != nullptr) sleeping_->Stop();
      return id;
    }
    running_.insert(id);
  }
  Start(std::move(task));  // Waking the thread for it would only cost time.
  return id;
}

bool Scheduler::Cancel(TaskId id) {
  MutexLock lock(mu_);
  auto it = tasks_.find(id);
  if (it != tasks_.end()) {
    due_.erase({it->second.when_ms, id});
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
    std::vector<Task> due;
    {
      MutexLock lock(mu_);
      if (stopped_) return;
      due = TakeDue();
      if (due.empty()) {
        deadline = due_.empty() ? std::numeric_limits<int64_t>::max() : due_.begin()->first;
        sleeping_ = &wake;
      }
    }
    for (Task& task : due) Start(std::move(task));
    if (!due.empty()) continue;
    clock_.SleepUntil(deadline, wake);
    MutexLock lock(mu_);
    sleeping_ = nullptr;
  }
}

std::vector<Scheduler::Task> Scheduler::TakeDue() {
  std::vector<Task> due;
  const int64_t now = clock_.NowMs();
  while (!due_.empty() && due_.begin()->first <= now) {
    const TaskId id = due_.begin()->second;
    due_.erase(due_.begin());
    running_.insert(id);
    due.push_back(std::move(tasks_.extract(id).mapped()));
  }
  return due;
}

// Without the lock, which every task takes when it ends.
void Scheduler::Start(Task task) {
  const TaskId id = task.id;
  auto run = [this, id, work = std::move(task.run)]() mutable {
    work();
    work = nullptr;  // Captures die before Cancel() returns.
    End(id);
  };
  if (task.brief) return run();
  if (!pool_.Submit(std::move(run))) End(id);
}

void Scheduler::End(TaskId id) {
  MutexLock lock(mu_);
  running_.erase(id);
  idle_.NotifyAll();
}

}  // namespace tidewright::base
