// Sender: requests to one receiver of remote write, repeated until each is taken or refused for good.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/message.h"
#include "remote/endpoint_metrics.h"
#include "remote/request.h"
#include "scrape/http_transport.h"
#include "scrape/remote_config.h"

namespace tidewright::remote {

// How long an answer's Retry-After asks to wait: seconds, or a date (RFC 9110); 0 when it does not say or is past. Five
// minutes at most.
int64_t RetryAfterMs(const std::string& value, int64_t now_ms);

// Recoverable answers (no connection, 5xx, 429 if configured) lead to a repetition after a pause that doubles from
// min_backoff to max_backoff, or is as long as Retry-After says; others cost the request, which is counted.
//
// A receiver that does not take version 2.0 (415, or success without the headers that the version demands) gets version
// 1.0 from then on. Used by one thread, but for Stop() and failing(). Borrows configuration, clock and metrics.
class Sender {
 public:
  Sender(const scrape::RemoteWriteConfig& config, scrape::HttpTransport::Factory make_client, base::Clock& clock,
         EndpointMetrics& metrics);
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  bool version2() const { return version2_; }
  // Sends the requests at the same time. `remake` makes one of them anew when the version has changed. False when it
  // was stopped before everything was settled.
  bool Send(std::vector<Request> requests, const std::function<Request(size_t index)>& remake);
  bool repeated() const { return repeated_; }  // Whether the last Send() had to send something again.
  // Sends one request once.
  base::Status SendOnce(Request request);
  // Abandons what is under way and what comes. Idempotent; any thread.
  void Stop();
  // Whether the last answers asked for a repetition. Any thread.
  bool failing() const { return failing_; }

 private:
  enum class Outcome { kTaken, kAgain, kRefused, kOtherVersion };
  struct Answers;
  struct Judgement {
    Outcome outcome = Outcome::kTaken;
    std::string why;
    int64_t retry_after_ms = 0;
  };

  // Empty when it was stopped.
  std::vector<Judgement> Exchange(const std::vector<Request>& requests);
  void Post(size_t index, const Request& request, const std::shared_ptr<Answers>& answers);
  Judgement Judge(const Request& request, const base::Result<http::Response>& response) const;
  void FallBack(const std::string& why);

  const scrape::RemoteWriteConfig& config_;
  base::Clock& clock_;
  EndpointMetrics& metrics_;
  bool version2_;
  bool repeated_ = false;
  std::atomic<bool> failing_{false};
  base::StopSignal stop_;
  base::Mutex current_mu_;
  std::shared_ptr<Answers> current_ GUARDED_BY(current_mu_);  // Of the requests under way.
  scrape::HttpTransport transport_;                           // Goes first: its threads may still answer.
};

}  // namespace tidewright::remote
