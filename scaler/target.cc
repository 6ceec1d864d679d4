#include "scaler/target.h"

#include <tuple>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"

namespace tidewright::scaler {

const kube::Resource kClusterTriggerAuthentications{"tidewright.dev", "v1alpha1", "clustertriggerauthentications",
                                                    "ClusterTriggerAuthentication", false};
const kube::Resource kScaledJobs{"tidewright.dev", "v1alpha1", "scaledjobs", "ScaledJob", true};

namespace {

int32_t Count(const base::Json& object, std::initializer_list<std::string_view> path, int32_t fallback) {
  int64_t value = base::FindInt(object, path, fallback);
  return value < 0 || value > INT32_MAX ? fallback : static_cast<int32_t>(value);
}

const base::Json* FindNamed(const base::Json* list, const std::string& name) {
  if (list == nullptr || !list->is_array()) return nullptr;
  for (const base::Json& item : *list) {
    if (base::FindString(item, {"name"}) == name) return &item;
  }
  return nullptr;
}

// One value of a Secret (decoded) or ConfigMap.
base::Result<std::string> ReadKey(kube::Client& client, const kube::Resource& resource, const std::string& ns,
                                  const std::string& name, const std::string& key) {
  TW_ASSIGN_OR_RETURN(base::Json object, client.Get(resource, ns, name));
  const std::string what = resource.kind + " " + ns + "/" + name;
  const base::Json* value = base::Find(object, {"data", key});
  if (value == nullptr || !value->is_string()) {
    return base::NotFoundError(what + " has no key " + base::Quoted(key));
  }
  std::string text = value->get<std::string>();
  if (resource.kind != "Secret") return text;
  std::string decoded;
  if (!base::Base64Decode(text, &decoded)) return base::DataLossError(what + ": key " + key + " is not base64");
  return decoded;
}

// Looks up variables of one container. Depth bounds references from one variable to another.
class Environment {
 public:
  Environment(kube::Client& client, const std::string& ns, const base::Json& container)
      : client_(client), ns_(ns), container_(container) {}

  base::Result<std::string> Value(const std::string& variable, int depth = 0) {
    const base::Json* entry = FindNamed(base::Find(container_, {"env"}), variable);
    if (entry == nullptr) return FromSources(variable);
    if (base::Find(*entry, {"valueFrom"}) != nullptr) return FromReference(variable, *entry);
    return Expand(base::FindString(*entry, {"value"}), depth);
  }

 private:
  base::Result<std::string> FromReference(const std::string& variable, const base::Json& entry) {
    for (auto [member, resource] : {std::pair("secretKeyRef", &kube::resources::kSecrets),
                                    std::pair("configMapKeyRef", &kube::resources::kConfigMaps)}) {
      const base::Json* ref = base::Find(entry, {"valueFrom", member});
      if (ref == nullptr) continue;
      return ReadKey(client_, *resource, ns_, base::FindString(*ref, {"name"}), base::FindString(*ref, {"key"}));
    }
    return base::UnimplementedError("the variable " + base::Quoted(variable) +
                                    " comes from a source other than a secret or config map; give it a value");
  }

  base::Result<std::string> FromSources(const std::string& variable) {
    const base::Json* sources = base::Find(container_, {"envFrom"});
    if (sources != nullptr && sources->is_array()) {
      for (auto it = sources->rbegin(); it != sources->rend(); ++it) {
        auto value = FromSource(variable, *it);
        if (value.ok()) return value;
      }
    }
    return base::NotFoundError("the container " + base::Quoted(base::FindString(container_, {"name"})) +
                               " has no environment variable " + base::Quoted(variable));
  }

  base::Result<std::string> FromSource(const std::string& variable, const base::Json& source) {
    std::string prefix = base::FindString(source, {"prefix"});
    if (!variable.starts_with(prefix)) return base::NotFoundError("other prefix");
    std::string key = variable.substr(prefix.size());
    std::string secret = base::FindString(source, {"secretRef", "name"});
    if (!secret.empty()) return ReadKey(client_, kube::resources::kSecrets, ns_, secret, key);
    std::string config_map = base::FindString(source, {"configMapRef", "name"});
    return ReadKey(client_, kube::resources::kConfigMaps, ns_, config_map, key);
  }

  // $(NAME) of another variable; what does not resolve stays as it is, as in Kubernetes.
  base::Result<std::string> Expand(const std::string& text, int depth) {
    constexpr int kMaxDepth = 4;
    std::string out;
    size_t at = 0;
    while (at < text.size()) {
      size_t open = text.find("$(", at);
      size_t close = open == std::string::npos ? open : text.find(')', open);
      if (close == std::string::npos || depth >= kMaxDepth) break;
      out += text.substr(at, open - at);
      auto value = Value(text.substr(open + 2, close - open - 2), depth + 1);
      out += value.ok() ? *value : text.substr(open, close + 1 - open);
      at = close + 1;
    }
    return out + text.substr(at);
  }

