#include <curl/curl.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/curl_tls.h"
#include "http/http2_client.h"
#include "http/openssl_ptr.h"
#include "http/outgoing.h"
#include "http/reply_reader.h"

namespace tidewright::http {
namespace {

// Connections kept for reuse. libcurl's default follows the number of running exchanges and so forgets them in between.
constexpr long kMaxIdleConnections = 4096;
constexpr size_t kMaxSpareHandles = 256;
constexpr int64_t kNanosPerMs = 1'000'000;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr int kIdlePollMs = 60'000;

// One exchange. Built by the caller's thread, then touched only by the client's.
struct Transfer {
  ~Transfer() {
    curl_slist_free_all(headers);
    curl_slist_free_all(connect_to);
  }

  uint64_t id = 0;
  ClientRequest request;
  Outgoing outgoing;
  std::optional<StreamHandler> handler;  // What is handed over as it arrives, rather than kept.
  std::function<void(base::Result<Response>)> done;

  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  curl_slist* connect_to = nullptr;
  char error[CURL_ERROR_SIZE] = {};
  base::Status failure;  // Why one of our callbacks ended the exchange.
  Response response;
  size_t header_bytes = 0;
  size_t body_bytes = 0;
  bool headers_complete = false;  // Of the final reply.
  bool keep_trailers = false;     // With the headers.
  bool redirecting = false;       // This reply's body is of no interest.
  int redirects_left = 0;
  bool left_origin = false;
  int64_t deadline_ns = kNever;
  int64_t last_activity_ns = 0;
};

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

void AddHeader(curl_slist** list, const std::string& name, const std::string& value) {
  // libcurl spells a field without a value "Name;", because "Name:" asks it to leave the field out.
  curl_slist* longer = curl_slist_append(*list, value.empty() ? (name + ";").c_str() : (name + ": " + value).c_str());
  if (longer != nullptr) *list = longer;
}

void RemoveHeader(curl_slist** list, const char* name_and_colon) {
  curl_slist* longer = curl_slist_append(*list, name_and_colon);
  if (longer != nullptr) *list = longer;
}

bool HasBody(const ClientRequest& request) {
  return !request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
}

std::string BracketedHost(const Url& url) {
  return url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]";
}

// Called by libcurl with one header line (also status lines, the empty line, and trailers).
size_t OnHeaderLine(char* data, size_t /*one*/, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.last_activity_ns = base::MonotonicNanos();
  transfer.header_bytes += size;
  // libcurl 7.88 bounds a line but not their sum.
  if (transfer.header_bytes > kMaxReplyHeaderBytes) {
    transfer.failure =
        base::ResourceExhaustedError("the reply's headers exceed " + std::to_string(kMaxReplyHeaderBytes) + " bytes");
    return 0;
  }
  if (transfer.headers_complete && !transfer.keep_trailers) return size;
  std::string_view line = base::TrimSpace(std::string_view(data, size));
  if (line.substr(0, 5) == "HTTP/") {  // A new reply: the one before was an interim 1xx.
    transfer.response.headers = Headers();
    return size;
  }
  if (size_t colon = line.find(':'); colon != std::string_view::npos && colon > 0) {
    transfer.response.headers.Add(std::string(line.substr(0, colon)),
                                  std::string(base::TrimSpace(line.substr(colon + 1))));
    return size;
  }
  if (!line.empty() || transfer.headers_complete) return size;
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  if (status < 200) return size;
  transfer.response.status = static_cast<int>(status);
  transfer.headers_complete = true;
  transfer.redirecting =
      transfer.redirects_left > 0 && IsRedirect(transfer.response.status) && transfer.response.headers.Has("Location");
  if (!transfer.handler || transfer.redirecting || !transfer.handler->on_headers) return size;
  transfer.failure = transfer.handler->on_headers(transfer.response.status, transfer.response.headers);
  return transfer.failure.ok() ? size : 0;
}

void ReserveBody(Transfer& transfer) {
  curl_off_t length = -1;
  curl_easy_getinfo(transfer.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  // A promise by the peer: believed up to 1 MiB, beyond which it has to deliver first.
  if (length > 0) transfer.response.body.reserve(static_cast<size_t>(std::min<curl_off_t>(length, 1 << 20)));
}

// Called by libcurl with a piece of the (decompressed) body.
size_t OnBody(char* data, size_t /*one*/, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.last_activity_ns = base::MonotonicNanos();
  if (size > transfer.request.max_body_bytes - transfer.body_bytes) {
    transfer.failure = base::ResourceExhaustedError("the reply's body exceeds " +
                                                    std::to_string(transfer.request.max_body_bytes) + " bytes");
    return CURL_WRITEFUNC_ERROR;
  }
  transfer.body_bytes += size;
  if (transfer.redirecting) return size;
  if (transfer.handler) {
    if (transfer.handler->on_data) transfer.failure = transfer.handler->on_data({data, size});
    return transfer.failure.ok() ? size : CURL_WRITEFUNC_ERROR;
  }
  if (transfer.response.body.empty()) ReserveBody(transfer);
  transfer.response.body.append(data, size);
  return size;
}

base::Code CodeOf(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return base::Code::kDeadlineExceeded;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS: return base::Code::kUnauthenticated;
    case CURLE_URL_MALFORMAT: return base::Code::kInvalidArgument;
    case CURLE_OUT_OF_MEMORY:  // Also libcurl's word for a header line beyond its limit.
    case CURLE_FILESIZE_EXCEEDED: return base::Code::kResourceExhausted;
    default: return base::Code::kUnavailable;
  }
}

base::Status StatusOf(const Transfer& transfer, CURLcode code) {
  if (!transfer.failure.ok()) return transfer.failure.Annotate(transfer.outgoing.label);
  std::string why = transfer.error[0] != '\0' ? transfer.error : curl_easy_strerror(code);
  return base::Status(CodeOf(code), transfer.outgoing.label + ": " + why);
}

class CurlClient : public Client, public Http2Client {
 public:
  CurlClient(ClientOptions options, bool http2)
      : options_(std::move(options)), http2_(http2), multi_(curl_multi_init()) {
    if (multi_ == nullptr) return;
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kMaxIdleConnections);
    curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, static_cast<long>(options_.max_connections_per_host));
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "http-curl");
      Run();
    });
  }

  ~CurlClient() override {
    if (multi_ == nullptr) return;
    {
      base::MutexLock lock(mu_);
      stopping_ = true;
    }
    curl_multi_wakeup(multi_);
    thread_.join();
    for (CURL* easy : spare_) curl_easy_cleanup(easy);
    curl_multi_cleanup(multi_);
  }

  bool usable() const { return multi_ != nullptr; }

  base::Result<Response> Send(const ClientRequest& request, CancelToken* cancel) override {
    return Wait(request, std::nullopt, cancel);
  }

  base::Status Stream(const ClientRequest& request, const StreamHandler& handler, CancelToken* cancel) override {
    return Wait(request, handler, cancel).status();
  }

  void SendAsync(ClientRequest request, std::function<void(base::Result<Response>)> done) override {
    Submit(next_id_++, std::move(request), std::nullopt, std::move(done));
  }

  uint64_t Open(ClientRequest request, StreamHandler handler,
                std::function<void(base::Result<Response>)> done) override {
    const uint64_t id = next_id_++;
    Submit(id, std::move(request), std::move(handler), std::move(done));
    return id;
  }

  void Cancel(uint64_t id) override;

 private:
  base::Result<Response> Wait(const ClientRequest& request, std::optional<StreamHandler> handler, CancelToken* cancel);
  void Submit(uint64_t id, ClientRequest request, std::optional<StreamHandler> handler,
              std::function<void(base::Result<Response>)> done);

  // The rest runs on the client's thread.
  void Run();
  bool TakeOrders();
  void Begin(std::unique_ptr<Transfer> transfer);
  bool Configure(Transfer& transfer);
  static void ConfigureHttp2(CURL* easy, bool tls);
  void ConfigureTls(Transfer& transfer);
  void ConfigureBody(Transfer& transfer);
  void ConfigureHeaders(Transfer& transfer);
  void ConfigureProxy(Transfer& transfer);
  void TakeFinished();
  bool FollowRedirect(Transfer& transfer);
  void Finish(uint64_t id, base::Status failure);
  int EnforceIdleTimeouts();
  void Release(CURL* easy);

  const ClientOptions options_;
  const bool http2_;
  CURLM* const multi_;
  std::atomic<uint64_t> next_id_{1};

  base::Mutex mu_;
  std::vector<std::unique_ptr<Transfer>> submitted_ GUARDED_BY(mu_);
  std::vector<uint64_t> cancelled_ GUARDED_BY(mu_);
  bool stopping_ GUARDED_BY(mu_) = false;

  std::map<uint64_t, std::unique_ptr<Transfer>> active_;
  size_t idle_timed_ = 0;  // How many of active_ have an idle timeout.
  int64_t next_idle_check_ns_ = kNever;
  std::vector<CURL*> spare_;  // Handles of ended exchanges, for reuse.
  std::thread thread_;
};

