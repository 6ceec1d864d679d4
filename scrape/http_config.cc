#include "scrape/http_config.h"

#include <algorithm>
#include <tuple>

#include "base/file.h"
#include "base/strings.h"
#include "http/message.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kCertificateCheckMs = 60'000;

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

void DecodeOauth2(base::ObjectReader& reader, DecodeContext& context) {
  std::string client_id, token_url, grant_type = "client_credentials";
  reader.Required("client_id", &client_id);
  reader.Required("token_url", &token_url);
  reader.Optional("grant_type", &grant_type);
  DecodeInlineOrFile(reader, "client_secret", context);
  RefuseReference(reader, "client_secret_ref");
  DecodeInlineOrFile(reader, "client_certificate_key", context);
  for (auto key :
       {"client_certificate_key_id", "client_certificate_key_ref", "iss", "audience", "claims", "signature_algorithm",
        "scopes", "endpoint_params", "proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header"}) {
    reader.Ignore(key);
  }
  HttpClientConfig tls;
  reader.Object("tls_config", [&](base::ObjectReader& tls_reader) { DecodeTls(tls_reader, context, &tls); });
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

void DecodeProxy(base::ObjectReader& reader, DecodeContext& context) {
  std::string url, no_proxy;
  bool from_environment = false;
  reader.Optional("proxy_url", &url);
  reader.Optional("no_proxy", &no_proxy);
  reader.Optional("proxy_from_environment", &from_environment);
  bool has_header = reader.Has("proxy_connect_header");
  reader.Ignore("proxy_connect_header");
  if (!url.empty() && url.find("://") == std::string::npos && url[0] != '/') url = "//" + url;
  if (url.substr(0, 3) == "://") reader.Error("proxy_url", "has no scheme; use for example http://proxy:3128");
  if (!url.empty() && from_environment) reader.Error("proxy_url", "use either proxy_url or proxy_from_environment");
  if (!no_proxy.empty() && from_environment) reader.Error("no_proxy", "use either no_proxy or proxy_from_environment");
  if (!no_proxy.empty() && url.empty()) reader.Error("no_proxy", "needs proxy_url");
  if (has_header && url.empty() && !from_environment) {
    reader.Error("proxy_connect_header", "needs proxy_url or proxy_from_environment");
  }
  if (!url.empty()) context.Warn(reader, "proxy_url", "not supported yet; the peer is reached directly");
  if (from_environment) {
    context.Warn(reader, "proxy_from_environment", "not supported yet; the peer is reached directly");
  }
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

bool operator==(const HttpClientConfig& a, const HttpClientConfig& b) {
  auto fields = [](const HttpClientConfig& c) {
    return std::tie(c.username, c.password, c.authorization_type, c.credentials, c.ca, c.cert, c.key, c.server_name,
                    c.insecure_skip_verify, c.follow_redirects, c.headers);
  };
  return fields(a) == fields(b);
}

void DecodeTls(base::ObjectReader& reader, DecodeContext& context, HttpClientConfig* config) {
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
  if (reader.Object("oauth2", [&](base::ObjectReader& r) { DecodeOauth2(r, context); })) {
    context.Warn(reader, "oauth2", "not supported yet; requests are sent without a token");
  }
  DecodeBearerToken(reader, context, &config);
  reader.Object("tls_config", [&](base::ObjectReader& r) { DecodeTls(r, context, &config); });
  reader.Optional("follow_redirects", &config.follow_redirects);
  reader.Optional("enable_http2", &http2);
  DecodeProxy(reader, context);
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

base::Result<http::ClientTls> HttpTransport::ReadTls() const {
  http::ClientTls tls;
  TW_ASSIGN_OR_RETURN(tls.ca_pem, config_.ca.Read());
  TW_ASSIGN_OR_RETURN(tls.certificate_pem, config_.cert.Read());
  TW_ASSIGN_OR_RETURN(tls.private_key_pem, config_.key.Read());
  tls.server_name = config_.server_name;
  tls.insecure_skip_verify = config_.insecure_skip_verify;
  return tls;
}

base::Result<std::shared_ptr<http::Client>> HttpTransport::Client(int64_t now_ms) {
  base::MutexLock lock(mu_);
  if (client_ != nullptr && now_ms - checked_ms_ < kCertificateCheckMs) return client_;
  TW_ASSIGN_OR_RETURN(http::ClientTls tls, ReadTls());
  checked_ms_ = now_ms;
  std::string fingerprint = tls.ca_pem + '\n' + tls.certificate_pem + '\n' + tls.private_key_pem;
  if (client_ != nullptr && fingerprint == fingerprint_) return client_;
  http::ClientOptions options;
  options.tls = std::move(tls);
  TW_ASSIGN_OR_RETURN(std::unique_ptr<http::Client> client, factory_(options));
  client_ = std::move(client);
  fingerprint_ = std::move(fingerprint);
  return client_;
}

}  // namespace tidewright::scrape
