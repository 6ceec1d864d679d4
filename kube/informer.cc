#include "kube/informer.h"

#include <algorithm>
#include <random>
#include <thread>

#include "base/json.h"
#include "base/log.h"
#include "kube/meta.h"

namespace tidewright::kube {

namespace {

constexpr int64_t kMinBackoffMs = 100;
constexpr int64_t kMaxBackoffMs = 30'000;
// A watch that the server ends sooner than this is counted as a failure, so that a sick server is not hammered.
constexpr int64_t kMinWatchMs = 1'000;

using ObjectPtr = std::shared_ptr<const base::Json>;  // Shared with whoever reads the cache.

}  // namespace

class Informer::Impl {
 public:
  Impl(Client& client, base::Clock& clock, Resource resource, InformerOptions options)
      : client_(client), clock_(clock), resource_(std::move(resource)), options_(std::move(options)) {}

  ~Impl() { Stop(); }

  void AddHandler(EventHandler handler) { handlers_.push_back(std::move(handler)); }

  void Start() {
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }

  void Stop() {
    stop_.Stop();
    cancel_.Cancel();
    {
      base::MutexLock lock(mu_);
      stopped_ = true;
      changed_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
  }

  bool HasSynced() const {
    base::MutexLock lock(mu_);
    return synced_;
  }

  base::Status WaitForSync(int64_t timeout_ms) {
    int64_t deadline = base::SystemClock::Get().NowMs() + timeout_ms;
    base::MutexLock lock(mu_);
    while (!synced_ && !stopped_) {
      int64_t left = deadline - base::SystemClock::Get().NowMs();
      if (left <= 0) {
        return base::DeadlineExceededError("list " + resource_.plural + ": no answer in time" +
                                           (error_.ok() ? "" : "; last error: " + error_.message()));
      }
      changed_.WaitFor(mu_, std::chrono::milliseconds(left));
    }
    return synced_ ? base::Status::Ok() : base::CancelledError("list " + resource_.plural + ": stopped");
  }

  ObjectPtr Get(const std::string& key) const {
    base::MutexLock lock(mu_);
    auto it = objects_.find(key);
    return it == objects_.end() ? nullptr : it->second;
  }

  std::vector<ObjectPtr> List() const {
    base::MutexLock lock(mu_);
    std::vector<ObjectPtr> all;
    all.reserve(objects_.size());
    for (const auto& [key, object] : objects_) all.push_back(object);
    return all;
  }

  base::Status last_error() const {
    base::MutexLock lock(mu_);
    return error_;
  }

 private:
  void Run() {
    int64_t backoff = kMinBackoffMs;
    while (!stop_.stopped()) {
      base::Status ended = ListAndWatch(&backoff);
      if (stop_.stopped()) return;
      SetError(ended);
      if (ended.ok()) continue;  // The server closed an old watch; the next one starts where it ended.
      base::LogWarn("kube", "watch interrupted", {{"resource", resource_.plural}, {"error", ended.ToString()}});
      // Jitter keeps a fleet of clients from coming back in step.
      std::uniform_real_distribution<double> jitter(0.5, 1.5);
      auto delay = static_cast<int64_t>(static_cast<double>(backoff) * jitter(random_));
      backoff = std::min(backoff * 2, kMaxBackoffMs);
      clock_.SleepFor(delay, stop_);
    }
  }

  // One list and the watches that follow it, until an error or until the history is gone.
  base::Status ListAndWatch(int64_t* backoff) {
    ListOptions options;
    options.label_selector = options_.label_selector;
    options.field_selector = options_.field_selector;
    TW_ASSIGN_OR_RETURN(base::Json list, client_.List(resource_, options_.ns, options));
    Replace(std::move(list["items"]));
    options.resource_version = ResourceVersionOf(list);
    *backoff = kMinBackoffMs;
    while (!stop_.stopped()) {
      SetError(base::Status::Ok());
      int64_t started_ms = clock_.NowMs();
      base::Status ended = client_.Watch(
          resource_, options_.ns, options,
          [&](std::string_view type, const base::Json& object) {
            options.resource_version = ResourceVersionOf(object);
            Handle(type, object);
            return base::Status::Ok();
          },
          &cancel_);
      if (ended.code() == base::Code::kOutOfRange) return base::Status::Ok();  // 410 Gone: list again at once.
      TW_RETURN_IF_ERROR(ended);
      if (clock_.NowMs() - started_ms < kMinWatchMs && !stop_.stopped()) {
        return base::UnavailableError("watch " + resource_.plural + ": the server closed it at once");
      }
    }
    return base::Status::Ok();
  }

  // Makes the cache equal to a list and reports what differs.
  void Replace(base::Json items) {
    std::map<std::string, ObjectPtr> fresh;
    for (base::Json& item : items) {
      std::string key = KeyOf(item);
      fresh[key] = std::make_shared<const base::Json>(std::move(item));
    }
    std::vector<std::pair<EventType, ObjectPtr>> events;
    {
      base::MutexLock lock(mu_);
      for (const auto& [key, object] : objects_) {
        if (fresh.count(key) == 0) events.emplace_back(EventType::kDeleted, object);
      }
      for (const auto& [key, object] : fresh) {
        auto old = objects_.find(key);
        if (old == objects_.end()) {
          events.emplace_back(EventType::kAdded, object);
        } else if (ResourceVersionOf(*old->second) != ResourceVersionOf(*object)) {
          events.emplace_back(EventType::kModified, object);
        }
      }
      objects_ = std::move(fresh);
      synced_ = true;
      changed_.NotifyAll();
    }
    for (const auto& [type, object] : events) Notify(type, object);
  }

  void Handle(std::string_view type, const base::Json& object) {
    if (type == "BOOKMARK") return;
    auto shared = std::make_shared<const base::Json>(object);
    EventType event = EventType::kModified;
    {
      base::MutexLock lock(mu_);
      std::string key = KeyOf(object);
      if (type == "DELETED") {
        event = EventType::kDeleted;
        objects_.erase(key);
      } else {
        event = objects_.count(key) == 0 ? EventType::kAdded : EventType::kModified;
        objects_[key] = shared;
      }
    }
    Notify(event, shared);
  }

  void Notify(EventType type, const ObjectPtr& object) {
    for (const EventHandler& handler : handlers_) handler(type, object);
  }

  void SetError(const base::Status& status) {
    base::MutexLock lock(mu_);
    error_ = status;
  }

  Client& client_;
  base::Clock& clock_;
  const Resource resource_;
  const InformerOptions options_;
  std::vector<EventHandler> handlers_;  // Constant after Start().

  base::StopSignal stop_;
  http::CancelToken cancel_;
  std::mt19937 random_{std::random_device{}()};  // Used by the thread only.

  mutable base::Mutex mu_;
  base::CondVar changed_;
  std::map<std::string, ObjectPtr> objects_ GUARDED_BY(mu_);
  bool synced_ GUARDED_BY(mu_) = false;
  bool stopped_ GUARDED_BY(mu_) = false;
  base::Status error_ GUARDED_BY(mu_);
  std::thread thread_;
};

Informer::Informer(Client& client, base::Clock& clock, Resource resource, InformerOptions options)
    : impl_(std::make_unique<Impl>(client, clock, std::move(resource), std::move(options))) {}

Informer::~Informer() = default;

Informer::HandlerId Informer::AddHandler(EventHandler handler) {
  impl_->AddHandler(std::move(handler));
  return 0;
}
void Informer::RemoveHandler(HandlerId /*id*/) {}
std::vector<std::shared_ptr<const base::Json>> Informer::ListMatching(const std::string& ns,
                                                                      const LabelSelector& selector) const {
  std::vector<std::shared_ptr<const base::Json>> found;
  for (auto& object : impl_->List()) {
    if ((ns.empty() || NamespaceOf(*object) == ns) && selector.Matches(LabelsOf(*object))) found.push_back(object);
  }
  return found;
}
void Informer::Start() { impl_->Start(); }
void Informer::Stop() { impl_->Stop(); }
bool Informer::HasSynced() const { return impl_->HasSynced(); }
base::Status Informer::WaitForSync(int64_t timeout_ms) { return impl_->WaitForSync(timeout_ms); }

std::shared_ptr<const base::Json> Informer::Get(const std::string& ns, const std::string& name) const {
  return impl_->Get(ns.empty() ? name : ns + "/" + name);
}

std::vector<std::shared_ptr<const base::Json>> Informer::List() const { return impl_->List(); }
base::Status Informer::last_error() const { return impl_->last_error(); }

}  // namespace tidewright::kube
