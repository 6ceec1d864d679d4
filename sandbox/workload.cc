#include "sandbox/workload.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/json.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "kube/meta.h"

namespace tidewright::sandbox {

namespace {

using base::Find;
using base::FindInt;
using base::FindString;
using base::Json;

constexpr double kIdleCores = 0.005;
constexpr double kCpuSecondsPerRequest = 0.004;  // 20 requests/s cost 80m: 80 % of the examples' request of 100m.
constexpr double kCpuSecondsPerItem = 0.015;
constexpr double kCpuSecondsPerProxied = 0.0002;
constexpr double kIdleMemory = 24e6;
constexpr double kMemoryPerRequestRate = 2.5e5;

std::string Annotation(const Json& pod, const std::string& name) {
  auto annotations = kube::AnnotationsOf(pod);
  auto it = annotations.find(name);
  return it == annotations.end() ? "" : it->second;
}

uint16_t MetricsPort(const Json& pod) {
  int64_t annotated = 0;
  if (base::ParseInt64(Annotation(pod, "prometheus.io/port"), &annotated) && annotated > 0 && annotated < 65536) {
    return static_cast<uint16_t>(annotated);
  }
  int64_t first = 0;
  const Json* containers = Find(pod, {"spec", "containers"});
  if (containers == nullptr || !containers->is_array()) return 0;
  for (const Json& container : *containers) {
    const Json* ports = Find(container, {"ports"});
    if (ports == nullptr || !ports->is_array()) continue;
    for (const Json& port : *ports) {
      const int64_t number = FindInt(port, {"containerPort"});
      if (number <= 0 || number > 65535) continue;
      if (FindString(port, {"name"}) == "metrics") return static_cast<uint16_t>(number);
      if (first == 0) first = number;
    }
  }
  return static_cast<uint16_t>(first);
}

// One family of the text format.
class Family {
 public:
  Family(std::string& out, std::string name, const char* type, const char* help) : out_(out), name_(std::move(name)) {
    out_ += "# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + type + "\n";
  }
  void Add(const std::string& labels, double value) {
    out_ += name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + base::FormatDouble(value) + "\n";
  }

