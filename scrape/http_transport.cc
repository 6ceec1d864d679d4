#include "scrape/http_transport.h"

#include <utility>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "http/message.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kCertificateCheckMs = 60'000;
constexpr int64_t kExpiryMarginMs = 10'000;
constexpr int64_t kTokenTimeoutMs = 10'000;
constexpr size_t kMaxTokenReply = 1u << 20;

using AuthorizationCallback = std::function<void(base::Result<http::Headers>)>;

// A request that waits for a token, with the header fields that it has already.
struct Waiting {
  http::Headers headers;
  AuthorizationCallback done;
};

// What is known about the token. Outlives the transport while a reply is on its way.
struct TokenState {
  base::Mutex mu;
  std::string authorization GUARDED_BY(mu);  // "Bearer ..."; "" before the first.
  int64_t expires_ms GUARDED_BY(mu) = 0;     // INT64_MAX when the endpoint does not say.
  std::string secret GUARDED_BY(mu);         // That the token was asked for with.
  bool fetching GUARDED_BY(mu) = false;
  bool client_in_body GUARDED_BY(mu) = false;  // Where the endpoint wants the client's credentials.
  std::vector<Waiting> waiting GUARDED_BY(mu);
};

std::string FormField(std::string_view name, std::string_view value) {
  return "&" + http::PercentEncode(name) + "=" + http::PercentEncode(value);
}

http::ClientRequest TokenRequest(const Oauth2Config& config, const std::string& secret, bool client_in_body) {
  http::ClientRequest request;
  request.method = "POST";
  request.url = config.token_url;
  request.body = "grant_type=client_credentials";
  if (!config.scopes.empty()) request.body += FormField("scope", base::Join(config.scopes, " "));
  for (const auto& [name, value] : config.endpoint_params) request.body += FormField(name, value);
  if (client_in_body) {
    request.body += FormField("client_id", config.client_id) + FormField("client_secret", secret);
  } else {
    const std::string pair = http::PercentEncode(config.client_id) + ":" + http::PercentEncode(secret);
    request.headers.Add("Authorization", "Basic " + base::Base64Encode(pair));
  }
  request.headers.Add("Content-Type", "application/x-www-form-urlencoded");
  request.headers.Add("Accept", "application/json");
  request.connect_timeout_ms = request.total_timeout_ms = kTokenTimeoutMs;
  request.max_body_bytes = kMaxTokenReply;
  return request;
}

struct Token {
  std::string authorization;
  int64_t lifetime_ms = 0;  // 0: unknown.
};

base::Result<Token> ParseToken(const http::Response& reply) {
  if (reply.status / 100 != 2) {
    return base::UnauthenticatedError("the token endpoint answered HTTP status " + std::to_string(reply.status));
  }
  auto json = base::ParseJson(reply.body);
  const bool usable = json.ok() && json->is_object() && json->contains("access_token") &&
                      (*json)["access_token"].is_string() && !(*json)["access_token"].get<std::string>().empty();
  if (!usable) return base::UnauthenticatedError("the token endpoint's answer has no access_token");
  Token token;
  std::string type = json->contains("token_type") && (*json)["token_type"].is_string()
                         ? (*json)["token_type"].get<std::string>()
                         : "Bearer";
  if (type.empty() || base::EqualsIgnoreCase(type, "bearer")) type = "Bearer";
  token.authorization = type + " " + (*json)["access_token"].get<std::string>();
  const base::Json seconds = json->value("expires_in", base::Json());
  int64_t parsed = 0;
  if (seconds.is_number()) token.lifetime_ms = static_cast<int64_t>(seconds.get<double>() * 1000);
  if (seconds.is_string() && base::ParseInt64(seconds.get<std::string>(), &parsed)) token.lifetime_ms = parsed * 1000;
  return token;
}

void Deliver(TokenState& state, const base::Result<Token>& token) {
  std::vector<Waiting> waiting;
  {
    base::MutexLock lock(state.mu);
    waiting.swap(state.waiting);
  }
  for (Waiting& one : waiting) {
    if (token.ok()) one.headers.Add("Authorization", token->authorization);
    one.done(token.ok() ? base::Result<http::Headers>(std::move(one.headers)) : token.status());
  }
}

void OnToken(const std::shared_ptr<TokenState>& state, const base::Result<http::Response>& reply, int64_t asked_ms) {
  base::Result<Token> token = reply.ok() ? ParseToken(*reply) : base::Result<Token>(reply.status());
  if (!token.ok()) token = token.status().Annotate("oauth2");
  {
    base::MutexLock lock(state->mu);
    state->fetching = false;
    if (token.ok()) {
      state->authorization = token->authorization;
      state->expires_ms = token->lifetime_ms > 0 ? asked_ms + token->lifetime_ms - kExpiryMarginMs : INT64_MAX;
    } else if (reply.ok() && (reply->status == 400 || reply->status == 401) && !state->client_in_body) {
      state->client_in_body = true;
      token = base::Status(base::Code::kAborted, token.status().message());
    }
  }
  Deliver(*state, token);
}

