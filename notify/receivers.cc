#include "notify/receivers.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mutex.h"
#include "http/client.h"
#include "notify/delivery.h"
#include "notify/groups.h"

namespace tidewright::notify {

namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr int kMailThreads = 2;
// Longer than another replica takes to notice that the one before is gone.
constexpr int64_t kAssumeAfterMs = 60'000;
constexpr int64_t kLookForLeadMs = 5'000;
constexpr int kStateMode = 0600;  // Labels and annotations may be nobody else's business.

using DeliveryKey = std::pair<std::string, std::string>;  // Receiver and integration.
using Deliveries = std::map<DeliveryKey, std::shared_ptr<Delivery>>;

}  // namespace

// Tasks on the scheduler know it weakly, so that one that comes late finds nothing to do.
class Receivers::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(base::Clock& clock, base::Scheduler& scheduler, base::MetricRegistry* metrics, const ReceiversOptions& options)
      : clock_(clock),
        scheduler_(scheduler),
        metrics_(metrics != nullptr ? *metrics : own_metrics_),
        options_(options),
        mail_pool_("mail", kMailThreads) {}

  void Apply(std::shared_ptr<const Config> config) {
    Deliveries deliveries;
    if (config != nullptr) {
      for (const auto& [receiver, integrations] : config->receivers) {
        for (const Integration& integration : integrations) {
          deliveries[{receiver, integration.name}] =
              std::make_shared<Delivery>(integration, clock_, mail_pool_, cancel_);
        }
      }
    }
    {
      base::MutexLock lock(mu_);
      if (stopped_) return;
      deliveries_.swap(deliveries);
      const bool first = !std::exchange(configured_, configured_ || config != nullptr) && config != nullptr;
      groups_.SetConfig(std::move(config), clock_.NowMs());
      if (first) Restore();
    }
    deliveries.clear();  // Ends what the former ones have under way; it is tried again.
    Schedule();
  }

  void Send(const std::vector<rules::AlertNotice>& alerts) {
    {
      base::MutexLock lock(mu_);
      if (stopped_ || !configured_) return;
      groups_.Add(alerts, clock_.NowMs());
    }
    Schedule();
  }

  void Stop() {
    Deliveries deliveries;
    {
      base::MutexLock lock(mu_);
      if (std::exchange(stopped_, true)) return;
      WaitUntilIdle(options_.drain_ms);
      deliveries.swap(deliveries_);
    }
    cancel_.Cancel();
    deliveries.clear();
    mail_pool_.Stop();
    {
      base::MutexLock lock(mu_);
      WaitUntilIdle(options_.drain_ms);
    }
    Save();
  }

 private:
  void WaitUntilIdle(int64_t limit_ms) REQUIRES_LOCK(mu_) {
    const int64_t deadline = base::MonotonicNanos() + limit_ms * 1'000'000;
    while (in_flight_ > 0) {
      const int64_t left_ms = (deadline - base::MonotonicNanos()) / 1'000'000;
      if (left_ms <= 0) return;
      (void)idle_.WaitFor(mu_, std::chrono::milliseconds(left_ms));
    }
  }

  void Restore() REQUIRES_LOCK(mu_) {
    if (options_.state_file.empty()) return;
    auto text = base::ReadFile(options_.state_file);
    if (!text.ok() && text.status().code() == base::Code::kNotFound) return;
    auto saved = text.ok() ? base::ParseJson(*text) : base::Result<base::Json>(text.status());
    base::Status restored =
        saved.ok() ? groups_.Restore(*saved, clock_.NowMs(), options_.hold_restored_ms) : saved.status();
    if (restored.ok()) return;
    base::LogWarn("notify", "what receivers have been told is not known; they may hear of alerts again",
                  {{"file", options_.state_file}, {"error", restored.message()}});
  }

  void Schedule() {
    base::MutexLock lock(mu_);
    int64_t next = groups_.NextDueMs();
    if (!assumed_.empty()) next = std::min(next, clock_.NowMs() + kLookForLeadMs);
    if (stopped_ || next >= wake_at_ms_) return;
    wake_at_ms_ = next;
    scheduler_.At(next, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Run();
    });
  }

  // What another replica should be saying: said after a while, or up to us when the lead has come here.
  void SettleAssumed(bool leads, int64_t now_ms) REQUIRES_LOCK(mu_) {
    std::erase_if(assumed_, [&](const Notification& notification) REQUIRES_LOCK(mu_) {
      const bool said = now_ms - notification.message.at_ms >= kAssumeAfterMs;
      if (said || leads) groups_.Done(notification, said, now_ms);
      return said || leads;
    });
  }

  void Run() {
    std::vector<std::pair<Notification, std::shared_ptr<Delivery>>> due;
    const bool leads = options_.leads == nullptr || options_.leads();
    {
      base::MutexLock lock(mu_);
      wake_at_ms_ = kNever;
      if (stopped_) return;
      SettleAssumed(leads, clock_.NowMs());
      for (Notification& notification : groups_.TakeDue(clock_.NowMs())) {
        if (!leads) {
          assumed_.push_back(std::move(notification));
          continue;
        }
        auto delivery = deliveries_.at({notification.message.receiver, notification.integration});
        due.emplace_back(std::move(notification), std::move(delivery));
      }
      in_flight_ += due.size();
    }
    for (auto& [notification, delivery] : due) {
      notification.message.external_url = options_.external_url;
      const Message message = notification.message;
      // Off the threads of the HTTP client and of mails.
      delivery->Send(message, [self = shared_from_this(), notification = std::move(notification)](base::Status status) {
        self->scheduler_.At(self->clock_.NowMs(),
                            [self, notification, status = std::move(status)] { self->Finished(notification, status); });
      });
    }
    Schedule();
  }

  void Finished(const Notification& notification, const base::Status& status) {
    const std::string& receiver = notification.message.receiver;
    const base::MetricLabels labels = {{"receiver", receiver}, {"integration", notification.integration}};
    metrics_.GetCounter("tidewright_receiver_notifications_total", "Messages about alerts, sent or not.", labels).Add();
    auto& failed =
        metrics_.GetCounter("tidewright_receiver_notifications_failed_total", "Messages that did not arrive.", labels);
    if (!status.ok()) {
      failed.Add();
      base::LogWarn("notify", "a receiver was not told about alerts; it is tried again",
                    {{"receiver", receiver}, {"integration", notification.integration}, {"error", status.ToString()}});
    }
    {
      base::MutexLock lock(mu_);
      groups_.Done(notification, status.ok(), clock_.NowMs());
    }
    if (status.ok()) Save();
    Schedule();
    base::MutexLock lock(mu_);
    if (--in_flight_ == 0) idle_.NotifyAll();
  }

  void Save() {
    if (options_.state_file.empty()) return;
    base::MutexLock saving(save_mu_);
    std::string text;
    {
      base::MutexLock lock(mu_);
      if (!configured_) return;
      text = base::DumpJson(groups_.Save());
    }
    base::Status saved = base::WriteFileAtomic(options_.state_file, text, kStateMode);
    if (saved.ok()) return;
    base::LogWarn("notify", "what receivers have been told could not be saved; after a restart they may hear it again",
                  {{"file", options_.state_file}, {"error", saved.message()}});
  }

  base::Clock& clock_;
  base::Scheduler& scheduler_;
  base::MetricRegistry own_metrics_;  // Used when the owner gave none.
  base::MetricRegistry& metrics_;
  const ReceiversOptions options_;
  http::CancelToken cancel_;
  base::ThreadPool mail_pool_;
  base::Mutex save_mu_;  // Orders writes of the state file.

  base::Mutex mu_;
  base::CondVar idle_;
  Groups groups_ GUARDED_BY(mu_);
  Deliveries deliveries_ GUARDED_BY(mu_);
  std::vector<Notification> assumed_ GUARDED_BY(mu_);  // What another replica should be saying.
  size_t in_flight_ GUARDED_BY(mu_) = 0;
  int64_t wake_at_ms_ GUARDED_BY(mu_) = kNever;
  bool configured_ GUARDED_BY(mu_) = false;
  bool stopped_ GUARDED_BY(mu_) = false;
};

Receivers::Receivers(base::Clock& clock, base::Scheduler& scheduler, base::MetricRegistry* metrics,
                     const ReceiversOptions& options)
    : impl_(std::make_shared<Impl>(clock, scheduler, metrics, options)) {}

Receivers::~Receivers() { Stop(); }

void Receivers::Apply(std::shared_ptr<const Config> config) { impl_->Apply(std::move(config)); }
void Receivers::Send(const std::vector<rules::AlertNotice>& alerts) { impl_->Send(alerts); }
void Receivers::Stop() { impl_->Stop(); }

}  // namespace tidewright::notify
