#include "scaler/object_follower.h"

#include <utility>

#include "base/json.h"
#include "kube/meta.h"
#include "scaler/manifest.h"

namespace tidewright::scaler {

namespace {

constexpr int64_t kStartSpreadMs = 2'000;

// Whether nothing changed that matters to a pass, which is everything but the status and bookkeeping.
bool SameForPass(const base::Json& before, const base::Json& now) {
  for (const char* member : {"annotations", "deletionTimestamp", "uid"}) {
    if (!SameMember(before, now, {"metadata", member})) return false;
  }
  return SameMember(before, now, {"spec"});
}

// How long until the next turn of a key whose turns are an interval apart, at a time within it that is its own:
// otherwise everybody would go on reading within the two seconds in which all of them began.
int64_t UntilTurn(const std::string& key, int64_t interval_ms, int64_t now_ms) {
  const int64_t since = (now_ms - SpreadOf(key, interval_ms)) % interval_ms;
  return interval_ms - (since < 0 ? since + interval_ms : since);
}

}  // namespace

ObjectFollower::ObjectFollower(kube::SharedCaches& caches, base::Scheduler& scheduler, base::MetricRegistry& metrics)
    : caches_(caches), scheduler_(scheduler) {
  base::Histogram& lateness =
      metrics.GetHistogram("tidewright_scaler_lateness_seconds", "How long after its time an evaluation began.",
                           {0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30});
  queue_ = std::make_shared<WorkQueue>(
      scheduler, [this](const std::string& key) { return Run(key); },
      [&lateness](int64_t late_ms) { lateness.Observe(static_cast<double>(late_ms) / 1000); });
}

ObjectFollower::~ObjectFollower() { Stop(); }

void ObjectFollower::Watch(const kube::Resource& resource, const std::string& ns, NewPass new_pass) {
  watched_.push_back(std::make_unique<Watched>(Watched{resource, ns, std::move(new_pass), nullptr, {}, 0}));
}

void ObjectFollower::Start() {
  for (auto& watched : watched_) {
    kube::InformerOptions options;
    options.ns = watched->ns;
    watched->informer = caches_.Get(watched->resource, options);
    for (const auto& object : watched->informer->List()) watched->present.insert(kube::KeyOf(*object));
    watched->handler = watched->informer->AddHandler(
        [this, &watched = *watched](kube::EventType type, const std::shared_ptr<const base::Json>& object) {
          OnEvent(watched, type, object);
        });
  }
}

void ObjectFollower::Stop() {
  for (auto& watched : watched_) {
    if (watched->informer != nullptr) watched->informer->RemoveHandler(watched->handler);
  }
  queue_->Stop();
  std::map<std::string, Entry> entries;
  {
    base::MutexLock lock(mu_);
    entries.swap(entries_);
  }
  for (auto& [key, entry] : entries) (void)(*entry.pass)(nullptr);
}

bool ObjectFollower::HasSynced() const {
  for (const auto& watched : watched_) {
    if (watched->informer == nullptr || !watched->informer->HasSynced()) return false;
  }
  return !watched_.empty();
}

void ObjectFollower::OnEvent(Watched& watched, kube::EventType type, const std::shared_ptr<const base::Json>& object) {
  const std::string name = kube::KeyOf(*object);
  const std::string key = watched.resource.plural + "." + watched.resource.group + " " + name;
  const bool gone = type == kube::EventType::kDeleted || (follows_ && !follows_(*object));
  bool first = false, present = false;
  {
    base::MutexLock lock(mu_);
    if (gone && entries_.count(key) == 0) return;
    Entry& entry = entries_[key];
    first = entry.pass == nullptr;
    if (first) {
      entry.pass = std::make_shared<Pass>(watched.new_pass([queue = std::weak_ptr<WorkQueue>(queue_), key](int64_t ms) {
        if (auto alive = queue.lock()) alive->Hasten(key, ms);
      }));
    }
    bool same = !gone && entry.object != nullptr && SameForPass(*entry.object, *object);
    entry.object = gone ? nullptr : object;
    if (same) return;  // Our own status writes come back as changes.
    present = watched.present.erase(name) > 0;
  }
  bool at_start = first && (present || !watched.informer->HasSynced());
  queue_->Add(key, at_start ? SpreadOf(key, kStartSpreadMs) : 0);
}

std::optional<int64_t> ObjectFollower::Run(const std::string& key) {
  std::shared_ptr<const base::Json> object;
  std::shared_ptr<Pass> pass;
  {
    base::MutexLock lock(mu_);
    auto it = entries_.find(key);
    if (it == entries_.end()) return std::nullopt;
    object = it->second.object;
    pass = it->second.pass;
  }
  std::optional<int64_t> delay = (*pass)(object);
  if (delay && *delay > kStartSpreadMs) delay = UntilTurn(key, *delay, scheduler_.clock().NowMs());
  base::MutexLock lock(mu_);
  auto it = entries_.find(key);
  if (object == nullptr && it != entries_.end() && it->second.object == nullptr) entries_.erase(it);
  return delay;
}

}  // namespace tidewright::scaler
