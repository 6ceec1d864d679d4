#include "http/mail.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "http/curl_tls.h"
#include "http/outgoing.h"

namespace tidewright::http {

namespace {

constexpr uint16_t kImplicitTlsPort = 465;

template <auto kFree>
struct CurlDeleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using EasyPtr = std::unique_ptr<CURL, CurlDeleter<curl_easy_cleanup>>;
using ListPtr = std::unique_ptr<curl_slist, CurlDeleter<curl_slist_free_all>>;

ListPtr ListOf(const std::vector<std::string>& texts) {
  curl_slist* list = nullptr;
  for (const std::string& text : texts) {
    curl_slist* longer = curl_slist_append(list, text.c_str());
    if (longer != nullptr) list = longer;
  }
  return ListPtr(list);
}

size_t OnRead(char* buffer, size_t /*one*/, size_t size, void* user) {
  auto& rest = *static_cast<std::string_view*>(user);
  const size_t count = rest.copy(buffer, size);
  rest.remove_prefix(count);
  return count;
}

size_t OnReply(char* /*data*/, size_t /*one*/, size_t size, void* /*user*/) { return size; }

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* cancel = static_cast<const CancelToken*>(user);
  return cancel->cancelled() ? 1 : 0;
}

bool IsBareAddress(std::string_view address) {
  if (address.empty() || address.size() > 512) return false;
  return std::none_of(address.begin(), address.end(),
                      [](unsigned char c) { return c <= 0x20 || c == 0x7f || c == '<' || c == '>'; });
}

base::Status Check(const MailServer& server, const Mail& mail) {
  if (mail.to.empty()) return base::InvalidArgumentError("the mail has no recipient");
  std::vector<std::string> addresses = mail.to;
  addresses.push_back(mail.from);
  for (const std::string& address : addresses) {
    if (IsBareAddress(address)) continue;
    return base::InvalidArgumentError(base::Quoted(address) +
                                      " is not a mail address; write for example a@example.com");
  }
  for (const std::string* text : {&server.host, &server.hello}) {
    if (IsFieldValue(*text) && text->find_first_of(" /?#@") == std::string::npos) continue;
    return base::InvalidArgumentError(base::Quoted(*text) + " is not a host name");
  }
  if (server.host.empty()) return base::InvalidArgumentError("the mail server has no host name");
  if (!IsFieldValue(server.username)) return base::InvalidArgumentError("the mail user has control characters");
  return CheckClientTls(server.tls);
}

std::string Bracketed(const std::string& host) { return host.find(':') == std::string::npos ? host : "[" + host + "]"; }

base::Code CodeOf(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return base::Code::kDeadlineExceeded;
    case CURLE_ABORTED_BY_CALLBACK: return base::Code::kCancelled;
    case CURLE_LOGIN_DENIED:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_USE_SSL_FAILED: return base::Code::kUnauthenticated;
    default: return base::Code::kUnavailable;
  }
}

std::string Why(CURLcode code, const char* text) {
  if (code == CURLE_USE_SSL_FAILED) return "it does not offer STARTTLS; turn it on there, or set require_tls: false";
  return text[0] != '\0' ? text : curl_easy_strerror(code);
}

// Where to connect to, and under which name TLS verifies the server. The list must outlive the exchange.
ListPtr SetPeer(CURL* easy, const MailServer& server) {
  const std::string port = std::to_string(server.port);
  const std::string& name = server.tls.server_name.empty() ? server.host : server.tls.server_name;
  const std::string scheme = server.port == kImplicitTlsPort ? "smtps" : "smtp";
  const std::string hello = server.hello.empty() ? "localhost" : server.hello;
  curl_easy_setopt(easy, CURLOPT_URL, (scheme + "://" + Bracketed(name) + ":" + port + "/" + hello).c_str());
  if (server.tls.server_name.empty()) return nullptr;
  ListPtr list = ListOf({Bracketed(name) + ":" + port + ":" + Bracketed(server.host) + ":" + port});
  curl_easy_setopt(easy, CURLOPT_CONNECT_TO, list.get());
  return list;
}

void SetUser(CURL* easy, const MailServer& server) {
  if (server.username.empty()) return;
  curl_easy_setopt(easy, CURLOPT_USERNAME, server.username.c_str());
  curl_easy_setopt(easy, CURLOPT_PASSWORD, server.password.c_str());
  if (!server.identity.empty()) curl_easy_setopt(easy, CURLOPT_SASL_AUTHZID, server.identity.c_str());
  // The others need Kerberos, which releases do without, or are weaker.
  curl_easy_setopt(easy, CURLOPT_LOGIN_OPTIONS, "AUTH=CRAM-MD5;AUTH=PLAIN;AUTH=LOGIN");
}

}  // namespace

base::Status SendMail(const MailServer& server, const Mail& mail, CancelToken* cancel) {
  TW_RETURN_IF_ERROR(Check(server, mail));
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  const EasyPtr easy(initialized == CURLE_OK ? curl_easy_init() : nullptr);
  if (easy == nullptr) return base::InternalError("libcurl could not be initialized");
  char error[CURL_ERROR_SIZE] = {};
  std::string_view rest = mail.message;
  CURL* handle = easy.get();
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  curl_easy_setopt(handle, CURLOPT_PROXY, "");
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(server.timeout_ms));
  ApplyTls(handle, server.tls, /*with_certificate=*/true);
  curl_easy_setopt(handle, CURLOPT_USE_SSL, static_cast<long>(server.require_tls ? CURLUSESSL_ALL : CURLUSESSL_NONE));
  const ListPtr peer = SetPeer(handle, server);
  SetUser(handle, server);
  curl_easy_setopt(handle, CURLOPT_MAIL_FROM, ("<" + mail.from + ">").c_str());
  std::vector<std::string> recipients;
  for (const std::string& to : mail.to) recipients.push_back("<" + to + ">");
  const ListPtr list = ListOf(recipients);
  curl_easy_setopt(handle, CURLOPT_MAIL_RCPT, list.get());
  curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(handle, CURLOPT_READFUNCTION, OnRead);
  curl_easy_setopt(handle, CURLOPT_READDATA, &rest);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, OnReply);
  if (cancel != nullptr) {
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, OnProgress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, cancel);
  }
  const CURLcode code = curl_easy_perform(handle);
  if (code == CURLE_OK) return base::Status::Ok();
  return base::Status(CodeOf(code), "mail server " + Bracketed(server.host) + ":" + std::to_string(server.port) + ": " +
                                        Why(code, error));
}

base::Result<std::string> MailAddress(std::string_view text) {
  std::string_view address = base::TrimSpace(text);
  const size_t open = address.rfind('<');
  if (open != std::string_view::npos && address.ends_with(">")) {
    address = address.substr(open + 1, address.size() - open - 2);
  }
  if (IsBareAddress(address) && address.find('@') != std::string_view::npos) return std::string(address);
  return base::InvalidArgumentError(base::Quoted(text) + " is not a mail address; write for example a@example.com");
}

std::vector<std::string> SplitMailAddresses(std::string_view text) {
  std::vector<std::string> parts;
  std::string part;
  bool quoted = false;
  auto finish = [&] {
    const std::string_view trimmed = base::TrimSpace(part);
    if (!trimmed.empty()) parts.emplace_back(trimmed);
    part.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\' && i + 1 < text.size()) part += text[i++];
    if (text[i] == '"') quoted = !quoted;
    if (text[i] == ',' && !quoted) {
      finish();
    } else {
      part += text[i];
    }
  }
  finish();
  return parts;
}

}  // namespace tidewright::http
