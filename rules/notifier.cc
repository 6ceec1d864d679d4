#include "rules/notifier.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/clock.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"

namespace tidewright::rules {

namespace {

constexpr const char* kSent = "prometheus_notifications_sent_total";
constexpr const char* kErrors = "prometheus_notifications_errors_total";
constexpr const char* kDropped = "prometheus_notifications_dropped_total";
constexpr const char* kLatency = "prometheus_notifications_latency_histogram_seconds";
constexpr const char* kLength = "prometheus_notifications_queue_length";

// Adds what is missing, then relabels. False: the alert is dropped.
bool Relabel(const std::map<std::string, std::string>& external_labels, const AlertRelabeling& relabel,
             AlertNotice* alert) {
  tsdb::LabelsBuilder labels(alert->labels);
  for (const auto& [name, value] : external_labels) {
    if (alert->labels.Get(name).empty()) labels.Set(name, value);
  }
  if (relabel != nullptr && !relabel(&labels)) return false;
  alert->labels = labels.Build();
  return true;
}

}  // namespace

std::string AlertsBody(const std::vector<AlertNotice>& alerts) {
  base::Json body = base::Json::array();
  for (const AlertNotice& alert : alerts) {
    base::Json labels = base::Json::object();
    for (const tsdb::Label& label : alert.labels) labels[label.name] = label.value;
    body.push_back({{"labels", std::move(labels)},
                    {"annotations", alert.annotations},
                    {"startsAt", base::FormatTime(alert.starts_at_ms, /*millis=*/true)},
                    {"endsAt", base::FormatTime(alert.ends_at_ms, /*millis=*/true)},
                    {"generatorURL", alert.generator_url}});
  }
  return body.dump(-1, ' ', false, base::Json::error_handler_t::replace);
}

// What waits for one Alertmanager. One request is under way at a time.
class Notifier::Queue : public std::enable_shared_from_this<Queue> {
 public:
  Queue(Alertmanager alertmanager, const NotifierOptions& options, base::MetricRegistry& registry)
      : key_(alertmanager.key),
        url_(alertmanager.url),
        options_(options),
        sent_(registry.GetCounter(kSent, "Alerts sent, whether they arrived or not.", Label())),
        errors_(registry.GetCounter(kErrors, "Alerts in requests that failed.", Label())),
        dropped_(registry.GetCounter(kDropped, "Alerts dropped: the queue was full, or the request failed.", Label())),
        length_(registry.GetGauge(kLength, "Alerts that wait to be sent.", Label())),
        latency_(registry.GetHistogram(kLatency, "How long requests took.", {0.01, 0.1, 1, 10}, Label())),
        alertmanager_(std::move(alertmanager)) {}

  const std::string& key() const { return key_; }
  const std::string& url() const { return url_; }

  // Another way to the same Alertmanager.
  void Replace(Alertmanager alertmanager) {
    base::MutexLock lock(mu_);
    alertmanager_ = std::move(alertmanager);
  }

  void Add(const std::vector<AlertNotice>& alerts) {
    {
      base::MutexLock lock(mu_);
      for (AlertNotice alert : alerts) {
        if (Relabel({}, alertmanager_.relabel, &alert)) waiting_.push_back(std::move(alert));
      }
      while (waiting_.size() > options_.queue_capacity) {
        waiting_.pop_front();
        dropped_.Add();
      }
      length_.Set(static_cast<double>(waiting_.size()));
    }
    Pump();
  }

  // Its Alertmanager is gone.
  void Clear() {
    base::MutexLock lock(mu_);
    waiting_.clear();
    length_.Set(0);
  }

  // False when the time, by the monotonic clock, ran out.
  bool WaitUntilSent(int64_t deadline_nanos) {
    base::MutexLock lock(mu_);
    while (sending_ || !waiting_.empty()) {
      const int64_t left_ms = (deadline_nanos - base::MonotonicNanos()) / 1'000'000;
      if (left_ms <= 0) break;
      (void)sent_some_.WaitFor(mu_, std::chrono::milliseconds(left_ms));
    }
    return !sending_ && waiting_.empty();
  }

 private:
  base::MetricLabels Label() const { return {{"alertmanager", url_}}; }

