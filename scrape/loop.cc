#include "scrape/loop.h"

#include <utility>

#include "base/log.h"

namespace tidewright::scrape {
namespace {

// Replies of targets without a body_size_limit are bounded all the same.
constexpr size_t kMaxBodyBytes = 256u << 20;
// Pages up to this are stored by the thread that received them, which takes them a few milliseconds at most.
constexpr size_t kShortPageBytes = 512u << 10;

base::Status StatusOf(const http::Response& response) {
  if (response.status == 200) return base::Status::Ok();
  return base::UnavailableError("the target answered HTTP status " + std::to_string(response.status) + " " +
                                std::string(http::ReasonPhrase(response.status)));
}

}  // namespace

std::shared_ptr<ScrapeLoop> ScrapeLoop::Create(const LoopContext& context, std::shared_ptr<const ScrapeConfig> config,
                                               std::shared_ptr<HttpTransport> transport, TargetResult target) {
  return std::shared_ptr<ScrapeLoop>(
      new ScrapeLoop(context, std::move(config), std::move(transport), std::move(target)));
}

ScrapeLoop::ScrapeLoop(const LoopContext& context, std::shared_ptr<const ScrapeConfig> config,
                       std::shared_ptr<HttpTransport> transport, TargetResult target)
    : context_(context),
      ingester_(config, *target.target, context.appendable, context.metadata),
      target_(std::move(*target.target)),
      discovered_(std::move(target.discovered)),
      config_(std::move(config)),
      transport_(std::move(transport)) {}

void ScrapeLoop::Start() {
  base::MutexLock lock(mu_);
  if (std::exchange(started_, true) || stopped_) return;
  const int64_t now_ms = context_.clock.NowMs();
  planned_ms_ = FirstScrapeMs(target_, now_ms);
  // Better a little late than nearly an interval later.
  if (planned_ms_ - now_ms > target_.interval.ms * 9 / 10) planned_ms_ = now_ms;
  ScheduleRequest(planned_ms_);
}

void ScrapeLoop::Stop() {
  // Let go of the client here: a late reply may hold the last reference to this loop, on the client's own thread.
  std::shared_ptr<HttpTransport> transport;
  {
    base::MutexLock lock(mu_);
    stopped_ = ended_ = true;
    transport = std::move(transport_);
  }
  // Steps that are still queued find the loop stopped. Waiting for those, too, could wait for a thread of the pool that
  // waits for this one.
  base::MutexLock running(step_mu_);
}

void ScrapeLoop::Retire() {
  std::shared_ptr<HttpTransport> transport;
  base::MutexLock lock(mu_);
  if (std::exchange(stopped_, true)) return;
  transport = std::move(transport_);
  // planned_ms_ is the scrape that the target misses, whether it was still to come or its reply is now ignored.
  if (started_) Schedule(planned_ms_ + target_.interval.ms * 11 / 10, &ScrapeLoop::WriteEnd);
}

void ScrapeLoop::Update(std::shared_ptr<const ScrapeConfig> config, std::shared_ptr<HttpTransport> transport,
                        Target target) {
  base::MutexLock lock(mu_);
  config_ = std::move(config);
  transport_ = std::move(transport);
  target_ = std::move(target);
  request_.reset();
  reconfigured_ = true;
}

void ScrapeLoop::SetForcedError(base::Status error) {
  base::MutexLock lock(mu_);
  forced_error_ = std::move(error);
}

void ScrapeLoop::SetDiscovered(tsdb::Labels discovered) {
  base::MutexLock lock(mu_);
  discovered_ = std::move(discovered);
}

tsdb::Labels ScrapeLoop::discovered() const {
  base::MutexLock lock(mu_);
  return discovered_;
}

Target ScrapeLoop::target() const {
  base::MutexLock lock(mu_);
  return target_;
}

ScrapeState ScrapeLoop::state() const {
  base::MutexLock lock(mu_);
  return state_;
}

std::vector<std::shared_ptr<const FamilyMetadata>> ScrapeLoop::Metadata() const {
  base::MutexLock step(step_mu_);
  return ingester_.metadata().All();
}

void ScrapeLoop::Schedule(int64_t when_ms, void (ScrapeLoop::*step)()) {
  context_.scheduler.At(when_ms, [self = shared_from_this(), step] { (*self.*step)(); });
}

// Nothing in it waits for the target.
void ScrapeLoop::ScheduleRequest(int64_t when_ms) {
  context_.scheduler.AtBriefly(when_ms, [self = shared_from_this()] { self->Request(); });
}

void ScrapeLoop::ScheduleNext() {
  if (stopped_) return;
  int64_t interval = target_.interval.ms;
  int64_t behind = context_.clock.NowMs() - planned_ms_;
  planned_ms_ += interval * (behind <= 0 ? 1 : (behind + interval - 1) / interval);
  // The rhythm follows a changed interval.
  planned_ms_ = FirstScrapeMs(target_, planned_ms_ - interval / 2);
  ScheduleRequest(planned_ms_);
}

// Without step_mu_, which a reply that is quick wants while this thread has not left here yet. So what Stop() must wait
// for is done under mu_.
void ScrapeLoop::Request() {
  std::shared_ptr<HttpTransport> transport;
  base::Status forced_error;
  int64_t now_ms = 0;
  {
    base::MutexLock lock(mu_);
    if (stopped_) return;
    start_ms_ = now_ms = context_.clock.NowMs();
    start_nanos_ = base::MonotonicNanos();
    forced_error = forced_error_;
    transport = transport_;
  }
  if (!forced_error.ok()) return OnReply(forced_error);
  transport->Authorize(now_ms, [self = shared_from_this()](base::Result<http::Headers> authorization) {
    self->SendAuthorized(authorization);
  });
}

// On the scheduler's thread, or on one of the client that fetched a token.
void ScrapeLoop::SendAuthorized(const base::Result<http::Headers>& authorization) {
  std::shared_ptr<http::Client> client;
  http::ClientRequest request;
  base::Status failure = authorization.status();
  {
    base::MutexLock lock(mu_);
    if (stopped_) return;
    if (failure.code() == base::Code::kAborted) return ScheduleRequest(0);
    if (failure.ok()) {
      auto made = transport_->Client(context_.clock.NowMs(), target_.url);
      failure = made.status();
      if (made.ok()) client = *made;
      request = RequestOfTarget();
    }
  }
  if (!failure.ok()) return OnReply(failure);
  for (const auto& [name, value] : *authorization) request.headers.Add(name, value);
  // The callback keeps this loop and not the client: a client must not be destroyed on its own thread.
  client->SendAsync(std::move(request), [self = shared_from_this()](base::Result<http::Response> reply) {
    self->OnReply(std::move(reply));
  });
}

const http::ClientRequest& ScrapeLoop::RequestOfTarget() {
  if (!request_) {
    request_ = BuildRequest(*config_, target_);
    if (config_->limits.body_size <= 0) request_->max_body_bytes = kMaxBodyBytes;
  }
  return *request_;
}

// On a thread of the HTTP client. Waking a thread of the pool, which finds the page in no cache of its own, costs half
// as much as storing an ordinary page. So only long ones are left to the pool, because the other targets of the client
// would wait for them, and failures, which may come from within Request().
void ScrapeLoop::OnReply(base::Result<http::Response> reply) {
  {
    base::MutexLock lock(mu_);
    if (stopped_) return;
    duration_seconds_ = static_cast<double>(base::MonotonicNanos() - start_nanos_) / 1e9;
    reply_ = std::move(reply);
    const bool here = reply_->ok() && (*reply_)->body.size() <= kShortPageBytes;
    if (!here) return Schedule(0, &ScrapeLoop::Ingest);
  }
  Ingest();
}

void ScrapeLoop::Ingest() {
  base::MutexLock step(step_mu_);
  std::optional<base::Result<http::Response>> reply;
  int64_t t_ms = 0;
  double duration_seconds = 0;
  {
    base::MutexLock lock(mu_);
    if (stopped_ || !reply_) return;
    reply.swap(reply_);
    t_ms = SampleTimeMs(start_ms_, planned_ms_, target_.interval);
    duration_seconds = duration_seconds_;
    if (std::exchange(reconfigured_, false)) ingester_.SetConfig(config_, target_);
  }
  last_sample_ms_ = t_ms;
  ScrapeOutcome outcome = IngestReply(*reply, t_ms, duration_seconds);
  Count(outcome);
  base::MutexLock lock(mu_);
  if (reply->ok() && transport_ != nullptr) transport_->Recycle(std::move((*reply)->body));
  Record(outcome);
  ScheduleNext();
}

ScrapeOutcome ScrapeLoop::IngestReply(const base::Result<http::Response>& reply, int64_t t_ms,
                                      double duration_seconds) {
  base::Status status = reply.ok() ? StatusOf(*reply) : reply.status();
  if (!status.ok()) return ingester_.AppendFailure(status, t_ms, duration_seconds);
  return ingester_.Append(reply->body, reply->headers.Get("Content-Type"), t_ms, context_.clock.NowMs(),
                          duration_seconds);
}

void ScrapeLoop::WriteEnd() {
  base::MutexLock step(step_mu_);
  int64_t t_ms = 0;
  {
    base::MutexLock lock(mu_);
    if (ended_) return;
    // A scrape that was just being stored when the target went is not missed; the one after it is.
    t_ms = planned_ms_ > last_sample_ms_ ? planned_ms_ : planned_ms_ + target_.interval.ms;
  }
  ingester_.AppendEnd(t_ms);
}

void ScrapeLoop::Record(const ScrapeOutcome& outcome) {
  Health health = outcome.status.ok() ? Health::kUp : Health::kDown;
  if (health != state_.health && (health == Health::kDown || state_.health == Health::kDown)) {
    base::LogInfo("scrape", health == Health::kDown ? "target is down" : "target is up again",
                  {{"job", config_->job_name}, {"target", target_.url}, {"error", outcome.status.message()}});
  }
  state_.health = health;
  state_.last_error = outcome.status.message();
  state_.last_scrape_ms = start_ms_;
  state_.last_duration_seconds = duration_seconds_;
}

void ScrapeLoop::Count(const ScrapeOutcome& outcome) const {
  auto add = [](base::Counter* counter, int64_t value) {
    if (counter != nullptr && value > 0) counter->Add(static_cast<double>(value));
  };
  const ScrapeInstruments& to = context_.instruments;
  add(to.scrapes, 1);
  add(to.failures, outcome.status.ok() ? 0 : 1);
  add(to.samples, outcome.status.ok() ? outcome.post_relabel : 0);
  add(to.out_of_order, outcome.out_of_order);
  add(to.duplicate, outcome.duplicate);
  add(to.over_store_limit, outcome.over_store_limit);
  add(to.exemplars, outcome.exemplars_refused);
}

}  // namespace tidewright::scrape
