#include <map>
#include <thread>
#include <utility>

#include "http/client.h"

namespace tidewright::http {

struct CancelToken::State {
  mutable base::Mutex mu;
  base::CondVar idle;
  bool cancelled GUARDED_BY(mu) = false;
  uint64_t next_id GUARDED_BY(mu) = 1;
  std::map<uint64_t, std::function<void()>> callbacks GUARDED_BY(mu);
  uint64_t running GUARDED_BY(mu) = 0;  // The callback that Cancel() is inside of; 0: none.
  std::thread::id canceller GUARDED_BY(mu);
};

CancelToken::CancelToken() : state_(std::make_unique<State>()) {}
CancelToken::~CancelToken() = default;

void CancelToken::Cancel() {
  State& state = *state_;
  {
    base::MutexLock lock(state.mu);
    if (state.cancelled) return;
    state.cancelled = true;
    state.canceller = std::this_thread::get_id();
  }
  while (true) {
    std::function<void()> callback;
    {
      base::MutexLock lock(state.mu);
      state.running = 0;
      state.idle.NotifyAll();
      if (state.callbacks.empty()) return;
      auto node = state.callbacks.extract(state.callbacks.begin());
      state.running = node.key();
      callback = std::move(node.mapped());
    }
    callback();
  }
}

bool CancelToken::cancelled() const {
  base::MutexLock lock(state_->mu);
  return state_->cancelled;
}

uint64_t CancelToken::OnCancel(std::function<void()> callback) {
  uint64_t id = 0;
  {
    base::MutexLock lock(state_->mu);
    id = state_->next_id++;
    if (!state_->cancelled) {
      state_->callbacks.emplace(id, std::move(callback));
      return id;
    }
  }
  callback();
  return id;
}

void CancelToken::Remove(uint64_t id) {
  State& state = *state_;
  base::MutexLock lock(state.mu);
  state.callbacks.erase(id);
  // A callback may remove itself; waiting for it there would never end.
  while (state.running == id && state.canceller != std::this_thread::get_id()) state.idle.Wait(state.mu);
}

}  // namespace tidewright::http
