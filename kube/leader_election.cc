#include "kube/leader_election.h"

#include <algorithm>
#include <deque>
#include <random>
#include <thread>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mutex.h"
#include "kube/meta.h"

namespace tidewright::kube {

namespace {

constexpr double kJitter = 0.2;
// One attempt must leave room for another within the renew deadline.
constexpr int64_t kAttemptsPerDeadline = 2;
constexpr int64_t kClosed = INT64_MIN;

std::string HolderOf(const base::Json& lease) { return base::FindString(lease, {"spec", "holderIdentity"}); }

int64_t DurationMsOf(const base::Json& lease) {
  constexpr int64_t kMaxSeconds = 24 * 3600;
  return std::clamp<int64_t>(base::FindInt(lease, {"spec", "leaseDurationSeconds"}), 0, kMaxSeconds) * 1000;
}

base::Status CheckOptions(const LeaderElectionOptions& options) {
  if (options.ns.empty() || options.name.empty() || options.identity.empty()) {
    return base::InvalidArgumentError("leader election: namespace, name and identity must be set");
  }
  if (options.lease_duration_ms % 1000 != 0 || options.lease_duration_ms <= options.renew_deadline_ms) {
    return base::InvalidArgumentError(
        "leader election: the lease duration must be whole seconds, and longer than the "
        "renew deadline");
  }
  if (static_cast<double>(options.renew_deadline_ms) <= (1 + kJitter) * static_cast<double>(options.retry_period_ms) ||
      options.retry_period_ms < 1) {
    return base::InvalidArgumentError("leader election: the renew deadline must be longer than 1.2 retry periods");
  }
  if (options.fence_margin_ms < 0 || options.fence_margin_ms >= options.lease_duration_ms - options.renew_deadline_ms) {
    return base::InvalidArgumentError(
        "leader election: the fence's margin must be shorter than what the lease lasts "
        "beyond the renew deadline");
  }
  return base::Status::Ok();
}

// Until when writes are let out. Thread-safe.
class LeaseFence : public RequestGuard {
 public:
  LeaseFence(base::Clock& clock, std::string lease) : clock_(clock), lease_(std::move(lease)) {}

  void OpenUntil(int64_t until_ms) {
    base::MutexLock lock(mu_);
    until_ms_ = until_ms;
    reason_ = "it was not renewed in time";
  }
  void Close(const std::string& reason) {
    base::MutexLock lock(mu_);
    until_ms_ = kClosed;
    reason_ = reason;
  }
  bool IsOpen() const {
    base::MutexLock lock(mu_);
    return LeftMs() > 0;
  }

  base::Result<int64_t> Admit(bool write) override {
    if (!write) return INT64_MAX;
    base::MutexLock lock(mu_);
    const int64_t left_ms = LeftMs();
    if (left_ms > 0) return left_ms;
    return base::FailedPreconditionError("not the leader: lease " + lease_ + ": " + reason_);
  }

 private:
  int64_t LeftMs() const REQUIRES_LOCK(mu_) { return until_ms_ == kClosed ? 0 : until_ms_ - clock_.NowMs(); }

  base::Clock& clock_;
  const std::string lease_;
  mutable base::Mutex mu_;
  int64_t until_ms_ GUARDED_BY(mu_) = kClosed;
  std::string reason_ GUARDED_BY(mu_) = "it has not been acquired";
};

// Limits the elector's own requests, so that one that hangs does not outlast the renew deadline. Thread-safe.
class AttemptLimit : public RequestGuard {
 public:
  AttemptLimit(base::Clock& clock, int64_t limit_ms) : clock_(clock), limit_ms_(limit_ms) {}
  void Begin() {
    base::MutexLock lock(mu_);
    until_ms_ = clock_.NowMs() + limit_ms_;
  }
  base::Result<int64_t> Admit(bool /*write*/) override {
    base::MutexLock lock(mu_);
    const int64_t left_ms = until_ms_ - clock_.NowMs();
    if (left_ms > 0) return left_ms;
    return base::DeadlineExceededError("the attempt took too long");
  }

