#include "scaler/object_follower.h"

#include <utility>

#include "base/json.h"
#include "kube/meta.h"

namespace tidewright::scaler {

namespace {

constexpr int64_t kStartSpreadMs = 2'000;

// What of an object matters to a pass: everything but its status and bookkeeping.
std::string Relevant(const base::Json& object) {
  base::Json relevant = base::Json::array();
  for (const char* member : {"annotations", "deletionTimestamp", "uid"}) {
    const base::Json* found = base::Find(object, {"metadata", member});
    relevant.push_back(found == nullptr ? base::Json() : *found);
  }
  const base::Json* spec = base::Find(object, {"spec"});
  relevant.push_back(spec == nullptr ? base::Json() : *spec);
  return base::DumpJson(relevant);
}

}  // namespace

ObjectFollower::ObjectFollower(kube::Client& client, base::Clock& clock, base::Scheduler& scheduler)
    : client_(client), clock_(clock) {
  queue_ = std::make_shared<WorkQueue>(scheduler, [this](const std::string& key) { return Run(key); });
}

ObjectFollower::~ObjectFollower() { Stop(); }

void ObjectFollower::Watch(const kube::Resource& resource, const std::string& ns, NewPass new_pass) {
  auto informer = std::make_unique<kube::Informer>(client_, clock_, resource, kube::InformerOptions{ns, "", ""});
  kube::Informer* watched = informer.get();
  informer->AddHandler([this, resource, watched, new_pass = std::move(new_pass)](
                           kube::EventType type, const std::shared_ptr<const base::Json>& object) {
    OnEvent(resource, new_pass, watched->HasSynced(), type, object);
  });
  informers_.push_back(std::move(informer));
}

void ObjectFollower::Start() {
  for (auto& informer : informers_) informer->Start();
}

void ObjectFollower::Stop() {
  for (auto& informer : informers_) informer->Stop();
  queue_->Stop();
}

bool ObjectFollower::HasSynced() const {
  for (const auto& informer : informers_) {
    if (!informer->HasSynced()) return false;
  }
  return !informers_.empty();
}

void ObjectFollower::OnEvent(const kube::Resource& resource, const NewPass& new_pass, bool synced, kube::EventType type,
                             const std::shared_ptr<const base::Json>& object) {
  const std::string key = resource.group + " " + kube::KeyOf(*object);
  {
    base::MutexLock lock(mu_);
    Entry& entry = entries_[key];
    if (entry.pass == nullptr) entry.pass = std::make_shared<Pass>(new_pass());
    bool gone = type == kube::EventType::kDeleted;
    std::string relevant = gone ? "" : Relevant(*object);
    bool same = !gone && entry.object != nullptr && entry.relevant == relevant;
    entry.object = gone ? nullptr : object;
    entry.relevant = std::move(relevant);
    if (same) return;  // Our own status writes come back as changes.
  }
  queue_->Add(key, synced ? 0 : SpreadOf(key, kStartSpreadMs));
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
  base::MutexLock lock(mu_);
  auto it = entries_.find(key);
  if (object == nullptr && it != entries_.end() && it->second.object == nullptr) entries_.erase(it);
  return delay;
}

}  // namespace tidewright::scaler
