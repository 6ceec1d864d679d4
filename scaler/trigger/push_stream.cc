#include "scaler/trigger/push_stream.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/mutex.h"
#include "scaler/trigger/external_messages.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr int64_t kFirstPauseMs = 1'000;
constexpr int64_t kLongestPauseMs = 60'000;

}  // namespace

struct PushStream::State {
  base::Mutex mu;
  bool open GUARDED_BY(mu) = false;
  bool activated GUARDED_BY(mu) = false;
  std::string failure GUARDED_BY(mu);
  int64_t pause_ms GUARDED_BY(mu) = kFirstPauseMs;
  int64_t retry_at_ms GUARDED_BY(mu) = 0;
  Trigger::Hasten hasten;  // Set before the first stream.
};

PushStream::PushStream(std::shared_ptr<http::GrpcClient> client, std::string server, std::string scaled_object_ref,
                       const base::Clock& clock, Trigger::Hasten hasten)
    : client_(std::move(client)),
      server_(std::move(server)),
      ref_(std::move(scaled_object_ref)),
      clock_(clock),
      state_(std::make_shared<State>()) {
  state_->hasten = std::move(hasten);
}

PushStream::~PushStream() = default;

bool PushStream::Activated() const {
  base::MutexLock lock(state_->mu);
  return state_->activated;
}

void PushStream::Forget() {
  base::MutexLock lock(state_->mu);
  state_->activated = false;
}

std::string PushStream::Failure() const {
  base::MutexLock lock(state_->mu);
  return state_->open ? "" : state_->failure;
}

void PushStream::Keep() {
  {
    base::MutexLock lock(state_->mu);
    if (state_->open || clock_.NowMs() < state_->retry_at_ms) return;
    state_->open = true;
  }
  stream_.reset();
  Open();
}

void PushStream::Open() {
  http::GrpcClient::StreamEvents events;
  events.on_message = [state = state_](std::string_view message) {
    auto active = DecodeIsActive(message);
    {
      base::MutexLock lock(state->mu);
      state->pause_ms = kFirstPauseMs;
      if (!active.ok() || !*active) return;  // What is idle is seen by the readings.
      state->activated = true;
    }
    state->hasten(0);
  };
  const auto spread = static_cast<int64_t>(std::hash<std::string>()(ref_) % 1000);
  events.on_end = [state = state_, &clock = clock_, spread](const base::Status& why) {
    int64_t pause_ms = 0;
    {
      base::MutexLock lock(state->mu);
      pause_ms = state->pause_ms * (1000 + spread) / 2000;
      state->pause_ms = std::min(state->pause_ms * 2, kLongestPauseMs);
      state->retry_at_ms = clock.NowMs() + pause_ms;
      state->failure = why.ok() ? "the scaler ended the stream" : why.message();
      state->open = false;
    }
    state->hasten(pause_ms);
  };
  stream_ = client_->Listen(server_, "/externalscaler.ExternalScaler/StreamIsActive", ref_, std::move(events));
}

}  // namespace tidewright::scaler::trigger