 private:
  base::Clock& clock_;
  const int64_t limit_ms_;
  base::Mutex mu_;
  int64_t until_ms_ GUARDED_BY(mu_) = 0;
};

// Runs callbacks one after the other on a thread of its own. Thread-safe.
class CallbackThread {
 public:
  CallbackThread() : thread_([this] { Run(); }) {}
  ~CallbackThread() { Finish(); }

  void Post(std::function<void()> callback) {
    if (!callback) return;
    base::MutexLock lock(mu_);
    queue_.push_back(std::move(callback));
    changed_.NotifyAll();
  }
  // Runs what was posted, and ends.
  void Finish() {
    {
      base::MutexLock lock(mu_);
      finishing_ = true;
      changed_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> next;
      {
        base::MutexLock lock(mu_);
        while (queue_.empty() && !finishing_) changed_.Wait(mu_);
        if (queue_.empty()) return;
        next = std::move(queue_.front());
        queue_.pop_front();
      }
      next();
    }
  }

  base::Mutex mu_;
  base::CondVar changed_;
  std::deque<std::function<void()>> queue_ GUARDED_BY(mu_);
  bool finishing_ GUARDED_BY(mu_) = false;
  std::thread thread_;
};

class LeaseElector : public LeaderElector {
 public:
  LeaseElector(Client& client, base::Clock& clock, base::Clock& calendar, LeaderElectionOptions options,
               LeaderCallbacks callbacks, base::MetricRegistry* metrics)
      : clock_(clock),
        calendar_(calendar),
        options_(std::move(options)),
        callbacks_(std::move(callbacks)),
        what_(options_.ns + "/" + options_.name),
        attempt_limit_(clock, options_.renew_deadline_ms / kAttemptsPerDeadline),
        client_(client.Guarded(attempt_limit_)),
        fence_(clock, what_) {
    if (metrics == nullptr) return;
    status_ = &metrics->GetGauge("leader_election_master_status",
                                 "Whether this process holds the lease: 1 it does, 0 it does not.",
                                 {{"name", options_.name}});
    slow_path_ =
        &metrics->GetCounter("leader_election_slowpath_total",
                             "Renewals that found the lease other than it had been left.", {{"name", options_.name}});
  }
  ~LeaseElector() override { Stop(); }

  void Start() override {
    base::MutexLock lock(lifecycle_);
    if (callback_thread_ != nullptr || stop_.stopped()) return;
    callback_thread_ = std::make_unique<CallbackThread>();
    thread_ = std::thread([this] { Run(); });
  }

  void Stop() override {
    stop_.Stop();
    base::MutexLock lock(lifecycle_);
    if (thread_.joinable()) thread_.join();
    if (callback_thread_ == nullptr) return;
    callback_thread_->Finish();  // Until on_stopped_leading is done, this process may still act.
    callback_thread_ = nullptr;
    if (std::exchange(release_, false)) Release();
  }

  bool IsLeader() const override { return fence_.IsOpen(); }
  std::string Leader() const override {
    base::MutexLock lock(mu_);
    return leader_;
  }
  RequestGuard& fence() override { return fence_; }

 private:
  void Run() {
    while (!stop_.stopped()) {
      TryAcquireOrRenew();
      if (leading_ && clock_.NowMs() >= renewed_ms_ + options_.renew_deadline_ms) {
        StopLeading("it was not renewed within the renew deadline");
      }
      clock_.SleepFor(RetryDelayMs(), stop_);
    }
    if (!leading_) return;
    release_ = options_.release_on_stop;
    StopLeading("this process is stopping");
  }

  int64_t RetryDelayMs() {
    std::uniform_real_distribution<double> jitter(1, 1 + kJitter);
    const auto delay_ms = static_cast<int64_t>(static_cast<double>(options_.retry_period_ms) * jitter(random_));
    if (!leading_) return delay_ms;
    // A leader that fails steps down when the deadline comes, not at the attempt after it.
    const int64_t left_ms = renewed_ms_ + options_.renew_deadline_ms - clock_.NowMs();
    return std::clamp<int64_t>(left_ms, 1, delay_ms);
  }

