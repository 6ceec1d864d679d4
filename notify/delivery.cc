#include "notify/delivery.h"

#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "notify/messages.h"

namespace tidewright::notify {

namespace {

constexpr int64_t kSlackTimeoutMs = 30'000;
constexpr size_t kShownReply = 200;

void ReplaceEach(std::string* text, const std::string& part, std::string_view by) {
  if (part.size() < 2) return;  // A path of "/" hides nothing.
  for (size_t at = text->find(part); at != std::string::npos; at = text->find(part, at + by.size())) {
    text->replace(at, part.size(), by);
  }
}

// Without what follows the host in `url`.
base::Status Redacted(const base::Status& status, const std::string& url) {
  if (status.ok()) return status;
  std::string text = status.message();
  auto parsed = http::Url::Parse(url);
  if (!parsed.ok()) return base::Status(status.code(), "the URL is not valid");
  ReplaceEach(&text, parsed->path + (parsed->query.empty() ? "" : "?" + parsed->query), "/<secret>");
  ReplaceEach(&text, parsed->path, "/<secret>");
  return base::Status(status.code(), std::move(text));
}

// Slack says in JSON that it did not like a message, with status 200.
base::Status Outcome(const base::Result<http::Response>& reply) {
  TW_RETURN_IF_ERROR(reply.status());
  if (reply->status < 200 || reply->status >= 300) {
    return base::UnavailableError("HTTP status " + std::to_string(reply->status) + ": " +
                                  reply->body.substr(0, kShownReply));
  }
  if (!reply->body.starts_with("{")) return base::Status::Ok();
  auto parsed = base::ParseJson(reply->body);
  if (!parsed.ok() || base::FindBool(*parsed, {"ok"}, true)) return base::Status::Ok();
  return base::UnavailableError("not taken: " + base::FindString(*parsed, {"error"}, "no reason given"));
}

const scrape::HttpClientConfig* HttpOf(const Integration& integration) {
  if (const auto* webhook = std::get_if<WebhookConfig>(&integration.how)) return &webhook->http;
  if (const auto* slack = std::get_if<SlackConfig>(&integration.how)) return &slack->http;
  return nullptr;
}

base::Result<http::MailServer> ServerOf(const EmailConfig& config) {
  http::MailServer server{.host = config.host,
                          .port = config.port,
                          .hello = config.hello,
                          .username = config.auth_username,
                          .identity = config.auth_identity,
                          .require_tls = config.require_tls};
  if (!config.auth_username.empty()) {
    TW_ASSIGN_OR_RETURN(server.password, config.auth_password.Read());
  }
  TW_ASSIGN_OR_RETURN(server.tls.ca_pem, config.tls.ca.Read());
  TW_ASSIGN_OR_RETURN(server.tls.certificate_pem, config.tls.cert.Read());
  TW_ASSIGN_OR_RETURN(server.tls.private_key_pem, config.tls.key.Read());
  server.tls.server_name = config.tls.server_name;
  server.tls.insecure_skip_verify = config.tls.insecure_skip_verify;
  return server;
}

base::Status SendByMail(const EmailConfig& config, const Message& message, http::CancelToken* cancel) {
  TW_ASSIGN_OR_RETURN(http::MailServer server, ServerOf(config));
  TW_ASSIGN_OR_RETURN(http::Mail mail, MailOf(config, message));
  return http::SendMail(server, mail, cancel);
}

}  // namespace

Delivery::Delivery(const Integration& integration, base::Clock& clock, base::ThreadPool& mail_pool,
                   http::CancelToken& cancel)
    : integration_(integration), clock_(clock), mail_pool_(mail_pool), cancel_(cancel) {
  const scrape::HttpClientConfig* http = HttpOf(integration);
  if (http != nullptr) transport_ = std::make_unique<scrape::HttpTransport>(*http, http::NewCurlClient);
}

void Delivery::Send(const Message& message, Done done) {
  if (const auto* webhook = std::get_if<WebhookConfig>(&integration_.how)) {
    return Post(webhook->url, WebhookBody(*webhook, message), webhook->timeout_ms, std::move(done));
  }
  if (const auto* slack = std::get_if<SlackConfig>(&integration_.how)) {
    return Post(slack->api_url, SlackBody(*slack, message), kSlackTimeoutMs, std::move(done));
  }
  Mail(std::get<EmailConfig>(integration_.how), message, std::move(done));
}

void Delivery::Post(const scrape::InlineOrFile& secret_url, base::Result<std::string> body, int64_t timeout_ms,
                    Done done) {
  if (!body.ok()) return done(body.status());
  auto read = secret_url.Read();
  if (!read.ok()) return done(read.status());
  const std::string url(base::TrimSpace(*read));
  auto client = transport_->Client(clock_.NowMs(), url);
  if (!client.ok()) return done(Redacted(client.status(), url));
  http::ClientRequest request;
  request.method = "POST";
  request.url = url;
  request.body = *std::move(body);
  request.total_timeout_ms = timeout_ms;
  request.max_redirects = transport_->config().follow_redirects ? 10 : 0;
  transport_->Authorize(clock_.NowMs(), [client = *client, request = std::move(request), url,
                                         done = std::move(done)](base::Result<http::Headers> headers) mutable {
    if (!headers.ok()) return done(Redacted(headers.status(), url));
    request.headers = *std::move(headers);
    request.headers.Set("Content-Type", "application/json");
    client->SendAsync(std::move(request), [url, done = std::move(done)](base::Result<http::Response> reply) {
      done(Redacted(Outcome(reply), url));
    });
  });
}

void Delivery::Mail(const EmailConfig& config, const Message& message, Done done) {
  // The task may outlast this object.
  auto task = [config, message, done, cancel = &cancel_] { done(SendByMail(config, message, cancel)); };
  if (!mail_pool_.Submit(std::move(task))) done(base::CancelledError("stopping"));
}

}  // namespace tidewright::notify
