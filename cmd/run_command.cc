#include "cmd/run_command.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <tuple>
#include <utility>

#include "base/duration.h"
#include "base/file.h"
#include "base/log.h"
#include "cmd/features.h"
#include "cmd/signals.h"
#include "cmd/startup_memory.h"
#include "kube/client.h"
#include "scrape/config.h"

namespace tidewright::cmd {

namespace {

constexpr const char* kServiceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token";
constexpr int64_t kFileCheckMs = 5'000;
constexpr int64_t kBlockMs = 2 * 3600 * 1000;
constexpr int64_t kStartCheckMs = 50;

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

base::Status ReadQueryLimits(const RunFlags& flags, promql::EngineOptions* options) {
  for (auto [flag, text, ms] : {std::tuple("--query.timeout", &flags.query_timeout, &options->timeout_ms),
                                std::tuple("--query.lookback-delta", &flags.query_lookback, &options->lookback_ms)}) {
    auto duration = base::ParseDuration(*text);
    if (!duration.ok()) return duration.status().Annotate(flag);
    if (duration->ms <= 0) return base::InvalidArgumentError(std::string(flag) + ": must be greater than 0");
    *ms = duration->ms;
  }
  return base::Status::Ok();
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
  if (options->scaler_shards == 1) return base::Status::Ok();
  if (!options->leader_elect) return base::InvalidArgumentError("--scaler.shards: more than 1 needs --leader-elect");
  if (options->hpa_controller) {
    return base::InvalidArgumentError(
        "--scaler.shards: more than 1 does not go with --hpa-controller, which has to see every target; use the "
        "cluster's own");
  }
  return base::Status::Ok();
}

// Blocks of the head are two hours long. Both flags are there for who disables compaction by setting them alike.
base::Status ReadBlockLengths(const RunFlags& flags, ControlPlaneOptions* options) {
  auto min = base::ParseDuration(flags.min_block);
  if (!min.ok()) return min.status().Annotate("--storage.tsdb.min-block-duration");
  auto max = base::ParseDuration(flags.max_block);
  if (!max.ok()) return max.status().Annotate("--storage.tsdb.max-block-duration");
  if (min->ms != kBlockMs) {
    return base::InvalidArgumentError("--storage.tsdb.min-block-duration: " + flags.min_block +
                                      " is not supported; blocks of the head are two hours long, leave it at 2h");
  }
  if (max->ms != 0 && max->ms < min->ms) {
    return base::InvalidArgumentError("--storage.tsdb.max-block-duration: " + flags.max_block +
                                      " is shorter than --storage.tsdb.min-block-duration; use at least 2h");
  }
  options->max_block_ms = max->ms;
  return base::Status::Ok();
}

base::Status ReadStorage(const RunFlags& flags, ControlPlaneOptions* options) {
  auto retention = base::ParseDuration(flags.retention);
  if (!retention.ok()) return retention.status().Annotate("--storage.tsdb.retention.time");
  auto size = scrape::ParseByteSize(flags.retention_size);
  if (!size.ok()) return size.status().Annotate("--storage.tsdb.retention.size");
  if (*size < 0) return base::InvalidArgumentError("--storage.tsdb.retention.size is negative; use 0 for no limit");
  auto keep = base::ParseDuration(flags.keep_last_value);
  if (!keep.ok()) return keep.status().Annotate("--adapter.keep-last-value");
  options->last_value_ms = keep->ms;
  auto fsync = base::ParseDuration(flags.fsync_interval);
  if (!fsync.ok()) return fsync.status().Annotate("--storage.tsdb.fsync-interval");
  options->retention_ms = retention->ms;
  options->retention_bytes = static_cast<uint64_t>(*size);
  options->fsync_interval_ms = fsync->ms;
  return ReadBlockLengths(flags, options);
}

base::Status ReadQueryServers(const RunFlags& flags, adapter::RemoteEngineOptions* options) {
  for (auto [path, pem] : {std::pair(&flags.query_ca_file, &options->tls.ca_pem),
                           std::pair(&flags.query_cert_file, &options->tls.certificate_pem),
                           std::pair(&flags.query_key_file, &options->tls.private_key_pem)}) {
    if (path->empty()) continue;
    TW_ASSIGN_OR_RETURN(*pem, base::ReadFile(*path));
  }
  if (flags.query_cert_file.empty() != flags.query_key_file.empty()) {
    return base::InvalidArgumentError("--query-url.cert-file and --query-url.key-file go together");
  }
  for (const std::string& header : flags.query_headers) {
    size_t equals = header.find('=');
    if (equals == 0) return base::InvalidArgumentError("--query-url.header: write it as name=value");
    options->headers.Add(header.substr(0, equals), equals == std::string::npos ? "" : header.substr(equals + 1));
  }
  auto timeout = base::ParseDuration(flags.query_timeout_per_server);
  if (!timeout.ok()) return timeout.status().Annotate("--query-url.timeout");
  if (timeout->ms <= 0) return base::InvalidArgumentError("--query-url.timeout: must be greater than 0");
  options->timeout_ms = timeout->ms;
  return base::Status::Ok();
}

base::Status ReadDelegates(const RunFlags& flags, apiservice::ExternalDelegateOptions* options) {
  for (const std::string& text : flags.delegates) {
    auto delegate = apiservice::ParseExternalDelegate(text);
    if (!delegate.ok()) return delegate.status().Annotate("--delegate");
    options->delegates.push_back(*std::move(delegate));
  }
  if (!flags.delegate_ca_file.empty()) {
    TW_ASSIGN_OR_RETURN(options->tls.ca_pem, base::ReadFile(flags.delegate_ca_file));
  }
  if (options->token_file.empty() && flags.kubeconfig.empty()) options->token_file = kServiceAccountToken;
  return base::Status::Ok();
}

base::Status ReadAlerting(const RunFlags& flags, ControlPlaneOptions* options) {
  for (auto [flag, text, ms] :
       {std::tuple("--rules.alert.for-outage-tolerance", &flags.for_outage_tolerance,
                   &options->for_outage_tolerance_ms),
        std::tuple("--rules.alert.for-grace-period", &flags.for_grace_period, &options->for_grace_period_ms),
        std::tuple("--rules.alert.resend-delay", &flags.resend_delay, &options->resend_delay_ms)}) {
    auto duration = base::ParseDuration(*text);
    if (!duration.ok()) return duration.status().Annotate(flag);
    *ms = duration->ms;
  }
  const std::string& url = options->external_url;
  if (url.empty() || url.starts_with("http://") || url.starts_with("https://")) return base::Status::Ok();
  return base::InvalidArgumentError("--web.external-url " + url + " is not a URL; write for instance http://host:9090");
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

// What signals asked for.
struct Asked {
  bool end = false;
  bool reload = false;
};

// Starts the plane beside the signals, because an API server that does not answer holds it up. A signal to end stops
// that; to read the configuration again has to wait.
Asked StartBesideSignals(ControlPlane& plane, kube::Client* client, base::Status* started) {
  std::atomic<bool> done = false;
  std::thread starter([&] {
    *started = plane.Start();
    done = true;
  });
  Asked asked;
  while (!done && !asked.end) {
    const int signal = WaitForSignal(kStartCheckMs);
    if (signal == SIGHUP) asked.reload = true;
    asked.end = signal != 0 && signal != SIGHUP;
  }
  if (asked.end && client != nullptr) client->BeginStop();
  starter.join();
  return asked;
}

void WaitForTheEnd(ControlPlane& plane) {
  bool settled = false;
  while (true) {
    int signal = WaitForSignal(kFileCheckMs);
    if (!std::exchange(settled, true)) ReleaseStartupMemory();
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
  base::Status storage = ReadStorage(flags, &flags.options);
  if (!storage.ok()) return Fail(storage);
  std::vector<std::string> warnings;
  bool concurrent_rules = false;
  TurnOnFeatures(flags.enable_features, {flags.options.scrape_defaults, flags.options.query, concurrent_rules},
                 &warnings);
  if (concurrent_rules) flags.options.max_concurrent_rule_evals = flags.max_concurrent_rule_evals;
  for (const std::string& warning : warnings) base::LogWarn("cmd", warning);
  base::Status query = ReadQueryLimits(flags, &flags.options.query);
  if (!query.ok()) return Fail(query);
  base::Status servers = ReadQueryServers(flags, &flags.options.query_servers);
  if (!servers.ok()) return Fail(servers);
  base::Status delegates = ReadDelegates(flags, &flags.options.delegates);
  if (!delegates.ok()) return Fail(delegates);
  base::Status alerting = ReadAlerting(flags, &flags.options);
  if (!alerting.ok()) return Fail(alerting);
  base::MetricRegistry metrics;
  std::unique_ptr<kube::Client> client;
  if (flags.kubernetes) {
    base::Status connected = Connect(&flags, metrics, &client);
    if (!connected.ok()) return Fail(connected);
  }

  // A thread's signal would wait for that thread; the process's is what WaitForSignal() waits for.
  if (flags.web_lifecycle) flags.options.quit = [] { kill(getpid(), SIGTERM); };
  base::Clock& clock = base::SystemClock::Get();
  ControlPlane plane(flags.options, client.get(), clock, clock, metrics);
  base::Status started;
  const Asked asked = StartBesideSignals(plane, client.get(), &started);
  if (!asked.end) {
    if (!started.ok()) return Fail(started);
    base::LogInfo("cmd", "started",
                  {{"web_port", std::to_string(plane.web_port())}, {"api_port", std::to_string(plane.api_port())}});
    if (asked.reload) (void)plane.Reload();  // Logged by Reload().
    WaitForTheEnd(plane);
  }
  base::LogInfo("cmd", "stopping");
  if (client != nullptr) client->BeginStop();
  plane.Stop();
  return 0;
}

}  // namespace tidewright::cmd
