#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/boot_clock.h"
#include "base/document.h"
#include "http/client.h"
#include "kube/exec_plugin.h"

extern char** environ;

namespace tidewright::kube {

namespace {

// How often a program that closed its output is looked at until it ends.
constexpr int64_t kReapPollMs = 20;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { Close(); }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// What posix_spawn wants to know.
class SpawnSettings {
 public:
  explicit SpawnSettings(int output) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);  // Its own group, so that what it starts ends with it.
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

std::vector<std::string> Environment(const std::map<std::string, std::string>& added) {
  std::map<std::string, std::string> env;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string_view text = *entry;
    size_t end = text.find('=');
    if (end != std::string_view::npos) env[std::string(text.substr(0, end))] = text.substr(end + 1);
  }
  for (const auto& [name, value] : http::EnvironmentBeforeCpprest()) {
    if (value.empty()) {
      env.erase(name);
    } else {
      env[name] = value;
    }
  }
  for (const auto& [name, value] : added) env[name] = value;
  std::vector<std::string> all;
  for (const auto& [name, value] : env) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int ExitCode(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

// A started program until it was reaped.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) Kill();
  }

  // Its exit code once it has ended.
  bool Ended(int* exit_code) {
    int status = 0;
    pid_t reaped = waitpid(pid_, &status, WNOHANG);
    if (reaped == 0 || (reaped < 0 && errno == EINTR)) return false;
    pid_ = -1;
    *exit_code = reaped < 0 ? 0 : ExitCode(status);
    return true;
  }

 private:
  void Kill() {
    kill(-pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }

  pid_t pid_;
};

base::Status TimedOut(int64_t timeout_ms) {
  return base::DeadlineExceededError("it did not end within " + std::to_string(timeout_ms) + " ms");
}

// Reads until the end of the output, which the program or what it started may put off.
base::Status ReadAll(int fd, int64_t deadline_ms, int64_t timeout_ms, size_t max_bytes, std::string* text) {
  char buffer[4096];
  while (true) {
    const int64_t left = deadline_ms - base::BootClock::Get().NowMs();
    if (left <= 0) return TimedOut(timeout_ms);
    pollfd event{fd, POLLIN, 0};
    if (poll(&event, 1, static_cast<int>(std::min<int64_t>(left, 1'000))) <= 0) continue;
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got == 0) return base::Status::Ok();
    if (got < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return base::UnavailableError(std::string("reading its output: ") + std::strerror(errno));
    }
    text->append(buffer, static_cast<size_t>(got));
    if (text->size() > max_bytes) {
      return base::ResourceExhaustedError("it printed more than " + std::to_string(max_bytes) + " bytes");
    }
  }
}

}  // namespace

base::Result<ProgramOutput> RunProgram(const std::vector<std::string>& argv,
                                       const std::map<std::string, std::string>& env, int64_t timeout_ms,
                                       size_t max_bytes) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return base::UnavailableError(std::string("pipe: ") + std::strerror(errno));
  Descriptor output(ends[0]);
  Descriptor input(ends[1]);
  std::vector<std::string> arguments = argv;
  std::vector<std::string> environment = Environment(env);
  pid_t pid = 0;
  SpawnSettings settings(input.get());
  int error = posix_spawnp(&pid, argv[0].c_str(), settings.actions(), settings.attributes(), Pointers(arguments).data(),
                           Pointers(environment).data());
  if (error == ENOENT) return base::NotFoundError("there is no program " + base::Quoted(argv[0]));
  if (error != 0) return base::UnavailableError("start " + base::Quoted(argv[0]) + ": " + std::strerror(error));
  Child child(pid);
  input.Close();

  ProgramOutput result;
  const int64_t deadline_ms = base::BootClock::Get().NowMs() + timeout_ms;
  TW_RETURN_IF_ERROR(ReadAll(output.get(), deadline_ms, timeout_ms, max_bytes, &result.text));
  base::StopSignal never;
  while (!child.Ended(&result.exit_code)) {
    if (base::BootClock::Get().NowMs() >= deadline_ms) return TimedOut(timeout_ms);
    base::BootClock::Get().SleepFor(kReapPollMs, never);
  }
  return result;
}

}  // namespace tidewright::kube
