#include "apiservice/authz.h"

#include <algorithm>

#include "base/document.h"
#include "base/json.h"

namespace tidewright::apiservice {
namespace {

constexpr int64_t kTtlMs = 10'000;
constexpr int64_t kProxiedTtlMs = 5 * 60'000;
constexpr size_t kMaxCached = 50'000;

std::string KeyOf(const UserInfo& user, const Attributes& a) {
  std::string key(user.proxied ? "p" : "");
  auto add = [&](const std::string& text) {
    key += text;
    key += '\0';
  };
  for (const std::string* text :
       {&user.name, &user.uid, &a.verb, &a.group, &a.version, &a.resource, &a.subresource, &a.name, &a.ns, &a.path}) {
    add(*text);
  }
  for (const std::string& group : user.groups) add(group);
  for (const auto& [name, values] : user.extra) {
    add(name);
    for (const std::string& value : values) add(value);
    add("");
  }
  return key;
}

base::Json ReviewOf(const UserInfo& user, const Attributes& a) {
  base::Json spec = {{"user", user.name}, {"groups", user.groups}};
  if (!user.uid.empty()) spec["uid"] = user.uid;
  if (!user.extra.empty()) spec["extra"] = user.extra;
  if (a.is_resource) {
    spec["resourceAttributes"] = {{"namespace", a.ns},    {"verb", a.verb},         {"group", a.group},
                                  {"version", a.version}, {"resource", a.resource}, {"subresource", a.subresource},
                                  {"name", a.name}};
  } else {
    spec["nonResourceAttributes"] = {{"path", a.path}, {"verb", a.verb}};
  }
  return {{"apiVersion", "authorization.k8s.io/v1"}, {"kind", "SubjectAccessReview"}, {"spec", spec}};
}

std::string Describe(const UserInfo& user, const Attributes& a) {
  std::string text = "user " + base::Quoted(user.name) + " cannot " + a.verb + " ";
  if (!a.is_resource) return text + "path " + base::Quoted(a.path);
  text += "resource " + base::Quoted(a.resource + (a.subresource.empty() ? "" : "/" + a.subresource)) +
          " in API group " + base::Quoted(a.group);
  return a.ns.empty() ? text + " at the cluster scope" : text + " in the namespace " + base::Quoted(a.ns);
}

}  // namespace

DelegatedAuthorizer::DelegatedAuthorizer(kube::Client& client, base::Clock& clock) : client_(client), clock_(clock) {}

base::Status DelegatedAuthorizer::Authorize(const UserInfo& user, const Attributes& attributes) {
  if (std::find(user.groups.begin(), user.groups.end(), "system:masters") != user.groups.end()) {
    return base::Status::Ok();
  }
  std::string key = KeyOf(user, attributes);
  {
    base::MutexLock lock(mu_);
    auto it = cache_.find(key);
    if (it != cache_.end() && clock_.NowMs() < it->second.expires_ms) return it->second.status;
  }
  base::Status verdict = Review(user, attributes);
  // Not knowing is no verdict: the next request asks again.
  if (verdict.ok()) Remember(key, verdict, user.proxied ? kProxiedTtlMs : kTtlMs);
  if (verdict.code() == base::Code::kPermissionDenied) Remember(key, verdict, kTtlMs);
  return verdict;
}

base::Status DelegatedAuthorizer::Review(const UserInfo& user, const Attributes& attributes) {
  base::Result<base::Json> reply =
      client_.Create(kube::resources::kSubjectAccessReviews, "", ReviewOf(user, attributes));
  if (!reply.ok()) {
    return base::UnavailableError("cannot ask the API server whether the request is allowed: " +
                                  reply.status().ToString());
  }
  if (base::FindBool(*reply, {"status", "allowed"})) return base::Status::Ok();
  std::string text = Describe(user, attributes);
  std::string reason = base::FindString(*reply, {"status", "reason"});
  if (!reason.empty()) text += ": " + reason;
  return base::PermissionDeniedError(text);
}

void DelegatedAuthorizer::Remember(const std::string& key, base::Status status, int64_t ttl_ms) {
  int64_t now = clock_.NowMs();
  base::MutexLock lock(mu_);
  if (cache_.size() >= kMaxCached) {
    std::erase_if(cache_, [&](const auto& entry) { return entry.second.expires_ms <= now; });
    if (cache_.size() >= kMaxCached) cache_.clear();
  }
  cache_[key] = {now + ttl_ms, std::move(status)};
}

}  // namespace tidewright::apiservice