  kube::Client& client_;
  const std::string& ns_;
  const base::Json& container_;
};

}  // namespace

base::Result<Target> ReadTarget(const Cluster& cluster, const kube::Resource& resource, const std::string& ns,
                                const std::string& name) {
  Target target;
  TW_ASSIGN_OR_RETURN(target.object, cluster.objects->Get(resource, ns, name));
  const base::Json& object = *target.object;
  target.resource_version = kube::ResourceVersionOf(object);
  bool complete = resource.group == "apps" &&
                  (resource.kind == "Deployment" || resource.kind == "StatefulSet" || resource.kind == "ReplicaSet");
  if (complete) {
    target.replicas.spec_replicas = Count(object, {"spec", "replicas"}, 1);
    target.replicas.status_replicas = Count(object, {"status", "replicas"}, 0);
    target.replicas.ready_replicas = Count(object, {"status", "readyReplicas"}, 0);
  } else {
    TW_ASSIGN_OR_RETURN(kube::Scale scale, kube::GetScale(*cluster.client, resource, ns, name));
    target.resource_version = scale.resource_version;
    target.selector = scale.selector;
    target.replicas.spec_replicas = scale.spec_replicas;
    target.replicas.status_replicas = scale.status_replicas;
    target.replicas.ready_replicas = Count(object, {"status", "readyReplicas"}, scale.status_replicas);
  }
  return target;
}

std::string PodSelectorOf(const Target& target) {
  if (!target.selector.empty()) return target.selector;
  const base::Json* selector = base::Find(*target.object, {"spec", "selector"});
  if (selector == nullptr) return "";
  auto parsed = kube::LabelSelector::FromJson(*selector);
  return parsed.ok() ? parsed->ToString() : "";
}

base::Status SetReplicas(kube::Client& client, const kube::Resource& resource, const std::string& ns,
                         const std::string& name, const SeenScale& seen, int32_t replicas) {
  constexpr int kAttempts = 4;
  std::string version = seen.resource_version;
  base::Status status;
  for (int i = 0; i < kAttempts; ++i) {
    status = kube::SetScale(client, resource, ns, name, replicas, version);
    if (status.code() != base::Code::kAborted) return status;
    TW_ASSIGN_OR_RETURN(kube::Scale now, kube::GetScale(client, resource, ns, name));
    if (now.spec_replicas != seen.replicas) {
      return base::AbortedError("the replicas were changed from " + std::to_string(seen.replicas) + " to " +
                                std::to_string(now.spec_replicas) + " in the meantime");
    }
    version = now.resource_version;
  }
  return status;
}

base::Result<std::string> LookUpEnv(kube::Client& client, const std::string& ns, const base::Json& workload,
                                    const std::string& container, const std::string& variable) {
  const base::Json* containers = base::Find(workload, {"spec", "template", "spec", "containers"});
  if (containers == nullptr || !containers->is_array() || containers->empty()) {
    return base::NotFoundError("the scale target has no pod template to take variables from");
  }
  const base::Json* found = container.empty() ? &(*containers)[0] : FindNamed(containers, container);
  if (found == nullptr) return base::NotFoundError("the scale target has no container " + base::Quoted(container));
  return Environment(client, ns, *found).Value(variable);
}

base::Result<std::map<std::string, std::string>> ReadAuthentication(const Cluster& cluster,
                                                                    const kube::Resource& resource,
                                                                    const std::string& ns, const std::string& name,
                                                                    const base::Json& workload,
                                                                    const std::string& container) {
  const std::string key = resource.namespaced ? ns + "/" + name : name;
  const std::string what = resource.kind + " " + key;
  const std::string& secrets_ns = resource.namespaced ? ns : cluster.own_namespace;
  TW_ASSIGN_OR_RETURN(std::shared_ptr<const base::Json> object,
                      cluster.objects->Get(resource, resource.namespaced ? ns : "", name));
  kube::Client& client = *cluster.client;
  std::map<std::string, std::string> parameters;
  const base::Json* spec = base::Find(*object, {"spec"});
  if (spec == nullptr || !spec->is_object()) return parameters;
  for (const auto& [source, entries] : spec->items()) {
    bool known = source == "secretTargetRef" || source == "configMapTargetRef" || source == "env";
    if (!known || !entries.is_array()) {
      return base::UnimplementedError(what + ": spec." + source +
                                      " is not supported; use secretTargetRef, configMapTargetRef or env");
    }
    for (const base::Json& entry : entries) {
      std::string ref = base::FindString(entry, {"name"});
      base::Result<std::string> value =
          source == "env"
              ? LookUpEnv(client, ns, workload, base::FindString(entry, {"containerName"}, container), ref)
              : ReadKey(client, source == "secretTargetRef" ? kube::resources::kSecrets : kube::resources::kConfigMaps,
                        secrets_ns, ref, base::FindString(entry, {"key"}));
      if (!value.ok()) return value.status().Annotate(what + ": spec." + source);
      parameters[base::FindString(entry, {"parameter"})] = *value;
    }
  }
  return parameters;
}

base::Status TargetRegistry::Claim(const std::string& target, const std::string& owner, int64_t created_ms) {
  base::MutexLock lock(mu_);
  auto previous = targets_.find(owner);
  if (previous != targets_.end() && previous->second != target) {
    holders_.erase(previous->second);
    targets_.erase(previous);
  }
  auto holder = holders_.find(target);
  if (holder != holders_.end() && holder->second.owner != owner) {
    const Holder& other = holder->second;
    if (std::tie(other.created_ms, other.owner) <= std::tie(created_ms, owner)) {
      return base::AlreadyExistsError(target + " is already scaled by " + other.owner +
                                      "; delete one of the two or give it another target");
    }
    targets_.erase(other.owner);
  }
  holders_[target] = {owner, created_ms};
  targets_[owner] = target;
  return base::Status::Ok();
}

void TargetRegistry::Release(const std::string& owner) {
  base::MutexLock lock(mu_);
  auto it = targets_.find(owner);
  if (it == targets_.end()) return;
  holders_.erase(it->second);
  targets_.erase(it);
}

}  // namespace tidewright::scaler
