// Kubernetes API client: verbs on resources, over http::Client.
//
// What it does for its callers: signs requests with credentials that rotate; keeps to a rate limit, with writes to
// scale subresources first (kube/rate_limiter.h); tries again, within the time limit of a call, when the API server
// asks for it by Retry-After; counts in the metrics that client-go has.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/metrics.h"
#include "base/status.h"
#include "http/client.h"
#include "kube/config.h"
#include "kube/rate_limiter.h"

namespace tidewright::kube {

// Names a resource type of the API: {"apps", "v1", "deployments", "Deployment", true}.
struct Resource {
  std::string group;  // "" is the core group.
  std::string version;
  std::string plural;
  std::string kind;
  bool namespaced = true;

  std::string ApiVersion() const { return group.empty() ? version : group + "/" + version; }
  // "/apis/apps/v1/namespaces/shop/deployments/web"; empty namespace and name leave those parts out.
  std::string Path(std::string_view ns, std::string_view name, std::string_view subresource = "") const;
};

// The resource types that Tidewright itself uses.
namespace resources {
extern const Resource kPods, kNodes, kServices, kEndpoints, kNamespaces, kConfigMaps, kSecrets, kEvents;
extern const Resource kDeployments, kStatefulSets, kReplicaSets;
extern const Resource kHorizontalPodAutoscalers;                // autoscaling/v2
extern const Resource kScaledObjects, kTriggerAuthentications;  // tidewright.dev/v1alpha1
extern const Resource kLeases, kApiServices, kCustomResourceDefinitions, kTokenReviews, kSubjectAccessReviews,
    kIngresses, kEndpointSlices, kJobs;
}  // namespace resources

enum class PatchType { kMerge, kJson, kStrategic };

// When a deleted object goes: at once, its dependents after it, or once its dependents have gone.
enum class Propagation { kBackground, kForeground };

// For lists and watches.
struct ListOptions {
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;
  int64_t limit = 0;                  // Lists: objects per page; 0: 500.
  int64_t timeout_seconds = 300;      // Watches: when the server ends them.
  int64_t idle_timeout_ms = 120'000;  // Watches: silence, even without bookmarks, that ends them (kDeadlineExceeded).
  std::function<void()> on_open;      // Watches: called once the server has accepted it. May be empty.
};

// One line of a watch. `type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.
using WatchHandler = std::function<base::Status(std::string_view type, const base::Json& object)>;

// Asked about each request immediately before it is sent, and again before each further attempt. Thread-safe.
class RequestGuard {
 public:
  virtual ~RequestGuard() = default;
  // How many ms the request may take from now on (at least 1), or the error to fail with instead of sending it.
  virtual base::Result<int64_t> Admit(bool write) = 0;
};

// How long the calls of a client go on after BeginStop().
constexpr int64_t kStopGraceMs = 2'000;

// Thread-safe. Errors carry the code that fits the API server's Status reply (NotFound -> kNotFound, Conflict ->
// kAborted, AlreadyExists, Forbidden -> kPermissionDenied, Invalid/BadRequest -> kInvalidArgument, 410 Gone ->
// kOutOfRange, 429 -> kResourceExhausted, 5xx -> kUnavailable) and name verb and object.
class Client {
 public:
  virtual ~Client() = default;

  virtual base::Result<base::Json> Get(const Resource& resource, std::string_view ns, std::string_view name,
                                       std::string_view subresource = "") = 0;
  // The List object; pages are joined. A list whose pages expire under way (410) is read again in one piece.
  virtual base::Result<base::Json> List(const Resource& resource, std::string_view ns,
                                        const ListOptions& options = {}) = 0;
  virtual base::Result<base::Json> Create(const Resource& resource, std::string_view ns, const base::Json& object) = 0;
  virtual base::Result<base::Json> Update(const Resource& resource, std::string_view ns, std::string_view name,
                                          const base::Json& object, std::string_view subresource = "") = 0;
  virtual base::Result<base::Json> Patch(const Resource& resource, std::string_view ns, std::string_view name,
                                         PatchType type, const base::Json& patch,
                                         std::string_view subresource = "") = 0;
  virtual base::Status Delete(const Resource& resource, std::string_view ns, std::string_view name,
                              Propagation propagation = Propagation::kBackground) = 0;

  // Streams changes after `options.resource_version` until the server ends the watch (OK), an error, or `cancel`.
  // kOutOfRange: the server has forgotten that version; kDataLoss: an event was lost. After both, list again.
  virtual base::Status Watch(const Resource& resource, std::string_view ns, const ListOptions& options,
                             const WatchHandler& handler, http::CancelToken* cancel) = 0;

  // GET of any path below the API server, for instance "/apis/custom.metrics.k8s.io/v1beta2/...".
  virtual base::Result<base::Json> GetRaw(const std::string& path_and_query) = 0;

  // The same API server by way of the same connections, credentials and rate limit, but `guard` is asked about each
  // request. Borrows this client and the guard. Watches are not limited in time by it.
  virtual std::unique_ptr<Client> Guarded(RequestGuard& guard);

  // For the stop of the program, which must not take longer because the server does not answer. Calls that wait, for
  // the rate limit or because the server asked for it, end with kCancelled, now and later. All others, under way or yet
  // to come, have until kStopGraceMs from now; what is left then is cancelled. Only requests about leases are still
  // sent after that, for kStopGraceMs each, so that a lease can be given away. Watches end by their own tokens.
  // Idempotent.
  virtual void BeginStop() {}
};

struct ClientOptions {
  RateLimitOptions rate_limit;
  int64_t request_timeout_ms = 15'000;  // One attempt.
  int64_t call_timeout_ms = 30'000;     // A call with all its attempts and waits.
  std::string user_agent = "tidewright";
  base::Clock* clock = nullptr;             // For waits; null: base::BootClock.
  base::MetricRegistry* metrics = nullptr;  // Null: none. Must outlive the client.
};

// Errors: a server address, a certificate or a proxy that cannot be used; a token or certificate file that is missing.
base::Result<std::unique_ptr<Client>> NewClient(const ClientConfig& config, const ClientOptions& options = {});

}  // namespace tidewright::kube
