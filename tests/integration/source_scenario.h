// What every source of a trigger has to stand, against its real server: a message becomes replicas; while the server is
// killed they are held, or the fallback takes over; once it is back it is followed again; wrong credentials are told
// without being shown.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/tls.h"
#include "scaler/trigger.h"
#include "tests/eventually.h"
#include "tests/integration/scaled_source.h"

namespace tidewright::scaler {

// What servers are given as passwords, and what they are not. Nothing that is shown or logged may contain one.
inline constexpr char kPassword[] = "pa55word";
inline constexpr char kWrongPassword[] = "s3cret";

// What an authority of the test's own gave a server at 127.0.0.1, which may have names as well, and a client.
struct Certificates {
  std::string ca_pem;
  http::KeyPair server, client;
};
inline Certificates NewCertificates(std::vector<std::string> names_of_server = {}) {
  const int64_t now_ms = base::SystemClock::Get().NowMs();
  auto ca = http::GenerateCa("test", now_ms);
  http::CertificateRequest request;
  request.common_name = "shop";
  request.ip_addresses = {"127.0.0.1"};
  request.dns_names = std::move(names_of_server);
  auto server = http::IssueCertificate(*ca, request, now_ms);
  request.dns_names.clear();
  request.client = true;
  auto client = http::IssueCertificate(*ca, request, now_ms);
  EXPECT_TRUE(server.ok() && client.ok());
  return {ca->certificate_pem, *server, *client};
}

// A server with something to count. Not thread-safe; what runs ends with it.
class SourceServer {
 public:
  virtual ~SourceServer() = default;

  // Starts it, for the first time or after Kill(), and waits until it answers.
  virtual void Start() = 0;
  virtual void Kill() {
    process_->Signal(9);
    process_->Wait();
  }
  // Makes the value that triggers read this one. The values of one scenario only grow.
  virtual void Hold(int64_t value) = 0;

  // The end of what it wrote.
  std::string Log() const {
    auto text = base::ReadFile(LogFile());
    return text.ok() ? text->substr(text->size() - std::min<size_t>(text->size(), 4000)) : text.status().ToString();
  }

 protected:
  using Words = std::vector<std::string>;

  // Starts a program and waits until `answers`. One that ends before that, because its port was taken or something of
  // the one that was killed is in its way, is started again.
  void Launch(const Words& argv, const std::function<bool()>& answers,
              const std::map<std::string, std::string>& env = {}) {
    process_ = nullptr;
    auto up = [&] {
      if (process_ == nullptr || !process_->Running()) {
        auto started = base::Subprocess::Start(argv, LogFile(), env);
        if (!started.ok()) return false;
        process_ = std::make_unique<base::Subprocess>(std::move(*started));
      }
      return answers();
    };
    // Some need a minute of a busy machine.
    ASSERT_TRUE(Eventually(up) || Eventually(up)) << Log();
  }

  // Runs a program to its end, and whether it was successful.
  bool Done(const Words& argv, const std::map<std::string, std::string>& env = {}) const {
    auto process = base::Subprocess::Start(argv, LogFile(), env);
    return process.ok() && process->Wait() == 0;
  }

  // For servers that refuse to run as root: the same program as nobody, whom the folder is given.
  Words Unprivileged(Words argv) const {
    if (geteuid() != 0) return argv;
    EXPECT_TRUE(Done({"chown", "-R", "nobody", folder_.path()}));
    argv.insert(argv.begin(), {"setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"});
    return argv;
  }

  // Sends JSON; the status of the answer, or 0. `authorization` is a header's value.
  int Send(const std::string& method, const std::string& url, const std::string& body,
           const std::string& authorization = "") {
    http::ClientRequest request;
    request.method = method;
    request.url = url;
    request.body = body;
    request.headers.Set("Content-Type", "application/json");
    if (!authorization.empty()) request.headers.Set("Authorization", authorization);
    auto response = http_->Send(request);
    answer_ = response.ok() ? response->body : response.status().ToString();
    return response.ok() ? response->status : 0;
  }
  static std::string BasicLogin(const std::string& user) {
    return "Basic " + base::Base64Encode(user + ":" + kPassword);
  }

  // A file of the server's folder; its path.
  std::string Write(const std::string& name, const std::string& text, int mode = 0644) const {
    const std::string path = folder_.path() + "/" + name;
    EXPECT_TRUE(base::WriteFileAtomic(path, text, mode).ok());
    return path;
  }

  static std::string NewPort() { return std::to_string(*base::FreePort()); }
  std::string LogFile() const { return folder_.path() + "/log"; }

  base::TempDir folder_ = *base::TempDir::Create("source");
  std::unique_ptr<base::Subprocess> process_;
  std::string answer_;  // Body of the last answer, or the error.

