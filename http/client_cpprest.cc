#include <cpprest/http_client.h>
#include <cpprest/producerconsumerstream.h>
#include <pplx/threadpool.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

#include "base/strings.h"
#include "http/client.h"
#include "http/openssl_ptr.h"
#include "http/outgoing.h"

namespace tidewright::http {
namespace {

using web::http::http_response;
using web::http::client::http_client;
using web::http::client::http_client_config;

// A "piece" beyond this is no piece: a chunk size of -1 arrives as SIZE_MAX with a pointer to nothing behind it.
constexpr size_t kMaxPieceBytes = 64u << 20;
// Body bytes that may wait for the thread inside Stream(); the connection is not read while there are more.
constexpr size_t kMaxQueuedBytes = 1u << 20;
constexpr int64_t kNoTimeoutMs = 24 * 3600 * 1000;
constexpr size_t kMaxClients = 64;

// What InitializeCpprest() was told, and what SSL_CERT_FILE and SSL_CERT_DIR said before it hid the system's
// certificates from cpprestsdk.
struct Settings {
  int threads = 2;
  std::string file;
  std::string directory;
  std::vector<std::pair<std::string, std::string>> environment;
};
Settings& GetSettings() {
  static Settings& settings = *new Settings;
  return settings;
}

// Not before there is a client: without a cluster nobody needs these threads.
void StartThreads() {
  static std::once_flag once;
  std::call_once(once, [] {
    try {
      crossplat::threadpool::initialize_with_threads(static_cast<size_t>(std::max(GetSettings().threads, 2)));
    } catch (const std::exception&) {
      // Someone used the library first: its pool stays as it is.
    }
  });
}

std::string EnvironmentOr(const char* variable, const char* fallback) {
  const char* value = std::getenv(variable);
  return value == nullptr ? fallback : value;
}

// One request and its reply: where cpprestsdk's threads hand over to the caller. It ends once, for the first reason
// that comes up; what the library does afterwards (a name lookup cannot be aborted, for instance) reaches nobody.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(const ClientRequest& request, std::string label, bool streaming)
      : label_(std::move(label)), max_body_bytes_(request.max_body_bytes), streaming_(streaming) {}

  // Called once, when the exchange ended, on the thread that ended it. Set before the exchange begins.
  void OnEnd(std::function<void()> on_end) { on_end_ = std::move(on_end); }
  void StartTimer(int64_t total_timeout_ms);
  pplx::cancellation_token token() { return cancel_.get_token(); }

  // For the library's threads.
  pplx::task<size_t> OnData(const char* data, size_t size);
  void OnHeaders(const http_response& response);
  void End(base::Status status);
  void EndWithTask(const pplx::task<http_response>& task);

  // Waits for the end, delivering to `handler` (if not null) on this thread.
  base::Status Wait(const StreamHandler* handler);
  base::Result<Response> TakeResult();

 private:
  bool HaveNews() const REQUIRES_LOCK(mu_);  // Headers or a piece that the handler has not seen.
  void Deliver(const StreamHandler& handler);

  const std::string label_;
  const size_t max_body_bytes_;
  const bool streaming_;
  std::function<void()> on_end_;
  pplx::cancellation_token_source cancel_;

  base::Mutex mu_;
  base::CondVar changed_;
  Response response_ GUARDED_BY(mu_);  // Its body: all of it, or what Stream() has not delivered.
  bool have_headers_ GUARDED_BY(mu_) = false;
  bool delivered_headers_ GUARDED_BY(mu_) = false;
  size_t body_bytes_ GUARDED_BY(mu_) = 0;
  size_t waiting_bytes_ GUARDED_BY(mu_) = 0;
  std::optional<pplx::task_completion_event<size_t>> space_ GUARDED_BY(mu_);  // The library waits for room.
  bool ended_ GUARDED_BY(mu_) = false;
  base::Status status_ GUARDED_BY(mu_);
  std::unique_ptr<boost::asio::steady_timer> timer_ GUARDED_BY(mu_);
};

void Exchange::StartTimer(int64_t total_timeout_ms) {
  if (total_timeout_ms <= 0) return;
  base::MutexLock lock(mu_);
  timer_ = std::make_unique<boost::asio::steady_timer>(crossplat::threadpool::shared_instance().service(),
                                                       std::chrono::milliseconds(total_timeout_ms));
  timer_->async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    auto self = error ? nullptr : weak.lock();
    if (self) self->End(base::DeadlineExceededError("the reply did not arrive within the total timeout"));
  });
}