base::Result<Response> CurlClient::Wait(const ClientRequest& request, std::optional<StreamHandler> handler,
                                        CancelToken* cancel) {
  struct {
    base::Mutex mu;
    base::CondVar ended;
    std::optional<base::Result<Response>> result;
  } wait;
  uint64_t id = next_id_++;
  Submit(id, request, std::move(handler), [&wait](base::Result<Response> result) {
    base::MutexLock lock(wait.mu);
    wait.result = std::move(result);
    wait.ended.NotifyAll();
  });
  uint64_t registration = cancel == nullptr ? 0 : cancel->OnCancel([this, id] { Cancel(id); });
  {
    base::MutexLock lock(wait.mu);
    while (!wait.result.has_value()) wait.ended.Wait(wait.mu);
  }
  if (cancel != nullptr) cancel->Remove(registration);
  base::MutexLock lock(wait.mu);
  return *std::move(wait.result);
}

void CurlClient::Submit(uint64_t id, ClientRequest request, std::optional<StreamHandler> handler,
                        std::function<void(base::Result<Response>)> done) {
  auto outgoing = PrepareRequest(request);
  if (!outgoing.ok()) return done(outgoing.status());
  auto transfer = std::make_unique<Transfer>();
  transfer->id = id;
  transfer->request = std::move(request);
  transfer->outgoing = *std::move(outgoing);
  transfer->handler = std::move(handler);
  transfer->keep_trailers = http2_;
  transfer->done = std::move(done);
  transfer->redirects_left = transfer->request.max_redirects;
  {
    base::MutexLock lock(mu_);
    if (!stopping_) {
      submitted_.push_back(std::move(transfer));
      transfer.reset();
    }
  }
  if (transfer != nullptr) {
    return transfer->done(base::CancelledError(transfer->outgoing.label + ": the client is closing"));
  }
  curl_multi_wakeup(multi_);
}

