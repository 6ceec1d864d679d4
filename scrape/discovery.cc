#include "scrape/discovery.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kFileLookMs = 1000;

class StaticDiscoverer : public Discoverer {
 public:
  explicit StaticDiscoverer(std::vector<TargetGroup> groups) : groups_(std::move(groups)) {}
  void Start(Update update) override { update(groups_); }
  void Stop() override {}

 private:
  const std::vector<TargetGroup> groups_;
};

class FileDiscoverer : public Discoverer {
 public:
  FileDiscoverer(FileSdConfig config, base::Scheduler& scheduler) : config_(std::move(config)), scheduler_(scheduler) {}

  void Start(Update update) override {
    update_ = std::move(update);
    Refresh();
  }

  void Stop() override {
    base::Scheduler::TaskId task = 0;
    {
      base::MutexLock lock(mu_);
      stopped_ = true;
      task = task_;
    }
    if (task != 0) scheduler_.Cancel(task);
  }

 private:
  struct File {
    std::string identity;
    std::string text;
    size_t groups = 0;
  };

  void Refresh() {
    std::vector<TargetGroup> changed;
    std::vector<std::string> paths = MatchFiles(config_.files);
    for (const std::string& path : paths) ReadTargets(path, &changed);
    for (auto it = files_.begin(); it != files_.end();) {
      bool exists = std::find(paths.begin(), paths.end(), it->first) != paths.end();
      if (!exists) Remove(it->first, 0, it->second.groups, &changed);
      it = exists ? std::next(it) : files_.erase(it);
    }
    if (!changed.empty()) update_(std::move(changed));
    base::MutexLock lock(mu_);
    if (stopped_) return;
    task_ = scheduler_.At(scheduler_.clock().NowMs() + kFileLookMs, [this] { Refresh(); });
  }

  // What changes with the content, without reading it: ConfigMap volumes put a symbolic link to another file in place.
  static std::string IdentityOf(const std::string& path) {
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) return "";
    return std::to_string(info.st_dev) + ' ' + std::to_string(info.st_ino) + ' ' + std::to_string(info.st_size) + ' ' +
           std::to_string(info.st_mtim.tv_sec) + ' ' + std::to_string(info.st_mtim.tv_nsec);
  }

  void ReadTargets(const std::string& path, std::vector<TargetGroup>* changed) {
    File& file = files_[path];
    std::string identity = IdentityOf(path);
    if (!identity.empty() && identity == file.identity) return;
    file.identity = std::move(identity);
    auto text = base::ReadFile(path);
    std::string content = text.ok() ? *text : "unreadable: " + text.status().message();
    if (content == file.text) return;
    file.text = content;
    auto groups = text.ok() ? ParseTargetFile(*text, path) : base::Result<std::vector<TargetGroup>>(text.status());
    if (!groups.ok()) {
      base::LogWarn("scrape", "target file is not usable; its previous targets stay",
                    {{"file", path}, {"error", groups.status().message()}});
      return;
    }
    Remove(path, groups->size(), file.groups, changed);
    file.groups = groups->size();
    for (TargetGroup& group : *groups) changed->push_back(std::move(group));
  }

  static void Remove(const std::string& path, size_t from, size_t to, std::vector<TargetGroup>* changed) {
    for (size_t i = from; i < to; ++i) {
      TargetGroup gone;
      gone.source = path + ":" + std::to_string(i);
      changed->push_back(std::move(gone));
    }
  }

  const FileSdConfig config_;
  base::Scheduler& scheduler_;
  Update update_;
  std::map<std::string, File> files_;  // Used by one refresh at a time.
  base::Mutex mu_;
  base::Scheduler::TaskId task_ GUARDED_BY(mu_) = 0;
  bool stopped_ GUARDED_BY(mu_) = false;
};

}  // namespace

std::unique_ptr<Discoverer> NewStaticDiscoverer(std::vector<TargetGroup> groups) {
  return std::make_unique<StaticDiscoverer>(std::move(groups));
}

std::unique_ptr<Discoverer> NewFileDiscoverer(FileSdConfig config, base::Scheduler& scheduler) {
  return std::make_unique<FileDiscoverer>(std::move(config), scheduler);
}

std::vector<std::unique_ptr<Discoverer>> NewDiscoverers(const ScrapeConfig& config, const std::string& job,
                                                        const DiscoveryContext& context) {
  std::vector<std::unique_ptr<Discoverer>> created;
  if (!config.static_groups.empty()) created.push_back(NewStaticDiscoverer(config.static_groups));
  for (const FileSdConfig& sd : config.file_sd) created.push_back(NewFileDiscoverer(sd, context.scheduler));
  for (const HttpSdConfig& sd : config.http_sd) {
    created.push_back(NewHttpDiscoverer(sd, context.scheduler, context.client_factory));
  }
  for (const DnsSdConfig& sd : config.dns_sd) created.push_back(NewDnsDiscoverer(sd, context.scheduler));
  if (context.kube == nullptr && !config.kubernetes_sd.empty()) {
    base::LogWarn("scrape", "no connection to a cluster: kubernetes_sd_configs find no targets", {{"job", job}});
    return created;
  }
  for (const KubernetesSdConfig& sd : config.kubernetes_sd) {
    created.push_back(NewKubernetesDiscoverer(sd, *context.kube, context.clock, context.scheduler));
  }
  return created;
}

}  // namespace tidewright::scrape
