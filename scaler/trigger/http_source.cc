#include "scaler/trigger/http_source.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/json.h"
#include "base/quantity.h"
#include "base/strings.h"
#include "http/message.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr size_t kMaxBodyBytes = 4u << 20;
constexpr const char* kModes[] = {"apiKey", "basic", "bearer", "custom", "tls"};

base::Status ParseModes(const std::string& value, HttpAccess& access) {
  for (const std::string& part : base::Split(value, ',')) {
    std::string mode(base::TrimSpace(part));
    if (std::find(std::begin(kModes), std::end(kModes), mode) == std::end(kModes)) {
      return base::InvalidArgumentError(base::Quoted(mode) +
                                        " is not supported; use apiKey, basic, bearer, custom or tls");
    }
    access.modes.push_back(std::move(mode));
  }
  return base::Status::Ok();
}

base::Status ParseMethod(const std::string& value, HttpAccess& access) {
  access.api_key_method = value;
  if (value == "header" || value == "query") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not a way to send a key; use header or query");
}

constexpr Field<HttpAccess> kCredentials[] = {
    {"authModes", Need::kOptional, From::kAny, &ParseModes,
     "Which credentials to use: apiKey, basic, bearer, custom, tls. Default: all that are given."},
    {"authMode", Need::kOptional, From::kAny, &ParseModes, "The same for one."},
    {"username", Need::kOptional, From::kAny,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.username); }, "For basic."},
    {"password", Need::kOptional, From::kSecret,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.password); }, "For basic."},
    {"bearerToken", Need::kOptional, From::kSecret,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.bearer_token); }, "For bearer."},
    {"apiKey", Need::kOptional, From::kSecret,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.api_key); }, "For apiKey."},
    {"method", Need::kOptional, From::kAny, &ParseMethod, "How the key is sent: header (default) or query."},
    {"keyParamName", Need::kOptional, From::kAny,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.api_key_name); },
     "The key's header (default X-API-KEY) or query parameter (default api_key)."},
    {"customAuthHeader", Need::kOptional, From::kAny,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.custom_header); }, "For custom."},
    {"customAuthValue", Need::kOptional, From::kSecret,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.custom_value); }, "For custom."},
};

constexpr Field<HttpAccess> kConnection[] = {
    {"ca", Need::kOptional, From::kAny,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.tls.ca_pem); },
     "Certificates (PEM) to trust instead of the system's."},
    {"cert", Need::kOptional, From::kAny,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.tls.certificate_pem); },
     "Client certificate (PEM)."},
    {"key", Need::kOptional, From::kSecret,
     [](const std::string& value, HttpAccess& access) { return Keep(value, &access.tls.private_key_pem); },
     "Its private key (PEM)."},
    {"unsafeSsl", Need::kOptional, From::kMetadata,
     [](const std::string& value, HttpAccess& access) { return ParseFlag(value, &access.tls.insecure_skip_verify); },
     "Trust any certificate. Default false."},
    {"timeout", Need::kOptional, From::kMetadata,
     [](const std::string& value, HttpAccess& access) { return ParseTimeoutMs(value, &access.timeout_ms); },
     "For one reading. Default 3s; a bare number is milliseconds."},
};

// The pieces of a path, `\.` being a dot.
std::vector<std::string> PathParts(const std::string& path) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '\\' && i + 1 < path.size()) {
      parts.back() += path[++i];
    } else if (path[i] == '.') {
      parts.emplace_back();
    } else {
      parts.back() += path[i];
    }
  }
  return parts;
}

// What stands at a path, which may be `count`; null: nothing does.
const base::Json* Walk(const base::Json& document, const std::string& path, base::Json* count) {
  const base::Json* at = &document;
  for (const std::string& part : PathParts(path)) {
    int64_t position = 0;
    if (part == "#" && at->is_array()) {
      *count = at->size();
      at = count;
    } else if (at->is_object() && at->contains(part)) {
      at = &at->at(part);
    } else if (at->is_array() && base::ParseInt64(part, &position) && position >= 0 &&
               position < static_cast<int64_t>(at->size())) {
      at = &at->at(static_cast<size_t>(position));
    } else {
      return nullptr;
    }
  }
  return at;
}

