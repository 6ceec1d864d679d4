// What the metrics APIs cost under load: a server with a store, rules and caches in one process, and in another a
// client that does what kube-apiserver does, over HTTPS with a front-proxy certificate and identity headers.
//
//   metrics_api_bench [SECONDS] [NAME]    how long each load lasts, by default 10; only loads with NAME in their names
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "base/log.h"
#include "http/client.h"
#include "tests/adapter/metrics_stack.h"
#include "tests/bench/tls_client.h"

namespace tidewright {
namespace {

constexpr int kPods = 1500;
constexpr int kMetrics = 50'000;
constexpr int kHpas = 5000;
constexpr int kPodsPerHpa = 3;
constexpr int64_t kHistoryMs = 300'000;
constexpr int64_t kFutureMs = 900'000;  // The samples of the time that the loads take are there from the start.
constexpr int64_t kIntervalMs = 15'000;

constexpr char kRules[] = R"yaml(
rules:
- seriesQuery: '{namespace!="",pod!=""}'
  resources: {template: <<.Resource>>}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
- seriesQuery: '{namespace!="",pod!=""}'
  seriesFilters: [{isNot: _total$}]
  resources: {template: <<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: queue_depth
  resources: {template: <<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)
)yaml";

std::string Number(const char* prefix, int number) { return prefix + std::to_string(number); }

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// One kind of load; the client asks for the paths in turn.
struct Load {
  const char* name;
  double rate;  // Requests per second.
  const char* accept;
  std::vector<std::string> paths;
};

std::vector<Load> Loads() {
  const std::string custom = "/apis/custom.metrics.k8s.io/v1beta2";
  const char* json = "application/vnd.kubernetes.protobuf, */*";
  std::vector<Load> loads = {
      {"one metric of 1,500 pods",
       100,
       json,
       {custom + "/namespaces/big/pods/%2A/http_requests_per_second?labelSelector=app%3Dbig"}},
      {"discovery of 50,000 metrics", 20, json, {custom}},
      {"aggregated discovery", 20, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", {"/apis"}},
      {"5,000 HPAs with 2 metrics", 2.0 * kHpas / 15, json, {}}};
  for (int i = 0; i < kHpas; ++i) {
    std::string ns = Number("team-", i % 100);
    loads.back().paths.push_back(custom + "/namespaces/" + ns +
                                 "/pods/%2A/http_requests_per_second?labelSelector=app%3D" + Number("app-", i));
    loads.back().paths.push_back("/apis/external.metrics.k8s.io/v1beta1/namespaces/" + ns +
                                 "/queue_depth?labelSelector=queue%3D" + Number("q-", i));
  }
  return loads;
}

// ---- The server's side.

struct Target {
  std::string ns, pod, app;
};

std::vector<Target> Targets() {
  std::vector<Target> targets;
  for (int i = 0; i < kPods; ++i) targets.push_back({"big", Number("big-7d4b9c6f5d-", 10'000 + i), "big"});
  for (int i = 0; i < kHpas * kPodsPerHpa; ++i) {
    int hpa = i / kPodsPerHpa;
    targets.push_back({Number("team-", hpa % 100), Number("app-5f6d8c9b7-", 10'000 + i), Number("app-", hpa)});
  }
  return targets;
}

void Store(testing::MetricsStack& stack, const std::vector<Target>& targets) {
  int64_t now = stack.start_ms();
  std::vector<std::pair<tsdb::Labels, double>> scraped, once;
  for (const Target& target : targets) {
    scraped.emplace_back(
        tsdb::Labels::Of({{"__name__", "http_requests_total"}, {"namespace", target.ns}, {"pod", target.pod}}), 0);
  }
  for (int i = 0; i < kHpas; ++i) {
    scraped.emplace_back(
        tsdb::Labels::Of(
            {{"__name__", "queue_depth"}, {"namespace", Number("team-", i % 100)}, {"queue", Number("q-", i)}}),
        0);
  }
  for (int i = 0; i < kMetrics; ++i) {
    once.emplace_back(
        tsdb::Labels::Of({{"__name__", Number("metric_", i)}, {"namespace", "big"}, {"pod", targets[i % kPods].pod}}),
        i);
  }
  if (!stack.Store(once, now).ok()) std::abort();
  for (int64_t t = now - kHistoryMs; t <= now + kFutureMs; t += kIntervalMs) {
    for (auto& [labels, value] : scraped) value = static_cast<double>(t - now + kHistoryMs);
    if (!stack.Store(scraped, t).ok()) std::abort();
  }
}

// Everything that the client has to know, as one line of JSON.
std::string Invitation(const testing::MetricsStack& stack) {
  http::ClientTls tls = stack.FrontProxyTls();
  return base::DumpJson({{"port", stack.port()},
                         {"ca", tls.ca_pem},
                         {"name", tls.server_name},
                         {"certificate", tls.certificate_pem},
                         {"key", tls.private_key_pem}});
}

// ---- The client's side.

struct Outcome {
  std::vector<double> ms;
  size_t failures = 0;
  size_t bytes = 0;
};

// Like kube-apiserver's requests for an HPA controller.
std::string HeadersOf(const Load& load) {
  return "Accept: " + std::string(load.accept) +
         "\r\nAccept-Encoding: gzip\r\nX-Remote-User: system:serviceaccount:kube-system:horizontal-pod-autoscaler\r\n"
         "X-Remote-Group: system:serviceaccounts\r\n";
}

Outcome Drive(uint16_t port, const testing::TlsIdentity& identity, const Load& load, double seconds) {
  constexpr int kThreads = 4;
  std::vector<Outcome> outcomes(kThreads);
  std::vector<std::thread> threads;
  int64_t begin = base::MonotonicNanos();
  for (int k = 0; k < kThreads; ++k) {
    threads.emplace_back([&, k] {
      base::StopSignal stop;
      Outcome& own = outcomes[k];
      std::unique_ptr<testing::TlsClient> client = testing::TlsClient::Connect(port, identity);
      if (client == nullptr) std::abort();
      const std::string headers = HeadersOf(load);
      for (size_t i = k;; i += kThreads) {
        int64_t due = begin + static_cast<int64_t>(static_cast<double>(i) / load.rate * 1e9);
        if (static_cast<double>(due - begin) > seconds * 1e9) return;
        int64_t wait_ms = (due - base::MonotonicNanos()) / 1'000'000;
        if (wait_ms > 0) base::SystemClock::Get().SleepFor(wait_ms, stop);
        const std::string& path = load.paths[i % load.paths.size()];
        int64_t sent = base::MonotonicNanos();
        testing::TlsClient::Answer answer = client->Get(path, headers);
        own.ms.push_back(static_cast<double>(base::MonotonicNanos() - sent) / 1e6);
        own.bytes += answer.bytes;
        if (answer.status != 200 && own.failures++ == 0) {
          std::fprintf(stderr, "%s: %d %s\n", path.c_str(), answer.status, answer.text.substr(0, 800).c_str());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Outcome all;
  for (Outcome& own : outcomes) {
    all.ms.insert(all.ms.end(), own.ms.begin(), own.ms.end());
    all.failures += own.failures;
    all.bytes += own.bytes;
  }
  std::sort(all.ms.begin(), all.ms.end());
  return all;
}

std::string ReadLine(int fd) {
  std::string line;
  char c = 0;
  while (read(fd, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

void WriteLine(int fd, const std::string& line) {
  std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    ssize_t count = write(fd, text.data() + done, text.size() - done);
    if (count <= 0) std::abort();
    done += static_cast<size_t>(count);
  }
}

// For each line from the server, the load that it names, with the figures as the answer.
int RunClient(int in, int out, double seconds) {
  base::Json invitation = *base::ParseJson(ReadLine(in));
  testing::TlsIdentity identity{invitation["ca"], invitation["certificate"], invitation["key"], invitation["name"]};
  const auto port = invitation["port"].get<uint16_t>();
  std::vector<Load> loads = Loads();
  for (std::string line = ReadLine(in); !line.empty(); line = ReadLine(in)) {
    const Load& load = loads[std::stoul(line.substr(1))];
    // Every path once before, so that caches are as they are in the second round of an HPA controller.
    double warm_up = line[0] == 'w' ? static_cast<double>(load.paths.size()) / load.rate : seconds;
    Outcome outcome = Drive(port, identity, load, warm_up);
    auto at = [&](double q) { return outcome.ms[static_cast<size_t>(q * static_cast<double>(outcome.ms.size() - 1))]; };
    WriteLine(out, base::DumpJson({{"requests", outcome.ms.size()},
                                   {"failures", outcome.failures},
                                   {"p50", at(0.5)},
                                   {"p99", at(0.99)},
                                   {"bytes", outcome.bytes / outcome.ms.size()}}));
  }
  return 0;
}

int RunServer(int in, int out, const std::string& name) {
  testing::MetricsStack stack;
  stack.options().worker_threads = apiservice::ApiServiceOptions().worker_threads;
  std::vector<Target> targets = Targets();
  for (const Target& target : targets) stack.PutPod(target.ns, target.pod, target.app);
  Store(stack, targets);
  if (base::Status started = stack.Start(kRules); !started.ok()) {
    std::fprintf(stderr, "%s\n", started.ToString().c_str());
    std::abort();
  }
  WriteLine(out, Invitation(stack));
  std::vector<Load> loads = Loads();
  std::printf("%-30s %9s %9s %9s %12s %9s %10s\n", "load", "requests", "p50 ms", "p99 ms", "CPU ms/req", "cores",
              "bytes/req");
  int failures = 0;
  for (size_t i = 0; i < loads.size(); ++i) {
    if (std::string_view(loads[i].name).find(name) == std::string_view::npos) continue;
    WriteLine(out, "w" + std::to_string(i));
    (void)ReadLine(in);
    double cpu = CpuSeconds();
    int64_t begin = base::MonotonicNanos();
    WriteLine(out, "m" + std::to_string(i));
    base::Json figures = *base::ParseJson(ReadLine(in));
    double elapsed = static_cast<double>(base::MonotonicNanos() - begin) / 1e9;
    cpu = CpuSeconds() - cpu;
    double requests = figures["requests"];
    std::printf("%-30s %9.0f %9.2f %9.2f %12.3f %9.3f %10.0f\n", loads[i].name, requests, figures["p50"].get<double>(),
                figures["p99"].get<double>(), 1000 * cpu / requests, cpu / elapsed, figures["bytes"].get<double>());
    std::fflush(stdout);
    failures += figures["failures"].get<int>();
  }
  close(out);
  stack.Stop();
  if (failures > 0) std::printf("%d requests failed\n", failures);
  return failures > 0 ? 1 : 0;
}

int Main(int argc, char** argv) {
  double seconds = argc > 1 ? std::atof(argv[1]) : 10;
  int to_client[2], to_server[2];
  if (seconds <= 0 || pipe(to_client) != 0 || pipe(to_server) != 0) return 1;
  base::SetLogLevel(base::LogLevel::kError);
  pid_t client = fork();  // Before there are threads.
  if (client == 0) {
    close(to_client[1]);
    close(to_server[0]);
    _exit(RunClient(to_client[0], to_server[1], seconds));
  }
  close(to_client[0]);
  close(to_server[1]);
  int result = RunServer(to_server[0], to_client[1], argc > 2 ? argv[2] : "");
  waitpid(client, nullptr, 0);
  return result;
}

}  // namespace
}  // namespace tidewright

int main(int argc, char** argv) { return tidewright::Main(argc, argv); }
