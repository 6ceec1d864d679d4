// Cluster's Deployment and ReplicaSet controllers.
#include <algorithm>
#include <functional>
#include <utility>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "sandbox/cluster.h"

namespace tidewright::sandbox {

namespace {

using base::Find;
using base::FindInt;
using base::FindString;
using base::Json;
using base::Status;

constexpr const char* kDeployments = "deployments.apps";
constexpr const char* kReplicaSets = "replicasets.apps";
constexpr const char* kRevision = "deployment.kubernetes.io/revision";
constexpr const char* kHashLabel = "pod-template-hash";

Json OwnerReference(const Json& owner) {
  return {{"apiVersion", FindString(owner, {"apiVersion"})},
          {"kind", FindString(owner, {"kind"})},
          {"name", kube::NameOf(owner)},
          {"uid", kube::UidOf(owner)},
          {"controller", true},
          {"blockOwnerDeletion", true}};
}

bool IsControlledBy(const Json& object, const std::string& uid) {
  const Json* owners = Find(object, {"metadata", "ownerReferences"});
  if (owners == nullptr || !owners->is_array()) return false;
  return std::any_of(owners->begin(), owners->end(), [&](const Json& owner) {
    return base::FindBool(owner, {"controller"}) && FindString(owner, {"uid"}) == uid;
  });
}

// FNV-1a, spelled with the letters that Kubernetes uses for generated names.
std::string TemplateHash(const Json& pod_template) {
  constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : base::DumpJson(pod_template)) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  std::string out;
  for (int i = 0; i < 10; ++i, hash /= kLetters.size()) out += kLetters[hash % kLetters.size()];
  return out;
}

int64_t Replicas(const Json& object) { return FindInt(object, {"spec", "replicas"}, 1); }
int64_t StatusOf(const Json& object, std::string_view field) { return FindInt(object, {"status", field}); }

// A count or a percentage of `total`.
int64_t Scaled(const Json* value, int64_t total, bool round_up) {
  if (value == nullptr) return 0;
  if (value->is_number_integer()) return value->get<int64_t>();
  if (!value->is_string()) return 0;
  std::string text = value->get<std::string>();
  int64_t percent = 0;
  if (text.empty() || text.back() != '%' || !base::ParseInt64(text.substr(0, text.size() - 1), &percent)) return 0;
  return (total * percent + (round_up ? 99 : 0)) / 100;
}

int64_t RevisionOf(const Json& object) {
  int64_t revision = 0;
  auto annotations = kube::AnnotationsOf(object);
  auto it = annotations.find(kRevision);
  return it != annotations.end() && base::ParseInt64(it->second, &revision) ? revision : 0;
}

int64_t SumStatus(const std::vector<ObjectPtr>& sets, std::string_view field) {
  int64_t sum = 0;
  for (const ObjectPtr& set : sets) sum += StatusOf(set->json, field);
  return sum;
}

}  // namespace

void Cluster::ReconcileDeployments() {
  std::vector<ObjectPtr> replica_sets = store_.List(kReplicaSets, "");
  for (const ObjectPtr& deployment : store_.List(kDeployments, "")) {
    if (!kube::IsBeingDeleted(deployment->json)) ReconcileDeployment(deployment, replica_sets);
  }
}

void Cluster::ReconcileDeployment(const ObjectPtr& deployment, const std::vector<ObjectPtr>& replica_sets) {
  const std::string uid = kube::UidOf(deployment->json);
  const Json* pod_template = Find(deployment->json, {"spec", "template"});
  if (pod_template == nullptr) return;
  const std::string hash = TemplateHash(*pod_template);
  std::vector<ObjectPtr> owned;
  std::vector<ObjectPtr> old;
  ObjectPtr current;
  int64_t revision = 0;
  for (const ObjectPtr& set : replica_sets) {
    if (!IsControlledBy(set->json, uid)) continue;
    owned.push_back(set);
    revision = std::max(revision, RevisionOf(set->json));
    if (kube::LabelsOf(set->json)[kHashLabel] == hash) {
      current = set;
    } else {
      old.push_back(set);
    }
  }
  if (current == nullptr) {
    const bool first = old.empty();
    current = CreateReplicaSet(deployment, hash, ++revision, first ? Replicas(deployment->json) : 0);
    if (current == nullptr) return;
    owned.push_back(current);
  } else if (!old.empty() && RevisionOf(current->json) < revision) {
    // Rolled back: the old template becomes the newest revision.
    const std::string text = std::to_string(++revision);
    auto mutate = [&](Json& object) {
      object["metadata"]["annotations"][kRevision] = text;
      return Status::Ok();
    };
    (void)store_.Update(kReplicaSets, kube::NamespaceOf(current->json), kube::NameOf(current->json), mutate);
  }
  if (!base::FindBool(deployment->json, {"spec", "paused"})) Rollout(deployment, current, old);
  WriteDeploymentStatus(deployment, kube::UidOf(current->json), revision, owned);
}