void CurlClient::Cancel(uint64_t id) {
  {
    base::MutexLock lock(mu_);
    cancelled_.push_back(id);
  }
  curl_multi_wakeup(multi_);
}

void CurlClient::Run() {
  while (TakeOrders()) {
    int running = 0;
    curl_multi_perform(multi_, &running);
    TakeFinished();
    int timeout_ms = EnforceIdleTimeouts();
    curl_multi_poll(multi_, nullptr, 0, timeout_ms, nullptr);
  }
  while (!active_.empty()) {
    Finish(active_.begin()->first, base::CancelledError("the client is closing"));
  }
}

// Begins what was submitted and ends what was cancelled. False once the client closes.
bool CurlClient::TakeOrders() {
  std::vector<std::unique_ptr<Transfer>> submitted;
  std::vector<uint64_t> cancelled;
  bool stopping = false;
  {
    base::MutexLock lock(mu_);
    submitted.swap(submitted_);
    cancelled.swap(cancelled_);
    stopping = stopping_;
  }
  for (auto& transfer : submitted) Begin(std::move(transfer));
  for (uint64_t id : cancelled) Finish(id, base::CancelledError("cancelled"));
  return !stopping;
}

void CurlClient::Begin(std::unique_ptr<Transfer> transfer) {
  int64_t now = base::MonotonicNanos();
  if (transfer->request.total_timeout_ms > 0) {
    transfer->deadline_ns = now + transfer->request.total_timeout_ms * kNanosPerMs;
  }
  if (transfer->request.idle_timeout_ms > 0) {
    ++idle_timed_;
    next_idle_check_ns_ = std::min(next_idle_check_ns_, now + transfer->request.idle_timeout_ms * kNanosPerMs);
  }
  uint64_t id = transfer->id;
  Transfer& started = *active_.emplace(id, std::move(transfer)).first->second;
  if (!Configure(started)) Finish(id, base::InternalError("libcurl could not begin the exchange"));
}

