// IoLoop: the two threads behind some of a server's connections.
//
// One of them leads: it waits for the connections and runs what they have to do. A request that comes alone it also
// answers, as waking another thread for it costs more than most answers do. Should that take long, the other thread,
// woken by a timer, leads from then on, and the first one follows when it is done. What comes meanwhile is for the
// server's workers.
#pragma once

#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>

#include "base/mutex.h"

namespace tidewright::http {

class Connection;

// Responders may outlive the server, and share this with it so that posting stays valid: what is posted after the
// threads ended is dropped.
class IoLoop {
 public:
  // Both threads show as `name` (at most 15 bytes) in debuggers.
  explicit IoLoop(const std::string& name);
  ~IoLoop();  // Stop().
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  // For connections, in what the context runs: has the leading thread run `task` next, which may block and must not
  // throw. False, and `task` is left alone, when there is another one already.
  bool Offer(std::function<void()>& task);
  // Waits until no task runs or is about to.
  void WaitForTask();
  // Runs what is left to do and joins the threads. Idempotent; must not be called by a task.
  void Stop();

  boost::asio::io_context context{1};
  std::unordered_set<std::shared_ptr<Connection>> connections;  // Used in what the context runs only.

 private:
  enum class Task { kNone, kOffered, kRunning, kLeftBehind };

  void Work(bool leads);
  bool Lead();
  bool WaitToLead();
  bool RunSome(size_t (boost::asio::io_context::*run)());
  bool RunTask();
  void SetTimer(int64_t nanos);

  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context.get_executor()};
  const int timer_;  // A timerfd, which the thread that follows reads; -1: the system gave none, and nobody follows.
  std::function<void()> task_;  // Offered. Used by who leads only.
  base::Mutex mu_;
  base::CondVar ended_;
  Task state_ GUARDED_BY(mu_) = Task::kNone;
  bool stopped_ GUARDED_BY(mu_) = false;
  std::array<std::thread, 2> threads_;  // Written by the constructor and Stop() only.
};

}  // namespace tidewright::http