base::Result<std::string> BodyOf(http::Response response) {
  if (response.status / 100 == 2) return std::move(response.body);
  bool refused = response.status == 401 || response.status == 403;
  const std::string text = "the server answered " + std::to_string(response.status) + " " +
                           std::string(http::ReasonPhrase(response.status)) +
                           (refused ? "; check the credentials" : "");
  if (response.status == 400) return base::InvalidArgumentError(text);
  // Something is wrong with the question, or else with the server, which may also be busy.
  const bool question = response.status / 100 == 4 && response.status != 408 && response.status != 429;
  return question ? base::FailedPreconditionError(text) : base::UnavailableError(text);
}

}  // namespace

HttpAccess ReadHttpAccess(MetadataReader& reader) {
  HttpAccess access = ReadMetadata(kCredentials, reader);
  ReadInto(kConnection, reader, access);
  return access;
}

HttpAccess ReadHttpConnection(MetadataReader& reader) { return ReadMetadata(kConnection, reader); }

base::Status ParseHttpAddress(const std::string& value, std::string* address, HttpAccess* access) {
  auto url = http::Url::Parse(value);
  // The parser's text may quote the address, and an address may hold a password.
  if (!url.ok()) return base::InvalidArgumentError("is not an http:// or https:// address");
  if (!url->user_info.empty() && access == nullptr) {
    return base::InvalidArgumentError("must not have a user name in it; use username and password");
  }
  if (!url->user_info.empty()) {
    size_t colon = url->user_info.find(':');
    auto user = http::PercentDecode(url->user_info.substr(0, colon));
    auto password = http::PercentDecode(colon == std::string::npos ? "" : url->user_info.substr(colon + 1));
    if (!user.ok() || !password.ok()) return base::InvalidArgumentError("has a user name with bad percent escapes");
    access->username = *user;
    access->password = *password;
  }
  *address = url->ToString();
  while (address->ends_with('/')) address->pop_back();
  return base::Status::Ok();
}

std::string ServerOf(const std::string& address) {
  return address.substr(0, address.find_first_of("/?#", address.find("://") + 3));
}

base::Status ParseHttpAddresses(const std::string& value, std::vector<std::string>* addresses) {
  for (const std::string& part : base::Split(value, ',')) {
    std::string text(base::TrimSpace(part));
    if (text.find("://") == std::string::npos) text = "http://" + text;
    std::string address;
    TW_RETURN_IF_ERROR(ParseHttpAddress(text, &address, nullptr));
    addresses->push_back(std::move(address));
  }
  return base::Status::Ok();
}

bool IsNullAt(const base::Json& document, const std::string& path) {
  base::Json count;
  const base::Json* at = Walk(document, path, &count);
  return at == nullptr || at->is_null();
}

base::Result<double> NumberAt(const base::Json& document, const std::string& path) {
  base::Json count;
  const base::Json* at = Walk(document, path, &count);
  if (at == nullptr) return base::FailedPreconditionError("the reply has nothing at " + base::Quoted(path));
  if (at->is_number()) return at->get<double>();
  double number = 0;
  if (at->is_string()) {
    const std::string text = at->get<std::string>();
    if (base::ParseDouble(text, &number)) return number;
    auto quantity = base::Quantity::Parse(text);
    if (quantity.ok()) return quantity->AsDouble();
  }
  return base::FailedPreconditionError("what the reply has at " + base::Quoted(path) + " is not a number");
}