bool CurlClient::Configure(Transfer& transfer) {
  if (spare_.empty()) {
    transfer.easy = curl_easy_init();
  } else {
    transfer.easy = spare_.back();
    spare_.pop_back();
  }
  CURL* easy = transfer.easy;
  if (easy == nullptr) return false;
  transfer.last_activity_ns = base::MonotonicNanos();
  curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  // HTTP/1.1 where nothing else is asked for: a smaller surface towards hostile peers, and one connection per
  // concurrent exchange.
  if (http2_) {
    ConfigureHttp2(easy, transfer.outgoing.url.scheme == "https");
  } else {
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  }
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 65536L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(transfer.request.connect_timeout_ms));
  if (transfer.deadline_ns != kNever) {
    int64_t left_ms = (transfer.deadline_ns - base::MonotonicNanos()) / kNanosPerMs;
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<int64_t>(left_ms, 1)));
  }
  if (transfer.request.accept_gzip) curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, OnHeaderLine);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  ConfigureTls(transfer);
  ConfigureBody(transfer);
  ConfigureHeaders(transfer);
  ConfigureProxy(transfer);
  return curl_multi_add_handle(multi_, easy) == CURLM_OK;
}

void CurlClient::ConfigureHttp2(CURL* easy, bool tls) {
  const long version = tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version);
  // libcurl 7.88 begins HTTP/2 anew on a connection without TLS that has carried an exchange, which breaks it.
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, tls ? 0L : 1L);
  curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, tls ? 0L : 1L);
  // Long exchanges must notice a peer that is gone without a word.
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 20L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 5L);
}

void CurlClient::ConfigureTls(Transfer& transfer) {
  CURL* easy = transfer.easy;
  const ClientTls& tls = options_.tls;
  Url url = transfer.outgoing.url;
  ApplyTls(easy, tls, /*with_certificate=*/!transfer.left_origin);
  if (!tls.server_name.empty() && url.scheme == "https" && !transfer.left_origin) {
    // libcurl verifies the URL's name and sends it as SNI: ask for that name, connect to the address of the other.
    std::string real = BracketedHost(url);
    url.host = tls.server_name;
    std::string rule =
        BracketedHost(url) + ":" + std::to_string(url.port) + ":" + real + ":" + std::to_string(url.port);
    transfer.connect_to = curl_slist_append(nullptr, rule.c_str());
    curl_easy_setopt(easy, CURLOPT_CONNECT_TO, transfer.connect_to);
  }
  curl_easy_setopt(easy, CURLOPT_URL, url.ToString().c_str());
}

void CurlClient::ConfigureBody(Transfer& transfer) {
  CURL* easy = transfer.easy;
  const ClientRequest& request = transfer.request;
  if (HasBody(request)) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
  } else if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  }
  if (request.method != "GET" || HasBody(request)) {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
}

