#include "web/web_config.h"

#include <crypt.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/document.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret_hash.h"
#include "base/strings.h"
#include "web/reply.h"

namespace tidewright::web {

namespace {

constexpr size_t kMaxChecked = 1000;
constexpr size_t kMaxPasswordBytes = 1024;
// Stands for the password of users that do not exist, so that a wrong name takes as long as a wrong password.
constexpr char kNobodysHash[] = "$2b$10$CwTycUXWue0Thq9StjUM0uJ8nuAbnVXyyfQoW0UHV9rfIXyRLeBK2";

// Reads text that stands in the file, or in a file that it names.
void ReadPem(base::ObjectReader& reader, const std::string& inline_key, const std::string& file_key,
             const std::string& directory, std::string* pem) {
  std::string path;
  const bool given = reader.Optional(inline_key, pem), named = reader.Optional(file_key, &path);
  if (given && named) return reader.Error(file_key, "only one of " + inline_key + " and " + file_key + " may be given");
  if (!named || path.empty()) return;
  if (path[0] != '/' && !directory.empty()) path = directory + "/" + path;
  auto text = base::ReadFile(path);
  if (!text.ok()) return reader.Error(file_key, text.status().message());
  *pem = *std::move(text);
}

void ReadClientPolicy(base::ObjectReader& reader, http::ServerTls* tls) {
  std::string policy = "NoClientCert";
  reader.Optional("client_auth_type", &policy);
  const bool verifies = policy == "VerifyClientCertIfGiven" || policy == "RequireAndVerifyClientCert";
  if (policy == "NoClientCert" || policy.empty()) {
    if (!tls->client_ca_pem.empty()) {
      reader.Error("client_auth_type",
                   "with client_ca_file it has to say VerifyClientCertIfGiven or "
                   "RequireAndVerifyClientCert");
    }
  } else if (!verifies) {
    reader.Error("client_auth_type", base::Quoted(policy) +
                                         " is not supported; use NoClientCert, "
                                         "VerifyClientCertIfGiven or RequireAndVerifyClientCert");
  } else if (tls->client_ca_pem.empty()) {
    reader.Error("client_auth_type", base::Quoted(policy) + " needs client_ca_file");
  }
  tls->require_client_certificate = policy == "RequireAndVerifyClientCert";
}

// Versions from 1.2 on are spoken, whichever the other side prefers, with the suites of the TLS library.
void ReadProtocol(base::ObjectReader& reader) {
  std::string version;
  if (reader.Optional("min_version", &version) && version != "TLS10" && version != "TLS11" && version != "TLS12") {
    reader.Error("min_version", base::Quoted(version) + " is not supported; TLS12 is what holds");
  }
  if (reader.Optional("max_version", &version) && version != "TLS13") {
    reader.Error("max_version", base::Quoted(version) + " is not supported; TLS13 is what holds");
  }
  reader.Ignore("prefer_server_cipher_suites");
  for (const char* key : {"cipher_suites", "curve_preferences", "client_allowed_sans"}) {
    const base::Node* list = reader.Raw(key);
    if (list != nullptr && !list->items.empty()) reader.Error(key, "not supported; leave it out");
  }
}

void ReadTls(base::ObjectReader& reader, const std::string& directory, WebConfig* config) {
  http::ServerTls& tls = config->tls.emplace();
  ReadPem(reader, "cert", "cert_file", directory, &tls.certificate_pem);
  ReadPem(reader, "key", "key_file", directory, &tls.private_key_pem);
  ReadPem(reader, "client_ca", "client_ca_file", directory, &tls.client_ca_pem);
  ReadClientPolicy(reader, &tls);
  ReadProtocol(reader);
  if (tls.certificate_pem.empty()) reader.Error("cert_file", "missing: name the certificate");
  if (tls.private_key_pem.empty()) reader.Error("key_file", "missing: name the certificate's private key");
}

void ReadHttp(base::ObjectReader& reader, WebConfig* config) {
  bool http2 = true;
  reader.Optional("http2", &http2);  // HTTP/1.1 is spoken in either case.
  if (!reader.Optional("headers", &config->headers)) return;
  static const std::vector<std::string> kAllowed = {"Content-Security-Policy", "X-Frame-Options",
                                                    "X-Content-Type-Options", "X-XSS-Protection",
                                                    "Strict-Transport-Security"};
  for (const auto& [name, value] : config->headers) {
    if (std::find(kAllowed.begin(), kAllowed.end(), name) == kAllowed.end()) {
      reader.Error("headers", base::Quoted(name) + " cannot be set; allowed are " + base::Join(kAllowed, ", "));
    }
    if (value.find_first_of("\r\n") != std::string::npos) reader.Error("headers", base::Quoted(name) + " has lines");
  }
}

bool IsBcrypt(const std::string& hash) {
  return hash.size() == 60 && hash.rfind("$2", 0) == 0 && hash[3] == '$' && hash[6] == '$' &&
         std::string_view("aby").find(hash[2]) != std::string_view::npos;
}

}  // namespace

base::Result<WebConfig> ParseWebConfig(const std::string& text, const std::string& origin,
                                       const std::string& directory) {
  TW_ASSIGN_OR_RETURN(base::Node root, base::ParseYaml(text, origin));
  WebConfig config;
  base::ErrorList errors(origin);
  base::ObjectReader reader(root, "", errors);
  reader.Object("tls_server_config", [&](base::ObjectReader& tls) { ReadTls(tls, directory, &config); });
  reader.Object("http_server_config", [&](base::ObjectReader& http) { ReadHttp(http, &config); });
  reader.Optional("basic_auth_users", &config.users);
  for (const auto& [user, hash] : config.users) {
    if (!IsBcrypt(hash)) {
      reader.Error("basic_auth_users", "the password of " + base::Quoted(user) +
                                           " is not hashed with bcrypt; make it with htpasswd -nBC 10");
    }
  }
  reader.Finish();
  TW_RETURN_IF_ERROR(errors.ToStatus());
  return config;
}

bool CheckPassword(const std::string& password, const std::string& hash) {
  if (!IsBcrypt(hash) || password.size() > kMaxPasswordBytes || password.find('\0') != std::string::npos) return false;
  auto scratch = std::make_unique<crypt_data>();
  const char* made = crypt_r(password.c_str(), hash.c_str(), scratch.get());
  if (made == nullptr || std::strlen(made) != hash.size()) return false;
  unsigned char differs = 0;  // Compares all of it, however much is equal.
  for (size_t i = 0; i < hash.size(); ++i) differs |= static_cast<unsigned char>(made[i] ^ hash[i]);
  return differs == 0;
}

base::Status WebGuard::Load() {
  if (path_.empty()) return base::Status::Ok();
  base::MutexLock lock(mu_);
  return ReadAgain();
}

bool WebGuard::has_tls() const {
  base::MutexLock lock(mu_);
  return config_.tls.has_value();
}

// Certificates may have changed though the file has not, so what it names is read with it.
base::Status WebGuard::ReadAgain() {
  auto text = base::ReadFile(path_);
  if (!text.ok()) return Close(text.status());
  if (*text == text_ && broken_.ok() && !config_.tls) return base::Status::Ok();
  const size_t slash = path_.rfind('/');
  auto config = ParseWebConfig(*text, path_, slash == std::string::npos ? "" : path_.substr(0, slash));
  if (!config.ok()) return Close(config.status());
  broken_ = base::Status::Ok();
  text_ = *std::move(text);
  config_ = *std::move(config);
  return base::Status::Ok();
}

base::Status WebGuard::Close(const base::Status& why) {
  if (broken_.ok()) base::LogError("web", "the web configuration has errors", {{"error", why.message()}});
  broken_ = why;
  return why;
}

base::Result<http::ServerTls> WebGuard::Tls(bool* changed) {
  base::MutexLock lock(mu_);
  TW_RETURN_IF_ERROR(ReadAgain());
  if (!config_.tls) return base::FailedPreconditionError(path_ + ": TLS can only be switched off by a restart");
  std::string shown = config_.tls->certificate_pem + config_.tls->private_key_pem + config_.tls->client_ca_pem;
  shown += config_.tls->require_client_certificate ? "!" : "?";
  *changed = shown != shown_certificates_;
  shown_certificates_ = std::move(shown);
  return *config_.tls;
}

std::optional<http::Response> WebGuard::Refuse(const http::ServerRequest& request) {
  if (path_.empty()) return std::nullopt;
  std::map<std::string, std::string> users;
  {
    base::MutexLock lock(mu_);
    if (!ReadAgain().ok()) return PlainError(500, "Internal Server Error");
    users = config_.users;
  }
  if (users.empty()) return std::nullopt;
  const std::string header = request.headers.Get("Authorization");
  std::string decoded;
  const bool basic = base::EqualsIgnoreCase(header.substr(0, 6), "Basic ") &&
                     base::Base64Decode(base::TrimSpace(std::string_view(header).substr(6)), &decoded);
  const size_t colon = decoded.find(':');
  if (basic && colon != std::string::npos) {
    const std::string user = decoded.substr(0, colon);
    auto known = users.find(user);
    const std::string hash = known != users.end() ? known->second : kNobodysHash;
    const bool right = Authenticated(user, decoded.substr(colon + 1), hash);
    if (right && known != users.end()) return std::nullopt;
  }
  http::Response response = PlainError(401, "Unauthorized");
  response.headers.Set("WWW-Authenticate", "Basic");
  return response;
}

bool WebGuard::Authenticated(const std::string& user, const std::string& password, const std::string& hash) {
  const std::string parts[] = {user, password, hash};
  std::string key;
  for (const std::string& part : parts) key += std::to_string(part.size()) + ":" + part;
  const uint64_t id = base::SecretHash(key);
  base::MutexLock lock(check_mu_);
  if (auto known = checked_.find(id); known != checked_.end()) return known->second;
  if (checked_.size() >= kMaxChecked) checked_.clear();
  const bool right = CheckPassword(password, hash);
  checked_[id] = right;
  return right;
}

void WebGuard::AddHeaders(http::Response* response) const {
  base::MutexLock lock(mu_);
  for (const auto& [name, value] : config_.headers) response->headers.Set(name, value);
}

}  // namespace tidewright::web
