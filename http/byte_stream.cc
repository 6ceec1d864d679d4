#include "http/byte_stream.h"

#include <curl/curl.h>
#include <poll.h>

#include <cerrno>
#include <utility>

#include "base/clock.h"
#include "http/curl_tls.h"
#include "http/outgoing.h"

namespace tidewright::http {

namespace {

base::Code CodeOf(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return base::Code::kDeadlineExceeded;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM: return base::Code::kUnauthenticated;
    default: return base::Code::kUnavailable;
  }
}

class CurlStream : public ByteStream {
 public:
  CurlStream(CURL* easy, std::optional<ClientTls> tls) : easy_(easy), tls_(std::move(tls)) {}
  ~CurlStream() override { curl_easy_cleanup(easy_); }

  base::Status Connect(const std::string& host, uint16_t port, int64_t timeout_ms) {
    const Url url{.scheme = tls_ ? "https" : "http", .host = host, .port = port, .path = "/"};
    curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, error_);
    curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy_, CURLOPT_PROXY, "");
    curl_easy_setopt(easy_, CURLOPT_URL, url.ToString().c_str());
    curl_easy_setopt(easy_, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy_, CURLOPT_SSL_ENABLE_ALPN, 0L);  // It would offer HTTP.
    curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(timeout_ms));
    if (tls_) ApplyTls(easy_, *tls_, /*with_certificate=*/true);
    const CURLcode done = curl_easy_perform(easy_);
    if (done == CURLE_OK) curl_easy_getinfo(easy_, CURLINFO_ACTIVESOCKET, &socket_);
    return done == CURLE_OK && socket_ != CURL_SOCKET_BAD ? base::Status::Ok() : Failure(done);
  }

  base::Status Write(std::string_view bytes, int64_t timeout_ms) override {
    const int64_t deadline_ns = DeadlineNs(timeout_ms);
    while (!bytes.empty()) {
      size_t count = 0;
      const CURLcode done = curl_easy_send(easy_, bytes.data(), bytes.size(), &count);
      if (done == CURLE_AGAIN) {
        TW_RETURN_IF_ERROR(Wait(POLLOUT, deadline_ns));
        continue;
      }
      // libcurl's own text is about the socket that it has lost.
      if (done != CURLE_OK) return base::UnavailableError("the server hung up");
      bytes.remove_prefix(count);
    }
    return base::Status::Ok();
  }

  base::Result<size_t> Read(char* buffer, size_t size, int64_t timeout_ms) override {
    const int64_t deadline_ns = DeadlineNs(timeout_ms);
    while (true) {
      size_t count = 0;
      const CURLcode done = curl_easy_recv(easy_, buffer, size, &count);
      if (done == CURLE_AGAIN) {
        TW_RETURN_IF_ERROR(Wait(POLLIN, deadline_ns));
        continue;
      }
      if (done != CURLE_OK) return Failure(done);
      if (count == 0) return base::UnavailableError("the server hung up");
      return count;
    }
  }

  bool Idle() const override {
    pollfd waiting{socket_, POLLIN, 0};
    return poll(&waiting, 1, 0) == 0;
  }

 private:
  static int64_t DeadlineNs(int64_t timeout_ms) { return base::MonotonicNanos() + timeout_ms * 1'000'000; }

  base::Status Wait(short events, int64_t deadline_ns) const {
    const int64_t left_ms = (deadline_ns - base::MonotonicNanos() + 999'999) / 1'000'000;
    pollfd waiting{socket_, events, 0};
    const int ready = left_ms > 0 ? poll(&waiting, 1, static_cast<int>(left_ms)) : 0;
    if (ready > 0 || (ready < 0 && errno == EINTR)) return base::Status::Ok();
    return base::DeadlineExceededError("no answer within the timeout");
  }
  base::Status Failure(CURLcode code) const {
    return base::Status(CodeOf(code), error_[0] != '\0' ? error_ : curl_easy_strerror(code));
  }

  CURL* const easy_;
  const std::optional<ClientTls> tls_;  // libcurl refers to its texts.
  curl_socket_t socket_ = CURL_SOCKET_BAD;
  char error_[CURL_ERROR_SIZE] = {};
};

}  // namespace

base::Result<std::unique_ptr<ByteStream>> ByteStream::Open(const std::string& host, uint16_t port,
                                                           const std::optional<ClientTls>& tls, int64_t timeout_ms) {
  if (tls) TW_RETURN_IF_ERROR(CheckClientTls(*tls));
  if (host.empty() || !IsFieldValue(host) || host.find_first_of(" /?#@\\%") != std::string::npos) {
    return base::InvalidArgumentError("the host is neither a name nor an address");
  }
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  CURL* easy = initialized == CURLE_OK ? curl_easy_init() : nullptr;
  if (easy == nullptr) return base::InternalError("libcurl could not be initialized");
  auto stream = std::make_unique<CurlStream>(easy, tls);
  TW_RETURN_IF_ERROR(stream->Connect(host, port, timeout_ms));
  return std::unique_ptr<ByteStream>(std::move(stream));
}

}  // namespace tidewright::http
