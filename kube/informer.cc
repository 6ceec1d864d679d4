#include "kube/informer.h"

#include <algorithm>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "kube/handler_queue.h"
#include "kube/object_store.h"

namespace tidewright::kube {

namespace {

constexpr int64_t kMinBackoffMs = 800;
constexpr int64_t kMaxBackoffMs = 30'000;
// A watch that ends sooner than this is a failure even if the server ended it in good order: a sick server is not to be
// hammered.
constexpr int64_t kMinWatchMs = 1'000;
// After a watch of this length the server is well again.
constexpr int64_t kHealthyMs = 10'000;
// So many failures in a row may be the fault of the version to resume from: one of the future, after a restored backup.
constexpr int kRelistAfterFailures = 5;
// The server ends each watch after a random time in this range, so that not all watches come back at once.
constexpr int64_t kMinWatchSeconds = 300;
constexpr int64_t kMaxWatchSeconds = 600;

using ObjectPtr = std::shared_ptr<const base::Json>;

std::string NameOf(const Resource& resource) {
  return resource.group.empty() ? resource.plural : resource.plural + "." + resource.group;
}

// Whether the changes since the version reached are still to be had by watching on.
bool CanResume(base::Code code) {
  return code == base::Code::kOk || code == base::Code::kUnavailable || code == base::Code::kDeadlineExceeded ||
         code == base::Code::kResourceExhausted || code == base::Code::kCancelled;
}

const char* ReasonOf(base::Code code) {
  switch (code) {
    case base::Code::kOk: return "closed";
    case base::Code::kOutOfRange: return "gone";
    case base::Code::kDeadlineExceeded: return "stalled";
    case base::Code::kDataLoss: return "data_loss";
    case base::Code::kResourceExhausted: return "too_many_requests";
    default: return "error";
  }
}

// The metrics of one informer; nothing without a registry.
class InformerMetrics {
 public:
  InformerMetrics(base::MetricRegistry* registry, const Resource& resource, const std::string& ns)
      : registry_(registry), labels_({{"resource", NameOf(resource)}}) {
    if (registry_ == nullptr) return;
    base::MetricLabels cache = labels_;
    cache.emplace_back("namespace", ns);
    objects_ = &registry_->GetGauge("tidewright_kube_cached_objects", "Objects in the cache of a resource.", cache);
    synced_ = &registry_->GetGauge("tidewright_kube_last_sync_timestamp_seconds",
                                   "When a list, an event or a bookmark last brought a cache up to date.", cache);
  }
  void SetObjects(size_t count) const {
    if (objects_ != nullptr) objects_->Set(static_cast<double>(count));
  }
  void SetSynced(int64_t now_ms) const {
    if (synced_ != nullptr) synced_->Set(static_cast<double>(now_ms) / 1000);
  }
  void CountRestart(base::Code code) const {
    if (registry_ == nullptr) return;
    base::MetricLabels labels = labels_;
    labels.emplace_back("reason", ReasonOf(code));
    registry_->GetCounter("tidewright_kube_watch_restarts_total", "Watches that ended, by why.", labels).Add();
  }

 private:
  base::MetricRegistry* const registry_;
  const base::MetricLabels labels_;
  base::Gauge* objects_ = nullptr;
  base::Gauge* synced_ = nullptr;
};

}  // namespace

class Informer::Impl {
 public:
  Impl(Client& client, base::Clock& clock, Resource resource, InformerOptions options)
      : client_(client),
        clock_(clock),
        resource_(std::move(resource)),
        options_(std::move(options)),
        metrics_(options_.metrics, resource_, options_.ns) {}

  ~Impl() { Stop(); }

  HandlerId AddHandler(EventHandler handler) {
    base::MutexLock lock(mu_);
    return handlers_.Add(std::move(handler), store_.List());
  }
  void RemoveHandler(HandlerId id) { handlers_.Remove(id); }

  void Start() {
    base::MutexLock lock(lifecycle_);
    if (thread_.joinable() || stop_.stopped()) return;
    handlers_.Start();
    thread_ = std::thread([this] { Run(); });
    if (options_.resync_ms > 0) resync_ = std::thread([this] { Resync(); });
  }

  void Stop() {
    stop_.Stop();
    cancel_.Cancel();
    {
      base::MutexLock lock(mu_);
      changed_.NotifyAll();
    }
    base::MutexLock lock(lifecycle_);
    if (thread_.joinable()) thread_.join();
    if (resync_.joinable()) resync_.join();
    handlers_.Stop();
  }

  bool HasSynced() const {
    base::MutexLock lock(mu_);
    return synced_;
  }