ObjectPtr Cluster::CreateReplicaSet(const ObjectPtr& deployment, const std::string& hash, int64_t revision,
                                    int64_t replicas) {
  const Json& json = deployment->json;
  Json pod_template = *Find(json, {"spec", "template"});
  Json selector = *Find(json, {"spec", "selector"});
  pod_template["metadata"]["labels"][kHashLabel] = hash;
  selector["matchLabels"][kHashLabel] = hash;
  Json set = {{"metadata",
               {{"name", kube::NameOf(json) + "-" + hash},
                {"namespace", kube::NamespaceOf(json)},
                {"labels", pod_template["metadata"]["labels"]},
                {"annotations", {{kRevision, std::to_string(revision)}}},
                {"ownerReferences", Json::array({OwnerReference(json)})}}},
              {"spec", {{"replicas", replicas}, {"selector", selector}, {"template", pod_template}}}};
  auto created = Create("apps", "v1", "replicasets", std::move(set));
  if (!created.ok()) return nullptr;  // The namespace is going, or the name is taken; the next tick sees.
  if (replicas > 0) {
    RecordEvent(json, "ScalingReplicaSet",
                "Scaled up replica set " + kube::NameOf((*created)->json) + " from 0 to " + std::to_string(replicas),
                "deployment-controller");
  }
  return *created;
}

void Cluster::ScaleReplicaSet(const ObjectPtr& deployment, const ObjectPtr& set, int64_t replicas) {
  const int64_t now = Replicas(set->json);
  if (now == replicas) return;
  auto mutate = [&](Json& object) {
    object["spec"]["replicas"] = replicas;
    return Status::Ok();
  };
  auto scaled = store_.Update(kReplicaSets, kube::NamespaceOf(set->json), kube::NameOf(set->json), mutate);
  if (!scaled.ok()) return;
  RecordEvent(deployment->json, "ScalingReplicaSet",
              std::string("Scaled ") + (replicas > now ? "up" : "down") + " replica set " + kube::NameOf(set->json) +
                  " from " + std::to_string(now) + " to " + std::to_string(replicas),
              "deployment-controller");
}

// Moves replicas from the old sets to the current one, within the deployment's limits.
void Cluster::Rollout(const ObjectPtr& deployment, const ObjectPtr& current, const std::vector<ObjectPtr>& old) {
  const Json& json = deployment->json;
  const int64_t wanted = Replicas(json);
  int64_t old_replicas = 0;
  for (const ObjectPtr& set : old) old_replicas += Replicas(set->json);
  if (old_replicas == 0) {
    ScaleReplicaSet(deployment, current, wanted);
    return;
  }
  if (FindString(json, {"spec", "strategy", "type"}) == "Recreate") {
    for (const ObjectPtr& set : old) ScaleReplicaSet(deployment, set, 0);
    return;  // The current set follows when the old ones are empty.
  }
  const int64_t surge = Scaled(Find(json, {"spec", "strategy", "rollingUpdate", "maxSurge"}), wanted, true);
  int64_t unavailable = Scaled(Find(json, {"spec", "strategy", "rollingUpdate", "maxUnavailable"}), wanted, false);
  if (surge == 0 && unavailable == 0) unavailable = 1;  // Otherwise nothing could ever move.
  const int64_t room = wanted + surge - old_replicas;
  ScaleReplicaSet(deployment, current, std::clamp<int64_t>(room, std::min(Replicas(current->json), wanted), wanted));
  // Old pods may go as far as enough stay available; the current set's pods count once they are.
  int64_t spare =
      SumStatus(old, "availableReplicas") + StatusOf(current->json, "availableReplicas") - (wanted - unavailable);
  for (const ObjectPtr& set : old) {
    const int64_t unready = std::max<int64_t>(0, Replicas(set->json) - StatusOf(set->json, "availableReplicas"));
    const int64_t removed = std::min(Replicas(set->json), unready + std::max<int64_t>(0, spare));
    spare -= std::max<int64_t>(0, removed - unready);
    ScaleReplicaSet(deployment, set, Replicas(set->json) - removed);
  }
}

void Cluster::WriteDeploymentStatus(const ObjectPtr& deployment, const std::string& current_uid, int64_t revision,
                                    const std::vector<ObjectPtr>& owned) {
  const Json& json = deployment->json;
  const int64_t wanted = Replicas(json);
  int64_t updated = 0;
  for (const ObjectPtr& set : owned) {
    if (kube::UidOf(set->json) == current_uid) updated = StatusOf(set->json, "replicas");
  }
  const int64_t replicas = SumStatus(owned, "replicas");
  const int64_t available = SumStatus(owned, "availableReplicas");
  const int64_t unavailable_limit =
      Scaled(Find(json, {"spec", "strategy", "rollingUpdate", "maxUnavailable"}), wanted, false);
  const bool enough = available >= wanted - unavailable_limit;
  const bool complete = updated == wanted && replicas == wanted && available == wanted;
  auto mutate = [&](Json& object) {
    object["metadata"]["annotations"][kRevision] = std::to_string(revision);
    Json& status = object["status"];
    if (!status.is_object()) status = Json::object();
    status["observedGeneration"] = FindInt(json, {"metadata", "generation"});
    const std::pair<const char*, int64_t> counts[] = {
        {"replicas", replicas},
        {"updatedReplicas", updated},
        {"readyReplicas", SumStatus(owned, "readyReplicas")},
        {"availableReplicas", available},
        {"unavailableReplicas", std::max<int64_t>(0, wanted - available)}};
    for (const auto& [field, count] : counts) {
      if (count == 0) {
        status.erase(field);
      } else {
        status[field] = count;
      }
    }
    kube::SetCondition(
        object, "Available", enough ? "True" : "False",
        enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
        enough ? "Deployment has minimum availability." : "Deployment does not have minimum availability.", NowMs());
    kube::SetCondition(object, "Progressing", "True", complete ? "NewReplicaSetAvailable" : "ReplicaSetUpdated",
                       complete ? "ReplicaSet has successfully progressed." : "ReplicaSet is progressing.", NowMs());
    return Status::Ok();
  };
  (void)store_.Update(kDeployments, kube::NamespaceOf(json), kube::NameOf(json), mutate);
}

