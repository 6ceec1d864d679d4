#include "cmd/run_command.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <random>
#include <tuple>
#include <utility>

#include "base/duration.h"
#include "base/log.h"
#include "cmd/signals.h"
#include "kube/client.h"

namespace tidewright::cmd {

namespace {

constexpr int64_t kFileCheckMs = 5'000;

int Fail(const base::Status& status) {
  std::fprintf(stderr, "tidewright: %s\n", status.message().c_str());
  return 1;
}

base::Result<kube::ClientConfig> ClientConfigOf(const RunFlags& flags) {
  if (flags.kubeconfig.empty()) return kube::InClusterConfig();
  return kube::LoadKubeconfig(flags.kubeconfig, flags.context);
}

// Unique among the replicas, and over a restart in the same pod: whoever starts anew has to wait for its former lease.
std::string NewIdentity() {
  char host[256] = "";
  if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') std::strcpy(host, "tidewright");
  std::random_device random;
  char suffix[17];
  std::snprintf(suffix, sizeof(suffix), "%08x%08x", random(), random());
  return std::string(host) + "_" + suffix;
}

base::Status ReadElection(const RunFlags& flags, const std::string& ns, ControlPlaneOptions* options) {
  kube::LeaderElectionOptions& election = options->leader_election;
  options->leader_elect = flags.leader_elect.value_or(flags.kubeconfig.empty());
  if (election.ns.empty()) election.ns = ns;
  election.identity = NewIdentity();
  for (auto [flag, text, ms] :
       {std::tuple("--leader-elect-lease-duration", &flags.lease_duration, &election.lease_duration_ms),
        std::tuple("--leader-elect-renew-deadline", &flags.renew_deadline, &election.renew_deadline_ms),
        std::tuple("--leader-elect-retry-period", &flags.retry_period, &election.retry_period_ms)}) {
    auto duration = base::ParseGoDuration(*text);
    if (!duration.ok()) return duration.status().Annotate(flag);
    *ms = duration->ms;
  }
  return base::Status::Ok();
}

base::Status Connect(RunFlags* flags, base::MetricRegistry& metrics, std::unique_ptr<kube::Client>* client) {
  TW_ASSIGN_OR_RETURN(kube::ClientConfig config, ClientConfigOf(*flags));
  TW_RETURN_IF_ERROR(ReadElection(*flags, config.ns, &flags->options));
  kube::ClientOptions client_options;
  client_options.rate_limit = flags->rate_limit;
  client_options.metrics = &metrics;
  TW_ASSIGN_OR_RETURN(*client, kube::NewClient(config, client_options));
  return base::Status::Ok();
}

void WaitForTheEnd(ControlPlane& plane) {
  while (true) {
    int signal = WaitForSignal(kFileCheckMs);
    if (signal == SIGHUP) {
      (void)plane.Reload();  // Logged by Reload().
    } else if (signal != 0) {
      return;
    } else {
      plane.ReloadIfChanged();
    }
  }
}

}  // namespace

int RunControlPlane(RunFlags flags) {
  base::Status level = base::SetLogLevel(flags.log_level);
  if (!level.ok()) return Fail(level);
  auto retention = base::ParseDuration(flags.retention);
  if (!retention.ok()) return Fail(retention.status().Annotate("--storage.tsdb.retention.time"));
  flags.options.retention_ms = retention->ms;
  base::MetricRegistry metrics;
  std::unique_ptr<kube::Client> client;
  if (flags.kubernetes) {
    base::Status connected = Connect(&flags, metrics, &client);
    if (!connected.ok()) return Fail(connected);
  }

  base::Clock& clock = base::SystemClock::Get();
  ControlPlane plane(flags.options, client.get(), clock, clock, metrics);
  base::Status started = plane.Start();
  if (!started.ok()) return Fail(started);
  base::LogInfo("cmd", "started",
                {{"web_port", std::to_string(plane.web_port())}, {"api_port", std::to_string(plane.api_port())}});
  WaitForTheEnd(plane);
  base::LogInfo("cmd", "stopping");
  if (client != nullptr) client->StopWaiting();  // An API server that asked for patience does not hold up the end.
  plane.Stop();
  return 0;
}

}  // namespace tidewright::cmd
