#include "sandbox/rest.h"

#include <algorithm>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/strings.h"
#include "kube/meta.h"
#include "sandbox/admission.h"
#include "sandbox/conversion.h"
#include "sandbox/jsonpath.h"
#include "sandbox/patch.h"

namespace tidewright::sandbox {

namespace {

using base::Find;
using base::FindString;
using base::Json;
using base::Status;

constexpr const char* kCrdResource = "customresourcedefinitions.apiextensions.k8s.io";
constexpr const char* kCrdFinalizer = "customresourcecleanup.apiextensions.k8s.io";

std::string RandomSuffix() {
  std::string uuid = base::NewUuid();
  std::string out;
  for (char c : uuid) {
    if (c != '-' && out.size() < 5) out += c;
  }
  return out;
}

Status NotFound(const ObjectRef& ref) {
  return base::NotFoundError(ref.type->QualifiedName() + " \"" + ref.name + "\" not found");
}

// Structure that everything after it relies on.
Status CheckShape(const Json& object) {
  if (!object.is_object()) return base::InvalidArgumentError("the request body is not an object");
  const Json* metadata = Find(object, {"metadata"});
  if (metadata != nullptr && !metadata->is_object()) {
    return base::InvalidArgumentError("metadata is not an object");
  }
  for (const char* field : {"name", "namespace", "generateName", "resourceVersion", "uid"}) {
    const Json* value = metadata == nullptr ? nullptr : Find(*metadata, {field});
    if (value != nullptr && !value->is_string() && !value->is_null()) {
      return base::InvalidArgumentError(std::string("metadata.") + field + " is not a string");
    }
  }
  return Status::Ok();
}

Status CheckIdentity(const ObjectRef& ref, Json& object) {
  TW_RETURN_IF_ERROR(CheckShape(object));
  std::string api_version = FindString(object, {"apiVersion"}, ref.type->ApiVersion());
  std::string kind = FindString(object, {"kind"}, ref.type->kind);
  if (api_version != ref.type->ApiVersion() || kind != ref.type->kind) {
    return base::InvalidArgumentError("the body is a " + kind + " of " + api_version + ", but the path expects " +
                                      ref.type->kind + " of " + ref.type->ApiVersion());
  }
  Json& metadata = object["metadata"];
  if (!metadata.is_object()) metadata = Json::object();
  std::string ns = FindString(metadata, {"namespace"}, ref.ns);
  if (ns != ref.ns) {
    return base::InvalidArgumentError(
        "the namespace of the provided object does not match the namespace sent on the "
        "request");
  }
  if (ref.type->namespaced) {
    metadata["namespace"] = ref.ns;
  } else {
    metadata.erase("namespace");
  }
  return Status::Ok();
}

Json CrdStatus(const Json& crd, int64_t now_ms) {
  Json status = {{"acceptedNames", *Find(crd, {"spec", "names"})}, {"storedVersions", Json::array()}};
  for (const Json& version : *Find(crd, {"spec", "versions"})) {
    if (base::FindBool(version, {"storage"})) status["storedVersions"].push_back(FindString(version, {"name"}));
  }
  Json holder = {{"status", std::move(status)}};
  kube::SetCondition(holder, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now_ms);
  kube::SetCondition(holder, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted",
                     now_ms);
  return holder["status"];
}

Json AnswerReview(const ResourceType& type, Json review) {
  if (type.kind == "TokenReview") {
    const bool shown = !FindString(review, {"spec", "token"}).empty();
    review["status"] = {{"authenticated", shown}};
    if (shown) {
      review["status"]["user"] = {{"username", "sandbox-admin"},
                                  {"groups", Json::array({"system:masters", "system:authenticated"})}};
    }
  } else {
    review["status"] = {{"allowed", true}, {"reason", "the sandbox allows everything"}};
  }
  return review;
}

}  // namespace

Rest::Rest(Store& store, ResourceRegistry& registry, RestOptions options)
    : store_(store), registry_(registry), options_(options) {}

base::Result<ObjectPtr> Rest::Get(const ObjectRef& ref) const {
  ObjectPtr object = store_.Get(StorageOf(*ref.type), ref.ns, ref.name);
  if (object == nullptr) return NotFound(ref);
  return object;
}

std::vector<ObjectPtr> Rest::List(const ResourceType& type, const std::string& ns, const ObjectFilter& filter,
                                  uint64_t* version) const {
  std::vector<ObjectPtr> objects = store_.List(StorageOf(type), ns, version);
  std::erase_if(objects, [&](const ObjectPtr& object) { return !filter.Matches(object->json); });
  return objects;
}

Status Rest::CheckNamespace(const ObjectRef& ref) const {
  if (!ref.type->namespaced) return Status::Ok();
  ObjectPtr ns = store_.Get("namespaces", "", ref.ns);
  if (ns == nullptr) return base::NotFoundError("namespaces \"" + ref.ns + "\" not found");
  if (kube::IsBeingDeleted(ns->json)) {
    return base::PermissionDeniedError(ref.type->QualifiedName() + " \"" + ref.name +
                                       "\" is forbidden: unable to create new content in namespace " + ref.ns +
                                       " because it is being terminated");
  }
  return Status::Ok();
}

Status Rest::Prune(const ResourceType& type, Json& object, WriteContext& context) const {
  if (!type.custom || type.schema == nullptr) return Status::Ok();
  std::vector<std::string> unknown;
  PruneUnknownFields(*type.schema, object, &unknown);
  if (unknown.empty() || context.field_validation == FieldValidation::kIgnore) return Status::Ok();
  std::vector<std::string> texts;
  for (const std::string& field : unknown) texts.push_back("unknown field \"" + field + "\"");
  if (context.field_validation == FieldValidation::kStrict) {
    return base::InvalidArgumentError(type.kind + " in version \"" + type.version + "\" cannot be handled as a " +
                                      type.kind + ": strict decoding error: " + base::Join(texts, ", "));
  }
  context.warnings.insert(context.warnings.end(), texts.begin(), texts.end());
  return Status::Ok();
}

Status Rest::Admit(const ResourceType& type, Json& object, const Json* previous, WriteContext& context) {
  ApplyDefaults(type, object);
  context.causes = ValidateObject(type, object, previous);
  if (context.causes.empty()) return Status::Ok();
  return base::FailedPreconditionError((type.group.empty() ? type.kind : type.kind + "." + type.group) + " \"" +
                                       FindString(object, {"metadata", "name"}) +
                                       "\" is invalid: " + JoinFieldErrors(context.causes));
}

base::Result<std::string> Rest::AllocateServiceAddress() {
  base::MutexLock lock(mu_);
  constexpr int kPerBlock = 254;
  if (next_service_ > kPerBlock * 16) return base::ResourceExhaustedError("no service address is left");
  const int index = next_service_++ - 1;
  const int block = (options_.service_block + index / kPerBlock) % 256;
  return "127.20." + std::to_string(block) + "." + std::to_string(index % kPerBlock + 1);
}

// What only creation adds: generated names, service addresses, clean status, CRD bookkeeping.
Status Rest::PrepareCreate(const ObjectRef& ref, Json& object) {
  Json& metadata = object["metadata"];
  if (FindString(metadata, {"name"}).empty() && !FindString(metadata, {"generateName"}).empty()) {
    metadata["name"] = FindString(metadata, {"generateName"}) + RandomSuffix();
  }
  metadata.erase("resourceVersion");
  metadata.erase("managedFields");
  if (ref.type->status) object.erase("status");
  if (ref.type->QualifiedName() == "services" && object.contains("spec") && object["spec"].is_object()) {
    Json& spec = object["spec"];
    if (FindString(spec, {"clusterIP"}).empty() && FindString(spec, {"type"}) != "ExternalName") {
      TW_ASSIGN_OR_RETURN(spec["clusterIP"], AllocateServiceAddress());
    }
  }
  if (ref.type->QualifiedName() == kCrdResource) metadata["finalizers"] = Json::array({kCrdFinalizer});
  return Status::Ok();
}

base::Result<ObjectPtr> Rest::Create(const ObjectRef& ref, Json object, WriteContext& context) {
  const ResourceType& type = *ref.type;
  TW_RETURN_IF_ERROR(CheckIdentity(ref, object));
  if (type.create_only) {
    auto answered = std::make_shared<StoredObject>();
    object["apiVersion"] = type.ApiVersion();
    object["kind"] = type.kind;
    answered->json = AnswerReview(type, std::move(object));
    answered->text = base::DumpJson(answered->json);
    return ObjectPtr(answered);
  }
  TW_RETURN_IF_ERROR(CheckNamespace(ref));
  TW_RETURN_IF_ERROR(Prune(type, object, context));
  TW_RETURN_IF_ERROR(PrepareCreate(ref, object));
  object = ToStorage(type, std::move(object));
  TW_RETURN_IF_ERROR(Admit(type, object, nullptr, context));
  if (type.QualifiedName() == kCrdResource) object["status"] = CrdStatus(object, store_.clock().NowMs());
  TW_ASSIGN_OR_RETURN(ObjectPtr created, store_.Create(StorageOf(type), std::move(object), context.dry_run));
  AfterWrite(type, created, context.dry_run);
  return created;
}

// Turns `object`, in the type's version and as the client wants it, into what may be stored over `current`.
Status Rest::Replace(const ObjectRef& ref, const std::string& subresource, const Json& current, Json& object,
                     WriteContext& context) {
  const ResourceType& type = *ref.type;
  TW_RETURN_IF_ERROR(CheckIdentity(ref, object));
  std::string name = FindString(object, {"metadata", "name"}, ref.name);
  if (name != ref.name) {
    return base::InvalidArgumentError("the name of the object (" + name + ") does not match the name on the URL (" +
                                      ref.name + ")");
  }
  std::string uid = FindString(object, {"metadata", "uid"});
  if (!uid.empty() && uid != kube::UidOf(current)) {
    return base::AbortedError("Operation cannot be fulfilled on " + type.QualifiedName() + " \"" + ref.name +
                              "\": Precondition failed: UID in precondition: " + uid +
                              ", UID in object meta: " + kube::UidOf(current));
  }
  TW_RETURN_IF_ERROR(Prune(type, object, context));
  object = ToStorage(type, std::move(object));
  object["metadata"].erase("managedFields");
  if (Find(current, {"metadata", "deletionTimestamp"}) == nullptr) object["metadata"].erase("deletionTimestamp");
  if (subresource == "status") {
    Json merged = current;
    merged["metadata"]["resourceVersion"] = FindString(object, {"metadata", "resourceVersion"});
    const Json* status = Find(object, {"status"});
    merged["status"] = status == nullptr ? Json::object() : *status;
    object = std::move(merged);
  } else if (type.status) {
    object.erase("status");
    if (const Json* status = Find(current, {"status"})) object["status"] = *status;
  }
  return Admit(type, object, &current, context);
}

base::Result<ObjectPtr> Rest::Update(const ObjectRef& ref, const std::string& subresource, const Json& object,
                                     WriteContext& context) {
  auto mutate = [&](Json& target) {
    Json wanted = object;
    TW_RETURN_IF_ERROR(Replace(ref, subresource, target, wanted, context));
    target = std::move(wanted);
    return Status::Ok();
  };
  TW_ASSIGN_OR_RETURN(ObjectPtr updated,
                      store_.Update(StorageOf(*ref.type), ref.ns, ref.name, mutate, context.dry_run));
  AfterWrite(*ref.type, updated, context.dry_run);
  return updated;
}

namespace {

Status ApplyPatch(PatchKind kind, const ResourceType& type, const Json& patch, Json& object) {
  switch (kind) {
    case PatchKind::kMerge:
      if (!patch.is_object()) return base::InvalidArgumentError("a merge patch must be an object");
      ApplyMergePatch(object, patch);
      return Status::Ok();
    case PatchKind::kJson: return ApplyJsonPatch(object, patch);
    case PatchKind::kStrategic:
      if (type.custom) {
        return base::UnimplementedError(
            "strategic merge patches are not supported for custom resources; use "
            "application/merge-patch+json");
      }
      return ApplyStrategicMergePatch(object, patch);
    case PatchKind::kApply: return ApplyConfiguration(object, patch);
  }
  return Status::Ok();
}

}  // namespace

base::Result<ObjectPtr> Rest::Patch(const ObjectRef& ref, const std::string& subresource, PatchKind kind,
                                    const Json& patch, WriteContext& context) {
  const std::string resource = StorageOf(*ref.type);
  if (kind == PatchKind::kApply && subresource.empty() && store_.Get(resource, ref.ns, ref.name) == nullptr) {
    Json object = patch;
    TW_RETURN_IF_ERROR(CheckShape(object));
    object["metadata"]["name"] = ref.name;
    return Create(ref, std::move(object), context);
  }
  auto mutate = [&](Json& target) {
    Json wanted = FromStorage(*ref.type, target);
    TW_RETURN_IF_ERROR(ApplyPatch(kind, *ref.type, patch, wanted));
    TW_RETURN_IF_ERROR(Replace(ref, subresource, target, wanted, context));
    target = std::move(wanted);
    return Status::Ok();
  };
  TW_ASSIGN_OR_RETURN(ObjectPtr patched, store_.Update(resource, ref.ns, ref.name, mutate, context.dry_run));
  AfterWrite(*ref.type, patched, context.dry_run);
  return patched;
}

void Rest::AfterWrite(const ResourceType& type, const ObjectPtr& object, bool dry_run) {
  // The CRD was validated before it was stored, so registering it cannot fail.
  if (!dry_run && type.QualifiedName() == kCrdResource) (void)registry_.RegisterCrd(object->json);
}

// ---- Scale ----

base::Result<Json> Rest::ScaleOf(const ResourceType& type, const Json& object) const {
  auto number = [&](const std::string& path) -> Json {
    auto values = EvaluateJsonPath(object, path);
    return values.ok() && !values->empty() && values->front()->is_number_integer() ? *values->front() : Json(0);
  };
  Json metadata = Json::object();
  for (const char* field : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"}) {
    if (const Json* value = Find(object, {"metadata", field})) metadata[field] = *value;
  }
  std::string selector;
  if (type.custom && !type.scale_selector_path.empty()) {
    auto values = EvaluateJsonPath(object, type.scale_selector_path);
    if (values.ok() && !values->empty() && values->front()->is_string()) selector = values->front()->get<std::string>();
  } else if (!type.custom) {
    const Json* labels = Find(object, {"spec", "selector"});
    auto parsed = labels == nullptr    ? base::Result<kube::LabelSelector>(kube::LabelSelector())
                  : type.group.empty() ? kube::LabelSelector::FromJson({{"matchLabels", *labels}})
                                       : kube::LabelSelector::FromJson(*labels);
    if (parsed.ok()) selector = parsed->ToString();
  }
  Json status = {{"replicas", number(type.scale_status_path)}};
  if (!selector.empty()) status["selector"] = selector;
  return Json{{"apiVersion", "autoscaling/v1"},
              {"kind", "Scale"},
              {"metadata", std::move(metadata)},
              {"spec", {{"replicas", number(type.scale_spec_path)}}},
              {"status", std::move(status)}};
}

base::Result<Json> Rest::GetScale(const ObjectRef& ref) const {
  TW_ASSIGN_OR_RETURN(ObjectPtr object, Get(ref));
  return ScaleOf(*ref.type, object->json);
}

Status Rest::ApplyScale(const ResourceType& type, const Json& scale, Json& object, WriteContext& context) const {
  TW_RETURN_IF_ERROR(CheckShape(scale));
  const Json* replicas = Find(scale, {"spec", "replicas"});
  // An absent count is zero: that is how the Scale type decodes.
  Json count = replicas == nullptr || replicas->is_null() ? Json(0) : *replicas;
  if (!count.is_number_integer()) {
    return base::InvalidArgumentError("spec.replicas of the Scale must be an integer, not " +
                                      base::Quoted(base::DumpJson(count)));
  }
  if (count.get<int64_t>() < 0 || count.get<int64_t>() > INT32_MAX) {
    context.causes = {Invalid("spec.replicas", count, "must be greater than or equal to 0")};
    return base::FailedPreconditionError("Scale.autoscaling \"" + kube::NameOf(object) +
                                         "\" is invalid: " + JoinFieldErrors(context.causes));
  }
  std::string version = FindString(scale, {"metadata", "resourceVersion"});
  if (!version.empty()) object["metadata"]["resourceVersion"] = version;
  return SetAtSimplePath(object, type.scale_spec_path, count);
}

base::Result<Json> Rest::UpdateScale(const ObjectRef& ref, const Json& scale, WriteContext& context) {
  auto mutate = [&](Json& object) { return ApplyScale(*ref.type, scale, object, context); };
  TW_ASSIGN_OR_RETURN(ObjectPtr updated,
                      store_.Update(StorageOf(*ref.type), ref.ns, ref.name, mutate, context.dry_run));
  return ScaleOf(*ref.type, updated->json);
}

base::Result<Json> Rest::PatchScale(const ObjectRef& ref, PatchKind kind, const Json& patch, WriteContext& context) {
  auto mutate = [&](Json& object) {
    TW_ASSIGN_OR_RETURN(Json scale, ScaleOf(*ref.type, object));
    TW_RETURN_IF_ERROR(ApplyPatch(kind, *ref.type, patch, scale));
    return ApplyScale(*ref.type, scale, object, context);
  };
  TW_ASSIGN_OR_RETURN(ObjectPtr updated,
                      store_.Update(StorageOf(*ref.type), ref.ns, ref.name, mutate, context.dry_run));
  return ScaleOf(*ref.type, updated->json);
}

}  // namespace tidewright::sandbox