 private:
  std::string& out_;
  const std::string name_;
};

std::string Label(const char* name, const std::string& value) {
  std::string escaped;
  for (char c : value) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return std::string(name) + "=\"" + escaped + "\"";
}

}  // namespace

Workloads::Workloads(base::Clock& clock, const LoadSources& sources, Redis* redis)
    : clock_(clock), sources_(sources), redis_(redis) {}

Workloads::~Workloads() { Stop(); }

base::Status Workloads::Start(const std::string& node_address, uint16_t kubelet_port) {
  http::ServerOptions options;
  options.name = "sandbox-pods";
  options.worker_threads = 2;
  auto server =
      http::Server::Create(options, [this](const http::ServerRequest& request,
                                           std::shared_ptr<http::Responder> responder) { Serve(request, *responder); });
  if (!server.ok()) return server.status().Annotate("sandbox pods");
  server_ = std::move(*server);
  auto port = server_->Listen(node_address, kubelet_port);
  if (!port.ok()) return port.status().Annotate("sandbox kubelet");
  kubelet_ = node_address + ":" + std::to_string(*port);
  start_ms_ = clock_.NowMs();
  base::MutexLock lock(mu_);
  last_tick_ms_ = start_ms_;
  return base::Status::Ok();
}

void Workloads::Stop() {
  if (server_ != nullptr) server_->Stop();
}

double Workloads::ElapsedSeconds() const { return ElapsedAt(clock_.NowMs()); }

Workloads::Pod Workloads::Describe(const Json& json) {
  Pod pod;
  pod.ns = kube::NamespaceOf(json);
  pod.name = kube::NameOf(json);
  pod.ip = FindString(json, {"status", "podIP"});
  pod.port = MetricsPort(json);
  pod.memory_bytes = kIdleMemory;
  const Json* containers = Find(json, {"spec", "containers"});
  if (containers != nullptr && containers->is_array() && !containers->empty()) {
    pod.container = FindString((*containers)[0], {"name"});
  }
  const std::string simulate = Annotation(json, kSimulateAnnotation);
  if (simulate == "http") {
    pod.kind = Kind::kHttp;
    pod.load = Annotation(json, kLoadAnnotation);
  } else if (simulate == "queue") {
    pod.kind = Kind::kQueue;
    pod.queue = Annotation(json, kQueueAnnotation);
    if (!base::ParseDouble(Annotation(json, kRateAnnotation), &pod.rate) || !(pod.rate >= 0)) pod.rate = 1;
  } else if (simulate == "ingress") {
    pod.kind = Kind::kIngress;
  }
  return pod;
}

base::Status Workloads::PodStarted(const Json& json) {
  Pod pod = Describe(json);
  if (server_ != nullptr && pod.port != 0) {
    auto port = server_->Listen(pod.ip, pod.port);
    if (!port.ok()) return port.status();
  }
  pod.started_ms = clock_.NowMs();
  base::MutexLock lock(mu_);
  pods_[kube::UidOf(json)] = std::move(pod);
  return base::Status::Ok();
}

void Workloads::PodStopped(const std::string& uid) {
  Pod pod;
  {
    base::MutexLock lock(mu_);
    auto it = pods_.find(uid);
    if (it == pods_.end()) return;
    pod = std::move(it->second);
    ended_cpu_seconds_ += pod.cpu_seconds;
    pods_.erase(it);
  }
  if (server_ != nullptr && pod.port != 0) server_->CloseListener(pod.ip, pod.port);
}

// Shares what each source sent between two times among the pods that take it.
void Workloads::ServeLoad(double from, double to) {
  for (const LoadSource& source : sources_.All()) {
    const double requests = source.curve.TotalAt(to) - source.curve.TotalAt(from);
    std::vector<Pod*> takers;
    for (auto& [uid, pod] : pods_) {
      if (pod.kind == Kind::kHttp && pod.load == source.name) takers.push_back(&pod);
      if (pod.kind != Kind::kIngress) continue;
      pod.by_source[source.name] += requests;
      pod.cpu_seconds += requests * kCpuSecondsPerProxied;
    }
    for (Pod* pod : takers) {
      const double share = requests / static_cast<double>(takers.size());
      pod->requests += share;
      pod->cpu_seconds += share * kCpuSecondsPerRequest;
      pod->memory_bytes = kIdleMemory + kMemoryPerRequestRate * share / std::max(1e-3, to - from);
    }
  }
}

void Workloads::ServeQueue(Pod& pod, double seconds) {
  // Time without items is lost: a worker that waited does not work faster afterwards.
  pod.credit = std::min(pod.credit + pod.rate * seconds, std::max(1.0, 2 * pod.rate * seconds));
  const auto wanted = static_cast<int64_t>(std::floor(pod.credit));
  if (wanted <= 0 || redis_ == nullptr) return;
  auto taken = redis_->Pop(pod.queue, wanted);
  if (!taken.ok()) return;  // Down for now; Redis itself logs that.
  pod.credit -= static_cast<double>(*taken);
  pod.items += static_cast<double>(*taken);
  pod.cpu_seconds += static_cast<double>(*taken) * kCpuSecondsPerItem;
}

void Workloads::Tick() {
  base::MutexLock lock(mu_);
  const int64_t now_ms = clock_.NowMs();
  if (now_ms <= last_tick_ms_) return;
  const double seconds = static_cast<double>(now_ms - last_tick_ms_) / 1000;
  ServeLoad(ElapsedAt(last_tick_ms_), ElapsedAt(now_ms));
  for (auto& [uid, pod] : pods_) {
    pod.cpu_seconds += kIdleCores * seconds;
    if (pod.kind == Kind::kQueue) ServeQueue(pod, seconds);
  }
  last_tick_ms_ = now_ms;
}

// ---- Exposition ----

std::string Workloads::RenderIngress(const Pod& pod) const {
  std::string out;
  Family family(out, "nginx_ingress_controller_requests", "counter", "The total number of client requests.");
  for (const LoadSource& source : sources_.All()) {
    auto it = pod.by_source.find(source.name);
    if (it == pod.by_source.end()) continue;
    // As the controller labels them: namespace, ingress and service are those of the ingress; a Prometheus that adds
    // the pod's own namespace as a target label renames these to exported_*.
    family.Add(Label("controller_class", "k8s.io/ingress-nginx") + "," + Label("exported_service", source.service) +
                   "," + Label("host", source.host) + "," + Label("ingress", source.service) + "," +
                   Label("method", "GET") + "," + Label("namespace", source.ns) + "," + Label("path", "/") + "," +
                   Label("service", source.service) + "," + Label("status", "200"),
               std::floor(it->second));
  }
  return out;
}

std::string Workloads::Render(const Pod& pod) const {
  std::string out;
  if (pod.kind == Kind::kHttp) {
    Family(out, "http_requests_total", "counter", "Requests answered.")
        .Add(Label("code", "200") + "," + Label("method", "GET"), std::floor(pod.requests));
  } else if (pod.kind == Kind::kQueue) {
    Family(out, "queue_items_processed_total", "counter", "Items taken from the queue and worked off.")
        .Add(Label("queue", pod.queue), pod.items);
  } else if (pod.kind == Kind::kIngress) {
    out += RenderIngress(pod);
  }
  Family(out, "process_cpu_seconds_total", "counter", "CPU time used, in seconds.").Add("", pod.cpu_seconds);
  Family(out, "process_resident_memory_bytes", "gauge", "Resident memory, in bytes.").Add("", pod.memory_bytes);
  Family(out, "process_start_time_seconds", "gauge", "Start of the process, Unix time in seconds.")
      .Add("", static_cast<double>(pod.started_ms) / 1000);
  return out;
}

base::Result<std::string> Workloads::PodMetrics(const std::string& listener) const {
  base::MutexLock lock(mu_);
  for (const auto& [uid, pod] : pods_) {
    if (pod.ip + ":" + std::to_string(pod.port) == listener) return Render(pod);
  }
  return base::NotFoundError("no pod is ready at " + listener);
}

std::string Workloads::KubeletMetrics() const {
  std::string out;
  double cpu = 0;
  double memory = 0;
  base::MutexLock lock(mu_);
  auto labels = [](const Pod& pod) {
    return Label("container", pod.container) + "," + Label("namespace", pod.ns) + "," + Label("pod", pod.name);
  };
  Family cpu_family(out, "container_cpu_usage_seconds_total", "counter", "CPU time used by the container, in seconds.");
  for (const auto& [uid, pod] : pods_) {
    cpu += pod.cpu_seconds;
    cpu_family.Add(labels(pod), pod.cpu_seconds);
  }
  Family memory_family(out, "container_memory_working_set_bytes", "gauge", "Working set of the container, in bytes.");
  for (const auto& [uid, pod] : pods_) {
    memory += pod.memory_bytes;
    memory_family.Add(labels(pod), pod.memory_bytes);
  }
  Family start_family(out, "container_start_time_seconds", "gauge", "Start of the container, Unix time in seconds.");
  for (const auto& [uid, pod] : pods_) start_family.Add(labels(pod), static_cast<double>(pod.started_ms) / 1000);
  // The node itself uses a tenth of a core.
  const double node_base = ended_cpu_seconds_ + ElapsedAt(last_tick_ms_) * 0.1;
  Family(out, "node_cpu_usage_seconds_total", "counter", "CPU time used by the node, in seconds.")
      .Add("", node_base + cpu);
  Family(out, "node_memory_working_set_bytes", "gauge", "Working set of the node, in bytes.").Add("", 512e6 + memory);
  return out;
}

void Workloads::Serve(const http::ServerRequest& request, http::Responder& responder) const {
  http::Response response;
  response.headers.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  if (request.local_address == kubelet_) {
    if (request.path == "/metrics/resource") {
      response.body = KubeletMetrics();
    } else if (request.path == "/healthz") {
      response.body = "ok";
    } else {
      response.status = 404;
    }
  } else if (request.path == "/metrics") {
    auto text = PodMetrics(request.local_address);
    response.status = text.ok() ? 200 : 503;
    response.body = text.ok() ? std::move(*text) : text.status().message() + "\n";
  } else {
    response.body = "ok\n";
  }
  responder.Reply(std::move(response));
}

}  // namespace tidewright::sandbox
