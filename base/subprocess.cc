#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "base/file.h"
#include "base/strings.h"

extern char** environ;

namespace tidewright::base {

namespace {

std::string FindProgram(const std::string& program) {
  if (program.find('/') != std::string::npos) return ::access(program.c_str(), X_OK) == 0 ? program : "";
  const char* path = std::getenv("PATH");
  for (const std::string& folder : Split(path != nullptr ? path : "/usr/bin:/bin", ':')) {
    std::string candidate = folder + "/" + program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

std::vector<std::string> MergedEnvironment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string text = *entry;
    if (changes.count(text.substr(0, text.find('='))) == 0) merged.push_back(std::move(text));
  }
  for (const auto& [name, value] : changes) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int ExitCode(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// Everything between fork and exec: async-signal-safe calls only.
[[noreturn]] void RunChild(const char* program, char* const* argv, char* const* env, const char* log_path,
                           pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // The parent died before prctl.
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  int out = ::open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
  int in = ::open("/dev/null", O_RDONLY);
  if (out < 0 || in < 0) ::_exit(127);
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(out, 2);
  ::execve(program, argv, env);
  ::_exit(127);
}

}  // namespace

Result<Subprocess> Subprocess::Start(const std::vector<std::string>& argv, const std::string& log_path,
                                     const std::map<std::string, std::string>& env) {
  if (argv.empty()) return InvalidArgumentError("no program to start");
  std::string program = FindProgram(argv[0]);
  if (program.empty()) return NotFoundError("program " + argv[0] + " is not in $PATH; install its package");
  std::vector<std::string> arguments = argv;
  std::vector<std::string> environment = MergedEnvironment(env);
  std::vector<char*> argument_pointers = Pointers(arguments);
  std::vector<char*> environment_pointers = Pointers(environment);
  std::string log = log_path.empty() ? "/dev/null" : log_path;
  pid_t parent = ::getpid();
  pid_t pid = ::fork();
  if (pid < 0) return UnavailableError("start " + argv[0] + ": " + std::strerror(errno));
  if (pid == 0) {
    RunChild(program.c_str(), argument_pointers.data(), environment_pointers.data(), log.c_str(), parent);
  }
  return Subprocess(pid);
}

Subprocess::Subprocess(Subprocess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), exit_code_(other.exit_code_) {}

Subprocess& Subprocess::operator=(Subprocess&& other) noexcept {
  if (this != &other) {
    Stop();
    pid_ = std::exchange(other.pid_, -1);
    exit_code_ = other.exit_code_;
  }
  return *this;
}

Subprocess::~Subprocess() { Stop(); }

bool Subprocess::Running() {
  if (pid_ < 0 || exit_code_ >= 0) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
  exit_code_ = ExitCode(status);
  return false;
}

void Subprocess::Signal(int signal) {
  if (Running()) ::kill(pid_, signal);
}

int Subprocess::Wait() {
  if (pid_ < 0 || exit_code_ >= 0) return exit_code_;
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  exit_code_ = ExitCode(status);
  return exit_code_;
}

void Subprocess::Stop(int grace_ms) {
  if (!Running()) return;
  ::kill(pid_, SIGTERM);
  StopSignal never;
  int64_t deadline = SystemClock::Get().NowMs() + grace_ms;
  while (Running() && SystemClock::Get().NowMs() < deadline) SystemClock::Get().SleepFor(5, never);
  if (Running()) ::kill(pid_, SIGKILL);
  (void)Wait();
}

Result<uint16_t> FreePort() {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return UnavailableError(std::string("socket: ") + std::strerror(errno));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  bool ok = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
            ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  int error = errno;
  ::close(fd);
  if (!ok) return UnavailableError(std::string("bind 127.0.0.1:0: ") + std::strerror(error));
  return ntohs(address.sin_port);
}

bool HaveProgram(const std::string& program) { return !FindProgram(program).empty(); }

}  // namespace tidewright::base