  void TryAcquireOrRenew() {
    attempt_limit_.Begin();
    // A leader expects to find what it wrote last, and saves the read.
    if (leading_ && Write(observed_, options_.identity).ok()) return Report(base::Status::Ok());
    if (leading_ && slow_path_ != nullptr) slow_path_->Add();
    Report(ReadAndWrite());
  }

  base::Status ReadAndWrite() {
    auto lease = client_->Get(resources::kLeases, options_.ns, options_.name);
    if (lease.status().code() == base::Code::kNotFound) return MayTake() ? Create() : base::Status::Ok();
    if (!lease.ok()) return lease.status();
    Observe(*lease);
    const std::string holder = HolderOf(observed_);
    if (!holder.empty() && holder != options_.identity) {
      if (leading_) StopLeading("it was taken by " + base::Quoted(holder));
      if (clock_.NowMs() < observed_ms_ + DurationMsOf(observed_)) return base::Status::Ok();
    }
    if (!leading_ && !MayTake()) return base::Status::Ok();
    return Write(observed_, options_.identity);
  }

  bool MayTake() const { return !options_.may_take || options_.may_take(); }

  base::Status Create() {
    base::Json lease = {{"apiVersion", resources::kLeases.ApiVersion()},
                        {"kind", resources::kLeases.kind},
                        {"metadata", {{"name", options_.name}, {"namespace", options_.ns}}},
                        {"spec", NextSpec(base::Json(), options_.identity)}};
    const int64_t sent_ms = clock_.NowMs();
    TW_ASSIGN_OR_RETURN(base::Json created, client_->Create(resources::kLeases, options_.ns, lease));
    return Held(sent_ms, created);
  }

  // Writes the lease over exactly the version of it that is given.
  base::Status Write(base::Json lease, const std::string& holder) {
    if (ResourceVersionOf(lease).empty()) return base::DataLossError("the lease came without a resourceVersion");
    lease["spec"] = NextSpec(lease, holder);
    const int64_t sent_ms = clock_.NowMs();
    TW_ASSIGN_OR_RETURN(base::Json written, client_->Update(resources::kLeases, options_.ns, options_.name, lease));
    return holder.empty() ? base::Status::Ok() : Held(sent_ms, written);
  }

  base::Json NextSpec(const base::Json& lease, const std::string& holder) const {
    const std::string now = MicroTime(calendar_.NowMs());
    const bool same = HolderOf(lease) == options_.identity;
    const bool first = base::Find(lease, {"spec", "leaseTransitions"}) == nullptr;
    const int64_t transitions = base::FindInt(lease, {"spec", "leaseTransitions"});
    base::Json spec = {{"holderIdentity", holder},
                       {"leaseDurationSeconds", holder.empty() ? 1 : options_.lease_duration_ms / 1000},
                       {"acquireTime", same ? base::FindString(lease, {"spec", "acquireTime"}, now) : now},
                       {"renewTime", now},
                       {"leaseTransitions", same || first ? transitions : transitions + 1}};
    return spec;
  }

  base::Status Held(int64_t sent_ms, const base::Json& lease) {
    Observe(lease);
    if (HolderOf(lease) != options_.identity) return base::DataLossError("the lease was not stored as it was written");
    renewed_ms_ = sent_ms;
    fence_.OpenUntil(sent_ms + options_.lease_duration_ms - options_.fence_margin_ms);
    if (std::exchange(leading_, true)) return base::Status::Ok();
    base::LogInfo("kube", "started leading", {{"lease", what_}, {"identity", options_.identity}});
    if (status_ != nullptr) status_->Set(1);
    callback_thread_->Post(callbacks_.on_started_leading);
    return base::Status::Ok();
  }

  void StopLeading(const std::string& why) {
    fence_.Close(why);
    leading_ = false;
    const auto level = stop_.stopped() ? base::LogLevel::kInfo : base::LogLevel::kWarn;
    base::Log(level, "kube", "stopped leading", {{"lease", what_}, {"identity", options_.identity}, {"reason", why}});
    if (status_ != nullptr) status_->Set(0);
    callback_thread_->Post(callbacks_.on_stopped_leading);
  }