pplx::task<size_t> Exchange::OnData(const char* data, size_t size) {
  base::Status failure;
  {
    base::MutexLock lock(mu_);
    if (ended_) return pplx::task_from_exception<size_t>(std::runtime_error("the exchange has ended"));
    if (size <= kMaxPieceBytes && size <= max_body_bytes_ - body_bytes_) {
      response_.body.append(data, size);
      body_bytes_ += size;
      changed_.NotifyAll();
      if (!streaming_ || response_.body.size() <= kMaxQueuedBytes) return pplx::task_from_result<size_t>(size);
      space_.emplace();
      waiting_bytes_ = size;
      return pplx::create_task(*space_);
    }
  }
  End(base::ResourceExhaustedError("the reply's body exceeds " +
                                   std::to_string(std::min(max_body_bytes_, kMaxPieceBytes)) + " bytes"));
  return pplx::task_from_exception<size_t>(std::runtime_error("the body is too long"));
}

void Exchange::OnHeaders(const http_response& response) {
  base::MutexLock lock(mu_);
  response_.status = response.status_code();
  for (const auto& [name, value] : response.headers()) response_.headers.Add(name, value);
  have_headers_ = true;
  changed_.NotifyAll();
}

void Exchange::End(base::Status status) {
  std::optional<pplx::task_completion_event<size_t>> space;
  bool cancel = !status.ok();
  {
    base::MutexLock lock(mu_);
    if (std::exchange(ended_, true)) return;
    status_ = status.Annotate(label_);
    space.swap(space_);
    if (timer_) timer_->cancel();
    changed_.NotifyAll();
  }
  if (cancel) cancel_.cancel();
  if (space.has_value()) space->set_exception(std::runtime_error("the exchange has ended"));
  on_end_();
}

// OpenSSL keeps the upper bits of its codes for the part of the library that failed; smaller codes are the network's.
constexpr int kFirstOpenSslCode = 1 << 23;

base::Status StatusOf(const web::http::http_exception& error) {
  const std::error_code& code = error.error_code();
  std::string what = error.what();
  if (code == std::errc::timed_out) return base::DeadlineExceededError("no byte arrived within the idle timeout");
  if (code == std::errc::operation_canceled) return base::CancelledError("cancelled");
  if (what.find("SSL handshake") != std::string::npos) {
    if (code.value() < kFirstOpenSslCode) return base::UnavailableError("the connection was lost in the TLS handshake");
    return base::UnauthenticatedError("the TLS handshake failed: check the CA certificate, the server's name (" + what +
                                      ") and the client certificate");
  }
  return base::UnavailableError(what);
}

void Exchange::EndWithTask(const pplx::task<http_response>& task) {
  try {
    task.get();
    End(base::Status::Ok());
  } catch (const web::http::http_exception& error) {
    End(StatusOf(error));
  } catch (const pplx::task_canceled&) {
    End(base::CancelledError("cancelled"));
  } catch (const std::exception& error) {
    End(base::UnavailableError(error.what()));
  }
}

base::Status Exchange::Wait(const StreamHandler* handler) {
  while (true) {
    {
      base::MutexLock lock(mu_);
      while (!ended_ && !(handler != nullptr && HaveNews())) changed_.Wait(mu_);
      // What arrived before the connection was lost is delivered; not what was given up on.
      bool deliver = handler != nullptr && HaveNews() && status_.code() != base::Code::kCancelled;
      if (!deliver) return status_;
    }
    Deliver(*handler);
  }
}

bool Exchange::HaveNews() const { return have_headers_ && (!delivered_headers_ || !response_.body.empty()); }

// Hands over what is there.
void Exchange::Deliver(const StreamHandler& handler) {
  std::string body;
  bool headers = false;
  Response head;
  std::optional<pplx::task_completion_event<size_t>> space;
  size_t waiting = 0;
  {
    base::MutexLock lock(mu_);
    headers = !std::exchange(delivered_headers_, true);
    if (headers) head = {response_.status, response_.headers, ""};
    body.swap(response_.body);
    space.swap(space_);
    waiting = waiting_bytes_;
  }
  if (space.has_value()) space->set(waiting);
  base::Status status;
  if (headers && handler.on_headers) status = handler.on_headers(head.status, head.headers);
  if (status.ok() && !body.empty() && handler.on_data) status = handler.on_data(body);
  if (status.ok()) return;
  End(status);
  base::MutexLock lock(mu_);
  // The handler's verdict stands even if the last byte came first.
  status_ = status.Annotate(label_);
  response_.body.clear();
}

