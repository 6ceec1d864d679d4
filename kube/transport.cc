#include "kube/transport.h"

#include <algorithm>
#include <utility>

#include "base/boot_clock.h"
#include "base/log.h"
#include "base/strings.h"

namespace tidewright::kube {

namespace {

constexpr int kMaxAttempts = 10;
// A Retry-After of 0 must not become a busy loop.
constexpr int64_t kMinRetryMs = 100;
constexpr int64_t kLongestRetrySeconds = 24 * 3600;  // Nobody waits so long; it only keeps the sum in range.
constexpr size_t kMaxRefusalBytes = 4096;
constexpr size_t kMaxRemembered = 4096;  // Paths that the server asked to leave alone for a while.

const std::vector<double>& DurationBounds() {
  static const std::vector<double>& bounds =
      *new std::vector<double>{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60};
  return bounds;
}

bool SameTls(const http::ClientTls& a, const http::ClientTls& b) {
  return a.ca_pem == b.ca_pem && a.certificate_pem == b.certificate_pem && a.private_key_pem == b.private_key_pem;
}

}  // namespace

int64_t RetryDelayMs(const ApiRequest& request, const http::Response& reply) {
  // 429 was turned away before it took effect; 503 may come from behind a proxy, after it did.
  const bool turned_away = reply.status == 429 || (reply.status == 503 && request.idempotent);
  int64_t seconds = 0;
  if (!turned_away || !base::ParseInt64(base::TrimSpace(reply.headers.Get("Retry-After")), &seconds)) return -1;
  if (seconds < 0) return -1;
  return std::max(std::min(seconds, kLongestRetrySeconds) * 1000, kMinRetryMs);
}

base::Result<std::shared_ptr<Transport>> Transport::Create(const ClientConfig& config, const ClientOptions& options) {
  TW_ASSIGN_OR_RETURN(http::Url url, http::Url::Parse(config.server));
  ClientConfig trimmed = config;
  while (!trimmed.server.empty() && trimmed.server.back() == '/') trimmed.server.pop_back();
  ClientOptions completed = options;
  if (completed.clock == nullptr) completed.clock = &base::BootClock::Get();
  std::shared_ptr<Transport> transport(new Transport(trimmed, completed));
  // What is wrong with certificates shows at once; an exec plugin runs when it is needed.
  if (!config.exec.has_value()) {
    TW_ASSIGN_OR_RETURN(Credentials credentials, transport->credentials_->Get());
    TW_RETURN_IF_ERROR(transport->ConnectionFor(credentials.tls).status());
  }
  return transport;
}

Transport::Transport(const ClientConfig& config, const ClientOptions& options)
    : config_(config),
      options_(options),
      host_(http::Url::Parse(config.server)->Authority()),
      clock_(*options.clock),
      limiter_(clock_, options.rate_limit),
      credentials_(NewCredentialSource(config, clock_, base::SystemClock::Get(), options.metrics)) {}

Transport::~Transport() {
  stop_.Stop();
  limiter_.Stop();
  gone_.Stop();
  if (grace_.joinable()) grace_.join();
}

void Transport::BeginStop() {
  stop_.Stop();
  limiter_.Stop();
  base::MutexLock lock(mu_);
  if (grace_.joinable()) return;
  grace_ = std::thread([this] {
    clock_.SleepFor(kStopGraceMs, gone_);
    cancel_.Cancel();
  });
}

base::Result<std::unique_ptr<http::Client>> Transport::Connect(const http::ClientTls& tls) const {
  http::ClientOptions options;
  options.tls = tls;
  options.user_agent = options_.user_agent;
  if (config_.proxy_url.empty()) return http::NewCpprestClient(options);
  options.proxy_url = config_.proxy_url;  // cpprestsdk knows no proxies that authenticate.
  return http::NewCurlClient(options);
}

// Connections are made anew when certificates have rotated. One that rotated to nonsense leaves the old ones in use.
base::Result<std::shared_ptr<http::Client>> Transport::ConnectionFor(const http::ClientTls& tls) {
  base::MutexLock lock(mu_);
  if (connection_ != nullptr && (SameTls(tls, connected_with_) || SameTls(tls, failed_with_))) return connection_;
  auto fresh = Connect(tls);
  if (fresh.ok()) {
    connection_ = *std::move(fresh);
    connected_with_ = tls;
  } else if (connection_ == nullptr) {
    return fresh.status();
  } else {
    failed_with_ = tls;
    base::LogWarn("kube", "keeping the certificates used before", {{"error", fresh.status().ToString()}});
  }
  return connection_;
}

base::Result<Transport::Signed> Transport::Sign(const ApiRequest& request) {
  Signed prepared;
  TW_ASSIGN_OR_RETURN(prepared.credentials, credentials_->Get());
  TW_ASSIGN_OR_RETURN(prepared.connection, ConnectionFor(prepared.credentials.tls));
  http::ClientRequest& out = prepared.request;
  out.method = request.method;
  out.url = config_.server + request.path;
  out.body = request.body;
  out.headers.Set("Accept", "application/json");
  if (!request.content_type.empty()) out.headers.Set("Content-Type", request.content_type);
  if (!prepared.credentials.authorization.empty()) {
    out.headers.Set("Authorization", prepared.credentials.authorization);
  }
  return prepared;
}

base::Status Transport::AwaitTurn(const ApiRequest& request, int64_t deadline_ms) {
  const int64_t started = base::MonotonicNanos();
  base::Status turn = limiter_.Acquire(PriorityOf(request.method, request.path), deadline_ms);
  Observe("rest_client_rate_limiter_duration_seconds", "Time that requests waited for the client's own rate limit.",
          request.method, base::MonotonicNanos() - started);
  return turn;
}

base::Result<http::Response> Transport::Attempt(const ApiRequest& request, Signed& prepared, RequestGuard* guard,
                                                int64_t deadline_ms) {
  int64_t timeout_ms = std::min(options_.request_timeout_ms, deadline_ms - clock_.NowMs());
  http::CancelToken* cancel = &cancel_;
  if (stop_.stopped() && PriorityOf(request.method, request.path) == RequestPriority::kExempt) {
    cancel = nullptr;
    timeout_ms = std::min(timeout_ms, kStopGraceMs);
  } else if (cancel_.cancelled()) {
    return base::CancelledError("the client has stopped");
  }
  if (guard != nullptr) {  // Last, so that no wait comes between the answer and the request.
    TW_ASSIGN_OR_RETURN(int64_t admitted_ms, guard->Admit(request.IsWrite()));
    timeout_ms = std::min(timeout_ms, admitted_ms);
  }
  prepared.request.total_timeout_ms = std::max<int64_t>(timeout_ms, 1);
  prepared.request.connect_timeout_ms =
      std::min(prepared.request.connect_timeout_ms, prepared.request.total_timeout_ms);
  const int64_t started = base::MonotonicNanos();
  auto reply = prepared.connection->Send(prepared.request, cancel);
  Observe("rest_client_request_duration_seconds", "Duration of requests to the API server.", request.method,
          base::MonotonicNanos() - started);
  Count(request.method, reply.ok() ? std::to_string(reply->status) : "<error>");
  return reply;
}

bool Transport::MayWait(const ApiRequest& request, RequestGuard* guard, int64_t delay_ms, int64_t deadline_ms) {
  if (clock_.NowMs() + delay_ms >= deadline_ms) return false;
  if (guard == nullptr) return true;
  auto admitted_ms = guard->Admit(request.IsWrite());
  return admitted_ms.ok() && *admitted_ms > delay_ms;
}

void Transport::Remember(const ApiRequest& request, int64_t until_ms) {
  base::MutexLock lock(mu_);
  const int64_t now_ms = clock_.NowMs();
  std::erase_if(not_before_, [now_ms](const auto& entry) { return entry.second <= now_ms; });
  if (not_before_.size() < kMaxRemembered) not_before_[request.method + " " + request.path] = until_ms;
}

// What an earlier call was told and could not wait for.
base::Status Transport::AwaitServer(const ApiRequest& request, RequestGuard* guard, int64_t deadline_ms) {
  int64_t left_ms = 0;
  {
    base::MutexLock lock(mu_);
    auto told = not_before_.find(request.method + " " + request.path);
    if (told == not_before_.end()) return base::Status::Ok();
    left_ms = told->second - clock_.NowMs();
  }
  if (left_ms <= 0) return base::Status::Ok();
  if (!MayWait(request, guard, left_ms, deadline_ms)) {
    return base::ResourceExhaustedError("the API server asked not to repeat this request so soon");
  }
  return clock_.SleepFor(left_ms, stop_) ? base::Status::Ok() : base::CancelledError("the client is stopping");
}

base::Result<http::Response> Transport::Send(const ApiRequest& request, RequestGuard* guard) {
  const int64_t deadline_ms = clock_.NowMs() + options_.call_timeout_ms;
  TW_RETURN_IF_ERROR(AwaitServer(request, guard, deadline_ms));
  bool signed_anew = false;
  for (int attempt = 1;; ++attempt) {
    TW_RETURN_IF_ERROR(AwaitTurn(request, deadline_ms));
    TW_ASSIGN_OR_RETURN(Signed prepared, Sign(request));
    TW_ASSIGN_OR_RETURN(http::Response reply, Attempt(request, prepared, guard, deadline_ms));
    if (reply.status == 401 && !std::exchange(signed_anew, true) && credentials_->Refused(prepared.credentials)) {
      continue;
    }
    const int64_t delay_ms = RetryDelayMs(request, reply);
    if (delay_ms < 0) return reply;
    if (attempt >= kMaxAttempts || !MayWait(request, guard, delay_ms, deadline_ms)) {
      Remember(request, clock_.NowMs() + delay_ms);
      return reply;
    }
    if (!clock_.SleepFor(delay_ms, stop_)) return base::CancelledError("the client is stopping");
  }
}

base::Status Transport::StreamOnce(const ApiRequest& request, int64_t idle_timeout_ms, RequestGuard* guard,
                                   const Receiver& receiver, http::CancelToken* cancel, Credentials* used) {
  TW_ASSIGN_OR_RETURN(Signed prepared, Sign(request));
  *used = prepared.credentials;
  prepared.request.total_timeout_ms = 0;
  prepared.request.idle_timeout_ms = idle_timeout_ms;
  prepared.request.max_body_bytes = SIZE_MAX;
  prepared.request.accept_gzip = false;  // Compression would hold events back.
  bool answered = false;
  http::StreamHandler handler;
  handler.on_headers = [&](int status, const http::Headers&) {
    answered = true;
    Count(request.method, std::to_string(status));
    receiver.on_status(status);
    return base::Status::Ok();
  };
  handler.on_data = receiver.on_data;
  if (guard != nullptr) TW_RETURN_IF_ERROR(guard->Admit(request.IsWrite()).status());
  base::Status ended = prepared.connection->Stream(prepared.request, handler, cancel);
  if (!answered) Count(request.method, "<error>");
  return ended;
}

base::Status Transport::Stream(const ApiRequest& request, int64_t idle_timeout_ms, RequestGuard* guard,
                               const Receiver& receiver, http::CancelToken* cancel) {
  TW_RETURN_IF_ERROR(AwaitTurn(request, clock_.NowMs() + options_.call_timeout_ms));
  bool refused = false;
  std::string refusal;  // Handed over only if it is final.
  Receiver first;
  first.on_status = [&](int status) {
    refused = status == 401;
    if (!refused) receiver.on_status(status);
  };
  first.on_data = [&](std::string_view data) {
    if (!refused) return receiver.on_data(data);
    refusal += data.substr(0, kMaxRefusalBytes - std::min(kMaxRefusalBytes, refusal.size()));
    return base::Status::Ok();
  };
  Credentials used;
  base::Status ended = StreamOnce(request, idle_timeout_ms, guard, first, cancel, &used);
  if (!refused) return ended;
  if (credentials_->Refused(used)) return StreamOnce(request, idle_timeout_ms, guard, receiver, cancel, &used);
  receiver.on_status(401);
  return refusal.empty() ? ended : receiver.on_data(refusal);
}

void Transport::Observe(const std::string& name, const std::string& help, std::string_view method,
                        int64_t nanos) const {
  if (options_.metrics == nullptr) return;
  options_.metrics->GetHistogram(name, help, DurationBounds(), {{"verb", std::string(method)}, {"host", host_}})
      .Observe(static_cast<double>(nanos) / 1e9);
}

void Transport::Count(std::string_view method, const std::string& code) const {
  if (options_.metrics == nullptr) return;
  options_.metrics
      ->GetCounter("rest_client_requests_total", "Requests to the API server by the HTTP status of their replies.",
                   {{"code", code}, {"method", std::string(method)}, {"host", host_}})
      .Add();
}

}  // namespace tidewright::kube
