#include "remote/endpoint.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.h"

namespace tidewright::remote {

namespace {

constexpr int64_t kPollMs = 100;
constexpr double kBusy = 0.9;  // Parts of the time that are spent on sending: more of them ask for another shard,
constexpr double kIdle = 0.4;  // fewer give one back.

}  // namespace

Endpoint::Endpoint(EndpointOptions options, base::Clock& clock, base::MetricRegistry& metrics)
    : options_(std::move(options)),
      clock_(clock),
      metrics_(options_.config, options_.name, metrics),
      labels_(options_.config.relabel_rules, options_.external_labels),
      sender_(options_.config, options_.make_client, clock, metrics_),
      state_file_(options_.state_file) {}

Endpoint::~Endpoint() { Stop(); }

void Endpoint::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Endpoint::Stop() {
  stop_.Stop();
  sender_.Stop();
  if (thread_.joinable()) thread_.join();
}

void Endpoint::AwaitEnd(int64_t deadline_ms) {
  // A receiver that fails now will not get more by waiting for it; the place in the log is kept.
  while (!sender_.failing() && clock_.NowMs() < deadline_ms) {
    if (!clock_.SleepUntil(std::min(deadline_ms, clock_.NowMs() + kPollMs), ended_)) return;
  }
}

void Endpoint::Run() {
  while (!stop_.stopped()) {
    tsdb::LogTail tail(options_.data_directory);
    base::Status status = Begin(&tail);
    if (status.ok()) status = Follow(&tail);
    if (status.ok() || stop_.stopped()) break;
    // What was read and not sent is read again.
    base::LogError("remote", "the log cannot be read", {{"url", options_.config.url}, {"error", status.message()}});
    clock_.SleepFor(options_.config.max_backoff_ms, stop_);
  }
  ended_.Stop();
}

base::Status Endpoint::Begin(tsdb::LogTail* tail) {
  auto state = LoadSendState(state_file_.path());
  bool lost = false;
  if (state.ok()) {
    state_ = *state;
    TW_RETURN_IF_ERROR(tail->Start(state_.begin, &lost));
    if (lost) state_.end.reset();
  } else {
    if (state.status().code() != base::Code::kNotFound) {
      base::LogError("remote", "starting with what comes next", {{"error", state.status().message()}});
    }
    state_ = SendState{};
    TW_RETURN_IF_ERROR(tail->Start(std::nullopt, &lost));
    state_.begin = tail->position();
    Save();
  }
  if (lost) {
    base::LogError("remote", "samples are not sent: the log that has them was too long or too old to be kept",
                   {{"url", options_.config.url}});
  }
  needed_segment_ = state_.begin.segment;
  return base::Status::Ok();
}

void Endpoint::Save() {
  base::Status saved = state_file_.Save(state_);
  if (!saved.ok()) base::LogError("remote", "the place in the log is not kept", {{"error", saved.message()}});
}

// A window that was being sent when the process ended is cut as it was then.
WindowLimits Endpoint::Limits() const {
  const scrape::RemoteWriteConfig& config = options_.config;
  WindowLimits limits;
  limits.samples_per_send = static_cast<size_t>(state_.samples_per_send);
  limits.shards = static_cast<size_t>(state_.shards);
  limits.histograms = config.send_native_histograms;
  limits.exemplars = config.send_exemplars;
  if (config.sample_age_limit_ms > 0) limits.oldest_ms = clock_.NowMs() - config.sample_age_limit_ms;
  return limits;
}

// Sends one window after the other, until the log cannot be read or the endpoint is to stop.
base::Status Endpoint::Follow(tsdb::LogTail* tail) {
  while (true) {
    if (!state_.end || state_.samples_per_send == 0) {
      state_.shards = std::clamp(state_.shards, options_.config.min_shards, options_.config.max_shards);
      state_.samples_per_send = options_.config.max_samples_per_send;
    }
    Window window(Limits(), labels_);
    TW_ASSIGN_OR_RETURN(const Reading read, ReadWindow(tail, &window));
    if (read == Reading::kEnd) return base::Status::Ok();
    const bool full = window.full();
    metrics_.LeftOut(window.left_out());
    if (!window.empty()) {
      state_.end = tail->position();
      Save();
      if (!SendWindow(*tail, &window)) return base::Status::Ok();
    }
    Settle(*tail);
    AdjustShards(full);
  }
}

// Everything up to the tail's place is done with.
void Endpoint::Settle(const tsdb::LogTail& tail) {
  state_.begin = tail.position();
  state_.end.reset();
  Save();
  needed_segment_ = state_.begin.segment;
}

base::Result<Endpoint::Reading> Endpoint::ReadWindow(tsdb::LogTail* tail, Window* window) {
  tsdb::LogCommit commit;
  int64_t deadline = std::numeric_limits<int64_t>::max();
  waited_ms_ = 0;
  while (true) {
    // A window that was being sent when the process ended is read to its end, and no further.
    if (state_.end ? tail->position() >= *state_.end : window->full()) return Reading::kWindow;
    commit.Clear();
    auto read = tail->Next(&commit);
    if (!read.ok() && read.status().code() == base::Code::kDataLoss) {
      base::LogError("remote", "a commit of the log is damaged and not sent", {{"error", read.status().message()}});
      continue;
    }
    if (!read.ok()) return read.status();
    if (*read) {
      window->Add(&commit, *tail);
      deadline = std::min(deadline, clock_.NowMs() + options_.config.batch_send_deadline_ms);
      continue;
    }
    if (state_.end) return Reading::kWindow;  // The log ends before the window did: the store has lost the rest, too.
    const int64_t now = clock_.NowMs();
    if (now >= deadline || (finishing_ && deadline < std::numeric_limits<int64_t>::max())) return Reading::kWindow;
    if (finishing_) return Reading::kEnd;
    if (!clock_.SleepFor(std::min(kPollMs, options_.config.batch_send_deadline_ms), stop_)) return Reading::kEnd;
    waited_ms_ += clock_.NowMs() - now;
  }
}

// False when the endpoint is to stop.
bool Endpoint::SendWindow(const tsdb::LogTail& tail, Window* window) {
  const int64_t start = clock_.NowMs();
  repeated_ = false;
  if (options_.config.send_metadata && options_.metadata && start >= next_metadata_ms_) SendMetadata();
  size_t pending = window->samples();
  for (std::vector<Batch>& turn : window->TakeTurns()) {
    metrics_.SetPending(pending);
    auto make = [&](size_t index) { return MakeRequest(&turn[index], sender_.version2(), metadata_, tail, &labels_); };
    std::vector<Request> requests;
    for (size_t i = 0; i < turn.size(); ++i) requests.push_back(make(i));
    if (!sender_.Send(std::move(requests), make)) return false;
    repeated_ = repeated_ || sender_.repeated();
    for (const Batch& batch : turn) pending -= batch.content.samples();
  }
  metrics_.SetPending(0);
  sending_ms_ = clock_.NowMs() - start;
  return true;
}

// Once, whatever becomes of it: it is sent again at the next interval. Version 2.0 has it with each series.
void Endpoint::SendMetadata() {
  metadata_ = options_.metadata();
  next_metadata_ms_ = clock_.NowMs() + options_.config.metadata_interval_ms;
  if (sender_.version2()) return;
  for (auto begin = metadata_.cbegin(); begin != metadata_.cend() && !stop_.stopped();) {
    Request request;
    auto end = begin;
    for (; request.counts.metadata < static_cast<size_t>(options_.config.max_metadata_per_send) &&
           end != metadata_.cend();
         ++end) {
      ++request.counts.metadata;
    }
    request.body = MetadataRequest(begin, end);
    base::Status sent = sender_.SendOnce(std::move(request));
    if (!sent.ok()) {
      base::LogWarn("remote", "metadata not taken", {{"url", options_.config.url}, {"error", sent.message()}});
      return;
    }
    begin = end;
  }
}

// A receiver that just asked for a pause gets no more requests at a time.
void Endpoint::AdjustShards(bool full) {
  const auto busy =
      static_cast<double>(sending_ms_) / static_cast<double>(std::max<int64_t>(sending_ms_ + waited_ms_, 1));
  double desired = std::max(1.0, static_cast<double>(state_.shards) * busy);
  if (full && busy > kBusy) {
    desired = static_cast<double>(state_.shards) * 2;
    if (!repeated_) state_.shards *= 2;
  } else if (!full || busy < kIdle) {
    state_.shards /= 2;
  }
  state_.shards = std::clamp(state_.shards, options_.config.min_shards, options_.config.max_shards);
  metrics_.SetShards(state_.shards, desired);
}

}  // namespace tidewright::remote
