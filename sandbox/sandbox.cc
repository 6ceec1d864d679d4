#include "sandbox/sandbox.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "base/document.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "kube/meta.h"

namespace tidewright::sandbox {

namespace {

using base::FindString;
using base::Json;
using base::Status;

constexpr int64_t kTickMs = 100;
constexpr const char* kQueue = "orders";

int AddressBlock(const SandboxOptions& options) {
  return options.address_block >= 0 ? options.address_block % 256 : static_cast<int>(getpid() % 256);
}

SandboxOptions WithAddresses(SandboxOptions options) {
  const int block = AddressBlock(options);
  options.api.rest.service_block = block;
  options.cluster.address_block = block;
  return options;
}

// Namespaces and CRDs come before what lives in them.
int ApplyRank(const Json& object) {
  std::string kind = FindString(object, {"kind"});
  return kind == "Namespace" ? 0 : kind == "CustomResourceDefinition" ? 1 : 2;
}

}  // namespace

Sandbox::Sandbox(SandboxOptions options, base::Clock& clock)
    : options_(WithAddresses(std::move(options))), clock_(clock), api_(options_.api, clock) {
  SetScriptedLoad();
}

Sandbox::~Sandbox() { Stop(); }

void Sandbox::SetScriptedLoad() {
  const bool script = options_.scripted;
  const double day = options_.day_seconds;
  load_.Set({"web-shop", "shop", "web-shop", "shop.example.com",
             script ? ScriptedRequests(30, 200) : DayCurve(30, 200, day)});
  load_.Set({"web-checkout", "shop", "web-checkout", "checkout.example.com",
             script ? ScriptedRequests(10, 100) : DayCurve(10, 100, day)});
  if (script) {
    production_ = ScriptedBurst(20);
  } else {
    // Batches of orders: ten times a day.
    production_ =
        LoadCurve({{0, 0}, {day * 0.06, 0}, {day * 0.06, 20}, {day * 0.08, 20}, {day * 0.08, 0}, {day * 0.1, 0}}, true);
  }
}

Status Sandbox::Start() {
  TW_RETURN_IF_ERROR(api_.Start());
  if (options_.run_redis) TW_RETURN_IF_ERROR(StartRedis());
  workloads_ = std::make_unique<Workloads>(clock_, load_, redis_.get());
  cluster_ = std::make_unique<Cluster>(api_.rest(), options_.cluster, workloads_.get());
  TW_RETURN_IF_ERROR(workloads_->Start(cluster_->NodeAddress(), options_.cluster.kubelet_port));
  TW_RETURN_IF_ERROR(cluster_->Start());
  loop_ = std::thread([this] { Loop(); });
  return Status::Ok();
}

Status Sandbox::StartRedis() {
  TW_RETURN_IF_ERROR(
      ApplyManifests("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"
                     "apiVersion: v1\nkind: Service\nmetadata: {name: redis, namespace: shop}\n"
                     "spec: {ports: [{name: redis, port: 6379}]}\n",
                     "sandbox"));
  TW_ASSIGN_OR_RETURN(std::string address, ResolveHost("redis.shop.svc"));
  RedisOptions options = options_.redis;
  options.address = address;
  redis_ = std::make_unique<Redis>(options, clock_);
  return redis_->Start();
}

void Sandbox::Stop() {
  stop_.Stop();
  if (loop_.joinable()) loop_.join();
  if (workloads_ != nullptr) workloads_->Stop();
  api_.Stop();
  if (redis_ != nullptr) redis_->Stop();
}

void Sandbox::Loop() {
  do {
    Tick();
  } while (clock_.SleepFor(kTickMs, stop_));
}

void Sandbox::Tick() {
  base::MutexLock lock(tick_mu_);
  if (redis_ != nullptr) redis_->Tick();
  Produce();
  workloads_->Tick();
  cluster_->Tick();
}

// Pushes the items that are due. While redis is down the producer loses them, as one without a buffer would.
void Sandbox::Produce() {
  if (redis_ == nullptr) return;
  const double due = std::floor(production_.TotalAt(workloads_->ElapsedSeconds()));
  const auto items = static_cast<int64_t>(due - produced_);
  if (items <= 0) return;
  produced_ = due;
  if (Status pushed = redis_->Push(kQueue, items); !pushed.ok()) {
    base::LogWarn("sandbox", "orders lost", {{"items", std::to_string(items)}, {"error", pushed.ToString()}});
  }
}

Status Sandbox::Apply(const Json& object) {
  std::string what = FindString(object, {"kind"}, "object") + " " + kube::KeyOf(object);
  ObjectRef ref;
  ref.type = api_.registry().FindKind(FindString(object, {"apiVersion"}), FindString(object, {"kind"}));
  if (ref.type == nullptr) {
    return base::InvalidArgumentError(
        what + ": the sandbox serves no kind " + base::Quoted(FindString(object, {"kind"})) + " in " +
        base::Quoted(FindString(object, {"apiVersion"})) + "; create its CustomResourceDefinition first");
  }
  ref.name = kube::NameOf(object);
  if (ref.type->namespaced) ref.ns = FindString(object, {"metadata", "namespace"}, "default");
  WriteContext context;
  context.field_validation = FieldValidation::kStrict;
  auto applied = api_.rest().Patch(ref, "", PatchKind::kApply, object, context);
  return applied.ok() ? Status::Ok() : applied.status().Annotate(what);
}

Status Sandbox::ApplyManifests(std::string_view yaml, const std::string& origin) {
  TW_ASSIGN_OR_RETURN(std::vector<base::Node> documents, base::ParseYamlDocuments(yaml, origin));
  std::vector<Json> objects;
  for (const base::Node& document : documents) objects.push_back(base::NodeToJson(document));
  std::stable_sort(objects.begin(), objects.end(),
                   [](const Json& a, const Json& b) { return ApplyRank(a) < ApplyRank(b); });
  for (const Json& object : objects) TW_RETURN_IF_ERROR(Apply(object).Annotate(origin));
  return Status::Ok();
}

Status Sandbox::ApplyPath(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(path));
    return ApplyManifests(text, path);
  }
  std::vector<std::string> files;
  for (auto it = std::filesystem::recursive_directory_iterator(path, error);
       !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    std::string extension = it->path().extension().string();
    if (extension == ".yaml" || extension == ".yml") files.push_back(it->path().string());
  }
  if (error) return base::UnavailableError(path + ": " + error.message());
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) {
    TW_ASSIGN_OR_RETURN(std::string text, base::ReadFile(file));
    TW_RETURN_IF_ERROR(ApplyManifests(text, file));
  }
  return Status::Ok();
}

std::string Sandbox::KubeletAddress() const {
  return cluster_->NodeAddress() + ":" + std::to_string(options_.cluster.kubelet_port);
}

base::Result<std::string> Sandbox::ResolveHost(std::string_view host) const {
  std::vector<std::string> parts = base::Split(host, '.');
  const bool plain = parts.size() == 3 && parts[2] == "svc";
  const bool full = parts.size() == 5 && parts[2] == "svc" && parts[3] == "cluster" && parts[4] == "local";
  if (!plain && !full) return std::string(host);
  ObjectPtr service = api_.store().Get("services", parts[1], parts[0]);
  if (service == nullptr) return base::NotFoundError("service " + parts[1] + "/" + parts[0] + " does not exist");
  std::string address = FindString(service->json, {"spec", "clusterIP"});
  if (address.empty() || address == "None") {
    return base::NotFoundError("service " + parts[1] + "/" + parts[0] + " has no cluster IP");
  }
  return address;
}

}  // namespace tidewright::sandbox
