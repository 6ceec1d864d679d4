#include "scrape/pool.h"

#include <algorithm>

#include "base/log.h"

namespace tidewright::scrape {
namespace {

constexpr size_t kKeepDropped = 1000;
// How long the targets of changed discovery settings stay until the new ones have been found.
constexpr int64_t kDiscoveryGraceMs = 10'000;

bool SameDiscovery(const ScrapeConfig& a, const ScrapeConfig& b) {
  return a.static_groups == b.static_groups && a.file_sd == b.file_sd && a.http_sd == b.http_sd &&
         a.dns_sd == b.dns_sd && a.kubernetes_sd == b.kubernetes_sd;
}

std::string ReasonOf(const ScrapeConfig& config, const TargetResult& dropped) {
  if (!dropped.error.ok()) return dropped.error.message();
  const size_t rule = dropped.dropped_by;
  if (rule >= config.relabel_rules.size()) return "no label is left";
  return "relabel_configs[" + std::to_string(rule) + "] (action " +
         std::string(RelabelActionName(config.relabel_rules[rule].action)) + ")";
}

}  // namespace

void RetiredLoops::Add(const std::shared_ptr<ScrapeLoop>& loop) {
  base::MutexLock lock(mu_);
  loops_.erase(std::remove_if(loops_.begin(), loops_.end(), [](const auto& known) { return known.expired(); }),
               loops_.end());
  loops_.push_back(loop);
}

void RetiredLoops::StopAll() {
  std::vector<std::weak_ptr<ScrapeLoop>> loops;
  {
    base::MutexLock lock(mu_);
    loops.swap(loops_);
  }
  for (auto& weak : loops) {
    if (auto loop = weak.lock()) loop->Stop();
  }
}

ScrapePool::ScrapePool(const PoolContext& context, ScrapeConfig config)
    : context_(context),
      config_(std::make_shared<const ScrapeConfig>(std::move(config))),
      transport_(std::make_shared<HttpTransport>(config_->http, context.client_factory)) {}

ScrapePool::~ScrapePool() { Stop(/*gone=*/false); }

void ScrapePool::Start() { StartDiscovery(); }

void ScrapePool::StartDiscovery() {
  std::shared_ptr<const ScrapeConfig> job = config();
  const DiscoveryContext context{context_.loops.clock, context_.discovery, context_.client_factory, context_.kube};
  std::vector<std::unique_ptr<Discoverer>> created = NewDiscoverers(*job, job->job_name, context);
  for (auto& discoverer : created) {
    int id = 0;
    {
      base::MutexLock lock(mu_);
      id = next_discoverer_++;
    }
    discoverer->Start([this, id](std::vector<TargetGroup> groups) { OnGroups(id, std::move(groups)); });
    discoverers_.push_back(std::move(discoverer));
  }
}

void ScrapePool::StopDiscovery() {
  for (auto& discoverer : discoverers_) discoverer->Stop();
  discoverers_.clear();
  if (cleanup_ != 0) context_.loops.scheduler.Cancel(std::exchange(cleanup_, 0));
}

void ScrapePool::Reconfigure(ScrapeConfig config) {
  auto next = std::make_shared<const ScrapeConfig>(std::move(config));
  std::shared_ptr<const ScrapeConfig> before = this->config();
  if (*before == *next) return;
  const bool rediscover = !SameDiscovery(*before, *next);
  if (rediscover) StopDiscovery();
  int first_new = 0;
  std::shared_ptr<HttpTransport> old_transport;  // Destroyed after the lock is released: that may wait for replies.
  {
    base::MutexLock lock(mu_);
    first_new = next_discoverer_;
    previous_config_ = before;
    config_ = next;
    if (!(before->http == next->http)) {
      old_transport = std::exchange(transport_, std::make_shared<HttpTransport>(next->http, context_.client_factory));
    }
    std::unordered_map<uint64_t, Running> previous = std::move(loops_);
    loops_.clear();
    for (auto& [key, group] : groups_) RunTargets(&group, &previous);
    for (auto& [hash, running] : previous) Retire(running.loop);
    previous_config_ = nullptr;
    ApplyTargetLimit();
  }
  if (!rediscover) return;
  StartDiscovery();
  // Groups of files and static targets are there by now; those of others come when they have answered.
  const bool local = next->kubernetes_sd.empty() && next->http_sd.empty() && next->dns_sd.empty();
  const int64_t grace = local ? 0 : kDiscoveryGraceMs;
  cleanup_ = context_.loops.scheduler.At(context_.loops.clock.NowMs() + grace,
                                         [this, first_new] { ForgetDiscoverersBefore(first_new); });
}

void ScrapePool::Stop(bool gone) {
  StopDiscovery();
  std::unordered_map<uint64_t, Running> loops;
  std::shared_ptr<HttpTransport> transport;
  {
    base::MutexLock lock(mu_);
    stopped_ = true;
    loops.swap(loops_);
    groups_.clear();
    transport = transport_;
    if (gone) {
      for (auto& [hash, running] : loops) Retire(running.loop);
    }
  }
  for (auto& [hash, running] : loops) {
    if (!gone) running.loop->Stop();
  }
}

std::shared_ptr<const ScrapeConfig> ScrapePool::config() const {
  base::MutexLock lock(mu_);
  return config_;
}

std::vector<std::shared_ptr<ScrapeLoop>> ScrapePool::Loops() const {
  std::vector<std::shared_ptr<ScrapeLoop>> loops;
  base::MutexLock lock(mu_);
  for (const auto& [hash, running] : loops_) loops.push_back(running.loop);
  return loops;
}

// Labels and reasons are worked out anew for the few that are shown, because most that is discovered may be dropped.
std::vector<DroppedTarget> ScrapePool::Dropped() const {
  base::MutexLock lock(mu_);
  auto limit = static_cast<size_t>(config_->limits.keep_dropped_targets);
  if (limit == 0) limit = kKeepDropped;
  std::vector<DroppedTarget> dropped;
  for (const auto& [key, group] : groups_) {
    for (size_t index : group.dropped) {
      if (dropped.size() >= limit) return dropped;
      TargetResult result = BuildTarget(*config_, group.group.targets[index], group.group.labels);
      std::string reason = ReasonOf(*config_, result);
      dropped.push_back({config_->job_name, std::move(result.discovered), std::move(reason)});
    }
  }
  return dropped;
}

size_t ScrapePool::dropped_count() const {
  base::MutexLock lock(mu_);
  size_t count = 0;
  for (const auto& [key, group] : groups_) count += group.dropped.size();
  return count;
}

void ScrapePool::OnGroups(int discoverer, std::vector<TargetGroup> groups) {
  base::MutexLock lock(mu_);
  if (stopped_) return;
  for (TargetGroup& group : groups) ReplaceGroup(discoverer, std::move(group));
  ApplyTargetLimit();
}

// Runs the new targets before it releases the old ones, so that targets in both go on undisturbed.
void ScrapePool::ReplaceGroup(int discoverer, TargetGroup group) {
  auto key = std::make_pair(discoverer, group.source);
  auto known = groups_.find(key);
  if (known == groups_.end() && group.targets.empty()) return;
  if (known != groups_.end() && known->second.group == group) return;
  Group next;
  next.group = std::move(group);
  RunTargets(&next, nullptr);
  if (known != groups_.end()) Release(known->second.targets);
  if (next.group.targets.empty()) {
    groups_.erase(key);
  } else {
    groups_[key] = std::move(next);
  }
}

void ScrapePool::RunTargets(Group* group, std::unordered_map<uint64_t, Running>* previous) {
  group->targets.clear();
  group->dropped.clear();
  for (size_t i = 0; i < group->group.targets.size(); ++i) {
    TargetResult result = BuildTarget(*config_, group->group.targets[i], group->group.labels);
    if (result.target) {
      RunTarget(std::move(result), group, previous);
      continue;
    }
    if (!result.error.ok()) {
      base::LogWarn("scrape", "discovered target is not usable",
                    {{"job", config_->job_name}, {"source", group->group.source}, {"error", result.error.message()}});
    }
    group->dropped.push_back(i);
  }
}

void ScrapePool::RunTarget(TargetResult result, Group* group, std::unordered_map<uint64_t, Running>* previous) {
  const uint64_t hash = result.target->Hash();
  group->targets.push_back(hash);
  Running& running = loops_[hash];
  if (running.groups++ > 0) return running.loop->SetDiscovered(std::move(result.discovered));
  auto old = previous == nullptr ? decltype(previous->end()){} : previous->find(hash);
  if (previous != nullptr && old != previous->end()) {
    std::shared_ptr<ScrapeLoop> loop = old->second.loop;
    previous->erase(old);
    if (KeepsSeriesCache(*previous_config_, *config_)) {
      loop->Update(config_, transport_, std::move(*result.target));
      running.loop = std::move(loop);
      return;
    }
    Retire(loop);
  }
  running.loop = ScrapeLoop::Create(context_.loops, config_, transport_, std::move(result));
  running.loop->Start();
}

void ScrapePool::Release(const std::vector<uint64_t>& targets) {
  for (uint64_t hash : targets) {
    auto it = loops_.find(hash);
    if (it == loops_.end() || --it->second.groups > 0) continue;
    Retire(it->second.loop);
    loops_.erase(it);
  }
}

void ScrapePool::Retire(const std::shared_ptr<ScrapeLoop>& loop) {
  loop->Retire();
  context_.retired.Add(loop);
}

void ScrapePool::ForgetDiscoverersBefore(int discoverer) {
  base::MutexLock lock(mu_);
  for (auto it = groups_.begin(); it != groups_.end();) {
    if (it->first.first >= discoverer) break;  // Ordered by discoverer.
    Release(it->second.targets);
    it = groups_.erase(it);
  }
  ApplyTargetLimit();
}

void ScrapePool::ApplyTargetLimit() {
  if (context_.metrics != nullptr) {
    context_.metrics
        ->GetGauge("tidewright_scrape_targets", "Targets that are being scraped.", {{"job", config_->job_name}})
        .Set(static_cast<double>(loops_.size()));
  }
  auto limit = static_cast<size_t>(config_->limits.targets);
  base::Status error;
  if (limit > 0 && loops_.size() > limit) {
    error = base::ResourceExhaustedError("target_limit exceeded: " + std::to_string(loops_.size()) +
                                         " targets, limit " + std::to_string(limit));
  }
  if (error.ok() && !over_limit_) return;
  over_limit_ = !error.ok();
  for (auto& [hash, running] : loops_) running.loop->SetForcedError(error);
}

}  // namespace tidewright::scrape
