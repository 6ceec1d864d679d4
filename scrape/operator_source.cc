#include "scrape/operator_source.h"

#include <array>
#include <utility>

#include "base/json.h"
#include "base/log.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kTickMs = 1'000;
constexpr int64_t kBatchMs = 100;
constexpr int64_t kFindKindsMs = 10'000;
constexpr int64_t kReadAgainMs = 30'000;
constexpr int64_t kRetryMs = 5'000;
constexpr const char* kGroup = "monitoring.coreos.com";
constexpr std::array kVersions = {"v1", "v1alpha1"};

const std::map<std::string, kube::Resource>& Kinds() {
  static const std::map<std::string, kube::Resource>& kinds = *new std::map<std::string, kube::Resource>{
      {"ServiceMonitor", {kGroup, "v1", "servicemonitors", "ServiceMonitor", true}},
      {"PodMonitor", {kGroup, "v1", "podmonitors", "PodMonitor", true}},
      {"Probe", {kGroup, "v1", "probes", "Probe", true}},
      {"PrometheusRule", {kGroup, "v1", "prometheusrules", "PrometheusRule", true}},
      {"ScrapeConfig", {kGroup, "v1alpha1", "scrapeconfigs", "ScrapeConfig", true}},
  };
  return kinds;
}

base::Json InstanceOf(const OperatorSourceOptions& options) {
  return {{"arbitraryFSAccessThroughSMs", {{"deny", !options.allow_files}}}};
}

// Whether the answer is about the object, and not about the moment.
bool IsFinal(const base::Status& status) {
  return status.ok() || status.code() == base::Code::kNotFound || status.code() == base::Code::kPermissionDenied;
}

}  // namespace

OperatorSource::OperatorSource(OperatorSourceOptions options, kube::Client& client, kube::SharedCaches& caches,
                               base::Scheduler& scheduler)
    : options_(std::move(options)),
      client_(client),
      caches_(caches),
      scheduler_(scheduler),
      registry_(InstanceOf(options_), GlobalConfig()) {}

OperatorSource::~OperatorSource() { Stop(); }

void OperatorSource::Start(std::function<void()> changed) {
  on_change_ = std::move(changed);
  thread_ = std::thread([this] { Run(); });
  Tick();
}

void OperatorSource::Stop() {
  base::Scheduler::TaskId wake = 0, tick = 0;
  {
    base::MutexLock lock(mu_);
    stopped_ = true;
    wake = wake_task_;
    tick = tick_task_;
    awake_.NotifyAll();
  }
  if (wake != 0) scheduler_.Cancel(wake);
  if (tick != 0) scheduler_.Cancel(tick);
  if (thread_.joinable()) thread_.join();
  for (const auto& [kind, watched] : watched_) watched.informer->RemoveHandler(watched.handler);
  watched_.clear();
  if (namespaces_ != nullptr) namespaces_->RemoveHandler(namespaces_handler_);
  namespaces_ = nullptr;
}

void OperatorSource::SetDefaults(const GlobalConfig& global) { registry_.SetDefaults(global); }
std::vector<ScrapeConfig> OperatorSource::ScrapeConfigs() const { return registry_.ScrapeConfigs(); }

std::vector<std::shared_ptr<const base::Json>> OperatorSource::RuleObjects() const {
  std::vector<std::shared_ptr<const base::Json>> objects;
  base::MutexLock lock(rules_mu_);
  for (const auto& [key, rule] : rules_) {
    if (rule.status.error.ok()) objects.push_back(rule.object);
  }
  return objects;
}

std::vector<OperatorObjectStatus> OperatorSource::Statuses() const {
  std::vector<OperatorObjectStatus> statuses = registry_.Statuses();
  base::MutexLock lock(rules_mu_);
  for (const auto& [key, rule] : rules_) statuses.push_back(rule.status);
  return statuses;
}

void OperatorSource::Run() {
  while (true) {
    {
      base::MutexLock lock(mu_);
      while (!wake_ && !stopped_) awake_.Wait(mu_);
      if (stopped_) return;
      wake_ = false;
    }
    Step();
  }
}

