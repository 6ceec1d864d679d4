// Service discovery: where target groups come from.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/thread_pool.h"
#include "kube/shared_caches.h"
#include "scrape/config.h"

namespace tidewright::scrape {

// A source of target groups. Start() and Stop() are called once each, by one owner.
class Discoverer {
 public:
  // Receives changed groups: each replaces the one with the same source; a group without targets removes it. Called
  // from any thread, one call at a time, possibly from within Start(); must not block for long.
  using Update = std::function<void(std::vector<TargetGroup> groups)>;

  virtual ~Discoverer() = default;  // Stop() must have been called if Start() was.
  virtual void Start(Update update) = 0;
  // After it returned, no update is delivered any more.
  virtual void Stop() = 0;
};

std::unique_ptr<Discoverer> NewStaticDiscoverer(std::vector<TargetGroup> groups);

// Reads the files at once and then every refresh interval, at the latest every ten seconds. A file that cannot be read
// or parsed keeps its previous groups and is logged once per content; a file that is gone loses them.
std::unique_ptr<Discoverer> NewFileDiscoverer(FileSdConfig config, base::Scheduler& scheduler);

// Follows the objects of the role in shared caches. Roles pod, node, service and endpoints; others deliver nothing.
// Begins when everything that labels are made of has been listed; changes within half a second are delivered together.
// While the API server is away the last known targets stay.
std::unique_ptr<Discoverer> NewKubernetesDiscoverer(KubernetesSdConfig config, kube::SharedCaches& caches,
                                                    base::Clock& clock, base::Scheduler& scheduler);

}  // namespace tidewright::scrape
