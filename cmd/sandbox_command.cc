#include "cmd/sandbox_command.h"

#include <date/tz.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "base/duration.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strings.h"
#include "cmd/calendar_clock.h"
#include "cmd/control_plane.h"
#include "cmd/signals.h"
#include "cmd/terminal.h"
#include "cmd/timeline.h"
#include "crd_files.h"
#include "http/server.h"
#include "kube/client.h"
#include "sandbox/sandbox.h"

namespace tidewright::cmd {

namespace {

constexpr int64_t kRefreshMs = 250;
// Without --for the load follows a day of this length: short enough to watch, long enough for every scale-down window.
constexpr double kLoadDaySeconds = 180;
constexpr size_t kTimelineLines = 12;  // Below the live table.
constexpr size_t kLogTailLines = 40;   // Printed when the run was not as it should be.
constexpr const char* kConfigFolder = "tidewright";
constexpr const char* kServiceNamespace = "tidewright-system";

int Fail(const base::Status& status) {
  std::fprintf(stderr, "tidewright sandbox: %s\n", status.message().c_str());
  return 1;
}

// Whether somebody else listens on the port already.
bool PortIsTaken(uint16_t port) {
  auto server = http::Server::Create({}, [](const http::ServerRequest&, const auto&) {});
  if (!server.ok()) return false;
  bool taken = !(*server)->Listen("127.0.0.1", port).ok();
  (*server)->Stop();
  return taken;
}

// One sandbox from its start to its end.
class SandboxSession {
 public:
  SandboxSession(const SandboxFlags& flags, base::TempDir folder)
      : flags_(flags),
        folder_(std::move(folder)),
        log_file_(flags.log_file.empty() ? folder_.path() + "/tidewright.log" : flags.log_file),
        timeline_(clock_.NowMs()) {}

  ~SandboxSession() {
    if (plane_ != nullptr) plane_->Stop();
    if (sandbox_ != nullptr) sandbox_->Stop();
    std::error_code ignored;
    std::filesystem::remove(flags_.kubeconfig, ignored);
  }

  base::Status Start(int64_t duration_ms);
  // Until the time is over (0: never) or a signal asks to end.
  void Run(int64_t duration_ms);
  int Judge(int64_t duration_ms);

 private:
  base::Status StartSandbox(bool scripted);
  base::Status StartControlPlane();
  base::Status ApplyExamples();
  ControlPlaneOptions PlaneOptions();
  std::string Header() const;
  std::string RedisLine() const;
  std::string CalendarText() const;
  void Refresh();
  void PrintLogTail() const;