base::Result<int64_t> ToMilli(double value) {
  if (!std::isfinite(value)) return base::FailedPreconditionError("the value is not a number to scale by");
  if (value <= 0) return 0;
  if (value > 9e14) return int64_t{900'000'000'000'000'000};
  return std::max<int64_t>(1, std::llround(value * 1000));
}

bool HttpSource::Uses(const char* mode, bool given) const {
  if (access_.modes.empty()) return given;
  return std::find(access_.modes.begin(), access_.modes.end(), mode) != access_.modes.end();
}

base::Status HttpSource::LogIn(http::ClientRequest* request) const {
  if (Uses("basic", !access_.username.empty())) {
    request->headers.Set("Authorization", "Basic " + base::Base64Encode(access_.username + ":" + access_.password));
  }
  if (Uses("bearer", !access_.bearer_token.empty())) {
    if (access_.bearer_token.empty())
      return base::FailedPreconditionError("authModes has bearer, but no bearerToken is given");
    request->headers.Set("Authorization", "Bearer " + access_.bearer_token);
  }
  if (Uses("custom", !access_.custom_header.empty())) {
    if (access_.custom_header.empty())
      return base::FailedPreconditionError("authModes has custom, but no customAuthHeader is given");
    request->headers.Set(access_.custom_header, access_.custom_value);
  }
  if (!Uses("apiKey", !access_.api_key.empty())) return base::Status::Ok();
  if (access_.api_key.empty()) return base::FailedPreconditionError("authModes has apiKey, but no apiKey is given");
  if (access_.api_key_method == "header") {
    request->headers.Set(access_.api_key_name.empty() ? "X-API-KEY" : access_.api_key_name, access_.api_key);
  } else {
    std::string name = access_.api_key_name.empty() ? "api_key" : access_.api_key_name;
    request->url += (request->url.find('?') == std::string::npos ? "?" : "&") + http::PercentEncode(name) + "=" +
                    http::PercentEncode(access_.api_key);
  }
  return base::Status::Ok();
}

std::string HttpSource::Resolved(const std::string& url) const {
  auto parsed = http::Url::Parse(url);
  if (!parsed.ok() || !context_.resolve_host) return url;
  size_t at = url.find(parsed->host, url.find("://") + 3);
  if (at == std::string::npos) return url;
  return url.substr(0, at) + context_.Resolve(parsed->host) + url.substr(at + parsed->host.size());
}

base::Result<http::Client*> HttpSource::ClientFor() {
  const http::ClientTls& tls = access_.tls;
  bool own = tls.insecure_skip_verify || !tls.ca_pem.empty() || !tls.certificate_pem.empty();
  if (!own) return context_.http;
  if (own_ == nullptr) {
    http::ClientOptions options;
    options.tls = tls;
    TW_ASSIGN_OR_RETURN(own_, http::NewCurlClient(options));
  }
  return own_.get();
}

base::Result<http::Response> HttpSource::Send(http::ClientRequest request) {
  request.url = Resolved(request.url);
  TW_RETURN_IF_ERROR(LogIn(&request));
  request.connect_timeout_ms = request.total_timeout_ms = access_.timeout_ms;
  request.max_body_bytes = kMaxBodyBytes;
  TW_ASSIGN_OR_RETURN(http::Client * client, ClientFor());
  return client->Send(request);
}

base::Result<std::string> HttpSource::Get(const std::string& url, const http::Headers& headers) {
  http::ClientRequest request;
  request.url = url;
  request.headers = headers;
  TW_ASSIGN_OR_RETURN(http::Response response, Send(std::move(request)));
  return BodyOf(std::move(response));
}

base::Result<std::string> HttpSource::Post(const std::string& url, const std::string& body,
                                           const http::Headers& headers) {
  http::ClientRequest request;
  request.method = "POST";
  request.url = url;
  request.headers = headers;
  if (!request.headers.Has("Content-Type")) request.headers.Set("Content-Type", "application/json");
  request.body = body;
  TW_ASSIGN_OR_RETURN(http::Response response, Send(std::move(request)));
  return BodyOf(std::move(response));
}

base::Result<base::Json> HttpSource::GetJson(const std::string& url) {
  TW_ASSIGN_OR_RETURN(std::string body, Get(url));
  auto json = base::ParseJson(body);
  if (!json.ok()) return base::UnavailableError("the reply is not JSON");
  return json;
}

base::Result<base::Json> HttpSource::PostJson(const std::string& url, const base::Json& body,
                                              const http::Headers& headers) {
  TW_ASSIGN_OR_RETURN(std::string text, Post(url, base::DumpJson(body), headers));
  auto json = base::ParseJson(text);
  if (!json.ok()) return base::UnavailableError("the reply is not JSON");
  return json;
}

}  // namespace tidewright::scaler::trigger
