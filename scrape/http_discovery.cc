#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "base/strings.h"
#include "scrape/discovery.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kMinRefreshMs = 1000;
constexpr size_t kMaxReply = 64u << 20;

// application/json, with charset=utf-8 at most.
bool IsJson(std::string_view content_type) {
  const size_t semicolon = content_type.find(';');
  if (!base::EqualsIgnoreCase(base::TrimSpace(content_type.substr(0, semicolon)), "application/json")) return false;
  if (semicolon == std::string_view::npos) return true;
  const std::string_view parameter = base::TrimSpace(content_type.substr(semicolon + 1));
  return base::EqualsIgnoreCase(parameter, "charset=utf-8") || base::EqualsIgnoreCase(parameter, "charset=\"utf-8\"");
}

base::Result<std::vector<TargetGroup>> GroupsOf(const base::Result<http::Response>& reply, const std::string& url) {
  TW_RETURN_IF_ERROR(reply.status());
  if (reply->status != 200) {
    return base::UnavailableError("HTTP status " + std::to_string(reply->status) + ", not 200");
  }
  const std::string type = reply->headers.Get("Content-Type");
  if (!IsJson(type)) {
    return base::InvalidArgumentError("Content-Type " + base::Quoted(type) + " is not application/json");
  }
  return ParseTargetReply(reply->body, url);
}

// Shared with the replies that are on their way; `transport` is let go of by Stop(), on the owner's thread.
class HttpRefresher : public std::enable_shared_from_this<HttpRefresher> {
 public:
  HttpRefresher(HttpSdConfig config, base::Scheduler& scheduler, const HttpTransport::Factory& factory)
      : config_(std::move(config)),
        scheduler_(scheduler),
        transport_(std::make_shared<HttpTransport>(config_.http, factory)) {}

  void Start(Discoverer::Update update) {
    update_ = std::move(update);
    Schedule(0, &HttpRefresher::Ask);
  }

  void Stop() {
    std::shared_ptr<HttpTransport> transport;
    {
      base::MutexLock lock(mu_);
      stopped_ = true;
      transport = std::move(transport_);
    }
    base::MutexLock running(step_mu_);
  }

 private:
  void Schedule(int64_t when_ms, void (HttpRefresher::*step)()) {
    scheduler_.At(when_ms, [self = shared_from_this(), step] { (*self.*step)(); });
  }

  std::shared_ptr<HttpTransport> Transport() {
    base::MutexLock lock(mu_);
    return stopped_ ? nullptr : transport_;
  }

  void Ask() {
    base::MutexLock step(step_mu_);
    std::shared_ptr<HttpTransport> transport = Transport();
    if (transport == nullptr) return;
    transport->Authorize(scheduler_.clock().NowMs(),
                         [self = shared_from_this()](base::Result<http::Headers> headers) { self->Send(headers); });
  }

  // On a thread of the pool, or on one of the client that fetched a token.
  void Send(const base::Result<http::Headers>& authorization) {
    std::shared_ptr<http::Client> client;
    base::Status failure = authorization.status();
    {
      base::MutexLock lock(mu_);
      if (stopped_) return;
      if (failure.code() == base::Code::kAborted) return Schedule(0, &HttpRefresher::Ask);
      auto made = failure.ok() ? transport_->Client(scheduler_.clock().NowMs(), config_.url)
                               : base::Result<std::shared_ptr<http::Client>>(failure);
      failure = made.status();
      if (made.ok()) client = *made;
    }
    if (!failure.ok()) return OnReply(failure);
    http::ClientRequest request;
    request.url = config_.url;
    for (const auto& [name, value] : *authorization) request.headers.Add(name, value);
    request.headers.Add("Accept", "application/json");
    request.headers.Add("X-Prometheus-Refresh-Interval-Seconds",
                        base::FormatFixed(static_cast<double>(config_.refresh_interval.ms) / 1000));
    request.connect_timeout_ms = request.total_timeout_ms = std::max(config_.refresh_interval.ms, kMinRefreshMs);
    request.max_redirects = config_.http.follow_redirects ? 10 : 0;
    request.max_body_bytes = kMaxReply;
    client->SendAsync(std::move(request), [self = shared_from_this()](base::Result<http::Response> reply) {
      self->OnReply(std::move(reply));
    });
  }

  // The groups are made on the pool: the client's thread must not be held up.
  void OnReply(base::Result<http::Response> reply) {
    base::MutexLock lock(mu_);
    if (stopped_) return;
    reply_ = std::make_unique<base::Result<http::Response>>(std::move(reply));
    Schedule(0, &HttpRefresher::Take);
  }

  void Take() {
    base::MutexLock step(step_mu_);
    std::unique_ptr<base::Result<http::Response>> reply;
    {
      base::MutexLock lock(mu_);
      if (stopped_) return;
      reply = std::move(reply_);
      Schedule(scheduler_.clock().NowMs() + std::max(config_.refresh_interval.ms, kMinRefreshMs), &HttpRefresher::Ask);
    }
    auto groups = GroupsOf(*reply, config_.url);
    const std::string error = groups.status().message();
    if (!groups.ok() && error != last_error_) {
      base::LogWarn("scrape", "http_sd is not usable; its previous targets stay",
                    {{"url", config_.url}, {"error", error}});
    }
    last_error_ = error;
    if (!groups.ok()) return;
    const size_t count = groups->size();
    for (size_t i = count; i < known_groups_; ++i) {
      TargetGroup gone;
      gone.source = config_.url + ":" + std::to_string(i);
      groups->push_back(std::move(gone));
    }
    known_groups_ = count;
    if (!groups->empty()) update_(std::move(*groups));
  }

  const HttpSdConfig config_;
  base::Scheduler& scheduler_;
  Discoverer::Update update_;
  base::Mutex step_mu_;  // Held by a step while it works, so that Stop() can wait for it. Before mu_.
  size_t known_groups_ GUARDED_BY(step_mu_) = 0;
  std::string last_error_ GUARDED_BY(step_mu_);
  base::Mutex mu_;
  std::shared_ptr<HttpTransport> transport_ GUARDED_BY(mu_);
  std::unique_ptr<base::Result<http::Response>> reply_ GUARDED_BY(mu_);
  bool stopped_ GUARDED_BY(mu_) = false;
};

class HttpDiscoverer : public Discoverer {
 public:
  explicit HttpDiscoverer(std::shared_ptr<HttpRefresher> refresher) : refresher_(std::move(refresher)) {}
  void Start(Update update) override { refresher_->Start(std::move(update)); }
  void Stop() override { refresher_->Stop(); }

 private:
  const std::shared_ptr<HttpRefresher> refresher_;
};

}  // namespace

std::unique_ptr<Discoverer> NewHttpDiscoverer(HttpSdConfig config, base::Scheduler& scheduler,
                                              const HttpTransport::Factory& factory) {
  return std::make_unique<HttpDiscoverer>(std::make_shared<HttpRefresher>(std::move(config), scheduler, factory));
}

}  // namespace tidewright::scrape