void OperatorSource::Wake() {
  base::MutexLock lock(mu_);
  wake_ = true;
  waking_soon_ = false;
  awake_.NotifyAll();
}

void OperatorSource::WakeSoon() {
  if (stopped_ || std::exchange(waking_soon_, true)) return;
  wake_task_ = scheduler_.At(scheduler_.clock().NowMs() + kBatchMs, [this] { Wake(); });
}

void OperatorSource::Tick() {
  Wake();
  base::MutexLock lock(mu_);
  if (!stopped_) tick_task_ = scheduler_.At(scheduler_.clock().NowMs() + kTickMs, [this] { Tick(); });
}

void OperatorSource::Step() {
  FollowNamespaces();
  FindKinds();
  TakeChanges();
  ReadReferences();
  TellFaults();
  bool changed = registry_.TakeChanged();
  {
    base::MutexLock lock(rules_mu_);
    changed = std::exchange(rules_changed_, false) || changed;
  }
  if (changed) on_change_();
}

void OperatorSource::FollowNamespaces() {
  if (namespaces_ != nullptr || options_.namespaces.empty()) return;
  namespaces_ = caches_.Get(kube::resources::kNamespaces);
  namespaces_handler_ = namespaces_->AddHandler([this](kube::EventType, const std::shared_ptr<const base::Json>&) {
    base::MutexLock lock(mu_);
    namespaces_changed_ = true;
    WakeSoon();
  });
}

void OperatorSource::FindKinds() {
  const int64_t now_ms = scheduler_.clock().NowMs();
  if (now_ms < find_kinds_ms_) return;
  find_kinds_ms_ = now_ms + kFindKindsMs;
  std::set<std::string> served;
  for (const char* version : kVersions) {
    if (!AddKindsOf(version, &served)) return;
  }
  for (const auto& [kind, resource] : Kinds()) {
    const bool watched = watched_.count(kind) > 0;
    if (served.count(kind) > 0 && !watched) Watch(kind);
    if (served.count(kind) == 0 && watched) Unwatch(kind);
  }
}

// False if the API server did not say.
bool OperatorSource::AddKindsOf(const std::string& version, std::set<std::string>* served) {
  auto list = client_.GetRaw(std::string("/apis/") + kGroup + "/" + version);
  if (list.status().code() == base::Code::kNotFound) return true;
  if (!list.ok()) return false;
  const base::Json* resources = base::Find(*list, {"resources"});
  if (resources == nullptr || !resources->is_array()) return true;
  for (const base::Json& resource : *resources) {
    auto known = Kinds().find(base::FindString(resource, {"kind"}));
    if (known == Kinds().end() || known->second.version != version) continue;
    if (IsFollowed(known->first)) served->insert(known->first);
  }
  return true;
}

void OperatorSource::Watch(const std::string& kind) {
  auto informer = caches_.Get(Kinds().at(kind));
  auto handler = informer->AddHandler([this, kind](kube::EventType, const std::shared_ptr<const base::Json>& object) {
    base::MutexLock lock(mu_);
    changed_.insert({kind, kube::NamespaceOf(*object), kube::NameOf(*object)});
    WakeSoon();
  });
  watched_[kind] = {std::move(informer), handler};
  base::LogInfo("scrape", "following monitoring objects", {{"kind", kind}});
}

void OperatorSource::Unwatch(const std::string& kind) {
  watched_.at(kind).informer->RemoveHandler(watched_.at(kind).handler);
  watched_.erase(kind);
  for (const OperatorObjectStatus& status : Statuses()) {
    if (status.kind == kind) Take({kind, status.ns, status.name});
  }
  base::LogInfo("scrape", "the API server does not know these monitoring objects any more", {{"kind", kind}});
}

void OperatorSource::TakeChanges() {
  if (namespaces_ != nullptr && !namespaces_->HasSynced()) return;
  std::set<ObjectKey> changed;
  bool everything = false;
  {
    base::MutexLock lock(mu_);
    changed.swap(changed_);
    everything = std::exchange(namespaces_changed_, false);
  }
  if (everything) {
    for (const auto& [kind, watched] : watched_) {
      for (const auto& object : watched.informer->List()) {
        changed.insert({kind, kube::NamespaceOf(*object), kube::NameOf(*object)});
      }
    }
  }
  for (const ObjectKey& key : changed) Take(key);
}