 private:
  std::unique_ptr<http::Client> http_ = *http::NewCurlClient({});
};

// A trigger that reads a SourceServer and wants a replica for each 5.
struct SourceCase {
  std::string type;
  ScaledSource::Metadata metadata;
  // Parameters of its authenticationRef, with kPassword somewhere in them; empty where nobody logs in.
  ScaledSource::Metadata secrets;
  std::string refusal;  // What the condition Ready says, in part, with kWrongPassword in its place.
  int64_t start_ms = *base::ParseTime("2026-01-08T12:00:00Z");  // As of ScaledSource.
};

// Parts of the scenario: each follows the trigger by an object of its own.
class SourceScenario {
 public:
  explicit SourceScenario(SourceCase source) : source_(std::move(source)) {
    EXPECT_TRUE(base::LogToFile(LogFile()).ok());
    base::SetLogLevel(base::LogLevel::kDebug);
  }
  ~SourceScenario() {
    auto log = base::ReadFile(LogFile());
    ExpectDiscreet(log.ok() ? *log : log.status().ToString());
    base::SetLogLevel(base::LogLevel::kInfo);
  }

  // Of a server that was started.
  void ExpectFollowed(SourceServer& server) {
    ScaledSource held(source_.start_ms), covered(source_.start_ms);
    held.Follow(source_.type, source_.metadata, source_.secrets);
    covered.Follow(source_.type, source_.metadata, source_.secrets, /*fallback=*/7);
    server.Hold(0);
    ExpectReached(held, 0, "nothing to do");
    server.Hold(11);
    ExpectReached(held, 3, "messages");
    ExpectReached(covered, 3, "messages");

    server.Kill();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(held.NextReplicas(), 3) << "without the server, pass " << i;
    EXPECT_THAT(held.Readiness(), testing::HasSubstr(" cannot be read: "));
    EXPECT_TRUE(Eventually([&] { return covered.NextReplicas() == 7; })) << "the fallback; " << covered.Readiness();

    server.Start();
    server.Hold(21);
    ExpectReached(held, 5, "back");
    ExpectReached(covered, 5, "back");
    ExpectDiscreet(held.Shown());
    ExpectDiscreet(covered.Shown());
    if (!source_.secrets.empty()) ExpectRefused(5);
  }

  // Nothing is scaled by wrong credentials; by the right ones, once they are there, to `replicas`.
  void ExpectRefused(int64_t replicas) {
    ScaledSource refused(source_.start_ms);
    ScaledSource::Metadata wrong = source_.secrets;
    for (auto& [parameter, value] : wrong) {
      const size_t at = value.find(kPassword);
      if (at != std::string::npos) value.replace(at, std::string(kPassword).size(), kWrongPassword);
    }
    refused.Follow(source_.type, source_.metadata, wrong);
    EXPECT_TRUE(Eventually([&] {
      return refused.NextReplicas() == 0 && refused.Readiness().find(source_.refusal) != std::string::npos;
    })) << refused.Readiness();
    EXPECT_EQ(refused.NextReplicas(), 0);
    refused.Follow(source_.type, source_.metadata, source_.secrets);
    ExpectReached(refused, replicas, "the right credentials");
    ExpectDiscreet(refused.Shown());
  }

  static void ExpectReached(ScaledSource& source, int64_t replicas, const char* when) {
    EXPECT_TRUE(Eventually([&] { return source.NextReplicas() == replicas && source.Ready(); }))
        << when << ": " << source.NextReplicas() << " replicas instead of " << replicas << "; " << source.Readiness();
  }

 private:
  std::string LogFile() const { return folder_.path() + "/log"; }
  static void ExpectDiscreet(const std::string& text) {
    EXPECT_THAT(text, testing::Not(testing::HasSubstr(kPassword)));
    EXPECT_THAT(text, testing::Not(testing::HasSubstr(kWrongPassword)));
  }

  const SourceCase source_;
  const base::TempDir folder_ = *base::TempDir::Create("scenario");
};

// What a trigger reads in milli-units, or its error. `env` has the variables of <key>FromEnv.
inline std::string ReadOnce(const std::string& type, const ScaledSource::Metadata& metadata,
                            const ScaledSource::Metadata& env = {}) {
  auto client = http::NewCurlClient({});
  if (!client.ok()) return client.status().message();
  TriggerContext context;
  context.control = context.calendar = &base::SystemClock::Get();
  context.http = client->get();
  TriggerSecrets secrets;
  secrets.env = [&env](const std::string& name) -> base::Result<std::string> {
    auto variable = env.find(name);
    if (variable == env.end()) return base::NotFoundError("no variable " + name);
    return variable->second;
  };
  TriggerSpec spec;
  spec.type = type;
  spec.metadata = metadata;
  auto trigger = NewTrigger(spec, secrets, context);
  if (!trigger.ok()) return trigger.status().message();
  auto reading = (*trigger)->Read();
  return reading.ok() ? std::to_string(reading->value_milli) : reading.status().message();
}

}  // namespace tidewright::scaler
