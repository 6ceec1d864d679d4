#include "scrape/http_config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "base/file.h"
#include "base/strings.h"
#include "http/message.h"

namespace tidewright::scrape {
namespace {

// Header fields that the client sets itself or that have fields of their own.
constexpr std::string_view kReservedHeaders[] = {
    "Authorization",
    "Host",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Www-Authenticate",
    "Accept-Encoding",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
};

// Reads `key` and `key`_file (and refuses both at once).
InlineOrFile DecodeInlineOrFile(base::ObjectReader& reader, const std::string& key, DecodeContext& context) {
  InlineOrFile value;
  const std::string file_key = key + "_file";
  reader.Optional(key, &value.text);
  if (reader.Optional(file_key, &value.file)) value.file = context.Resolve(value.file);
  if (!value.text.empty() && !value.file.empty()) reader.Error(file_key, "use either " + key + " or " + file_key);
  return value;
}

// References to secret managers are part of the format and known to nobody here.
void RefuseReference(base::ObjectReader& reader, const std::string& key) {
  if (reader.Has(key)) reader.Error(key, "secret references are not supported; use a file");
  reader.Ignore(key);
}

void DecodeBasicAuth(base::ObjectReader& reader, DecodeContext& context, HttpClientConfig* config) {
  config->username = DecodeInlineOrFile(reader, "username", context);
  config->password = DecodeInlineOrFile(reader, "password", context);
  RefuseReference(reader, "username_ref");
  RefuseReference(reader, "password_ref");
}

void DecodeAuthorization(base::ObjectReader& reader, DecodeContext& context, HttpClientConfig* config) {
  config->authorization_type = "Bearer";
  reader.Optional("type", &config->authorization_type);
  config->authorization_type = std::string(base::TrimSpace(config->authorization_type));
  if (base::EqualsIgnoreCase(config->authorization_type, "basic")) {
    reader.Error("type", "\"Basic\" is not possible here; use basic_auth");
  }
  config->credentials = DecodeInlineOrFile(reader, "credentials", context);
  RefuseReference(reader, "credentials_ref");
}

void DecodeBearerToken(base::ObjectReader& reader, DecodeContext& context, HttpClientConfig* config) {
  if (!reader.Has("bearer_token") && !reader.Has("bearer_token_file")) {
    reader.Ignore("bearer_token");
    reader.Ignore("bearer_token_file");
    return;
  }
  InlineOrFile token = DecodeInlineOrFile(reader, "bearer_token", context);
  if (!config->authorization_type.empty()) return;  // The conflict is reported elsewhere.
  config->authorization_type = "Bearer";
  config->credentials = std::move(token);
}

void DecodeProxy(base::ObjectReader& reader, DecodeContext& context, ProxyConfig* proxy) {
  reader.Optional("proxy_url", &proxy->url);
  reader.Optional("no_proxy", &proxy->no_proxy);
  reader.Optional("proxy_from_environment", &proxy->from_environment);
  const bool has_header = reader.Has("proxy_connect_header"), any = !proxy->url.empty() || proxy->from_environment;
  reader.Ignore("proxy_connect_header");
  if (proxy->url.substr(0, 3) == "://") reader.Error("proxy_url", "has no scheme; use for example http://proxy:3128");
  if (!proxy->url.empty() && proxy->from_environment) {
    reader.Error("proxy_url", "use either proxy_url or proxy_from_environment");
  }
  if (!proxy->no_proxy.empty() && proxy->from_environment) {
    reader.Error("no_proxy", "use either no_proxy or proxy_from_environment");
  }
  if (!proxy->no_proxy.empty() && proxy->url.empty()) reader.Error("no_proxy", "needs proxy_url");
  if (has_header && !any) reader.Error("proxy_connect_header", "needs proxy_url or proxy_from_environment");
  if (has_header && any) context.Warn(reader, "proxy_connect_header", "not supported yet; the proxy does not get it");
}

Oauth2Config DecodeOauth2(base::ObjectReader& reader, DecodeContext& context) {
  Oauth2Config oauth2;
  reader.Required("client_id", &oauth2.client_id);
  reader.Required("token_url", &oauth2.token_url);
  reader.Optional("grant_type", &oauth2.grant_type);
  oauth2.client_secret = DecodeInlineOrFile(reader, "client_secret", context);
  RefuseReference(reader, "client_secret_ref");
  reader.Optional("scopes", &oauth2.scopes);
  reader.Optional("endpoint_params", &oauth2.endpoint_params);
  DecodeInlineOrFile(reader, "client_certificate_key", context);
  for (auto key : {"client_certificate_key_id", "client_certificate_key_ref", "iss", "audience", "claims",
                   "signature_algorithm"}) {
    reader.Ignore(key);
  }
  if (!oauth2.grant_type.empty() && oauth2.grant_type != "client_credentials") {
    context.Warn(reader, "grant_type", "only client_credentials is supported yet; requests fail for want of a token");
  }
  DecodeProxy(reader, context, &oauth2.proxy);
  reader.Object("tls_config", [&](base::ObjectReader& tls_reader) { DecodeTls(tls_reader, context, &oauth2); });
  return oauth2;
}

void DecodeHeaders(base::ObjectReader& reader, DecodeContext& context, HttpClientConfig* config) {
  reader.ObjectMap("http_headers", [&](const std::string& name, base::ObjectReader& header) {
    HttpHeaderConfig& fields = config->headers[name];
    header.Optional("values", &fields.values);
    header.Optional("secrets", &fields.secrets);
    header.Optional("files", &fields.files);
    for (std::string& file : fields.files) file = context.Resolve(file);
    for (std::string_view reserved : kReservedHeaders) {
      if (base::EqualsIgnoreCase(name, reserved)) header.Error("", "this header field may not be set here");
    }
  });
}

void CheckOneAuthentication(base::ObjectReader& reader) {
  std::vector<std::string> used;
  for (std::string key : {"basic_auth", "authorization", "oauth2"}) {
    if (reader.Has(key)) used.push_back(key);
  }
  if (reader.Has("bearer_token") || reader.Has("bearer_token_file")) used.push_back("bearer_token");
  if (used.size() > 1) reader.Error(used.back(), "use only one of " + base::Join(used, " and "));
}

void CheckTlsVersion(base::ObjectReader& reader, const std::string& key, DecodeContext& context) {
  std::string version;
  if (!reader.Optional(key, &version)) return;
  if (version != "TLS10" && version != "TLS11" && version != "TLS12" && version != "TLS13") {
    reader.Error(key, base::Quoted(version) + " is not a TLS version; use TLS12 or TLS13");
  } else {
    context.Warn(reader, key, "not supported yet; the versions are negotiated");
  }
}

}  // namespace

std::string DecodeContext::Resolve(const std::string& path) const {
  return path.empty() || directory.empty() || path[0] == '/' ? path : directory + "/" + path;
}

void DecodeContext::Warn(const base::ObjectReader& reader, std::string_view key, std::string_view what) {
  warnings.push_back((key.empty() ? reader.path() : reader.PathOf(key)) + ": " + std::string(what));
}

base::Result<std::string> InlineOrFile::Read() const {
  if (file.empty()) return text;
  TW_ASSIGN_OR_RETURN(std::string content, base::ReadFile(file));
  return std::string(base::TrimSpace(content));
}

bool operator==(const Oauth2Config& a, const Oauth2Config& b) {
  auto fields = [](const Oauth2Config& c) {
    return std::tie(c.ca, c.cert, c.key, c.server_name, c.insecure_skip_verify, c.client_id, c.client_secret,
                    c.token_url, c.scopes, c.endpoint_params, c.grant_type, c.proxy);
  };
  return fields(a) == fields(b);
}

bool operator==(const HttpClientConfig& a, const HttpClientConfig& b) {
  auto fields = [](const HttpClientConfig& c) {
    return std::tie(c.username, c.password, c.authorization_type, c.credentials, c.ca, c.cert, c.key, c.server_name,
                    c.insecure_skip_verify, c.oauth2, c.proxy, c.follow_redirects, c.headers);
  };
  return fields(a) == fields(b);
}

void DecodeTls(base::ObjectReader& reader, DecodeContext& context, TlsConfig* config) {
  config->ca = DecodeInlineOrFile(reader, "ca", context);
  config->cert = DecodeInlineOrFile(reader, "cert", context);
  config->key = DecodeInlineOrFile(reader, "key", context);
  RefuseReference(reader, "ca_ref");
  RefuseReference(reader, "cert_ref");
  RefuseReference(reader, "key_ref");
  reader.Optional("server_name", &config->server_name);
  reader.Optional("insecure_skip_verify", &config->insecure_skip_verify);
  CheckTlsVersion(reader, "min_version", context);
  CheckTlsVersion(reader, "max_version", context);
  if (config->cert.empty() != config->key.empty()) {
    reader.Error(config->cert.empty() ? "key_file" : "cert_file", "a client certificate needs both cert and key");
  }
}

HttpClientConfig DecodeHttpClient(base::ObjectReader& reader, DecodeContext& context) {
  HttpClientConfig config;
  bool http2 = true;
  for (auto key : {"basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file", "tls_config",
                   "proxy_url", "follow_redirects", "enable_http2", "http_headers"}) {
    config.customized = config.customized || reader.Has(key);
  }
  CheckOneAuthentication(reader);
  reader.Object("basic_auth", [&](base::ObjectReader& r) { DecodeBasicAuth(r, context, &config); });
  reader.Object("authorization", [&](base::ObjectReader& r) { DecodeAuthorization(r, context, &config); });
  reader.Object("oauth2", [&](base::ObjectReader& r) { config.oauth2 = DecodeOauth2(r, context); });
  DecodeBearerToken(reader, context, &config);
  reader.Object("tls_config", [&](base::ObjectReader& r) { DecodeTls(r, context, &config); });
  reader.Optional("follow_redirects", &config.follow_redirects);
  reader.Optional("enable_http2", &http2);
  DecodeProxy(reader, context, &config.proxy);
  DecodeHeaders(reader, context, &config);
  return config;
}

base::Result<http::Headers> RequestHeaders(const HttpClientConfig& config) {
  http::Headers headers;
  if (!config.username.empty() || !config.password.empty()) {
    TW_ASSIGN_OR_RETURN(std::string user, config.username.Read());
    TW_ASSIGN_OR_RETURN(std::string password, config.password.Read());
    headers.Add("Authorization", "Basic " + base::Base64Encode(user + ":" + password));
  } else if (!config.credentials.empty()) {
    TW_ASSIGN_OR_RETURN(std::string credentials, config.credentials.Read());
    headers.Add("Authorization", config.authorization_type + " " + credentials);
  }
  for (const auto& [name, header] : config.headers) {
    for (const std::string& value : header.values) headers.Add(name, value);
    for (const std::string& value : header.secrets) headers.Add(name, value);
    for (const std::string& file : header.files) {
      TW_ASSIGN_OR_RETURN(std::string content, base::ReadFile(file));
      headers.Add(name, std::string(base::TrimSpace(content)));
    }
  }
  return headers;
}

namespace {

struct IpAddress {
  std::array<unsigned char, 16> bytes{};
  size_t size = 0;  // 4 or 16; 0 when the text is no address.
};

IpAddress ParseIp(const std::string& text) {
  IpAddress ip;
  if (inet_pton(AF_INET, text.c_str(), ip.bytes.data()) == 1)
    ip.size = 4;
  else if (inet_pton(AF_INET6, text.c_str(), ip.bytes.data()) == 1)
    ip.size = 16;
  return ip;
}

bool IsLoopback(const std::string& host) {
  const IpAddress ip = ParseIp(host);
  static constexpr std::array<unsigned char, 16> kLoopback6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return host == "localhost" || (ip.size == 4 && ip.bytes[0] == 127) || (ip.size == 16 && ip.bytes == kLoopback6);
}

bool InNetwork(const IpAddress& ip, const IpAddress& network, int64_t bits) {
  if (ip.size != network.size || bits < 0 || bits > static_cast<int64_t>(ip.size) * 8) return false;
  for (int64_t i = 0; i < bits; ++i) {
    const int shift = 7 - static_cast<int>(i % 8);
    const auto at = static_cast<size_t>(i / 8);
    if (((ip.bytes[at] ^ network.bytes[at]) >> shift & 1) != 0) return false;
  }
  return true;
}

bool MatchesEntry(std::string entry, const std::string& host, uint16_t port) {
  const IpAddress ip = ParseIp(host);
  if (size_t slash = entry.find('/'); slash != std::string::npos) {
    int64_t bits = -1;
    return base::ParseInt64(entry.substr(slash + 1), &bits) && InNetwork(ip, ParseIp(entry.substr(0, slash)), bits);
  }
  if (const IpAddress own = ParseIp(entry); own.size > 0) return ip.size == own.size && ip.bytes == own.bytes;
  int64_t wanted = 0;
  size_t colon = entry.rfind(':');
  if (colon != std::string::npos && base::ParseInt64(entry.substr(colon + 1), &wanted)) {
    if (wanted != port) return false;
    entry.resize(colon);
    if (entry.size() > 2 && entry.front() == '[' && entry.back() == ']') entry = entry.substr(1, entry.size() - 2);
    if (const IpAddress own = ParseIp(entry); own.size > 0) return ip.size == own.size && ip.bytes == own.bytes;
  }
  if (entry.substr(0, 2) == "*.") entry.erase(0, 1);
  if (entry.empty()) return false;
  if (entry[0] != '.' && base::EqualsIgnoreCase(entry, host)) return true;
  const std::string suffix = entry[0] == '.' ? entry : "." + entry;
  return host.size() > suffix.size() && base::EqualsIgnoreCase(host.substr(host.size() - suffix.size()), suffix);
}

}  // namespace

bool BypassesProxy(std::string_view no_proxy, const std::string& host, uint16_t port) {
  if (IsLoopback(host)) return true;
  for (const std::string& part : base::Split(no_proxy, ',')) {
    const std::string entry(base::TrimSpace(part));
    if (entry == "*" || MatchesEntry(entry, host, port)) return true;
  }
  return false;
}

}  // namespace tidewright::scrape