void OperatorSource::Take(const ObjectKey& key) {
  auto watched = watched_.find(key.kind);
  auto object = watched == watched_.end() ? nullptr : watched->second.informer->Get(key.ns, key.name);
  if (object != nullptr && !IsSelected(*object)) object = nullptr;
  if (key.kind == kRuleKind) return TakeRule(key, std::move(object));
  if (object != nullptr) return registry_.Upsert(*object);
  registry_.Remove(key.kind, key.ns, key.name);
}

void OperatorSource::TakeRule(const ObjectKey& key, std::shared_ptr<const base::Json> object) {
  RuleObject rule{object, {.kind = key.kind, .ns = key.ns, .name = key.name}};
  if (object != nullptr) {
    rule.status.uid = base::FindString(*object, {"metadata", "uid"});
    rule.status.error = options_.check_rule(*object);
  }
  base::MutexLock lock(rules_mu_);
  rules_changed_ = true;
  if (object != nullptr) {
    rules_[key] = std::move(rule);
  } else {
    rules_.erase(key);
  }
}

bool OperatorSource::IsSelected(const base::Json& object) const {
  if (!options_.objects.Matches(kube::LabelsOf(object))) return false;
  if (namespaces_ == nullptr) return true;
  auto ns = namespaces_->Get("", kube::NamespaceOf(object));
  return ns != nullptr && options_.namespaces.Matches(kube::LabelsOf(*ns));
}

void OperatorSource::ReadReferences() {
  const int64_t now_ms = scheduler_.clock().NowMs();
  const std::set<OperatorRegistry::Reference> wanted = registry_.References();
  for (auto it = read_again_ms_.begin(); it != read_again_ms_.end();) {
    const bool keep = wanted.count(it->first) > 0;
    if (!keep) registry_.ForgetReference(it->first);
    it = keep ? std::next(it) : read_again_ms_.erase(it);
  }
  for (const OperatorRegistry::Reference& reference : wanted) {
    auto known = read_again_ms_.find(reference);
    const bool is_known = known != read_again_ms_.end();
    if (!is_known || known->second <= now_ms) read_again_ms_[reference] = now_ms + Read(reference, is_known);
  }
}

// Returns after how many ms to read it again.
int64_t OperatorSource::Read(const OperatorRegistry::Reference& reference, bool known) {
  const bool secret = reference.kind == "Secret";
  auto object =
      client_.Get(secret ? kube::resources::kSecrets : kube::resources::kConfigMaps, reference.ns, reference.name);
  const bool final = IsFinal(object.status());
  if (final || !known) registry_.SetReference(reference, object);
  return object.ok() ? kReadAgainMs : kRetryMs;
}

void OperatorSource::TellFaults() {
  base::MutexLock lock(report_mu_);
  std::map<ObjectKey, Told> before = std::exchange(told_, {});
  for (const OperatorObjectStatus& status : Statuses()) {
    if (status.error.ok()) continue;
    const ObjectKey key{status.kind, status.ns, status.name};
    told_[key] = std::move(before[key]);
    TellFault(status);
  }
}

void OperatorSource::TellFault(const OperatorObjectStatus& status) {
  Told& told = told_[{status.kind, status.ns, status.name}];
  const std::string& message = status.error.message();
  if (std::exchange(told.logged, message) != message) {
    base::LogWarn("scrape", "monitoring object is not used",
                  {{"object", status.kind + " " + status.ns + "/" + status.name}, {"error", message}});
  }
  if (!report_ || std::exchange(told.reported, message) == message) return;
  const base::Json object = {{"apiVersion", Kinds().at(status.kind).ApiVersion()},
                             {"kind", status.kind},
                             {"metadata", {{"namespace", status.ns}, {"name", status.name}, {"uid", status.uid}}}};
  report_(object, "InvalidConfiguration", message);
}

void OperatorSource::ReportTo(Report report) {
  {
    base::MutexLock lock(report_mu_);
    report_ = std::move(report);
    for (auto& [key, told] : told_) told.reported.clear();
  }
  TellFaults();
}

}  // namespace tidewright::scrape