base::Result<Response> Exchange::TakeResult() {
  base::MutexLock lock(mu_);
  if (!status_.ok()) return status_;
  return std::move(response_);
}

// The library's side of the body: a write-only stream buffer.
class Sink : public concurrency::streams::details::streambuf_state_manager<uint8_t> {
 public:
  explicit Sink(std::shared_ptr<Exchange> exchange)
      : streambuf_state_manager<uint8_t>(std::ios_base::out), exchange_(std::move(exchange)) {}

  bool can_seek() const override { return false; }
  bool has_size() const override { return false; }
  size_t buffer_size(std::ios_base::openmode) const override { return 0; }
  void set_buffer_size(size_t, std::ios_base::openmode) override {}
  size_t in_avail() const override { return 0; }
  pos_type getpos(std::ios_base::openmode) const override { return static_cast<pos_type>(traits::eof()); }
  pos_type seekpos(pos_type, std::ios_base::openmode) override { return static_cast<pos_type>(traits::eof()); }
  pos_type seekoff(off_type, std::ios_base::seekdir, std::ios_base::openmode) override {
    return static_cast<pos_type>(traits::eof());
  }
  bool acquire(uint8_t*& /*data*/, size_t& /*size*/) override { return false; }
  void release(uint8_t*, size_t) override {}

 protected:
  // Must not throw: nothing between here and the end of a library thread catches.
  pplx::task<size_t> _putn(const uint8_t* data, size_t size) override {
    try {
      return exchange_->OnData(reinterpret_cast<const char*>(data), size);
    } catch (...) {
      return pplx::task_from_exception<size_t>(std::current_exception());
    }
  }
  pplx::task<int_type> _putc(uint8_t byte) override {
    return _putn(&byte, 1).then([byte](size_t) { return static_cast<int_type>(byte); });
  }
  pplx::task<bool> _sync() override { return pplx::task_from_result(true); }
  uint8_t* _alloc(size_t) override { return nullptr; }
  void _commit(size_t) override {}
  pplx::task<int_type> _bumpc() override { return Nothing(); }
  int_type _sbumpc() override { return traits::eof(); }
  pplx::task<int_type> _getc() override { return Nothing(); }
  int_type _sgetc() override { return traits::eof(); }
  pplx::task<int_type> _nextc() override { return Nothing(); }
  pplx::task<int_type> _ungetc() override { return Nothing(); }
  pplx::task<size_t> _getn(uint8_t*, size_t) override { return pplx::task_from_result<size_t>(0); }
  size_t _scopy(uint8_t*, size_t) override { return 0; }

 private:
  static pplx::task<int_type> Nothing() { return pplx::task_from_result<int_type>(traits::eof()); }
  const std::shared_ptr<Exchange> exchange_;
};

class CpprestClient : public Client {
 public:
  CpprestClient(ClientOptions options, SslContextPtr context)
      : options_(std::move(options)), context_(context.release(), SSL_CTX_free) {}
  ~CpprestClient() override;

  base::Result<Response> Send(const ClientRequest& request, CancelToken* cancel) override {
    TW_ASSIGN_OR_RETURN(std::shared_ptr<Exchange> exchange, Run(request, nullptr, cancel));
    return exchange->TakeResult();
  }
  base::Status Stream(const ClientRequest& request, const StreamHandler& handler, CancelToken* cancel) override {
    return Run(request, &handler, cancel).status();
  }
  void SendAsync(ClientRequest request, std::function<void(base::Result<Response>)> done) override;

 private:
  // What makes two requests share connections: http_client holds these settings.
  struct PoolKey {
    std::string base_url;
    int64_t step_timeout_ms;
    bool gzip;
    auto operator<=>(const PoolKey&) const = default;
  };

  base::Result<std::shared_ptr<Exchange>> Run(const ClientRequest& request, const StreamHandler* handler,
                                              CancelToken* cancel);
  void Begin(const std::shared_ptr<Exchange>& exchange, const ClientRequest& request, const Outgoing& outgoing,
             std::function<void()> on_end);
  std::shared_ptr<http_client> ClientFor(const ClientRequest& request, const Url& url);
  http_client_config ConfigFor(const PoolKey& key, const Url& url) const;
  web::http::http_request Compose(const ClientRequest& request, const Outgoing& outgoing) const;

  const ClientOptions options_;
  const std::shared_ptr<SSL_CTX> context_;