void CurlClient::ConfigureHeaders(Transfer& transfer) {
  curl_slist** list = &transfer.headers;
  for (const auto& [name, value] : transfer.outgoing.headers) AddHeader(list, name, value);
  // libcurl would wait a second for "100 Continue", and would call every body a form.
  if (!transfer.outgoing.headers.Has("Expect")) RemoveHeader(list, "Expect:");
  if (!transfer.outgoing.headers.Has("Content-Type")) RemoveHeader(list, "Content-Type:");
  if (transfer.connect_to != nullptr && !transfer.outgoing.headers.Has("Host")) {
    AddHeader(list, "Host", transfer.outgoing.url.Authority());
  }
  curl_easy_setopt(transfer.easy, CURLOPT_HTTPHEADER, transfer.headers);
}

void CurlClient::ConfigureProxy(Transfer& transfer) {
  if (!options_.proxy_url.empty()) {
    curl_easy_setopt(transfer.easy, CURLOPT_PROXY, options_.proxy_url.c_str());
  } else if (!options_.proxy_from_environment) {
    curl_easy_setopt(transfer.easy, CURLOPT_PROXY, "");
  }
  curl_easy_setopt(transfer.easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

void CurlClient::TakeFinished() {
  int queued = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &queued)) {
    if (message->msg != CURLMSG_DONE) continue;
    void* user = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &user);
    auto& transfer = *static_cast<Transfer*>(user);
    CURLcode code = message->data.result;
    if (code == CURLE_OK && transfer.failure.ok() && !transfer.headers_complete) {
      // libcurl takes a connection that ends within the reply's head for the end of a reply without a body.
      transfer.failure = base::UnavailableError("the connection was closed within the head of the reply");
    }
    // A callback's failure counts even if it came with the last byte, which libcurl may then report as success.
    bool failed = code != CURLE_OK || !transfer.failure.ok();
    if (!failed && transfer.redirecting && FollowRedirect(transfer)) continue;
    Finish(transfer.id, failed ? StatusOf(transfer, code) : transfer.failure);
  }
}

// Sends the exchange's next request to where the reply points. False if it must not be followed: then `failure` says
// why. libcurl could follow by itself, but would take every header but Authorization and Cookie along.
bool CurlClient::FollowRedirect(Transfer& transfer) {
  char* location = nullptr;
  curl_easy_getinfo(transfer.easy, CURLINFO_REDIRECT_URL, &location);
  auto next = Url::Parse(location == nullptr ? "" : location);
  if (!next.ok()) {
    transfer.failure =
        base::UnavailableError(transfer.outgoing.label + ": redirected to an invalid URL: " + next.status().message());
    return false;
  }
  // With server_name libcurl resolved a relative location against that name.
  if (transfer.connect_to != nullptr && next->host == base::ToLower(options_.tls.server_name)) {
    next->host = transfer.outgoing.url.host;
  }
  if (transfer.outgoing.url.scheme == "https" && next->scheme == "http") {
    transfer.failure = base::UnavailableError(transfer.outgoing.label + ": redirected from https to " + next->scheme +
                                              "://" + next->Authority() + ": refused");
    return false;
  }
  if (!SameOrigin(transfer.outgoing.url, *next)) {
    Headers kept;
    for (const char* name : {"Accept", "Content-Type"}) {
      if (transfer.outgoing.headers.Has(name)) kept.Add(name, transfer.outgoing.headers.Get(name));
    }
    transfer.outgoing.headers = std::move(kept);
    transfer.left_origin = true;
  }
  int status = transfer.response.status;
  std::string& method = transfer.request.method;
  if ((status == 303 && method != "HEAD") || (status <= 302 && method == "POST")) {
    method = "GET";
    transfer.request.body.clear();
  }
  Release(std::exchange(transfer.easy, nullptr));
  curl_slist_free_all(std::exchange(transfer.headers, nullptr));
  curl_slist_free_all(std::exchange(transfer.connect_to, nullptr));
  transfer.outgoing.url = *std::move(next);
  transfer.response = Response();
  transfer.body_bytes = 0;
  transfer.headers_complete = transfer.redirecting = false;
  --transfer.redirects_left;
  if (Configure(transfer)) return true;
  transfer.failure = base::InternalError(transfer.outgoing.label + ": libcurl could not follow a redirect");
  return false;
}

