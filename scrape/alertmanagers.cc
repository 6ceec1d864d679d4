#include "scrape/alertmanagers.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/log.h"
#include "scrape/discovery.h"

namespace tidewright::scrape {

namespace {

constexpr std::string_view kAddress = "__address__";
constexpr std::string_view kScheme = "__scheme__";
constexpr std::string_view kPath = "__alerts_path__";
constexpr std::string_view kApiPath = "/api/v2/alerts";

// The prefix with a slash at its start and none at its end; "" for none.
std::string Prefix(std::string prefix) {
  while (prefix.ends_with("/")) prefix.pop_back();
  return prefix.empty() || prefix.starts_with("/") ? prefix : "/" + prefix;
}

std::string Spelled(const tsdb::LabelsBuilder& labels) {
  return std::string(labels.Get(kScheme)) + "://" + std::string(labels.Get(kAddress)) + std::string(labels.Get(kPath));
}

}  // namespace

base::Result<std::string> AlertmanagerUrl(const tsdb::LabelsBuilder& labels) {
  const std::string address(labels.Get(kAddress));
  if (address.empty() || address.find('/') != std::string::npos) {
    return base::InvalidArgumentError("__address__ " + base::Quoted(address) +
                                      " is not host:port; set scheme and path_prefix for the rest");
  }
  TW_RETURN_IF_ERROR(http::Url::Parse(Spelled(labels)).status());
  return Spelled(labels);
}

// The Alertmanagers of one element of the configuration.
class AlertmanagerDiscovery::Set {
 public:
  explicit Set(const AlertmanagerConfig& config)
      : config_(std::make_shared<const AlertmanagerConfig>(config)),
        transport_(std::make_shared<HttpTransport>(config.discovery.http, http::NewCurlClient)) {}

  const AlertmanagerConfig& config() const { return *config_; }

  void Start(std::vector<std::unique_ptr<Discoverer>> discoverers, std::function<void()> changed) {
    discoverers_ = std::move(discoverers);
    for (size_t i = 0; i < discoverers_.size(); ++i) {
      discoverers_[i]->Start([this, i, changed](std::vector<TargetGroup> groups) {
        {
          base::MutexLock lock(mu_);
          for (TargetGroup& group : groups) {
            std::string source = group.source;
            groups_[{i, std::move(source)}] = std::move(group);
          }
        }
        changed();
      });
    }
  }

  void Stop() {
    for (auto& discoverer : discoverers_) discoverer->Stop();
    discoverers_.clear();
  }

  void AddTo(size_t index, AlertmanagerTargets* targets) const {
    base::MutexLock lock(mu_);
    std::set<std::string> seen;
    for (const auto& [key, group] : groups_) {
      for (const tsdb::Labels& target : group.targets) AddTarget(index, target, group.labels, &seen, targets);
    }
  }

 private:
  void AddTarget(size_t index, const tsdb::Labels& target, const tsdb::Labels& group, std::set<std::string>* seen,
                 AlertmanagerTargets* targets) const {
    tsdb::LabelsBuilder labels(group);
    for (const tsdb::Label& label : target) labels.Set(label.name, label.value);
    labels.Set(kScheme, config_->scheme);
    labels.Set(kPath, Prefix(config_->path_prefix) + std::string(kApiPath));
    const std::string before = Spelled(labels);
    if (!Relabel(config_->discovery.relabel_rules, &labels)) {
      targets->dropped.push_back(before);
      return;
    }
    auto url = AlertmanagerUrl(labels);
    if (!url.ok()) {
      base::LogWarn("scrape", "an Alertmanager cannot be used", {{"error", url.status().message()}});
    } else if (seen->insert(*url).second) {
      targets->active.push_back({*url, index, config_, transport_});
    }
  }

  const std::shared_ptr<const AlertmanagerConfig> config_;
  const std::shared_ptr<HttpTransport> transport_;
  std::vector<std::unique_ptr<Discoverer>> discoverers_;  // Used by the owner only.
  mutable base::Mutex mu_;
  std::map<std::pair<size_t, std::string>, TargetGroup> groups_ GUARDED_BY(mu_);  // By discoverer and source.
};

AlertmanagerDiscovery::AlertmanagerDiscovery(base::Clock& clock, base::Scheduler& scheduler, kube::SharedCaches* kube,
                                             Update update)
    : clock_(clock), scheduler_(scheduler), kube_(kube), update_(std::move(update)) {}

AlertmanagerDiscovery::~AlertmanagerDiscovery() { Stop(); }

void AlertmanagerDiscovery::Apply(const std::vector<AlertmanagerConfig>& configs) {
  std::vector<std::shared_ptr<Set>> old, next, fresh;
  {
    base::MutexLock lock(mu_);
    old = sets_;
  }
  for (const AlertmanagerConfig& config : configs) {
    auto same = std::find_if(old.begin(), old.end(), [&](const auto& set) { return set->config() == config; });
    if (same != old.end()) {
      next.push_back(std::move(*same));
      old.erase(same);
    } else {
      next.push_back(std::make_shared<Set>(config));
      fresh.push_back(next.back());
    }
  }
  {
    base::MutexLock lock(mu_);
    sets_ = next;
  }
  for (auto& set : old) set->Stop();
  const DiscoveryContext context{clock_, scheduler_, http::NewCurlClient, kube_};
  for (auto& set : fresh) {
    set->Start(NewDiscoverers(set->config().discovery, "alerting", context), [this] { Publish(); });
  }
  Publish();
}

void AlertmanagerDiscovery::Stop() {
  std::vector<std::shared_ptr<Set>> old;
  {
    base::MutexLock lock(mu_);
    old.swap(sets_);
  }
  for (auto& set : old) set->Stop();
}

void AlertmanagerDiscovery::Publish() {
  base::MutexLock publish(publish_mu_);
  std::vector<std::shared_ptr<Set>> sets;
  {
    base::MutexLock lock(mu_);
    sets = sets_;
  }
  AlertmanagerTargets targets;
  for (size_t i = 0; i < sets.size(); ++i) sets[i]->AddTo(i, &targets);
  update_(std::move(targets));
}

}  // namespace tidewright::scrape
