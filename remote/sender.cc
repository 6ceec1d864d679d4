#include "remote/sender.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/strings.h"

namespace tidewright::remote {

namespace {

constexpr int64_t kMaxRetryAfterMs = 5 * 60'000;
constexpr size_t kMaxAnswerBytes = 64 << 10;
constexpr size_t kShownAnswerBytes = 256;

// An answer comes from outside, and goes to the log.
std::string OneLine(std::string text) {
  text.resize(std::min(text.size(), kShownAnswerBytes));
  for (char& c : text) {
    if (std::iscntrl(static_cast<unsigned char>(c)) != 0) c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

int64_t RetryAfterMs(const std::string& value, int64_t now_ms) {
  int64_t seconds = 0;
  if (base::ParseInt64(value, &seconds)) return std::clamp<int64_t>(seconds, 0, kMaxRetryAfterMs / 1000) * 1000;
  std::tm date{};
  const char* end = strptime(value.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
  if (end == nullptr || *end != '\0') return 0;
  return std::clamp<int64_t>(int64_t{timegm(&date)} * 1000 - now_ms, 0, kMaxRetryAfterMs);
}

// What came back of requests that were sent together. Outlives the sender while one is on its way.
struct Sender::Answers {
  base::Mutex mu;
  base::CondVar changed;
  std::vector<std::optional<base::Result<http::Response>>> list GUARDED_BY(mu);
  size_t missing GUARDED_BY(mu) = 0;
  bool abandoned GUARDED_BY(mu) = false;

  void Put(size_t index, base::Result<http::Response> answer) {
    base::MutexLock lock(mu);
    list[index] = std::move(answer);
    --missing;
    changed.NotifyAll();
  }
  void Abandon() {
    base::MutexLock lock(mu);
    abandoned = true;
    changed.NotifyAll();
  }
};

Sender::Sender(const scrape::RemoteWriteConfig& config, scrape::HttpTransport::Factory make_client, base::Clock& clock,
               EndpointMetrics& metrics)
    : config_(config),
      clock_(clock),
      metrics_(metrics),
      version2_(config.version2),
      transport_(config.http, std::move(make_client)) {}

void Sender::Stop() {
  stop_.Stop();
  base::MutexLock lock(current_mu_);
  if (current_ != nullptr) current_->Abandon();
}

void Sender::FallBack(const std::string& why) {
  if (!std::exchange(version2_, false)) return;
  base::LogWarn("remote", "the receiver does not take version 2.0; sending 1.0",
                {{"url", config_.url}, {"answer", why}});
}

bool Sender::Send(std::vector<Request> requests, const std::function<Request(size_t index)>& remake) {
  std::vector<size_t> places(requests.size());
  for (size_t i = 0; i < places.size(); ++i) places[i] = i;
  int64_t backoff = config_.min_backoff_ms;
  repeated_ = false;
  while (!requests.empty()) {
    std::vector<Judgement> judged = Exchange(requests);
    if (stop_.stopped()) return false;
    std::vector<Request> again;
    std::vector<size_t> again_places;
    std::string refused, recoverable;
    int64_t pause = -1, asked = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      const Judgement& one = judged[i];
      if (one.outcome == Outcome::kTaken) metrics_.Sent(requests[i]);
      if (one.outcome == Outcome::kRefused) {
        metrics_.Failed(requests[i]);
        refused = one.why;
      }
      if (one.outcome == Outcome::kTaken || one.outcome == Outcome::kRefused) continue;
      if (one.outcome == Outcome::kOtherVersion) FallBack(one.why);
      if (one.outcome == Outcome::kAgain) {
        metrics_.Retried(requests[i]);
        recoverable = one.why;
        pause = backoff;
        asked = std::max(asked, one.retry_after_ms);
      }
      again.push_back(requests[i].version2 == version2_ ? std::move(requests[i]) : remake(places[i]));
      again_places.push_back(places[i]);
    }
    if (!refused.empty()) base::LogError("remote", "samples refused", {{"url", config_.url}, {"answer", refused}});
    failing_ = pause >= 0;
    requests = std::move(again);
    places = std::move(again_places);
    if (pause < 0) continue;
    repeated_ = true;
    pause = asked > 0 ? asked : pause;
    base::LogWarn("remote", "sending again",
                  {{"url", config_.url}, {"in_ms", std::to_string(pause)}, {"answer", recoverable}});
    if (!clock_.SleepFor(pause, stop_)) return false;
    backoff = std::min(backoff * 2, config_.max_backoff_ms);
  }
  return true;
}

base::Status Sender::SendOnce(Request request) {
  std::vector<Request> one;
  one.push_back(std::move(request));
  std::vector<Judgement> judged = Exchange(one);
  if (judged.empty()) return base::CancelledError("stopped");
  if (judged[0].outcome != Outcome::kTaken) {
    metrics_.Failed(one[0]);
    return base::UnavailableError(judged[0].why);
  }
  metrics_.Sent(one[0]);
  return base::Status::Ok();
}

std::vector<Sender::Judgement> Sender::Exchange(const std::vector<Request>& requests) {
  auto answers = std::make_shared<Answers>();
  {
    base::MutexLock lock(answers->mu);
    answers->list.resize(requests.size());
    answers->missing = requests.size();
  }
  {
    base::MutexLock lock(current_mu_);
    current_ = answers;
  }
  if (stop_.stopped()) return {};
  for (size_t i = 0; i < requests.size(); ++i) Post(i, requests[i], answers);
  std::vector<Judgement> judged;
  base::MutexLock lock(answers->mu);
  while (answers->missing > 0 && !answers->abandoned) answers->changed.Wait(answers->mu);
  if (answers->abandoned) return judged;
  for (size_t i = 0; i < requests.size(); ++i) judged.push_back(Judge(requests[i], *answers->list[i]));
  return judged;
}

void Sender::Post(size_t index, const Request& request, const std::shared_ptr<Answers>& answers) {
  auto client = transport_.Client(clock_.NowMs(), config_.url);
  if (!client.ok()) return answers->Put(index, client.status());
  http::ClientRequest post;
  post.method = "POST";
  post.url = config_.url;
  post.body = request.body;
  post.total_timeout_ms = config_.timeout_ms;
  post.max_body_bytes = kMaxAnswerBytes;
  post.max_redirects = config_.http.follow_redirects ? 10 : 0;
  const char* type =
      request.version2 ? "application/x-protobuf;proto=io.prometheus.write.v2.Request" : "application/x-protobuf";
  post.headers = {{"Content-Encoding", "snappy"},
                  {"Content-Type", type},
                  {"X-Prometheus-Remote-Write-Version", request.version2 ? "2.0.0" : "0.1.0"}};
  for (const auto& [name, value] : config_.headers) post.headers.Add(name, value);
  const int64_t start = base::MonotonicNanos();
  EndpointMetrics* metrics = &metrics_;
  transport_.Authorize(clock_.NowMs(), [answers, index, start, metrics, post = std::move(post),
                                        client = *client](base::Result<http::Headers> headers) mutable {
    if (!headers.ok()) return answers->Put(index, headers.status());
    for (const auto& [name, value] : *headers) post.headers.Add(name, value);
    client->SendAsync(std::move(post), [answers, index, start, metrics](base::Result<http::Response> response) {
      metrics->Took(static_cast<double>(base::MonotonicNanos() - start) / 1e9);
      answers->Put(index, std::move(response));
    });
  });
}

Sender::Judgement Sender::Judge(const Request& request, const base::Result<http::Response>& response) const {
  if (!response.ok()) return {Outcome::kAgain, response.status().message(), 0};
  const int status = response->status;
  std::string why = "HTTP status " + std::to_string(status) + ": " + OneLine(response->body);
  if (status / 100 == 2) {
    const bool said = response->headers.Has("X-Prometheus-Remote-Write-Samples-Written") ||
                      response->headers.Has("X-Prometheus-Remote-Write-Histograms-Written");
    return {request.version2 && !said ? Outcome::kOtherVersion : Outcome::kTaken, std::move(why), 0};
  }
  if (status == 415 && request.version2) return {Outcome::kOtherVersion, std::move(why), 0};
  if (status / 100 != 5 && (status != 429 || !config_.retry_on_429)) return {Outcome::kRefused, std::move(why), 0};
  return {Outcome::kAgain, std::move(why), RetryAfterMs(response->headers.Get("Retry-After"), clock_.NowMs())};
}

}  // namespace tidewright::remote
