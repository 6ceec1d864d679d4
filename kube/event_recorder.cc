#include "kube/event_recorder.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <random>
#include <thread>
#include <utility>

#include "base/boot_clock.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mutex.h"
#include "kube/event_correlator.h"
#include "kube/meta.h"

namespace tidewright::kube {

namespace {

constexpr size_t kMaxMessageBytes = 1024;  // The API server refuses longer ones.
constexpr size_t kMaxNameBytes = 253;
constexpr int64_t kFlushMs = 2'000;
constexpr int kAttempts = 3;
constexpr int64_t kRetryMs = 5'000;

struct QueuedEvent {
  base::Json involved;  // involvedObject
  std::string type;
  std::string reason;
  std::string message;
  int64_t time_ms;
};

base::Json ReferenceTo(const base::Json& object) {
  return {{"apiVersion", base::FindString(object, {"apiVersion"})},
          {"kind", base::FindString(object, {"kind"})},
          {"namespace", NamespaceOf(object)},
          {"name", NameOf(object)},
          {"uid", UidOf(object)},
          {"resourceVersion", ResourceVersionOf(object)}};
}

// Names the object whatever its version.
std::string KeyOfReference(base::Json reference) {
  reference.erase("resourceVersion");
  return base::DumpJson(reference);
}

// Cuts at the border of a UTF-8 character.
std::string Cut(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end));
}

}  // namespace

class EventRecorder::Impl {
 public:
  Impl(Client& client, base::Clock& clock, EventRecorderOptions options, base::MetricRegistry* metrics)
      : client_(client), clock_(clock), options_(std::move(options)), metrics_(metrics) {
    if (options_.instance.empty()) options_.instance = options_.component;
  }

  void Start() {
    base::MutexLock lock(mu_);
    if (!thread_.joinable() && !stopping_) thread_ = std::thread([this] { Run(); });
  }

  void Stop() {
    {
      base::MutexLock lock(mu_);
      if (!stopping_) flush_until_ms_ = base::BootClock::Get().NowMs() + kFlushMs;
      stopping_ = true;
      changed_.NotifyAll();
    }
    stop_.Stop();
    if (thread_.joinable()) thread_.join();
  }

  void Record(const base::Json& object, std::string_view type, std::string_view reason, std::string_view message) {
    QueuedEvent event{ReferenceTo(object), std::string(type), std::string(reason), std::string(message),
                      clock_.NowMs()};
    {
      base::MutexLock lock(mu_);
      if (!stopping_ && queue_.size() < options_.max_queued) {
        queue_.push_back(std::move(event));
        changed_.NotifyAll();
        return;
      }
    }
    Drop("queue_full");
  }

 private:
  void Run() {
    while (true) {
      QueuedEvent next;
      {
        base::MutexLock lock(mu_);
        while (queue_.empty() && !stopping_) changed_.Wait(mu_);
        if (queue_.empty()) return;
        if (stopping_ && base::BootClock::Get().NowMs() >= flush_until_ms_) {
          base::LogWarn("kube", "events not written before the stop", {{"events", std::to_string(queue_.size())}});
          return;
        }
        next = std::move(queue_.front());
        queue_.pop_front();
      }
      Write(next);
    }
  }

  void Write(const QueuedEvent& event) {
    EventVerdict verdict =
        correlator_.Correlate({KeyOfReference(event.involved), event.type, event.reason, event.message}, event.time_ms);
    if (verdict.skip) return Drop("spam");
    const std::string name = NewName(base::FindString(event.involved, {"name"}), event.time_ms);
    base::Status written;
    for (int attempt = 1; attempt <= kAttempts; ++attempt) {
      written = verdict.name.empty() ? Create(event, verdict, name) : Raise(event, verdict);
      if (written.code() == base::Code::kNotFound && !verdict.name.empty()) {
        // Events are kept for an hour or so.
        correlator_.Forget(verdict.key);
        verdict.name.clear();
        verdict.count = 1;
        verdict.first_ms = event.time_ms;
        continue;
      }
      if (written.code() != base::Code::kUnavailable && written.code() != base::Code::kDeadlineExceeded) break;
      if (attempt < kAttempts && !clock_.SleepFor(kRetryMs, stop_)) break;
    }
    if (written.ok()) return;
    correlator_.Forget(verdict.key);
    base::LogWarn("kube", "event not written",
                  {{"object", base::FindString(event.involved, {"kind"}) + " " + NamespaceFor(event) + "/" +
                                  base::FindString(event.involved, {"name"})},
                   {"reason", event.reason},
                   {"error", written.ToString()}});
    Drop("error");
  }

