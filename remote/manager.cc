#include "remote/manager.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "http/client.h"
#include "tsdb/log_tail.h"

namespace tidewright::remote {

namespace {

std::string StateDirectory(const std::string& data_directory) { return data_directory + "/remote_write"; }

// Short, and good for a file's name whatever the text.
std::string Digest(const std::string& text) {
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx",
                static_cast<unsigned long long>(tsdb::Labels::Of({{"name", text}}).Hash()));
  return hash;
}

}  // namespace

Manager::Manager(ManagerOptions options, base::Clock& clock, base::MetricRegistry& metrics)
    : options_([&] {
        if (!options.make_client) options.make_client = http::NewCurlClient;
        return std::move(options);
      }()),
      clock_(clock),
      metrics_(metrics),
      lost_segments_(metrics.GetCounter("tidewright_remote_write_lost_segments_total",
                                        "Segments of the log that were removed before every endpoint had read them.")),
      newest_(metrics.GetGauge("prometheus_remote_storage_highest_timestamp_in_seconds",
                               "Time of the newest sample that was stored and is to be sent.")) {}

Manager::~Manager() { Stop(); }

std::string Manager::StateFile(const std::string& name) const {
  return StateDirectory(options_.data_directory) + "/" + Digest(name) + ".json";
}

std::vector<Manager::Running> Manager::Named(const std::vector<scrape::RemoteWriteConfig>& configs,
                                             const tsdb::Labels& external_labels) const {
  std::vector<Running> all;
  std::map<std::string, int> uses;  // Of URLs without a name.
  for (const scrape::RemoteWriteConfig& config : configs) {
    std::string name = config.name;
    if (name.empty()) {
      const int use = ++uses[config.url];
      name = Digest(use == 1 ? config.url : config.url + "#" + std::to_string(use)).substr(0, 6);
    }
    all.push_back({config, external_labels, std::move(name), nullptr});
  }
  return all;
}

void Manager::StartEndpoint(Running* one) {
  EndpointOptions options;
  options.config = one->config;
  options.name = one->name;
  options.external_labels = one->external_labels;
  options.data_directory = options_.data_directory;
  options.state_file = StateFile(one->name);
  options.metadata = options_.metadata;
  options.make_client = options_.make_client;
  one->endpoint = std::make_unique<Endpoint>(std::move(options), clock_, metrics_);
  one->endpoint->Start();
}

base::Status Manager::Apply(const std::vector<scrape::RemoteWriteConfig>& configs,
                            const tsdb::Labels& external_labels) {
  base::MutexLock lock(mu_);
  if (stopped_) return base::Status::Ok();
  if (options_.data_directory.empty()) {
    if (configs.empty()) return base::Status::Ok();
    return base::FailedPreconditionError("remote_write sends from the log of the store: --storage.tsdb.path is needed");
  }
  if (!configs.empty()) {
    TW_RETURN_IF_ERROR(base::MakeDirectories(StateDirectory(options_.data_directory)));
    TW_RETURN_IF_ERROR(tsdb::LogTail::Keep(options_.data_directory, true));
  }
  std::vector<Running> before = std::exchange(running_, {});
  running_ = Named(configs, external_labels);
  for (Running& one : running_) {
    auto same = std::find_if(before.begin(), before.end(), [&](const Running& other) {
      return other.endpoint != nullptr && other.name == one.name && other.config == one.config &&
             other.external_labels == one.external_labels;
    });
    if (same != before.end()) one.endpoint = std::move(same->endpoint);
  }
  before.clear();  // Stops those that changed or went, before others take their places.
  for (Running& one : running_) {
    if (one.endpoint == nullptr) StartEndpoint(&one);
  }
  ForgetOthers();
  return configs.empty() ? tsdb::LogTail::Keep(options_.data_directory, false) : base::Status::Ok();
}

// Removes the places of endpoints that are not configured any more: were one to come back, it would begin anew.
void Manager::ForgetOthers() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(StateDirectory(options_.data_directory), error)) {
    const std::string path = entry.path().string();
    const bool used = std::any_of(running_.begin(), running_.end(), [&](const Running& one) NO_THREAD_SAFETY_ANALYSIS {
      return StateFile(one.name) == path;
    });
    std::error_code ignored;
    if (!used) std::filesystem::remove(entry.path(), ignored);
  }
}

void Manager::Maintain() {
  base::MutexLock lock(mu_);
  if (running_.empty() || stopped_) return;
  if (options_.newest_ms) newest_.Set(static_cast<double>(options_.newest_ms()) / 1000);
  int needed = std::numeric_limits<int>::max();
  for (const Running& one : running_) needed = std::min(needed, one.endpoint->needed_segment());
  auto lost = tsdb::LogTail::Release(options_.data_directory, needed, options_.max_kept_bytes,
                                     clock_.NowMs() - options_.max_kept_ms);
  if (!lost.ok()) {
    base::LogWarn("remote", "the log is not tidied up", {{"error", lost.status().message()}});
  } else if (*lost > 0) {
    lost_segments_.Add(*lost);
    base::LogError("remote", "removed parts of the log that were not sent yet", {{"segments", std::to_string(*lost)}});
  }
}

void Manager::Stop() {
  base::MutexLock lock(mu_);
  if (std::exchange(stopped_, true)) return;
  for (Running& one : running_) one.endpoint->Finish();
  const int64_t deadline = clock_.NowMs() + options_.flush_ms;
  for (Running& one : running_) one.endpoint->AwaitEnd(deadline);
  running_.clear();
}

}  // namespace tidewright::remote
