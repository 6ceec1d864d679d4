// Kubernetes API client: verbs on resources, over http::Client.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/json_fwd.h"
#include "base/status.h"
#include "http/client.h"

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
    kIngresses;
}  // namespace resources

enum class PatchType { kMerge, kJson, kStrategic };

struct ListOptions {
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;
  int64_t limit = 0;
};

// One line of a watch. `type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.
using WatchHandler = std::function<base::Status(std::string_view type, const base::Json& object)>;

// Thread-safe. Errors carry the code that fits the API server's Status reply (NotFound -> kNotFound, Conflict ->
// kAborted, AlreadyExists, Forbidden -> kPermissionDenied, Invalid/BadRequest -> kInvalidArgument, 410 Gone ->
// kOutOfRange, 429 -> kResourceExhausted, 5xx -> kUnavailable) and name verb and object.
class Client {
 public:
  virtual ~Client() = default;

  virtual base::Result<base::Json> Get(const Resource& resource, std::string_view ns, std::string_view name,
                                       std::string_view subresource = "") = 0;
  // The List object; pages are joined.
  virtual base::Result<base::Json> List(const Resource& resource, std::string_view ns,
                                        const ListOptions& options = {}) = 0;
  virtual base::Result<base::Json> Create(const Resource& resource, std::string_view ns, const base::Json& object) = 0;
  virtual base::Result<base::Json> Update(const Resource& resource, std::string_view ns, std::string_view name,
                                          const base::Json& object, std::string_view subresource = "") = 0;
  virtual base::Result<base::Json> Patch(const Resource& resource, std::string_view ns, std::string_view name,
                                         PatchType type, const base::Json& patch,
                                         std::string_view subresource = "") = 0;
  virtual base::Status Delete(const Resource& resource, std::string_view ns, std::string_view name) = 0;

  // Streams changes after `options.resource_version` until the server ends the watch (OK), an error, or `cancel`.
  virtual base::Status Watch(const Resource& resource, std::string_view ns, const ListOptions& options,
                             const WatchHandler& handler, http::CancelToken* cancel) = 0;

  // GET of any path below the API server, for instance "/apis/custom.metrics.k8s.io/v1beta2/...".
  virtual base::Result<base::Json> GetRaw(const std::string& path_and_query) = 0;
};

// How to reach an API server.
struct ClientConfig {
  std::string server;  // https://10.0.0.1:443
  http::ClientTls tls;
  std::string bearer_token;       // At most one of token and token file.
  std::string bearer_token_file;  // Read again each minute: projected tokens rotate.
  std::string ns = "default";     // The context's namespace.
  std::string field_manager = "tidewright";
};

// Reads a kubeconfig file; `context` "" takes current-context. Errors name file, context and what is missing.
base::Result<ClientConfig> LoadKubeconfig(const std::string& path, const std::string& context = "");
// Reads the service account that Kubernetes mounts into every pod.
base::Result<ClientConfig> InClusterConfig();

base::Result<std::unique_ptr<Client>> NewClient(const ClientConfig& config);

}  // namespace tidewright::kube
