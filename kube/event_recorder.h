// EventRecorder: events (v1 Event) about objects, written in the background.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json_fwd.h"
#include "base/metrics.h"
#include "kube/client.h"

namespace tidewright::kube {

struct EventRecorderOptions {
  std::string component = "tidewright";  // source.component
  std::string instance;                  // reportingInstance; "" is the component.
  size_t max_queued = 1'000;
};

// Records events as kubectl describe shows them. Best effort: Record never blocks and never fails; what cannot be
// written is logged and counted in tidewright_kube_events_dropped_total{reason}.
//
// Repetitions are folded as client-go does: the same event again raises the count of the existing one; from the tenth
// one within ten minutes on, those that differ in nothing but the message become one "(combined from similar events):
// "; and of one object 25 events are written at once, then one each five minutes.
//
// Thread-safe. Borrows client, clock (the calendar) and metrics (may be null).
class EventRecorder {
 public:
  EventRecorder(Client& client, base::Clock& clock, EventRecorderOptions options,
                base::MetricRegistry* metrics = nullptr);
  ~EventRecorder();  // Stop().
  EventRecorder(const EventRecorder&) = delete;
  EventRecorder& operator=(const EventRecorder&) = delete;

  void Start();
  // Writes what is queued for at most two seconds, then drops the rest. Idempotent.
  void Stop();

  // `type` is "Normal" or "Warning", `reason` a word in CamelCase. `object` needs apiVersion, kind and metadata. Before
  // Start() events are queued.
  void Record(const base::Json& object, std::string_view type, std::string_view reason, std::string_view message);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidewright::kube