  base::Mutex mu_;
  base::CondVar idle_;
  bool closing_ GUARDED_BY(mu_) = false;
  std::map<Exchange*, std::shared_ptr<Exchange>> running_ GUARDED_BY(mu_);
  std::map<PoolKey, std::shared_ptr<http_client>> clients_ GUARDED_BY(mu_);
};

CpprestClient::~CpprestClient() {
  std::map<Exchange*, std::shared_ptr<Exchange>> running;
  {
    base::MutexLock lock(mu_);
    closing_ = true;
    running = running_;
  }
  for (const auto& [key, exchange] : running) exchange->End(base::CancelledError("the client is closing"));
  base::MutexLock lock(mu_);
  while (!running_.empty()) idle_.Wait(mu_);
}

base::Result<std::shared_ptr<Exchange>> CpprestClient::Run(const ClientRequest& request, const StreamHandler* handler,
                                                           CancelToken* cancel) {
  TW_ASSIGN_OR_RETURN(Outgoing outgoing, PrepareRequest(request));
  auto exchange = std::make_shared<Exchange>(request, outgoing.label, handler != nullptr);
  Begin(exchange, request, outgoing, [] {});
  uint64_t registration = 0;
  if (cancel != nullptr) {
    registration = cancel->OnCancel([exchange] { exchange->End(base::CancelledError("cancelled")); });
  }
  base::Status status = exchange->Wait(handler);
  if (cancel != nullptr) cancel->Remove(registration);
  if (!status.ok()) return status;
  return exchange;
}

void CpprestClient::SendAsync(ClientRequest request, std::function<void(base::Result<Response>)> done) {
  auto outgoing = PrepareRequest(request);
  if (!outgoing.ok()) return done(outgoing.status());
  auto exchange = std::make_shared<Exchange>(request, outgoing->label, false);
  // The exchange owns the callback, so the callback must not own the exchange.
  Begin(exchange, request, *outgoing, [raw = exchange.get(), done = std::move(done)] { done(raw->TakeResult()); });
}

void CpprestClient::Begin(const std::shared_ptr<Exchange>& exchange, const ClientRequest& request,
                          const Outgoing& outgoing, std::function<void()> on_end) {
  exchange->OnEnd([this, raw = exchange.get(), on_end = std::move(on_end)] {
    on_end();
    base::MutexLock lock(mu_);
    running_.erase(raw);
    idle_.NotifyAll();
  });
  bool closing = false;
  {
    base::MutexLock lock(mu_);
    closing = closing_;
    running_.emplace(exchange.get(), exchange);
  }
  if (closing) return exchange->End(base::CancelledError("the client is closing"));
  exchange->StartTimer(request.total_timeout_ms);
  try {
    auto client = ClientFor(request, outgoing.url);
    auto message = Compose(request, outgoing);
    message.set_response_stream(
        concurrency::streams::ostream(concurrency::streams::streambuf<uint8_t>(std::make_shared<Sink>(exchange))));
    client->request(message, exchange->token())
        .then([exchange](http_response response) {
          exchange->OnHeaders(response);
          return response.content_ready();
        })
        // Takes the task, not its value: an exception that nobody looks at ends the process.
        .then([exchange, client](pplx::task<http_response> task) { exchange->EndWithTask(task); });
  } catch (const std::exception& error) {
    exchange->End(base::InvalidArgumentError(error.what()));
  }
}

std::shared_ptr<http_client> CpprestClient::ClientFor(const ClientRequest& request, const Url& url) {
  PoolKey key;
  key.base_url = url.scheme + "://" + url.Authority();
  // The library's only timeout is per step. Without an idle timeout the total one ends every step in time.
  key.step_timeout_ms = request.idle_timeout_ms > 0 ? request.idle_timeout_ms : kNoTimeoutMs;
  key.gzip = request.accept_gzip;
  base::MutexLock lock(mu_);
  auto it = clients_.find(key);
  if (it != clients_.end()) return it->second;
  if (clients_.size() >= kMaxClients) clients_.clear();
  auto client = std::make_shared<http_client>(web::uri(key.base_url), ConfigFor(key, url));
  clients_.emplace(std::move(key), client);
  return client;
}

http_client_config CpprestClient::ConfigFor(const PoolKey& key, const Url& url) const {
  http_client_config config;
  config.set_timeout(std::chrono::milliseconds(key.step_timeout_ms));
  config.set_max_redirects(0);
  config.set_request_compressed_response(key.gzip);
  config.set_validate_certificates(!options_.tls.insecure_skip_verify);
  const std::string& name = options_.tls.server_name.empty() ? url.host : options_.tls.server_name;
  config.set_tlsext_sni_enabled(!IsIpLiteral(name));  // RFC 6066 knows no addresses as server names.
  config.set_ssl_context_callback([shared = context_](boost::asio::ssl::context& context) {
    // Replaced, not added to: the library's own context trusts the system's certificates.
    SSL_CTX_up_ref(shared.get());
    context = boost::asio::ssl::context(shared.get());
  });
  return config;
}

