#include "sandbox/watch.h"

#include <utility>
#include <vector>

#include "base/json.h"
#include "kube/meta.h"
#include "sandbox/api_request.h"
#include "sandbox/conversion.h"

namespace tidewright::sandbox {

namespace {

using base::Json;

constexpr int64_t kBookmarkIntervalMs = 60'000;

std::string Line(const char* type, const std::string& object) {
  return std::string("{\"type\":\"") + type + "\",\"object\":" + object + "}\n";
}

}  // namespace

// One client's watch. Observe() and Synced() run under the store's lock, one at a time; Bookmark() takes the version
// from outside, so it only runs from Tick() when nothing newer was sent.
class WatchHub::Watch {
 public:
  Watch(ResourceTypePtr type, WatchOptions options, std::shared_ptr<http::ResponseStream> stream, base::Clock& clock)
      : type_(std::move(type)), options_(std::move(options)), stream_(std::move(stream)), clock_(clock) {
    deadline_ms_ = clock_.NowMs() + options_.timeout_ms;
    next_bookmark_ms_ = clock_.NowMs() + kBookmarkIntervalMs;
  }

  void Observe(const Change& change) {
    if (!options_.ns.empty() && kube::NamespaceOf(change.object->json) != options_.ns) return;
    const bool now = change.type != Change::Type::kDeleted && options_.filter.Matches(change.object->json);
    const ObjectPtr& old =
        change.type == Change::Type::kDeleted && change.previous == nullptr ? change.object : change.previous;
    const bool before = old != nullptr && options_.filter.Matches(old->json);
    if (now) {
      Send(before ? "MODIFIED" : "ADDED", *change.object);
    } else if (before) {
      Send("DELETED", *change.object);
    }
  }

  void Synced(uint64_t version) {
    if (options_.initial_events_end) SendBookmark(version, true);
  }

  // Returns whether the watch is over.
  bool Tick(uint64_t version) {
    const int64_t now_ms = clock_.NowMs();
    if (stream_->closed()) return true;
    if (now_ms >= deadline_ms_) {
      stream_->End();
      return true;
    }
    if (options_.bookmarks && now_ms >= next_bookmark_ms_) {
      next_bookmark_ms_ = now_ms + kBookmarkIntervalMs;
      SendBookmark(version, false);
    }
    return false;
  }

  void Fail(const base::Status& status) {
    stream_->Write(Line("ERROR", base::DumpJson(StatusObject(status, nullptr, "", {}))));
    stream_->End();
  }

  void End() { stream_->End(); }
  const ResourceType& type() const { return *type_; }

 private:
  void Send(const char* event, const StoredObject& object) {
    if (options_.table) {
      Json converted = FromStorage(*type_, object.json);
      SendTable(event, {&converted}, object.resource_version);
    } else if (IsInVersion(*type_, object.json)) {
      stream_->Write(Line(event, object.text));
    } else {
      stream_->Write(Line(event, base::DumpJson(FromStorage(*type_, object.json))));
    }
  }

  void SendTable(const char* event, const std::vector<const Json*>& objects, uint64_t version) {
    Json table = RenderTable(*type_, objects, options_.include, clock_.NowMs());
    table["metadata"]["resourceVersion"] = std::to_string(version);
    // Columns come once: kubectl remembers them.
    if (std::exchange(columns_sent_, true)) table["columnDefinitions"] = nullptr;
    stream_->Write(Line(event, base::DumpJson(table)));
  }

  void SendBookmark(uint64_t version, bool initial_end) {
    if (options_.table) {
      SendTable("BOOKMARK", {}, version);
      return;
    }
    Json object = {{"kind", type_->kind},
                   {"apiVersion", type_->ApiVersion()},
                   {"metadata", {{"resourceVersion", std::to_string(version)}, {"creationTimestamp", nullptr}}}};
    if (initial_end) object["metadata"]["annotations"]["k8s.io/initial-events-end"] = "true";
    stream_->Write(Line("BOOKMARK", base::DumpJson(object)));
  }

  const ResourceTypePtr type_;
  const WatchOptions options_;
  const std::shared_ptr<http::ResponseStream> stream_;
  base::Clock& clock_;
  int64_t deadline_ms_;
  int64_t next_bookmark_ms_;   // Used by Tick() only.
  bool columns_sent_ = false;  // Used under the store's lock; table watches ask for no bookmarks.
};

WatchHub::WatchHub(Store& store) : store_(store) {}

WatchHub::~WatchHub() { StopAll(); }

void WatchHub::Start(const ResourceTypePtr& type, WatchOptions options,
                     const std::shared_ptr<http::Responder>& responder) {
  if (options.table) options.bookmarks = false;
  auto stream = responder->StartStream(200, {{"Content-Type", "application/json"}, {"Cache-Control", "no-cache"}});
  if (stream == nullptr) return;
  std::optional<uint64_t> since = options.since;
  auto watch = std::make_shared<Watch>(type, std::move(options), std::move(stream), store_.clock());
  auto id = store_.Subscribe(
      StorageOf(*type), since, [watch](const Change& change) { watch->Observe(change); },
      [watch](uint64_t version) { watch->Synced(version); });
  if (!id.ok()) {
    watch->Fail(id.status());
    return;
  }
  base::MutexLock lock(mu_);
  active_[next_id_++] = {watch, *id};
}

void WatchHub::Tick() {
  // Read before the watches are: whatever is newer has been sent or will be.
  const uint64_t version = store_.resource_version();
  std::vector<uint64_t> ended;
  {
    base::MutexLock lock(mu_);
    for (auto it = active_.begin(); it != active_.end();) {
      if (it->second.watch->Tick(version)) {
        ended.push_back(it->second.subscription);
        it = active_.erase(it);
      } else {
        ++it;
      }
    }
  }
  for (uint64_t subscription : ended) store_.Unsubscribe(subscription);
}

void WatchHub::StopAll() {
  std::map<uint64_t, Active> active;
  {
    base::MutexLock lock(mu_);
    active.swap(active_);
  }
  for (auto& [id, entry] : active) {
    store_.Unsubscribe(entry.subscription);
    entry.watch->End();
  }
}

size_t WatchHub::active() const {
  base::MutexLock lock(mu_);
  return active_.size();
}

}  // namespace tidewright::sandbox