// ---- ReplicaSets ----

void Cluster::ReconcileReplicaSets() {
  std::map<std::string, std::vector<ObjectPtr>> pods_of;  // By the owner's uid.
  for (ObjectPtr& pod : store_.List("pods", "")) {
    const Json* owners = Find(pod->json, {"metadata", "ownerReferences"});
    if (owners == nullptr || !owners->is_array() || owners->empty()) continue;
    pods_of[FindString((*owners)[0], {"uid"})].push_back(std::move(pod));
  }
  for (const ObjectPtr& set : store_.List(kReplicaSets, "")) {
    if (!kube::IsBeingDeleted(set->json)) ReconcileReplicaSet(set, pods_of[kube::UidOf(set->json)]);
  }
}

void Cluster::ReconcileReplicaSet(const ObjectPtr& set, const std::vector<ObjectPtr>& pods) {
  std::vector<ObjectPtr> active;
  for (const ObjectPtr& pod : pods) {
    if (!kube::IsBeingDeleted(pod->json)) active.push_back(pod);
  }
  const int64_t wanted = Replicas(set->json);
  for (int64_t i = static_cast<int64_t>(active.size()); i < wanted; ++i) CreatePod(set);
  if (static_cast<int64_t>(active.size()) > wanted) {
    // Pods that are not ready go first, then the youngest.
    std::sort(active.begin(), active.end(), [](const ObjectPtr& a, const ObjectPtr& b) {
      const bool ready_a = kube::IsPodReady(a->json);
      const bool ready_b = kube::IsPodReady(b->json);
      if (ready_a != ready_b) return !ready_a;
      std::string created_a = FindString(a->json, {"metadata", "creationTimestamp"});
      std::string created_b = FindString(b->json, {"metadata", "creationTimestamp"});
      return created_a != created_b ? created_a > created_b : kube::NameOf(a->json) > kube::NameOf(b->json);
    });
    ResourceTypePtr type = rest_.registry().Find("", "v1", "pods");
    for (size_t i = 0; i < active.size() - static_cast<size_t>(wanted); ++i) {
      ObjectRef ref{type, kube::NamespaceOf(active[i]->json), kube::NameOf(active[i]->json)};
      WriteContext context;
      (void)rest_.Delete(ref, DeleteOptions(), context);  // Gone already is fine.
    }
    active.erase(active.begin(), active.end() - wanted);
  }
  WriteReplicaSetStatus(set, active);
}

void Cluster::CreatePod(const ObjectPtr& set) {
  const Json* pod_template = Find(set->json, {"spec", "template"});
  if (pod_template == nullptr) return;
  Json pod = *pod_template;
  pod["metadata"]["generateName"] = kube::NameOf(set->json) + "-";
  pod["metadata"]["namespace"] = kube::NamespaceOf(set->json);
  pod["metadata"]["ownerReferences"] = Json::array({OwnerReference(set->json)});
  auto created = Create("", "v1", "pods", std::move(pod));
  if (created.ok()) {
    RecordEvent(set->json, "SuccessfulCreate", "Created pod: " + kube::NameOf((*created)->json),
                "replicaset-controller");
  }
}

void Cluster::WriteReplicaSetStatus(const ObjectPtr& set, const std::vector<ObjectPtr>& pods) {
  const int64_t ready =
      std::count_if(pods.begin(), pods.end(), [](const ObjectPtr& pod) { return kube::IsPodReady(pod->json); });
  auto mutate = [&](Json& object) {
    Json status = {{"replicas", pods.size()},
                   {"fullyLabeledReplicas", pods.size()},
                   {"observedGeneration", FindInt(set->json, {"metadata", "generation"})}};
    if (ready > 0) status["readyReplicas"] = status["availableReplicas"] = ready;
    object["status"] = std::move(status);
    return Status::Ok();
  };
  (void)store_.Update(kReplicaSets, kube::NamespaceOf(set->json), kube::NameOf(set->json), mutate);
}

}  // namespace tidewright::sandbox
