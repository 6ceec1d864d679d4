#include "cmd/run_command.h"

#include <signal.h>

#include <cstdio>
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
  auto config = ClientConfigOf(flags);
  if (!config.ok()) return Fail(config.status());
  auto client = kube::NewClient(*config);
  if (!client.ok()) return Fail(client.status());

  base::Clock& clock = base::SystemClock::Get();
  ControlPlane plane(flags.options, **client, clock, clock);
  base::Status started = plane.Start();
  if (!started.ok()) return Fail(started);
  base::LogInfo("cmd", "started",
                {{"web_port", std::to_string(plane.web_port())}, {"api_port", std::to_string(plane.api_port())}});
  WaitForTheEnd(plane);
  base::LogInfo("cmd", "stopping");
  plane.Stop();
  return 0;
}

}  // namespace tidewright::cmd