  static std::string NamespaceFor(const QueuedEvent& event) {
    std::string ns = base::FindString(event.involved, {"namespace"});
    return ns.empty() ? "default" : ns;  // Where events about cluster-wide objects go.
  }

  // Raises the count of an event that exists.
  base::Status Raise(const QueuedEvent& event, const EventVerdict& verdict) {
    base::Json patch = {{"count", verdict.count},
                        {"lastTimestamp", base::FormatTime(event.time_ms)},
                        {"message", Cut(verdict.message, kMaxMessageBytes)}};
    return client_.Patch(resources::kEvents, NamespaceFor(event), verdict.name, PatchType::kMerge, patch).status();
  }

  base::Status Create(const QueuedEvent& event, const EventVerdict& verdict, const std::string& name) {
    base::Json body = {{"apiVersion", "v1"},
                       {"kind", "Event"},
                       {"metadata", {{"name", name}, {"namespace", NamespaceFor(event)}}},
                       {"involvedObject", event.involved},
                       {"type", event.type},
                       {"reason", event.reason},
                       {"message", Cut(verdict.message, kMaxMessageBytes)},
                       {"source", {{"component", options_.component}}},
                       {"reportingComponent", options_.component},
                       {"reportingInstance", options_.instance},
                       {"firstTimestamp", base::FormatTime(verdict.first_ms)},
                       {"lastTimestamp", base::FormatTime(event.time_ms)},
                       {"count", verdict.count}};
    auto created = client_.Create(resources::kEvents, NamespaceFor(event), body);
    // It exists if the reply to an attempt was lost.
    if (!created.ok() && created.status().code() != base::Code::kAlreadyExists) return created.status();
    correlator_.Written(verdict, name);
    return base::Status::Ok();
  }

  // "web.17a3c5d2e8f10b42", as client-go names events: the object and a number that grows with time.
  std::string NewName(const std::string& object, int64_t time_ms) {
    const int64_t number = time_ms * 1'000'000 + std::uniform_int_distribution<int64_t>(0, 999'999)(random_);
    char suffix[20];
    std::snprintf(suffix, sizeof suffix, ".%llx", static_cast<unsigned long long>(number));
    return Cut(object, kMaxNameBytes - sizeof suffix) + suffix;
  }

  void Drop(const char* reason) const {
    if (metrics_ == nullptr) return;
    metrics_
        ->GetCounter("tidewright_kube_events_dropped_total", "Events that were not written, by why.",
                     {{"reason", reason}})
        .Add();
  }

  Client& client_;
  base::Clock& clock_;
  EventRecorderOptions options_;
  base::MetricRegistry* const metrics_;
  base::StopSignal stop_;
  EventCorrelator correlator_;                      // Of the thread only.
  std::mt19937_64 random_{std::random_device{}()};  // Of the thread only.

  base::Mutex mu_;
  base::CondVar changed_;
  std::deque<QueuedEvent> queue_ GUARDED_BY(mu_);
  bool stopping_ GUARDED_BY(mu_) = false;
  int64_t flush_until_ms_ GUARDED_BY(mu_) = 0;
  std::thread thread_;  // Written by Start() and Stop() only.
};

EventRecorder::EventRecorder(Client& client, base::Clock& clock, EventRecorderOptions options,
                             base::MetricRegistry* metrics)
    : impl_(std::make_unique<Impl>(client, clock, std::move(options), metrics)) {}
EventRecorder::~EventRecorder() { Stop(); }
void EventRecorder::Start() { impl_->Start(); }
void EventRecorder::Stop() { impl_->Stop(); }
void EventRecorder::Record(const base::Json& object, std::string_view type, std::string_view reason,
                           std::string_view message) {
  impl_->Record(object, type, reason, message);
}

}  // namespace tidewright::kube
