#include <array>

#include "base/strings.h"
#include "scrape/operator_sections.h"

namespace tidewright::scrape {
namespace {

base::Status Invalid(std::string what) { return base::InvalidArgumentError(std::move(what)); }

// {name, key}, of a Secret unless `kind` says otherwise, in the object's namespace.
base::Result<std::string> Resolve(const OperatorObject& context, const base::Json& reference, const std::string& field,
                                  const std::string& kind = "Secret") {
  auto value = context.lookup(kind, context.ns, TextAt(reference, "name"), TextAt(reference, "key"));
  if (!value.ok()) return value.status().Annotate(field);
  return value;
}

// {secret: {name, key}} or {configMap: {name, key}}.
base::Result<std::string> ResolveEither(const OperatorObject& context, const base::Json& either,
                                        const std::string& field) {
  if (HasValue(either, "secret")) return Resolve(context, either["secret"], field);
  if (HasValue(either, "configMap")) return Resolve(context, either["configMap"], field, "ConfigMap");
  return std::string();
}

bool Names(const base::Json& either) {
  return either.is_object() && (HasValue(either, "secret") || HasValue(either, "configMap"));
}

int VersionRank(const std::string& version) {
  static constexpr std::array<std::string_view, 4> kVersions = {"TLS10", "TLS11", "TLS12", "TLS13"};
  for (size_t i = 0; i < kVersions.size(); ++i) {
    if (kVersions[i] == version) return static_cast<int>(i);
  }
  return -1;
}

base::Status CheckTls(const base::Json& tls) {
  const bool cert = Names(ObjectAt(tls, "cert")) || !TextAt(tls, "certFile").empty();
  const bool key = HasValue(tls, "keySecret") || !TextAt(tls, "keyFile").empty();
  if (cert != key) {
    return Invalid(cert ? "tlsConfig: has a client certificate without its key; set keySecret or keyFile"
                        : "tlsConfig: has a client key without its certificate; set cert or certFile");
  }
  const std::string min = TextAt(tls, "minVersion"), max = TextAt(tls, "maxVersion");
  if (!min.empty() && !max.empty() && VersionRank(min) > VersionRank(max)) {
    return Invalid("tlsConfig: minVersion " + min + " is higher than maxVersion " + max);
  }
  return base::Status::Ok();
}

// The scrape class's settings, or an object's own with the certificates that it leaves open.
base::Json MergedTls(const base::Json& own, const base::Json& scrape_class) {
  if (!own.is_object()) return scrape_class;
  base::Json merged = own;
  if (!scrape_class.is_object()) return merged;
  auto fill = [&](std::initializer_list<std::string_view> keys) {
    for (std::string_view key : keys) {
      if (HasValue(merged, key)) return;
    }
    for (std::string_view key : keys) CopyMember(scrape_class, key, &merged, key);
  };
  fill({"ca", "caFile"});
  fill({"cert", "certFile"});
  fill({"keySecret", "keyFile"});
  return merged;
}

base::Result<base::Json> TlsJson(const OperatorObject& context, const base::Json& tls) {
  TW_RETURN_IF_ERROR(CheckTls(tls));
  base::Json out = base::Json::object();
  CopyMember(tls, "insecureSkipVerify", &out, "insecure_skip_verify");
  if (Names(ObjectAt(tls, "ca"))) {
    TW_ASSIGN_OR_RETURN(out["ca"], ResolveEither(context, tls["ca"], "tlsConfig.ca"));
  }
  if (Names(ObjectAt(tls, "cert"))) {
    TW_ASSIGN_OR_RETURN(out["cert"], ResolveEither(context, tls["cert"], "tlsConfig.cert"));
  }
  if (HasValue(tls, "keySecret")) {
    TW_ASSIGN_OR_RETURN(out["key"], Resolve(context, tls["keySecret"], "tlsConfig.keySecret"));
  }
  for (auto [key, as] : {std::pair{"caFile", "ca_file"},
                         {"certFile", "cert_file"},
                         {"keyFile", "key_file"},
                         {"serverName", "server_name"},
                         {"minVersion", "min_version"},
                         {"maxVersion", "max_version"}}) {
    if (!TextAt(tls, key).empty()) out[as] = TextAt(tls, key);
  }
  return out;
}

base::Status AddBasicAuth(const OperatorObject& context, const base::Json& auth, base::Json* config) {
  base::Json& out = (*config)["basic_auth"] = base::Json::object();
  for (auto key : {"username", "password"}) {
    if (!HasValue(auth, key)) continue;
    TW_ASSIGN_OR_RETURN(out[key], Resolve(context, auth[key], std::string("basicAuth.") + key));
  }
  return base::Status::Ok();
}

base::Status AddAuthorization(const OperatorObject& context, const base::Json& auth, base::Json* config) {
  std::string type(base::TrimSpace(TextAt(auth, "type")));
  if (base::EqualsIgnoreCase(type, "basic"))
    return Invalid("authorization: type \"Basic\" is not possible; use basicAuth");
  base::Json& out = (*config)["authorization"] = base::Json::object();
  out["type"] = type.empty() ? "Bearer" : type;
  if (HasValue(auth, "credentials")) {
    TW_ASSIGN_OR_RETURN(out["credentials"], Resolve(context, auth["credentials"], "authorization.credentials"));
  }
  if (!TextAt(auth, "credentialsFile").empty()) out["credentials_file"] = TextAt(auth, "credentialsFile");
  return base::Status::Ok();
}

base::Status AddProxy(const OperatorObject& context, const base::Json& from, base::Json* config) {
  const std::string url = TextAt(from, "proxyUrl"), no_proxy = TextAt(from, "noProxy");
  const bool environment = BoolAt(from, "proxyFromEnvironment", false);
  if (environment && !url.empty()) return Invalid("proxyFromEnvironment and proxyUrl exclude each other");
  if (environment && !no_proxy.empty()) return Invalid("proxyFromEnvironment and noProxy exclude each other");
  if (!no_proxy.empty() && url.empty()) return Invalid("noProxy needs proxyUrl");
  const base::Json& headers = ObjectAt(from, "proxyConnectHeader");
  if (headers.is_object() && !headers.empty() && url.empty() && !environment) {
    return Invalid("proxyConnectHeader needs proxyUrl or proxyFromEnvironment");
  }
  CopyMember(from, "proxyUrl", config, "proxy_url");
  CopyMember(from, "noProxy", config, "no_proxy");
  CopyMember(from, "proxyFromEnvironment", config, "proxy_from_environment");
  if (!headers.is_object()) return base::Status::Ok();
  for (const auto& [name, references] : headers.items()) {
    base::Json& values = (*config)["proxy_connect_header"][name] = base::Json::array();
    for (const auto& reference : references) {
      TW_ASSIGN_OR_RETURN(base::Json value, Resolve(context, reference, "proxyConnectHeader." + name));
      values.push_back(std::move(value));
    }
  }
  return base::Status::Ok();
}

base::Status AddOauth2(const OperatorObject& context, const base::Json& oauth2, base::Json* config) {
  base::Json out = base::Json::object();
  TW_ASSIGN_OR_RETURN(out["client_id"], ResolveEither(context, ObjectAt(oauth2, "clientId"), "oauth2.clientId"));
  TW_ASSIGN_OR_RETURN(out["client_secret"], Resolve(context, ObjectAt(oauth2, "clientSecret"), "oauth2.clientSecret"));
  out["token_url"] = TextAt(oauth2, "tokenUrl");
  CopyMember(oauth2, "scopes", &out, "scopes");
  CopyMember(oauth2, "endpointParams", &out, "endpoint_params");
  if (HasValue(oauth2, "tlsConfig")) {
    TW_ASSIGN_OR_RETURN(out["tls_config"], TlsJson(context, oauth2["tlsConfig"]));
  }
  TW_RETURN_IF_ERROR(AddProxy(context, oauth2, &out));
  (*config)["oauth2"] = std::move(out);
  return base::Status::Ok();
}

base::Status CheckFileAccess(const base::Json& endpoint) {
  auto denied = [](const std::string& field) {
    return base::PermissionDeniedError(field +
                                       " names a file of the scraper, which monitoring objects may not "
                                       "(arbitraryFSAccessThroughSMs.deny, or no --monitoring-objects-allow-files)");
  };
  if (!TextAt(endpoint, "bearerTokenFile").empty()) return denied("bearerTokenFile");
  for (auto key : {"caFile", "certFile", "keyFile"}) {
    if (!TextAt(ObjectAt(endpoint, "tlsConfig"), key).empty()) return denied(std::string("tlsConfig.") + key);
  }
  return base::Status::Ok();
}

base::Status CheckOneAuthentication(const base::Json& endpoint) {
  std::vector<std::string> used;
  for (auto key : {"basicAuth", "authorization", "oauth2"}) {
    if (HasValue(endpoint, key)) used.push_back(key);
  }
  if (used.size() <= 1) return base::Status::Ok();
  return Invalid("use only one of " + base::Join(used, " and "));
}

}  // namespace

base::Status AddHttpSettings(const OperatorObject& context, const base::Json& endpoint, bool files,
                             base::Json* config) {
  if (!files) TW_RETURN_IF_ERROR(CheckFileAccess(endpoint));
  TW_RETURN_IF_ERROR(CheckOneAuthentication(endpoint));
  CopyMember(endpoint, "followRedirects", config, "follow_redirects");
  CopyMember(endpoint, "enableHttp2", config, "enable_http2");
  CopyMember(endpoint, "enableHTTP2", config, "enable_http2");
  TW_RETURN_IF_ERROR(AddProxy(context, endpoint, config));
  if (HasValue(endpoint, "tlsConfig") || HasValue(context.scrape_class, "tlsConfig")) {
    base::Json tls = MergedTls(ObjectAt(endpoint, "tlsConfig"), ObjectAt(context.scrape_class, "tlsConfig"));
    TW_ASSIGN_OR_RETURN(base::Json out, TlsJson(context, tls));
    if (!out.empty()) (*config)["tls_config"] = std::move(out);
  }
  if (!TextAt(endpoint, "bearerTokenFile").empty()) {
    (*config)["bearer_token_file"] = TextAt(endpoint, "bearerTokenFile");
  }
  const base::Json& token = ObjectAt(endpoint, "bearerTokenSecret");
  if (!TextAt(token, "name").empty()) {
    TW_ASSIGN_OR_RETURN((*config)["bearer_token"], Resolve(context, token, "bearerTokenSecret"));
  }
  if (HasValue(endpoint, "basicAuth")) return AddBasicAuth(context, endpoint["basicAuth"], config);
  if (HasValue(endpoint, "oauth2")) return AddOauth2(context, endpoint["oauth2"], config);
  if (HasValue(endpoint, "authorization")) return AddAuthorization(context, endpoint["authorization"], config);
  if (HasValue(context.scrape_class, "authorization")) {
    return AddAuthorization(context, context.scrape_class["authorization"], config);
  }
  return base::Status::Ok();
}

}  // namespace tidewright::scrape
