#include "kube/handler_queue.h"

#include <utility>

namespace tidewright::kube {

uint64_t HandlerQueue::Add(EventHandler handler, const std::vector<ObjectPtr>& present) {
  base::MutexLock lock(mu_);
  const uint64_t id = ++last_id_;
  handlers_[id] = std::make_shared<EventHandler>(std::move(handler));
  for (const ObjectPtr& object : present) queue_.push_back({EventType::kAdded, object, id, id});
  changed_.NotifyAll();
  return id;
}

void HandlerQueue::Remove(uint64_t id) {
  base::MutexLock lock(mu_);
  handlers_.erase(id);
  if (std::this_thread::get_id() == runner_) return;
  while (running_id_ == id && id != 0) changed_.Wait(mu_);
}

void HandlerQueue::Post(EventType type, ObjectPtr object) {
  base::MutexLock lock(mu_);
  if (handlers_.empty() || stopped_) return;
  queue_.push_back({type, std::move(object), 1, last_id_});
  changed_.NotifyAll();
}

void HandlerQueue::Start() {
  base::MutexLock lock(mu_);
  if (!thread_.joinable() && !stopped_) thread_ = std::thread([this] { Run(); });
}

void HandlerQueue::Stop() {
  {
    base::MutexLock lock(mu_);
    stopped_ = true;
    queue_.clear();
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void HandlerQueue::Run() {
  {
    base::MutexLock lock(mu_);
    runner_ = std::this_thread::get_id();
  }
  while (true) {
    Delivery next;
    {
      base::MutexLock lock(mu_);
      while (queue_.empty() && !stopped_) changed_.Wait(mu_);
      if (stopped_) return;
      next = std::move(queue_.front());
      queue_.pop_front();
    }
    Deliver(next);
  }
}

void HandlerQueue::Deliver(const Delivery& delivery) {
  uint64_t id = delivery.first_id;
  while (true) {
    std::shared_ptr<EventHandler> handler;
    {
      base::MutexLock lock(mu_);
      auto it = handlers_.lower_bound(id);
      if (stopped_ || it == handlers_.end() || it->first > delivery.last_id) return;
      id = running_id_ = it->first;
      handler = it->second;
    }
    (*handler)(delivery.type, delivery.object);
    handler.reset();  // What a handler holds must be gone when Remove() returns.
    base::MutexLock lock(mu_);
    running_id_ = 0;
    ++id;
    changed_.NotifyAll();
  }
}

}  // namespace tidewright::kube
