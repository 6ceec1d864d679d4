#include "kube/credentials.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/strings.h"
#include "kube/exec_plugin.h"

namespace tidewright::kube {

namespace {

constexpr int64_t kFileReloadMs = 60'000;
// However often a plugin fails, or prints what has expired or is refused, it is not started more often than this.
constexpr int64_t kMinPluginIntervalMs = 5'000;

// A file whose content may be replaced at any time. Not thread-safe.
class RotatingFile {
 public:
  explicit RotatingFile(std::string path) : path_(std::move(path)) {}

  // The content; that of the last time while it cannot be read or is empty.
  base::Result<std::string> Get(int64_t now_ms) {
    if (read_at_ms_.has_value() && now_ms - *read_at_ms_ < kFileReloadMs) return content_;
    TW_RETURN_IF_ERROR(Read(now_ms));
    return content_;
  }

  // Reads it at once; returns whether it has changed.
  bool Reload(int64_t now_ms) {
    std::string before = content_;
    return Read(now_ms).ok() && content_ != before;
  }

 private:
  base::Status Read(int64_t now_ms) {
    auto content = base::ReadFile(path_);
    base::Status failed = content.status();
    if (content.ok() && base::TrimSpace(*content).empty()) failed = base::UnavailableError(path_ + " is empty");
    if (failed.ok()) {
      content_ = *std::move(content);
    } else if (content_.empty()) {
      return failed;
    } else {
      base::LogWarn("kube", "keeping the credentials read before", {{"error", failed.ToString()}});
    }
    read_at_ms_ = now_ms;
    return base::Status::Ok();
  }

  const std::string path_;
  std::string content_;
  std::optional<int64_t> read_at_ms_;
};

// The certificates of a connection, from the configuration or from files. Not thread-safe.
class TlsFiles {
 public:
  explicit TlsFiles(const ClientConfig& config) : tls_(config.tls) {
    auto add = [this](const std::string& path, std::string http::ClientTls::*member, const char* what) {
      if (!path.empty()) files_.push_back({RotatingFile(path), member, what});
    };
    add(config.ca_file, &http::ClientTls::ca_pem, "CA certificate");
    add(config.certificate_file, &http::ClientTls::certificate_pem, "client certificate");
    add(config.private_key_file, &http::ClientTls::private_key_pem, "client key");
  }

  base::Result<http::ClientTls> Get(int64_t now_ms) {
    for (File& file : files_) {
      auto content = file.file.Get(now_ms);
      if (!content.ok()) return content.status().Annotate(file.what);
      tls_.*file.member = *std::move(content);
    }
    return tls_;
  }

  bool Reload(int64_t now_ms) {
    bool changed = false;
    for (File& file : files_) changed |= file.file.Reload(now_ms);
    return changed;
  }

 private:
  struct File {
    RotatingFile file;
    std::string http::ClientTls::*member;
    const char* what;
  };
  http::ClientTls tls_;
  std::vector<File> files_;
};

// Fixed credentials, or those in files.
class FileCredentials : public CredentialSource {
 public:
  FileCredentials(const ClientConfig& config, base::Clock& clock) : clock_(clock), tls_(config) {
    if (!config.bearer_token_file.empty()) {
      token_.emplace(config.bearer_token_file);
    } else if (!config.bearer_token.empty()) {
      authorization_ = "Bearer " + config.bearer_token;
    } else if (!config.username.empty()) {
      authorization_ = "Basic " + base::Base64Encode(config.username + ":" + config.password);
    }
  }

  base::Result<Credentials> Get() override {
    base::MutexLock lock(mu_);
    Credentials credentials;
    TW_ASSIGN_OR_RETURN(credentials.tls, tls_.Get(clock_.NowMs()));
    if (token_.has_value()) {
      auto token = token_->Get(clock_.NowMs());
      if (!token.ok()) return token.status().Annotate("bearer token");
      authorization_ = "Bearer " + std::string(base::TrimSpace(*token));
    }
    credentials.authorization = authorization_;
    return credentials;
  }

  bool Refused(const Credentials& used) override {
    {
      base::MutexLock lock(mu_);
      if (token_.has_value()) token_->Reload(clock_.NowMs());
      tls_.Reload(clock_.NowMs());
    }
    auto now = Get();
    return now.ok() &&
           (now->authorization != used.authorization || now->tls.certificate_pem != used.tls.certificate_pem);
  }

