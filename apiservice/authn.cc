#include "apiservice/authn.h"

#include <algorithm>
#include <optional>

#include "base/document.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/tls.h"
#include "kube/meta.h"

namespace tidewright::apiservice {
namespace {

constexpr int64_t kTokenTtlMs = 10'000;
constexpr size_t kMaxTokens = 10'000;
constexpr size_t kMaxTokenBytes = 16 << 10;
constexpr char kNamespace[] = "kube-system";
constexpr char kConfigMap[] = "extension-apiserver-authentication";

base::Status ReadCa(const base::Json& data, const char* key, std::string* pem, std::set<std::string>* sha256) {
  *pem = base::FindString(data, {key});
  if (pem->empty()) return base::Status::Ok();
  base::Result<std::vector<std::string>> fingerprints = http::CertificateFingerprints(*pem);
  if (!fingerprints.ok()) return fingerprints.status().Annotate(std::string(key) + " is not a PEM certificate bundle");
  sha256->insert(fingerprints->begin(), fingerprints->end());
  return base::Status::Ok();
}

// These keys hold JSON arrays of strings, as text.
base::Status ReadList(const base::Json& data, const char* key, std::vector<std::string>* out) {
  std::string text = base::FindString(data, {key});
  if (text.empty()) return base::Status::Ok();
  base::Result<base::Json> list = base::ParseJson(text);
  bool valid = list.ok() && list->is_array() &&
               std::all_of(list->begin(), list->end(), [](const base::Json& item) { return item.is_string(); });
  if (!valid) {
    return base::InvalidArgumentError(std::string(key) + ": " + base::Quoted(text) + " is not a JSON array of strings");
  }
  for (const base::Json& item : *list) out->push_back(item.get<std::string>());
  return base::Status::Ok();
}

void AddGroup(UserInfo* user, const std::string& group) {
  if (std::find(user->groups.begin(), user->groups.end(), group) == user->groups.end()) user->groups.push_back(group);
}

void ReadExtra(const http::Headers& headers, const std::string& prefix, UserInfo* user) {
  for (const auto& [name, value] : headers) {
    bool match =
        name.size() > prefix.size() && base::EqualsIgnoreCase(std::string_view(name).substr(0, prefix.size()), prefix);
    if (!match) continue;
    std::string key = base::ToLower(std::string_view(name).substr(prefix.size()));
    base::Result<std::string> decoded = http::PercentDecode(key);
    user->extra[decoded.ok() ? *decoded : key].push_back(value);
  }
}

// Whether the peer is the front proxy, whose word about identities counts.
bool IsFrontProxy(const http::Peer& peer, const AuthenticationConfig& config) {
  if (!peer.certificate_verified || config.requestheader_ca_sha256.count(peer.issuer_ca_sha256) == 0) return false;
  const std::vector<std::string>& names = config.allowed_names;
  return names.empty() || std::find(names.begin(), names.end(), peer.common_name) != names.end();
}

std::optional<UserInfo> FromHeaders(const http::ServerRequest& request, const AuthenticationConfig& config) {
  if (!IsFrontProxy(request.peer, config)) return std::nullopt;
  UserInfo user;
  for (const std::string& header : config.username_headers) {
    if (user.name.empty()) user.name = request.headers.Get(header);
  }
  if (user.name.empty()) return std::nullopt;
  user.proxied = true;
  for (const std::string& header : config.uid_headers) {
    if (user.uid.empty()) user.uid = request.headers.Get(header);
  }
  for (const std::string& header : config.group_headers) {
    for (const std::string& group : request.headers.GetAll(header)) AddGroup(&user, group);
  }
  for (const std::string& prefix : config.extra_header_prefixes) ReadExtra(request.headers, prefix, &user);
  return user;
}

std::optional<UserInfo> FromCertificate(const http::Peer& peer, const AuthenticationConfig& config) {
  bool known = peer.certificate_verified && config.client_ca_sha256.count(peer.issuer_ca_sha256) > 0;
  if (!known || peer.common_name.empty()) return std::nullopt;
  UserInfo user;
  user.name = peer.common_name;
  for (const std::string& organization : peer.organizations) AddGroup(&user, organization);
  return user;
}

std::string BearerToken(const http::Headers& headers) {
  std::string value = headers.Get("Authorization");
  if (value.size() < 7 || !base::EqualsIgnoreCase(std::string_view(value).substr(0, 7), "Bearer ")) return "";
  return std::string(base::TrimSpace(std::string_view(value).substr(7)));
}

UserInfo Authenticated(UserInfo user) {
  if (user.name != "system:anonymous") AddGroup(&user, "system:authenticated");
  return user;
}

UserInfo UserOfReview(const base::Json& review) {
  UserInfo user;
  user.name = base::FindString(review, {"status", "user", "username"});
  user.uid = base::FindString(review, {"status", "user", "uid"});
  if (const base::Json* groups = base::Find(review, {"status", "user", "groups"}); groups && groups->is_array()) {
    for (const base::Json& group : *groups) {
      if (group.is_string()) AddGroup(&user, group.get<std::string>());
    }
  }
  const base::Json* extra = base::Find(review, {"status", "user", "extra"});
  if (extra == nullptr || !extra->is_object()) return user;
  for (const auto& [key, values] : extra->items()) {
    if (!values.is_array()) continue;
    for (const base::Json& value : values) {
      if (value.is_string()) user.extra[key].push_back(value.get<std::string>());
    }
  }
  return user;
}

}  // namespace

base::Result<AuthenticationConfig> AuthenticationConfig::FromConfigMap(const base::Json& config_map) {
  AuthenticationConfig config;
  const base::Json* found = base::Find(config_map, {"data"});
  const base::Json data = found != nullptr ? *found : base::Json::object();
  TW_RETURN_IF_ERROR(ReadCa(data, "client-ca-file", &config.client_ca_pem, &config.client_ca_sha256));
  TW_RETURN_IF_ERROR(
      ReadCa(data, "requestheader-client-ca-file", &config.requestheader_ca_pem, &config.requestheader_ca_sha256));
  TW_RETURN_IF_ERROR(ReadList(data, "requestheader-allowed-names", &config.allowed_names));
  TW_RETURN_IF_ERROR(ReadList(data, "requestheader-username-headers", &config.username_headers));
  TW_RETURN_IF_ERROR(ReadList(data, "requestheader-uid-headers", &config.uid_headers));
  TW_RETURN_IF_ERROR(ReadList(data, "requestheader-group-headers", &config.group_headers));
  TW_RETURN_IF_ERROR(ReadList(data, "requestheader-extra-headers-prefix", &config.extra_header_prefixes));
  return config;
}

DelegatedAuthenticator::DelegatedAuthenticator(kube::Client& client, base::Clock& clock)
    : client_(client),
      clock_(clock),
      informer_(client, clock, kube::resources::kConfigMaps,
                {kNamespace, "", "metadata.name=" + std::string(kConfigMap)}),
      config_(std::make_shared<const AuthenticationConfig>()) {
  informer_.AddHandler(
      [this](kube::EventType type, const std::shared_ptr<const base::Json>& object) { OnConfigMap(type, *object); });
}

DelegatedAuthenticator::~DelegatedAuthenticator() { Stop(); }

void DelegatedAuthenticator::Start() { informer_.Start(); }

void DelegatedAuthenticator::Stop() { informer_.Stop(); }

base::Status DelegatedAuthenticator::WaitForConfig(int64_t timeout_ms) {
  TW_RETURN_IF_ERROR(
      informer_.WaitForSync(timeout_ms)
          .Annotate("cannot read the ConfigMap kube-system/extension-apiserver-authentication (the service "
                    "account needs the Role extension-apiserver-authentication-reader in kube-system)"));
  // The handler runs on a thread of the informer, maybe later.
  if (auto object = informer_.Get(kNamespace, kConfigMap)) OnConfigMap(kube::EventType::kAdded, *object);
  return base::Status::Ok();
}

void DelegatedAuthenticator::OnConfigMap(kube::EventType type, const base::Json& object) {
  // A deleted ConfigMap tells nothing about the CAs, so what it said last stays.
  if (type == kube::EventType::kDeleted || kube::NameOf(object) != kConfigMap) return;
  base::Result<AuthenticationConfig> config = AuthenticationConfig::FromConfigMap(object);
  if (!config.ok()) {
    base::LogError("apiservice", "the authentication ConfigMap is not valid; the last good one stays",
                   {{"error", config.status().message()}});
    return;
  }
  SetConfig(*std::move(config));
}

void DelegatedAuthenticator::SetConfig(AuthenticationConfig config) {
  base::MutexLock announce(announce_mu_);
  {
    base::MutexLock lock(mu_);
    bool same_cas =
        config_->client_ca_pem == config.client_ca_pem && config_->requestheader_ca_pem == config.requestheader_ca_pem;
    config_ = std::make_shared<const AuthenticationConfig>(std::move(config));
    if (same_cas) return;
  }
  std::vector<std::function<void()>> handlers;
  {
    base::MutexLock lock(handlers_mu_);
    handlers = handlers_;
  }
  for (const auto& handler : handlers) handler();
}

void DelegatedAuthenticator::OnChange(std::function<void()> changed) {
  base::MutexLock lock(handlers_mu_);
  handlers_.push_back(std::move(changed));
}

std::shared_ptr<const AuthenticationConfig> DelegatedAuthenticator::config() const {
  base::MutexLock lock(mu_);
  return config_;
}

std::string DelegatedAuthenticator::ClientCaPem() const {
  std::shared_ptr<const AuthenticationConfig> current = config();
  std::string pem = current->client_ca_pem;
  if (!pem.empty() && pem.back() != '\n') pem += '\n';
  return pem + current->requestheader_ca_pem;
}

base::Result<UserInfo> DelegatedAuthenticator::Authenticate(const http::ServerRequest& request) {
  std::shared_ptr<const AuthenticationConfig> current = config();
  if (std::optional<UserInfo> user = FromHeaders(request, *current)) return Authenticated(*std::move(user));
  if (std::optional<UserInfo> user = FromCertificate(request.peer, *current)) return Authenticated(*std::move(user));
  std::string token = BearerToken(request.headers);
  if (!token.empty() && token.size() <= kMaxTokenBytes) return FromToken(token);
  return base::UnauthenticatedError("Unauthorized");
}

base::Result<UserInfo> DelegatedAuthenticator::FromToken(const std::string& token) {
  {
    base::MutexLock lock(mu_);
    auto it = tokens_.find(token);
    if (it != tokens_.end() && clock_.NowMs() < it->second.expires_ms) {
      if (!it->second.status.ok()) return it->second.status;
      return it->second.user;
    }
  }
  base::Result<UserInfo> user = ReviewToken(token);
  bool verdict = user.ok() || user.status().code() == base::Code::kUnauthenticated;
  if (!verdict) return user;
  int64_t now = clock_.NowMs();
  base::MutexLock lock(mu_);
  if (tokens_.size() >= kMaxTokens) {
    std::erase_if(tokens_, [&](const auto& entry) { return entry.second.expires_ms <= now; });
    if (tokens_.size() >= kMaxTokens) tokens_.clear();
  }
  tokens_[token] = {now + kTokenTtlMs, user.status(), user.ok() ? *user : UserInfo()};
  return user;
}

base::Result<UserInfo> DelegatedAuthenticator::ReviewToken(const std::string& token) {
  base::Json review = {
      {"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenReview"}, {"spec", {{"token", token}}}};
  base::Result<base::Json> reply = client_.Create(kube::resources::kTokenReviews, "", review);
  if (!reply.ok()) {
    return base::UnavailableError("cannot ask the API server about the bearer token: " + reply.status().ToString());
  }
  UserInfo user = UserOfReview(*reply);
  if (!base::FindBool(*reply, {"status", "authenticated"}) || user.name.empty()) {
    return base::UnauthenticatedError("Unauthorized");
  }
  return Authenticated(std::move(user));
}

}  // namespace tidewright::apiservice