  // Remembers the lease, and since when it has been as it is, by our own clock.
  void Observe(const base::Json& lease) {
    const base::Json* before = base::Find(observed_, {"spec"});
    const base::Json* now = base::Find(lease, {"spec"});
    const bool same = before != nullptr && now != nullptr && *before == *now;
    if (!same) observed_ms_ = clock_.NowMs();
    observed_ = lease;
    const std::string holder = HolderOf(lease);
    {
      base::MutexLock lock(mu_);
      if (std::exchange(leader_, holder) == holder) return;
    }
    if (!leading_ && !holder.empty()) fence_.Close("it is held by " + base::Quoted(holder));
    if (holder.empty() || !callbacks_.on_new_leader) return;
    callback_thread_->Post([tell = callbacks_.on_new_leader, holder] { tell(holder); });
  }

  // Gives the lease away, if it still is ours.
  void Release() {
    attempt_limit_.Begin();
    base::Status released = Write(observed_, "");
    if (released.code() == base::Code::kAborted) {
      // A renewal whose reply was lost, or another's.
      auto lease = client_->Get(resources::kLeases, options_.ns, options_.name);
      released = lease.status();
      if (lease.ok()) released = HolderOf(*lease) == options_.identity ? Write(*lease, "") : base::Status::Ok();
    }
    if (released.ok()) return;
    base::LogWarn("kube", "lease not given away; it has to expire", {{"lease", what_}, {"error", released.ToString()}});
  }

  // Logs what went wrong, once as long as it stays the same.
  void Report(const base::Status& result) {
    // Two who try at the same moment is what elections are made of.
    const bool lost = result.code() == base::Code::kAborted || result.code() == base::Code::kAlreadyExists;
    std::string error = result.ok() || lost ? "" : result.ToString();
    if (std::exchange(last_error_, error) == error || error.empty()) return;
    base::LogWarn("kube", "leader election cannot read or write its lease", {{"lease", what_}, {"error", error}});
  }

  base::Clock& clock_;
  base::Clock& calendar_;
  const LeaderElectionOptions options_;
  const LeaderCallbacks callbacks_;
  const std::string what_;  // "namespace/name"
  AttemptLimit attempt_limit_;
  const std::unique_ptr<Client> client_;
  LeaseFence fence_;
  base::Gauge* status_ = nullptr;
  base::Counter* slow_path_ = nullptr;
  base::StopSignal stop_;

  base::Mutex lifecycle_;  // Serializes Start and Stop.
  std::unique_ptr<CallbackThread> callback_thread_;
  std::thread thread_;
  bool release_ = false;  // Set by the thread, read once it has been joined.

  // Of the thread, and of Stop() once it has been joined.
  bool leading_ = false;
  int64_t renewed_ms_ = 0;   // When the last successful renewal was sent.
  base::Json observed_;      // The lease as last seen.
  int64_t observed_ms_ = 0;  // When its spec was first seen as it is.
  std::string last_error_;
  std::mt19937 random_{std::random_device{}()};

  mutable base::Mutex mu_;
  std::string leader_ GUARDED_BY(mu_);
};

}  // namespace

std::string MicroTime(int64_t unix_ms) {
  std::string text = base::FormatTime(unix_ms, true);
  text.insert(text.size() - 1, "000");
  return text;
}

base::Result<std::unique_ptr<LeaderElector>> LeaderElector::Create(Client& client, base::Clock& clock,
                                                                   base::Clock& calendar, LeaderElectionOptions options,
                                                                   LeaderCallbacks callbacks,
                                                                   base::MetricRegistry* metrics) {
  TW_RETURN_IF_ERROR(CheckOptions(options));
  return std::unique_ptr<LeaderElector>(
      std::make_unique<LeaseElector>(client, clock, calendar, std::move(options), std::move(callbacks), metrics));
}

}  // namespace tidewright::kube
