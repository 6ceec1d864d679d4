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
#include "scrape/http_transport.h"

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

// Reads the files at once and then looks at them once a second, whatever the refresh interval; it reads those that have
// changed. A file that cannot be read or parsed keeps its previous groups and is logged once per content; a file that
// is gone loses them.
std::unique_ptr<Discoverer> NewFileDiscoverer(FileSdConfig config, base::Scheduler& scheduler);

// Asks the URL at once and then every refresh interval. The reply must be JSON with status 200; whatever else comes
// keeps the previous groups and is logged once until it changes.
std::unique_ptr<Discoverer> NewHttpDiscoverer(HttpSdConfig config, base::Scheduler& scheduler,
                                              const HttpTransport::Factory& factory);

// Where names are looked up. Empty: what the system's resolver says (/etc/resolv.conf).
struct DnsServer {
  std::string address;  // Of an IPv4 name server.
  uint16_t port = 53;
};

// Looks the names up at once and then every refresh interval, on a thread of its own, because a name server that does
// not answer takes seconds. A lookup that fails keeps the name's previous targets; a name without records has none.
std::unique_ptr<Discoverer> NewDnsDiscoverer(DnsSdConfig config, base::Scheduler& scheduler,
                                             const DnsServer& server = {});

// Follows the objects of the role in shared caches, through one watch per kind however many jobs do (see
// KubernetesView). Begins when everything that labels are made of has been listed; changes within a tenth of a second
// are delivered together. While the API server is away the last known targets stay. `own_namespace` is the pod's; "":
// what its service account says.
std::unique_ptr<Discoverer> NewKubernetesDiscoverer(KubernetesSdConfig config, kube::SharedCaches& caches,
                                                    base::Clock& clock, base::Scheduler& scheduler,
                                                    const std::string& own_namespace = "");

// What discovery of any kind needs. `kube` may be null: kubernetes_sd_configs then find nothing, which is logged.
struct DiscoveryContext {
  base::Clock& clock;
  base::Scheduler& scheduler;
  HttpTransport::Factory client_factory;
  kube::SharedCaches* kube = nullptr;
};

// One discoverer for each that `config` names, not started. `job` is for the log.
std::vector<std::unique_ptr<Discoverer>> NewDiscoverers(const ScrapeConfig& config, const std::string& job,
                                                        const DiscoveryContext& context);

}  // namespace tidewright::scrape