web::http::http_request CpprestClient::Compose(const ClientRequest& request, const Outgoing& outgoing) const {
  web::http::http_request message(request.method);
  const Url& url = outgoing.url;
  message.set_request_uri(web::uri(url.query.empty() ? url.path : url.path + "?" + url.query));
  bool idempotent_read = request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS";
  bool has_body = !request.body.empty() || !idempotent_read;
  if (has_body) {
    // A body that cannot be read twice: the library would otherwise send a request a second time, whatever its method,
    // when it finds that the peer had closed a kept connection.
    concurrency::streams::producer_consumer_buffer<uint8_t> body;
    body.putn_nocopy(reinterpret_cast<const uint8_t*>(request.body.data()), request.body.size()).get();
    body.close(std::ios_base::out).get();
    std::string type = outgoing.headers.Get("Content-Type");
    message.set_body(body.create_istream(), request.body.size(), type.empty() ? "application/octet-stream" : type);
  }
  for (const auto& [name, value] : outgoing.headers) {
    if (!has_body || !base::EqualsIgnoreCase(name, "Content-Type")) message.headers().add(name, value);
  }
  if (!outgoing.headers.Has("User-Agent")) message.headers().add("User-Agent", options_.user_agent);
  // The library verifies, and sends as SNI, the Host header if there is one.
  if (!options_.tls.server_name.empty() && url.scheme == "https") message.headers()["Host"] = options_.tls.server_name;
  return message;
}

base::Status TrustSystem(SSL_CTX* context) {
  const Settings& trust = GetSettings();
  // Either may be missing: Debian has only the folder.
  int loaded = SSL_CTX_load_verify_file(context, trust.file.c_str());
  loaded |= SSL_CTX_load_verify_dir(context, trust.directory.c_str());
  if (loaded != 1) return OpensslError("read the system's CA certificates");
  ERR_clear_error();
  return base::Status::Ok();
}

base::Result<SslContextPtr> NewClientContext(const ClientTls& tls) {
  TW_RETURN_IF_ERROR(CheckClientTls(tls));
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return OpensslError("make a TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  if (!tls.ca_pem.empty()) {
    TW_RETURN_IF_ERROR(TrustExactly(context.get(), tls.ca_pem).Annotate("CA certificate"));
  } else {
    TW_RETURN_IF_ERROR(TrustSystem(context.get()));
  }
  if (!tls.certificate_pem.empty()) {
    TW_RETURN_IF_ERROR(
        UseCertificate(context.get(), tls.certificate_pem, tls.private_key_pem).Annotate("client certificate"));
  }
  return context;
}

}  // namespace

void InitializeCpprest(int threads) {
  static std::once_flag once;
  std::call_once(once, [threads] {
    GetSettings() = {
        threads,
        EnvironmentOr("SSL_CERT_FILE", X509_get_default_cert_file()),
        EnvironmentOr("SSL_CERT_DIR", X509_get_default_cert_dir()),
        {{"SSL_CERT_FILE", EnvironmentOr("SSL_CERT_FILE", "")}, {"SSL_CERT_DIR", EnvironmentOr("SSL_CERT_DIR", "")}}};
    // The library parses the system's bundle for every connection (60 ms), before our callback replaces its context.
    setenv("SSL_CERT_FILE", "/nonexistent", 1);
    setenv("SSL_CERT_DIR", "/nonexistent", 1);
  });
}

std::vector<std::pair<std::string, std::string>> EnvironmentBeforeCpprest() { return GetSettings().environment; }

base::Result<std::unique_ptr<Client>> NewCpprestClient(const ClientOptions& options) {
  InitializeCpprest();
  StartThreads();
  if (!options.proxy_url.empty() || options.proxy_from_environment) {
    return base::InvalidArgumentError("a proxy towards the Kubernetes API server is not supported: remove it");
  }
  if (!IsFieldValue(options.user_agent)) {
    return base::InvalidArgumentError("the user agent contains a control character");
  }
  TW_ASSIGN_OR_RETURN(SslContextPtr context, NewClientContext(options.tls));
  return std::unique_ptr<Client>(std::make_unique<CpprestClient>(options, std::move(context)));
}

}  // namespace tidewright::http