  // Sends the next batch, unless one is under way.
  void Pump() {
    std::vector<AlertNotice> batch;
    Alertmanager to;
    {
      base::MutexLock lock(mu_);
      if (sending_ || waiting_.empty()) return;
      const size_t count = std::min(waiting_.size(), options_.batch_size);
      batch.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(waiting_.begin() + count));
      waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<int64_t>(count));
      length_.Set(static_cast<double>(waiting_.size()));
      sending_ = true;
      to = alertmanager_;
    }
    const int64_t start = base::MonotonicNanos();
    to.post(AlertsBody(batch), [self = shared_from_this(), count = batch.size(), start](base::Status status) {
      self->Done(count, start, status);
    });
  }

  void Done(size_t count, int64_t start_nanos, const base::Status& status) {
    const auto alerts = static_cast<double>(count);
    latency_.Observe(static_cast<double>(base::MonotonicNanos() - start_nanos) / 1e9);
    sent_.Add(alerts);
    if (!status.ok()) {
      errors_.Add(alerts);
      dropped_.Add(alerts);
      base::LogWarn("rules", "alerts did not reach an Alertmanager; those that last are sent again",
                    {{"alertmanager", url_}, {"alerts", std::to_string(count)}, {"error", status.ToString()}});
    }
    {
      base::MutexLock lock(mu_);
      sending_ = false;
      sent_some_.NotifyAll();
    }
    Pump();
  }

  const std::string key_;
  const std::string url_;
  const NotifierOptions options_;
  base::Counter& sent_;
  base::Counter& errors_;
  base::Counter& dropped_;
  base::Gauge& length_;
  base::Histogram& latency_;

  base::Mutex mu_;
  base::CondVar sent_some_;
  Alertmanager alertmanager_ GUARDED_BY(mu_);
  std::deque<AlertNotice> waiting_ GUARDED_BY(mu_);
  bool sending_ GUARDED_BY(mu_) = false;
};

Notifier::Notifier(const NotifierOptions& options, base::MetricRegistry* metrics)
    : options_(options),
      registry_(metrics != nullptr ? *metrics : own_registry_),
      discovered_(registry_.GetGauge("prometheus_notifications_alertmanagers_discovered",
                                     "Alertmanagers that alerts are sent to.")) {
  registry_.GetGauge("prometheus_notifications_queue_capacity", "Alerts that may wait per Alertmanager.")
      .Set(static_cast<double>(options.queue_capacity));
}

Notifier::~Notifier() { Stop(); }

void Notifier::SetLabels(const std::map<std::string, std::string>& external_labels, AlertRelabeling relabel) {
  base::MutexLock lock(mu_);
  external_labels_ = external_labels;
  relabel_ = std::move(relabel);
}

void Notifier::SetAlertmanagers(std::vector<Alertmanager> alertmanagers, std::vector<std::string> dropped) {
  base::MutexLock lock(mu_);
  std::map<std::string, std::shared_ptr<Queue>> old;
  for (auto& queue : queues_) old[queue->key()] = std::move(queue);
  queues_.clear();
  for (Alertmanager& alertmanager : alertmanagers) {
    auto known = old.extract(alertmanager.key);
    if (!known.empty()) {
      queues_.push_back(std::move(known.mapped()));
      queues_.back()->Replace(std::move(alertmanager));
    } else {
      queues_.push_back(std::make_shared<Queue>(std::move(alertmanager), options_, registry_));
    }
  }
  for (auto& [key, gone] : old) gone->Clear();
  dropped_ = std::move(dropped);
  discovered_.Set(static_cast<double>(queues_.size()));
}

void Notifier::SetSink(Sink sink) {
  base::MutexLock lock(mu_);
  sink_ = std::move(sink);
}

void Notifier::Send(const std::vector<AlertNotice>& alerts) {
  Queues queues;
  Sink sink;
  std::vector<AlertNotice> relabelled = alerts;
  {
    base::MutexLock lock(mu_);
    if (stopped_) return;
    queues = queues_;
    sink = sink_;
    std::erase_if(relabelled, [this](AlertNotice& alert)
                                  REQUIRES_LOCK(mu_) { return !Relabel(external_labels_, relabel_, &alert); });
  }
  if (relabelled.empty()) return;
  for (auto& queue : queues) queue->Add(relabelled);
  if (sink != nullptr) sink(relabelled);
}

void Notifier::Stop() {
  Queues queues;
  {
    base::MutexLock lock(mu_);
    stopped_ = true;
    queues = queues_;
  }
  const int64_t deadline = base::MonotonicNanos() + options_.drain_ms * 1'000'000;
  for (auto& queue : queues) {
    if (queue->WaitUntilSent(deadline)) continue;
    base::LogWarn("rules", "alerts that wait for an Alertmanager are dropped: it does not answer",
                  {{"alertmanager", queue->url()}});
    queue->Clear();
  }
}

Notifier::Urls Notifier::alertmanagers() const {
  base::MutexLock lock(mu_);
  Urls urls;
  for (const auto& queue : queues_) urls.active.push_back(queue->url());
  urls.dropped = dropped_;
  return urls;
}

}  // namespace tidewright::rules