  const SandboxFlags flags_;
  base::TempDir folder_;
  const std::string log_file_;
  base::Clock& clock_ = base::SystemClock::Get();
  std::unique_ptr<sandbox::Sandbox> sandbox_;
  base::MetricRegistry metrics_;
  std::unique_ptr<kube::Client> client_;
  std::unique_ptr<CalendarClock> calendar_;
  std::unique_ptr<ControlPlane> plane_;
  Timeline timeline_;
  std::deque<std::string> last_lines_;
  std::vector<std::string> problems_;  // As printed last.
};

base::Status SandboxSession::Start(int64_t duration_ms) {
  TW_RETURN_IF_ERROR(base::LogToFile(log_file_));
  auto calendar_start = base::ParseTime(flags_.calendar_start);
  if (!calendar_start.ok()) return calendar_start.status().Annotate("--calendar-start");
  if (!(flags_.calendar_speed > 0)) return base::InvalidArgumentError("--calendar-speed must be more than 0");
  TW_RETURN_IF_ERROR(StartSandbox(duration_ms > 0));
  calendar_ = std::make_unique<CalendarClock>(clock_, *calendar_start, flags_.calendar_speed);
  TW_RETURN_IF_ERROR(StartControlPlane());
  TW_RETURN_IF_ERROR(ApplyExamples());
  timeline_ = Timeline(clock_.NowMs());
  std::fputs(Header().c_str(), stdout);
  std::fflush(stdout);
  return base::Status::Ok();
}

base::Status SandboxSession::StartSandbox(bool scripted) {
  sandbox::SandboxOptions options;
  options.api.port = flags_.api_port;
  options.scripted = scripted;
  options.day_seconds = kLoadDaySeconds;
  sandbox_ = std::make_unique<sandbox::Sandbox>(options, clock_);
  TW_RETURN_IF_ERROR(sandbox_->Start());
  TW_RETURN_IF_ERROR(sandbox_->api().WriteKubeconfig(flags_.kubeconfig));
  TW_RETURN_IF_ERROR(sandbox_->ApplyManifests(embedded::kScaledobjectsYaml, "the CRD of ScaledObjects"));
  TW_RETURN_IF_ERROR(sandbox_->ApplyManifests(embedded::kScaledjobsYaml, "the CRD of ScaledJobs"));
  TW_RETURN_IF_ERROR(sandbox_->ApplyManifests(embedded::kMetricrulesYaml, "the CRD of MetricRules"));
  TW_RETURN_IF_ERROR(
      sandbox_->ApplyManifests(embedded::kTriggerauthenticationsYaml, "the CRD of TriggerAuthentications"));
  TW_RETURN_IF_ERROR(sandbox_->ApplyManifests(embedded::kClustertriggerauthenticationsYaml,
                                              "the CRD of ClusterTriggerAuthentications"));
  kube::ClientConfig config;
  config.server = sandbox_->Url();
  kube::ClientOptions client_options;
  client_options.metrics = &metrics_;
  TW_ASSIGN_OR_RETURN(client_, kube::NewClient(config, client_options));
  return base::Status::Ok();
}

ControlPlaneOptions SandboxSession::PlaneOptions() {
  ControlPlaneOptions options;
  std::string config = flags_.examples + "/" + kConfigFolder;
  if (std::filesystem::exists(config + "/prometheus.yml")) options.config_file = config + "/prometheus.yml";
  if (std::filesystem::exists(config + "/adapter.yaml")) options.adapter_file = config + "/adapter.yaml";
  options.data_dir = folder_.path() + "/data";
  options.web_address = "127.0.0.1";
  options.web_port = !flags_.web_port_given && PortIsTaken(flags_.web_port) ? 0 : flags_.web_port;
  options.api_address = "127.0.0.1";
  options.api_port = 0;
  options.service_ns = kServiceNamespace;
  options.hpa_controller = true;
  options.hpa_sync_period_ms = 2'000;
  options.relist_interval_ms = 2'000;
  options.scrape_self = true;
  options.resolve_host = [this](const std::string& host) {
    auto address = sandbox_->ResolveHost(host);
    return address.ok() ? *address : host;
  };
  return options;
}

base::Status SandboxSession::StartControlPlane() {
  plane_ = std::make_unique<ControlPlane>(PlaneOptions(), client_.get(), clock_, *calendar_, metrics_);
  TW_RETURN_IF_ERROR(plane_->Start());
  // The aggregation layer finds us as it would in a cluster: APIService -> Service -> Endpoints.
  std::string meta = std::string("metadata: {name: tidewright, namespace: ") + kServiceNamespace + "}\n";
  std::string port = std::to_string(plane_->api_port());
  return sandbox_->ApplyManifests(
      std::string("apiVersion: v1\nkind: Namespace\nmetadata: {name: ") + kServiceNamespace +
          "}\n---\napiVersion: v1\nkind: Service\n" + meta + "spec: {ports: [{name: https, port: 443, targetPort: " +
          port + "}]}\n" + "---\napiVersion: v1\nkind: Endpoints\n" + meta +
          "subsets: [{addresses: [{ip: 127.0.0.1}], ports: [{name: https, port: " + port + "}]}]\n",
      "the Service of Tidewright");
}

base::Status SandboxSession::ApplyExamples() {
  std::error_code error;
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(flags_.examples, error)) {
    if (entry.is_directory() && entry.path().filename() != kConfigFolder) folders.push_back(entry.path().string());
  }
  if (error) return base::NotFoundError("--examples " + flags_.examples + ": " + error.message());
  std::sort(folders.begin(), folders.end());
  for (const std::string& folder : folders) TW_RETURN_IF_ERROR(sandbox_->ApplyPath(folder));
  return base::Status::Ok();
}

std::string SandboxSession::RedisLine() const {
  sandbox::Redis* redis = sandbox_->redis();
  if (redis == nullptr) return "no redis-server";
  if (!redis->healthy()) return "redis-server is down: " + redis->last_error();
  return "redis-server " + redis->address() + ", pid " + std::to_string(redis->pid());
}

std::string SandboxSession::CalendarText() const {
  // The schedule of the examples is written in this zone.
  constexpr const char* kZone = "Europe/Rome";
  auto instant = std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(calendar_->NowMs()));
  try {
    return date::format("%a %F %R ", date::make_zoned(kZone, date::floor<std::chrono::minutes>(instant))) + kZone;
  } catch (const std::runtime_error&) {  // No such zone: a machine without tzdata.
    return base::FormatTime(calendar_->NowMs());
  }
}