  base::Status WaitForSync(int64_t timeout_ms) {
    int64_t deadline = base::SystemClock::Get().NowMs() + timeout_ms;
    base::MutexLock lock(mu_);
    while (!synced_ && !stop_.stopped()) {
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
    return store_.Get(key);
  }
  std::vector<ObjectPtr> List() const {
    base::MutexLock lock(mu_);
    return store_.List();
  }
  std::vector<ObjectPtr> ListMatching(const std::string& ns, const LabelSelector& selector) const {
    base::MutexLock lock(mu_);
    return store_.ListMatching(ns, selector);
  }
  NameListPtr NamesMatching(const std::string& ns, const LabelSelector& selector, const NameListPtr& known) const {
    base::MutexLock lock(mu_);
    return store_.NamesMatching(ns, selector, known);
  }
  base::Status last_error() const {
    base::MutexLock lock(mu_);
    return error_;
  }

 private:
  void Run() {
    while (!stop_.stopped()) {
      base::Status ended = listed_ ? WatchOnce() : ListOnce();
      if (stop_.stopped() || ended.ok()) continue;
      SetError(ended);
      ++failures_;
      // That a version was forgotten is nobody's failure, once.
      if (failures_ == 1 && ended.code() == base::Code::kOutOfRange) continue;
      base::LogWarn("kube", "watch interrupted", {{"resource", NameOf(resource_)}, {"error", ended.ToString()}});
      clock_.SleepFor(BackoffMs(), stop_);
    }
  }

  int64_t BackoffMs() {
    const int doublings = std::clamp(failures_ - 1, 0, 16);
    const int64_t backoff_ms = std::min(kMinBackoffMs << doublings, kMaxBackoffMs);
    // Jitter keeps a fleet of clients from coming back in step.
    return std::uniform_int_distribution<int64_t>(backoff_ms, 2 * backoff_ms)(random_);
  }

  ListOptions SelectOptions() const {
    ListOptions options;
    options.label_selector = options_.label_selector;
    options.field_selector = options_.field_selector;
    return options;
  }

  // No resourceVersion: the list is as new as the moment of asking, and comes in pages. "0" would be cheaper for the
  // server, but may be older than what was seen before a restart, and we write replica counts because of it.
  base::Status ListOnce() {
    auto list = client_.List(resource_, options_.ns, SelectOptions());
    if (!list.ok()) return list.status();
    Replace(std::move((*list)["items"]));
    version_ = ResourceVersionOf(*list);
    listed_ = true;
    SetError(base::Status::Ok());
    return base::Status::Ok();
  }

  base::Status WatchOnce() {
    ListOptions options = SelectOptions();
    options.resource_version = version_;
    options.idle_timeout_ms = options_.watch_idle_ms;
    options.timeout_seconds = std::uniform_int_distribution<int64_t>(kMinWatchSeconds, kMaxWatchSeconds)(random_);
    std::optional<int64_t> opened_ms;
    options.on_open = [&] {
      if (opened_ms.has_value()) return;
      opened_ms = clock_.NowMs();
      SetError(base::Status::Ok());
    };
    base::Status ended = client_.Watch(
        resource_, options_.ns, options,
        [&](std::string_view type, const base::Json& object) {
          options.on_open();
          Handle(type, object);
          return base::Status::Ok();
        },
        &cancel_);
    if (stop_.stopped()) return ended;
    metrics_.CountRestart(ended.code());
    const int64_t lasted_ms = opened_ms.has_value() ? clock_.NowMs() - *opened_ms : 0;
    if (lasted_ms >= kHealthyMs) failures_ = 0;
    listed_ = CanResume(ended.code()) && (failures_ + 1) % kRelistAfterFailures != 0;
    if (!ended.ok()) {
      // Silence after a healthy time is what a quiet resource without bookmarks looks like, too.
      return ended.code() == base::Code::kDeadlineExceeded && lasted_ms >= kHealthyMs ? base::Status::Ok() : ended;
    }
    if (lasted_ms >= kMinWatchMs) return ended;
    return base::UnavailableError("watch " + resource_.plural + ": the server closed it at once");
  }

  // What is kept of an object; null if it cannot be told apart from others.
  ObjectPtr Keep(base::Json object) const {
    if (kube::NameOf(object).empty()) {
      base::LogWarn("kube", "object without a name", {{"resource", NameOf(resource_)}});
      return nullptr;
    }
    object["metadata"].erase("managedFields");
    if (options_.transform) options_.transform(object);
    return std::make_shared<const base::Json>(std::move(object));
  }

  // Makes the cache equal to a list and posts what differs.
  void Replace(base::Json items) {
    std::map<std::string, ObjectPtr> fresh;
    if (items.is_array()) {
      for (base::Json& item : items) {
        if (ObjectPtr object = Keep(std::move(item))) fresh[KeyOf(*object)] = std::move(object);
      }
    }
    base::MutexLock lock(mu_);
    for (const std::string& key : store_.Keys()) {
      if (fresh.count(key) == 0) handlers_.Post(EventType::kDeleted, store_.Erase(key));
    }
    for (auto& [key, object] : fresh) {
      ObjectPtr old = store_.Get(key);
      if (old != nullptr && !ResourceVersionOf(*old).empty() && ResourceVersionOf(*old) == ResourceVersionOf(*object)) {
        continue;
      }
      store_.Put(key, object);
      handlers_.Post(old == nullptr ? EventType::kAdded : EventType::kModified, object);
    }
    synced_ = true;
    Progress();
    changed_.NotifyAll();
  }

  void Handle(std::string_view type, const base::Json& object) {
    std::string version = ResourceVersionOf(object);
    if (!version.empty()) version_ = std::move(version);
    ObjectPtr kept = type == "BOOKMARK" ? nullptr : Keep(object);
    base::MutexLock lock(mu_);
    if (kept != nullptr) {
      const std::string key = KeyOf(*kept);
      if (type == "DELETED") {
        store_.Erase(key);
        handlers_.Post(EventType::kDeleted, kept);
      } else {
        ObjectPtr old = store_.Put(key, kept);
        handlers_.Post(old == nullptr ? EventType::kAdded : EventType::kModified, kept);
      }
    }
    Progress();
  }

  void Progress() REQUIRES_LOCK(mu_) {
    metrics_.SetObjects(store_.size());
    metrics_.SetSynced(clock_.NowMs());
  }

  void Resync() {
    while (clock_.SleepFor(options_.resync_ms, stop_)) {
      base::MutexLock lock(mu_);
      for (const ObjectPtr& object : store_.List()) handlers_.Post(EventType::kModified, object);
    }
  }

  void SetError(const base::Status& status) {
    base::MutexLock lock(mu_);
    error_ = status;
  }

  Client& client_;
  base::Clock& clock_;
  const Resource resource_;
  const InformerOptions options_;
  const InformerMetrics metrics_;
  HandlerQueue handlers_;

  base::StopSignal stop_;
  http::CancelToken cancel_;
  // Of the thread only.
  std::mt19937 random_{std::random_device{}()};
  bool listed_ = false;
  std::string version_;  // What the watch has reached.
  int failures_ = 0;     // Since the last healthy watch.

  mutable base::Mutex mu_;
  base::CondVar changed_;
  ObjectStore store_ GUARDED_BY(mu_);
  bool synced_ GUARDED_BY(mu_) = false;
  base::Status error_ GUARDED_BY(mu_);

  base::Mutex lifecycle_;  // Serializes Start and Stop.
  std::thread thread_ GUARDED_BY(lifecycle_);
  std::thread resync_ GUARDED_BY(lifecycle_);
};

Informer::Informer(Client& client, base::Clock& clock, Resource resource, InformerOptions options)
    : impl_(std::make_unique<Impl>(client, clock, std::move(resource), std::move(options))) {}

Informer::~Informer() = default;

Informer::HandlerId Informer::AddHandler(EventHandler handler) { return impl_->AddHandler(std::move(handler)); }
void Informer::RemoveHandler(HandlerId id) { impl_->RemoveHandler(id); }
void Informer::Start() { impl_->Start(); }
void Informer::Stop() { impl_->Stop(); }
bool Informer::HasSynced() const { return impl_->HasSynced(); }
base::Status Informer::WaitForSync(int64_t timeout_ms) { return impl_->WaitForSync(timeout_ms); }

std::shared_ptr<const base::Json> Informer::Get(const std::string& ns, const std::string& name) const {
  return impl_->Get(ns.empty() ? name : ns + "/" + name);
}

std::vector<std::shared_ptr<const base::Json>> Informer::List() const { return impl_->List(); }
std::vector<std::shared_ptr<const base::Json>> Informer::ListMatching(const std::string& ns,
                                                                      const LabelSelector& selector) const {
  return impl_->ListMatching(ns, selector);
}
NameListPtr Informer::NamesMatching(const std::string& ns, const LabelSelector& selector,
                                    const NameListPtr& known) const {
  return impl_->NamesMatching(ns, selector, known);
}
base::Status Informer::last_error() const { return impl_->last_error(); }

}  // namespace tidewright::kube