// Ends an exchange with its response, or with `failure`. Nothing happens if it ended before.
void CurlClient::Finish(uint64_t id, base::Status failure) {
  auto node = active_.extract(id);
  if (node.empty()) return;
  Transfer& transfer = *node.mapped();
  if (transfer.request.idle_timeout_ms > 0) --idle_timed_;
  if (transfer.easy != nullptr) Release(transfer.easy);
  bool labelled = failure.message().rfind(transfer.outgoing.label, 0) == 0;
  if (!failure.ok()) return transfer.done(labelled ? failure : failure.Annotate(transfer.outgoing.label));
  transfer.done(std::move(transfer.response));
}

// Ends exchanges whose peer fell silent. Returns for how long, in ms, nothing of that kind has to be looked at.
int CurlClient::EnforceIdleTimeouts() {
  if (idle_timed_ == 0) {
    next_idle_check_ns_ = kNever;
    return kIdlePollMs;
  }
  int64_t now = base::MonotonicNanos();
  if (now >= next_idle_check_ns_) {
    next_idle_check_ns_ = kNever;
    std::vector<uint64_t> silent;
    for (const auto& [id, transfer] : active_) {
      if (transfer->request.idle_timeout_ms <= 0) continue;
      int64_t due = transfer->last_activity_ns + transfer->request.idle_timeout_ms * kNanosPerMs;
      if (due <= now) {
        silent.push_back(id);
      } else {
        next_idle_check_ns_ = std::min(next_idle_check_ns_, due);
      }
    }
    for (uint64_t id : silent) Finish(id, base::DeadlineExceededError("no byte arrived within the idle timeout"));
  }
  if (next_idle_check_ns_ == kNever) return kIdlePollMs;
  return static_cast<int>(std::clamp<int64_t>((next_idle_check_ns_ - now) / kNanosPerMs + 1, 0, kIdlePollMs));
}

void CurlClient::Release(CURL* easy) {
  curl_multi_remove_handle(multi_, easy);
  if (spare_.size() >= kMaxSpareHandles) {
    curl_easy_cleanup(easy);
    return;
  }
  curl_easy_reset(easy);
  spare_.push_back(easy);
}

// Refuses a bad certificate when the client is made, not when the first request fails.
base::Status CheckPems(const ClientTls& tls) {
  TW_RETURN_IF_ERROR(CheckClientTls(tls));
  if (!tls.ca_pem.empty()) TW_RETURN_IF_ERROR(ReadCertificates(tls.ca_pem).status().Annotate("CA certificate"));
  if (tls.certificate_pem.empty()) return base::Status::Ok();
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return OpensslError("make a TLS context");
  return UseCertificate(context.get(), tls.certificate_pem, tls.private_key_pem).Annotate("client certificate");
}

base::Result<std::unique_ptr<CurlClient>> MakeClient(const ClientOptions& options, bool http2) {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialized != CURLE_OK) return base::InternalError("libcurl could not be initialized");
  TW_RETURN_IF_ERROR(CheckPems(options.tls));
  if (!IsFieldValue(options.user_agent)) {
    return base::InvalidArgumentError("the user agent contains a control character");
  }
  auto client = std::make_unique<CurlClient>(options, http2);
  if (!client->usable()) return base::InternalError("libcurl could not make a multi handle");
  return client;
}

}  // namespace

base::Result<std::unique_ptr<Client>> NewCurlClient(const ClientOptions& options) {
  TW_ASSIGN_OR_RETURN(std::unique_ptr<Client> client, MakeClient(options, /*http2=*/false));
  return client;
}

base::Result<std::unique_ptr<Http2Client>> NewHttp2Client(const ClientOptions& options) {
  TW_ASSIGN_OR_RETURN(std::unique_ptr<Http2Client> client, MakeClient(options, /*http2=*/true));
  return client;
}

}  // namespace tidewright::http