HttpClientConfig TokenClientConfig(const Oauth2Config& oauth2) {
  HttpClientConfig config;
  static_cast<TlsConfig&>(config) = oauth2;
  config.proxy = oauth2.proxy;
  return config;
}

}  // namespace

// Fetches tokens, one at a time however many requests wait for it.
class HttpTransport::TokenSource {
 public:
  TokenSource(const Oauth2Config& config, const Factory& factory)
      : config_(config), transport_(TokenClientConfig(config), factory) {}

  void Authorize(int64_t now_ms, http::Headers headers, AuthorizationCallback done) {
    auto secret = config_.client_secret.Read();
    if (!secret.ok()) return done(secret.status().Annotate("oauth2.client_secret_file"));
    if (!config_.grant_type.empty() && config_.grant_type != "client_credentials") {
      return done(base::UnimplementedError("oauth2: grant_type " + config_.grant_type + " is not supported"));
    }
    bool fetch = false, client_in_body = false;
    {
      base::MutexLock lock(state_->mu);
      const bool valid = !state_->authorization.empty() && now_ms < state_->expires_ms && state_->secret == *secret;
      if (valid) {
        headers.Add("Authorization", state_->authorization);
      } else {
        state_->waiting.push_back({std::move(headers), std::move(done)});
        fetch = !std::exchange(state_->fetching, true);
        state_->secret = *secret;
        client_in_body = state_->client_in_body;
      }
    }
    if (done) return done(std::move(headers));
    if (fetch) Fetch(now_ms, *secret, client_in_body);
  }

 private:
  void Fetch(int64_t now_ms, const std::string& secret, bool client_in_body) {
    auto client = transport_.Client(now_ms, config_.token_url);
    if (!client.ok()) return OnToken(state_, client.status(), now_ms);
    (*client)->SendAsync(
        TokenRequest(config_, secret, client_in_body),
        [state = state_, now_ms](base::Result<http::Response> reply) { OnToken(state, reply, now_ms); });
  }

  const Oauth2Config config_;
  HttpTransport transport_;
  const std::shared_ptr<TokenState> state_ = std::make_shared<TokenState>();
};

HttpTransport::HttpTransport(HttpClientConfig config, Factory factory)
    : config_(std::move(config)),
      factory_(std::move(factory)),
      tokens_(config_.oauth2 ? std::make_unique<TokenSource>(*config_.oauth2, factory_) : nullptr) {}

HttpTransport::~HttpTransport() = default;

void HttpTransport::Authorize(int64_t now_ms, AuthorizationCallback done) {
  auto headers = RequestHeaders(config_);
  if (!headers.ok() || tokens_ == nullptr) return done(std::move(headers));
  tokens_->Authorize(now_ms, std::move(*headers), std::move(done));
}

base::Result<http::ClientTls> HttpTransport::ReadTls() const {
  http::ClientTls tls;
  TW_ASSIGN_OR_RETURN(tls.ca_pem, config_.ca.Read());
  TW_ASSIGN_OR_RETURN(tls.certificate_pem, config_.cert.Read());
  TW_ASSIGN_OR_RETURN(tls.private_key_pem, config_.key.Read());
  tls.server_name = config_.server_name;
  tls.insecure_skip_verify = config_.insecure_skip_verify;
  return tls;
}

void HttpTransport::Recycle(std::string body) {
  base::MutexLock lock(mu_);
  if (direct_.client != nullptr) direct_.client->Recycle(std::move(body));
}

base::Result<std::shared_ptr<http::Client>> HttpTransport::Client(int64_t now_ms, const std::string& url) {
  // Without a list of exceptions the proxy gets everything, loopback addresses included.
  bool use_proxy = !config_.proxy.url.empty();
  if (use_proxy && !config_.proxy.no_proxy.empty()) {
    TW_ASSIGN_OR_RETURN(http::Url parsed, http::Url::Parse(url));
    use_proxy = !BypassesProxy(config_.proxy.no_proxy, parsed.host, parsed.port);
  }
  std::shared_ptr<http::Client> replaced;  // Goes once the lock is free: its thread may be about to recycle a body.
  base::MutexLock lock(mu_);
  Made& made = use_proxy ? proxied_ : direct_;
  if (made.client != nullptr && now_ms - made.checked_ms < kCertificateCheckMs) return made.client;
  TW_ASSIGN_OR_RETURN(http::ClientTls tls, ReadTls());
  made.checked_ms = now_ms;
  std::string fingerprint = tls.ca_pem + '\n' + tls.certificate_pem + '\n' + tls.private_key_pem;
  if (made.client != nullptr && fingerprint == made.fingerprint) return made.client;
  http::ClientOptions options;
  options.tls = std::move(tls);
  options.proxy_from_environment = config_.proxy.from_environment;
  if (use_proxy) options.proxy_url = config_.proxy.url;
  TW_ASSIGN_OR_RETURN(std::unique_ptr<http::Client> client, factory_(options));
  replaced = std::exchange(made.client, std::move(client));
  made.fingerprint = std::move(fingerprint);
  return made.client;
}

}  // namespace tidewright::scrape