 private:
  base::Clock& clock_;
  base::Mutex mu_;
  TlsFiles tls_ GUARDED_BY(mu_);
  std::optional<RotatingFile> token_ GUARDED_BY(mu_);
  std::string authorization_ GUARDED_BY(mu_);
};

// What an exec plugin printed, until it expires or is refused. Requests wait for the plugin under the lock.
class ExecCredentials : public CredentialSource {
 public:
  ExecCredentials(const ClientConfig& config, base::Clock& clock, base::Clock& calendar, base::MetricRegistry* metrics)
      : config_(config), clock_(clock), calendar_(calendar), metrics_(metrics), tls_(config) {}

  base::Result<Credentials> Get() override {
    base::MutexLock lock(mu_);
    TW_ASSIGN_OR_RETURN(http::ClientTls tls, tls_.Get(clock_.NowMs()));
    if (NeedsRun()) Run(tls);
    if (!failure_.ok()) return failure_;
    Credentials credentials{"", std::move(tls)};
    if (!current_.token.empty()) credentials.authorization = "Bearer " + current_.token;
    if (!current_.certificate_pem.empty()) {
      credentials.tls.certificate_pem = current_.certificate_pem;
      credentials.tls.private_key_pem = current_.private_key_pem;
    }
    return credentials;
  }

  bool Refused(const Credentials& used) override {
    {
      base::MutexLock lock(mu_);
      const bool stale = used.authorization == "Bearer " + current_.token &&
                         (current_.certificate_pem.empty() || used.tls.certificate_pem == current_.certificate_pem);
      // Someone else has fetched new ones meanwhile, or it is too soon to ask for others again.
      if (!stale) return true;
      if (refused_at_ms_.has_value() && clock_.NowMs() - *refused_at_ms_ < kMinPluginIntervalMs) return false;
      refused_at_ms_ = clock_.NowMs();
      ran_at_ms_.reset();
    }
    return Get().ok();
  }

 private:
  bool NeedsRun() const REQUIRES_LOCK(mu_) {
    if (!ran_at_ms_.has_value()) return true;
    if (clock_.NowMs() - *ran_at_ms_ < kMinPluginIntervalMs) return false;
    return !failure_.ok() || (current_.expires_ms.has_value() && calendar_.NowMs() >= *current_.expires_ms);
  }

  void Run(const http::ClientTls& tls) REQUIRES_LOCK(mu_) {
    ClientConfig config = config_;
    config.tls = tls;
    ExecOutcome outcome;
    auto credential = RunExecPlugin(config, &outcome);
    ran_at_ms_ = clock_.NowMs();
    failure_ = credential.status();
    if (credential.ok()) current_ = *std::move(credential);
    if (metrics_ == nullptr) return;
    metrics_
        ->GetCounter("rest_client_exec_plugin_call_total", "Runs of exec plugins, by exit code and outcome.",
                     {{"code", std::to_string(outcome.exit_code)}, {"call_status", outcome.call_status}})
        .Add();
    double ttl = current_.expires_ms.has_value() ? static_cast<double>(*current_.expires_ms - calendar_.NowMs()) / 1000
                                                 : std::numeric_limits<double>::infinity();
    metrics_
        ->GetGauge("rest_client_exec_plugin_ttl_seconds",
                   "How long the credentials of the exec plugin were valid when it printed them.")
        .Set(ttl);
  }

  const ClientConfig config_;
  base::Clock& clock_;
  base::Clock& calendar_;
  base::MetricRegistry* const metrics_;
  base::Mutex mu_;
  TlsFiles tls_ GUARDED_BY(mu_);
  ExecCredential current_ GUARDED_BY(mu_);
  base::Status failure_ GUARDED_BY(mu_);  // Of the last run.
  std::optional<int64_t> ran_at_ms_ GUARDED_BY(mu_);
  std::optional<int64_t> refused_at_ms_ GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<CredentialSource> NewCredentialSource(const ClientConfig& config, base::Clock& clock,
                                                      base::Clock& calendar, base::MetricRegistry* metrics) {
  const bool fixed = !config.bearer_token.empty() || !config.bearer_token_file.empty() || !config.username.empty();
  if (config.exec.has_value() && !fixed) {
    return std::make_unique<ExecCredentials>(config, clock, calendar, metrics);
  }
  return std::make_unique<FileCredentials>(config, clock);
}

}  // namespace tidewright::kube
