#include "apiservice/registration.h"

#include <algorithm>
#include <optional>

#include "apiservice/route.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "kube/meta.h"

namespace tidewright::apiservice {
namespace {

constexpr char kManagedBy[] = "app.kubernetes.io/managed-by";
constexpr char kTidewright[] = "tidewright";
constexpr int kGroupPriority = 100;
constexpr int kFirstVersionPriority = 200;

struct GroupVersion {
  std::string group;
  std::string version;
  std::string Name() const { return version + "." + group; }
};

std::vector<GroupVersion> EverServed() {
  std::string custom(kCustomGroup), external(kExternalGroup), resource(kResourceGroup);
  return {{custom, "v1beta2"}, {custom, "v1beta1"}, {external, "v1beta1"}, {resource, "v1beta1"}, {resource, "v1"}};
}

base::Json SpecOf(const GroupVersion& gv, int version_priority, const RegistrationOptions& options) {
  return {{"group", gv.group},
          {"version", gv.version},
          {"groupPriorityMinimum", kGroupPriority},
          {"versionPriority", version_priority},
          {"service", {{"name", options.service}, {"namespace", options.ns}, {"port", options.port}}},
          {"caBundle", base::Base64Encode(options.ca_bundle)}};
}

bool IsOurs(const base::Json& object, const RegistrationOptions& options) {
  return base::FindString(object, {"spec", "service", "name"}) == options.service &&
         base::FindString(object, {"spec", "service", "namespace"}) == options.ns;
}

bool IsMadeByUs(const base::Json& object, const RegistrationOptions& options) {
  auto labels = kube::LabelsOf(object);
  auto it = labels.find(kManagedBy);
  return it != labels.end() && it->second == kTidewright && IsOurs(object, options);
}

base::Status Create(kube::Client& client, const GroupVersion& gv, const base::Json& spec) {
  base::Json object = {{"apiVersion", "apiregistration.k8s.io/v1"},
                       {"kind", "APIService"},
                       {"metadata", {{"name", gv.Name()}, {"labels", {{kManagedBy, kTidewright}}}}},
                       {"spec", spec}};
  base::Status status = client.Create(kube::resources::kApiServices, "", object).status();
  // Another replica made the same object in the meantime.
  return status.code() == base::Code::kAlreadyExists ? base::Status::Ok() : status;
}

// Gives an existing APIService the fields of `spec`.
base::Status Update(kube::Client& client, const GroupVersion& gv, const base::Json& existing, base::Json spec,
                    const RegistrationOptions& options) {
  const base::Json* current = base::Find(existing, {"spec"});
  bool same = current != nullptr && current->is_object();
  for (const auto& [key, value] : spec.items()) {
    same = same && current->contains(key) && (*current)[key] == value;
  }
  if (same) return base::Status::Ok();
  // caBundle and insecureSkipTLSVerify exclude each other; null removes what another installation left.
  spec["insecureSkipTLSVerify"] = nullptr;
  base::Json patch = {{"spec", std::move(spec)}};
  if (!IsOurs(existing, options)) patch["metadata"] = {{"labels", {{kManagedBy, kTidewright}}}};
  return client.Patch(kube::resources::kApiServices, "", gv.Name(), kube::PatchType::kMerge, patch).status();
}

base::Status Register(kube::Client& client, const GroupVersion& gv, int version_priority,
                      const RegistrationOptions& options) {
  base::Json spec = SpecOf(gv, version_priority, options);
  base::Result<base::Json> existing = client.Get(kube::resources::kApiServices, "", gv.Name());
  if (existing.status().code() == base::Code::kNotFound) return Create(client, gv, spec);
  if (!existing.ok()) return existing.status();
  if (!IsOurs(*existing, options) && !options.take_over) {
    return base::FailedPreconditionError(
        "APIService " + gv.Name() + " belongs to the service " +
        base::FindString(*existing, {"spec", "service", "namespace"}) + "/" +
        base::FindString(*existing, {"spec", "service", "name"}) +
        ", so its metrics are not ours to serve; remove that installation, or allow to take the APIService over");
  }
  return Update(client, gv, *existing, std::move(spec), options);
}

// Of a version that is not served: removes what an earlier call made. What somebody else made for our service, such as
// the chart, stays and is kept reachable, as the server answers it with an empty list.
base::Status Unregister(kube::Client& client, const GroupVersion& gv, const RegistrationOptions& options) {
  base::Result<base::Json> existing = client.Get(kube::resources::kApiServices, "", gv.Name());
  if (existing.status().code() == base::Code::kNotFound) return base::Status::Ok();
  if (!existing.ok()) return existing.status();
  if (!IsOurs(*existing, options)) return base::Status::Ok();
  if (!IsMadeByUs(*existing, options)) {
    return Update(client, gv, *existing, {{"caBundle", base::Base64Encode(options.ca_bundle)}}, options);
  }
  base::LogInfo("apiservice", "removing the APIService of an API that is not served any more", {{"name", gv.Name()}});
  base::Status status = client.Delete(kube::resources::kApiServices, "", gv.Name());
  return status.code() == base::Code::kNotFound ? base::Status::Ok() : status;
}

}  // namespace

base::Status RegisterApiServices(kube::Client& client, const RegistrationOptions& options,
                                 const std::vector<ServedGroup>& groups) {
  base::Status first;
  for (const GroupVersion& gv : EverServed()) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const ServedGroup& g) { return g.group == gv.group; });
    int priority = 0;
    if (group != groups.end()) {
      auto version = std::find(group->versions.begin(), group->versions.end(), gv.version);
      if (version != group->versions.end()) {
        priority = kFirstVersionPriority - 100 * static_cast<int>(version - group->versions.begin());
      }
    }
    base::Status status = priority > 0 ? Register(client, gv, priority, options) : Unregister(client, gv, options);
    if (first.ok()) first = status.Annotate("APIService " + gv.Name());
  }
  return first;
}

base::Result<std::string> PublishedCaBundle(kube::Client& client, const RegistrationOptions& options,
                                            const std::vector<ServedGroup>& groups) {
  std::optional<std::string> common;
  for (const ServedGroup& group : groups) {
    for (const std::string& version : group.versions) {
      GroupVersion gv{group.group, version};
      TW_ASSIGN_OR_RETURN(base::Json object, client.Get(kube::resources::kApiServices, "", gv.Name()));
      if (!IsOurs(object, options)) continue;
      std::string bundle;
      bool found = base::Base64Decode(base::FindString(object, {"spec", "caBundle"}), &bundle) && !bundle.empty();
      if (!found) return base::NotFoundError("APIService " + gv.Name() + " has no caBundle yet");
      if (common && *common != bundle) return base::FailedPreconditionError("the APIServices' caBundles differ");
      common = std::move(bundle);
    }
  }
  if (!common) return base::NotFoundError("there is no APIService of ours");
  return *common;
}

}  // namespace tidewright::apiservice
