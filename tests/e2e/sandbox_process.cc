#include "tests/e2e/sandbox_process.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/strings.h"

namespace tidewright::e2e {

namespace {

constexpr int64_t kStartSeconds = 60;
constexpr int64_t kPollMs = 100;

int64_t Now() { return base::SystemClock::Get().NowMs(); }

void Pause() {
  base::StopSignal never;
  base::SystemClock::Get().SleepFor(kPollMs, never);
}

}  // namespace

SandboxProcess::SandboxProcess(const std::string& duration)
    : folder_(*base::TempDir::Create("tidewright-e2e")), client_(*http::NewCurlClient({})) {
  auto child = base::Subprocess::Start(
      {TIDEWRIGHT_BINARY, "sandbox", "--examples", TIDEWRIGHT_SOURCE_DIR "/examples", "--for", duration, "--web-port",
       "0", "--kubeconfig", folder_.path() + "/kubeconfig", "--log-file", folder_.path() + "/log", "--plain"},
      folder_.path() + "/output");
  EXPECT_TRUE(child.ok()) << child.status().ToString();
  if (!child.ok()) return;
  child_ = std::make_unique<base::Subprocess>(*std::move(child));
  int64_t deadline = Now() + kStartSeconds * 1000;
  while (page_.empty() && child_->Running() && Now() < deadline) {
    page_ = HeaderValue("page");
    Pause();
  }
  EXPECT_FALSE(page_.empty()) << "the sandbox did not start: " << Output();
}

base::Json SandboxProcess::Get(const std::string& path) {
  http::ClientRequest request;
  request.url = page_.substr(0, page_.size() - 1) + path;
  auto reply = client_->Send(request);
  if (!reply.ok()) return nullptr;
  auto json = base::ParseJson(reply->body);
  return json.ok() ? *json : base::Json(nullptr);
}

base::Json SandboxProcess::Workload(const std::string& name) {
  base::Json report = Get("/api/v1/autoscaling/workloads");
  if (!report.is_object()) return nullptr;
  for (const base::Json& workload : report["workloads"]) {
    if (workload["name"] == name) return workload;
  }
  return nullptr;
}

bool SandboxProcess::WaitFor(const std::string& name, int seconds,
                             const std::function<bool(const base::Json&)>& wanted) {
  int64_t deadline = Now() + seconds * 1000LL;
  while (Now() < deadline && child_->Running()) {
    base::Json workload = Workload(name);
    if (!workload.is_null() && wanted(workload)) return true;
    Pause();
  }
  return false;
}

SandboxProcess::CommandResult SandboxProcess::Kubectl(std::vector<std::string> arguments) {
  std::string log = folder_.path() + "/command-" + std::to_string(++commands_);
  arguments.insert(arguments.begin(), {"kubectl", "--kubeconfig", folder_.path() + "/kubeconfig"});
  auto child = base::Subprocess::Start(arguments, log, {{"HOME", folder_.path()}});
  EXPECT_TRUE(child.ok()) << child.status().ToString();
  if (!child.ok()) return {};
  int exit_code = child->Wait();
  auto output = base::ReadFile(log);
  return {exit_code, output.ok() ? *output : ""};
}

std::string SandboxProcess::Output() const {
  auto text = base::ReadFile(folder_.path() + "/output");
  return text.ok() ? *text : "";
}

std::string SandboxProcess::HeaderValue(const std::string& label) const {
  for (const std::string& line : base::Split(Output(), '\n')) {
    std::string_view trimmed = base::TrimSpace(line);
    if (trimmed.substr(0, label.size() + 1) == label + " ") {
      return std::string(base::TrimSpace(trimmed.substr(label.size())));
    }
  }
  return "";
}

int SandboxProcess::RedisPid() const {
  std::string line = HeaderValue("queue");  // "redis-server 127.20.9.1:6379, pid 1234"
  int64_t pid = -1;
  (void)base::ParseInt64(std::string_view(line).substr(line.rfind(' ') + 1), &pid);
  return static_cast<int>(pid);
}

std::string Condition(const base::Json& workload, const std::string& type, const std::string& member) {
  for (const base::Json& condition : workload["conditions"]) {
    if (condition["type"] == type) return condition[member];
  }
  return "";
}

}  // namespace tidewright::e2e