std::string SandboxSession::Header() const {
  return "Tidewright sandbox\n"
         "  page      http://127.0.0.1:" +
         std::to_string(plane_->web_port()) + "/\n" + "  kubectl   kubectl --kubeconfig " + flags_.kubeconfig +
         " get pods,scaledobjects,hpa -A\n" + "  queue     " + RedisLine() + "\n" + "  log       " + log_file_ + "\n\n";
}

void SandboxSession::Refresh() {
  auto workloads = plane_->board().Snapshot();
  std::vector<std::string> news = timeline_.Observe(workloads);
  std::vector<std::string> problems = plane_->ConfigProblems();
  if (problems != std::exchange(problems_, problems)) news.insert(news.end(), problems.begin(), problems.end());
  int width = flags_.plain ? 0 : TerminalWidth();
  if (width == 0) {
    for (const std::string& line : news) std::puts(line.c_str());
    std::fflush(stdout);
    return;
  }
  for (std::string& line : news) last_lines_.push_back(std::move(line));
  while (last_lines_.size() > kTimelineLines) last_lines_.pop_front();
  std::string screen = ClearScreen() + Header() + "  calendar  " + CalendarText() + "\n\n";
  screen += RenderTable(workloads, width, /*colors=*/true) + "\n";
  for (const std::string& line : last_lines_) screen += line.substr(0, static_cast<size_t>(width)) + "\n";
  std::fputs(screen.c_str(), stdout);
  std::fflush(stdout);
}

void SandboxSession::Run(int64_t duration_ms) {
  int64_t end_ms = clock_.NowMs() + duration_ms;
  while (duration_ms == 0 || clock_.NowMs() < end_ms) {
    int signal = WaitForSignal(kRefreshMs);
    if (signal == SIGHUP) {
      (void)plane_->Reload();  // Logged by Reload().
    } else if (signal != 0) {
      break;
    }
    Refresh();
  }
}

int SandboxSession::Judge(int64_t duration_ms) {
  std::printf("\nReplicas over the run:\n");
  for (const std::string& line : timeline_.Summary()) std::printf("  %s\n", line.c_str());
  if (duration_ms == 0) return 0;
  std::vector<std::string> faults = timeline_.Faults();
  for (const std::string& fault : faults) std::printf("  FAULT: %s\n", fault.c_str());
  if (!faults.empty()) {
    PrintLogTail();
    return 1;
  }
  std::printf("Every workload was scaled up and down for the right reason.\n");
  return 0;
}

void SandboxSession::PrintLogTail() const {
  auto log = base::ReadFile(log_file_);
  if (!log.ok()) return;
  std::vector<std::string> lines = base::Split(*log, '\n');
  size_t first = lines.size() > kLogTailLines ? lines.size() - kLogTailLines : 0;
  std::fprintf(stderr, "The end of the log:\n");
  for (size_t i = first; i < lines.size(); ++i) std::fprintf(stderr, "%s\n", lines[i].c_str());
}

}  // namespace

int RunSandbox(const SandboxFlags& flags) {
  int64_t duration_ms = 0;
  if (!flags.duration.empty()) {
    auto duration = base::ParseDuration(flags.duration);
    if (!duration.ok()) return Fail(duration.status().Annotate("--for"));
    duration_ms = duration->ms;
  }
  auto folder = base::TempDir::Create("tidewright-sandbox");
  if (!folder.ok()) return Fail(folder.status());
  SandboxSession session(flags, *std::move(folder));
  base::Status started = session.Start(duration_ms);
  if (!started.ok()) return Fail(started);
  session.Run(duration_ms);
  return session.Judge(duration_ms);
}

}  // namespace tidewright::cmd
