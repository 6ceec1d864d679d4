#include "scaler/trigger/metadata.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/duration.h"
#include "base/secret_hash.h"
#include "base/strings.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr char kFromEnv[] = "FromEnv";
// Named the metric in KEDA before version 2.10, which has ignored it since.
constexpr char kMetricName[] = "metricName";
// Milli-units of larger numbers would not fit; no threshold is that large.
constexpr double kMaxNumber = 1e12;

std::string EntryOf(const std::string& key, const std::string& value) {
  return std::to_string(key.size()) + ":" + key + std::to_string(value.size()) + ":" + value;
}

}  // namespace

MetadataReader::MetadataReader(const TriggerSpec& spec, const TriggerSecrets* secrets, std::string path,
                               base::ErrorList& errors)
    : spec_(spec), secrets_(secrets), path_(std::move(path)), errors_(errors) {}

PassedOn MetadataReader::PassOn() {
  PassedOn passed;
  const std::vector<std::string> fields = known_;
  for (const auto& [key, value] : spec_.metadata) {
    auto meant = std::find_if(fields.begin(), fields.end(), [&given = key](const std::string& field) {
      return field != given && base::EqualsIgnoreCase(field, given);
    });
    if (meant != fields.end()) continue;
    known_.push_back(key);
    if (!key.ends_with(kFromEnv)) {
      passed.values[key] = value;
    } else if (auto secret = FromEnv(key.substr(0, key.size() - std::string_view(kFromEnv).size()))) {
      passed.values[key] = *secret;
      passed.secrets.push_back(*std::move(secret));
    }
  }
  for (const auto& [key, value] : passed.values) question_ += EntryOf(key, value);
  return passed;
}

std::optional<std::string> MetadataReader::FromEnv(const std::string& key) {
  auto variable = spec_.metadata.find(key + kFromEnv);
  if (variable == spec_.metadata.end() || secrets_ == nullptr) return std::nullopt;
  auto value = secrets_->env(variable->second);
  if (!value.ok()) {
    Error(key + kFromEnv, value.status().message());
    return std::nullopt;
  }
  std::string trimmed(base::TrimSpace(*value));
  if (trimmed.empty()) {
    Error(key + kFromEnv, "the variable " + base::Quoted(variable->second) + " is empty; give it a value");
    return std::nullopt;
  }
  return trimmed;
}

std::optional<std::string> MetadataReader::Take(const char* key, Need need, From from) {
  if (from == From::kDecision) return Find(key, need, From::kMetadata);
  std::optional<std::string> value = Find(key, need, from);
  if (!value || secrets_ == nullptr) return value;
  const std::string entry = EntryOf(key, *value);
  question_ += entry;
  const bool in_manifest = spec_.metadata.count(key) > 0;
  if (!in_manifest || base::EqualsIgnoreCase(key, "username")) login_ += entry;
  return value;
}

uint64_t MetadataReader::question_id() const { return base::SecretHash(question_); }
uint64_t MetadataReader::login_id() const { return base::SecretHash(login_); }

std::optional<std::string> MetadataReader::Find(const char* key, Need need, From from) {
  const std::string env_key = std::string(key) + kFromEnv;
  known_.emplace_back(key);
  if (from != From::kMetadata) known_.push_back(env_key);
  auto plain = spec_.metadata.find(key);
  if (plain != spec_.metadata.end() && !base::TrimSpace(plain->second).empty()) {
    if (from != From::kSecret) return std::string(base::TrimSpace(plain->second));
    Error(key, "must not stand in the manifest; use " + env_key + " or an authenticationRef");
    return std::nullopt;
  }
  bool by_env = from != From::kMetadata && spec_.metadata.count(env_key) > 0;
  if (by_env) return FromEnv(key);
  if (from != From::kMetadata && secrets_ != nullptr) {
    auto parameter = secrets_->parameters.find(key);
    if (parameter != secrets_->parameters.end() && !base::TrimSpace(parameter->second).empty()) {
      return std::string(base::TrimSpace(parameter->second));
    }
  }
  bool may_come_later = from != From::kMetadata && secrets_ == nullptr && !spec_.authentication.empty();
  bool required = need == Need::kRequired || (need == Need::kTarget && !spec_.in_formula);
  if (required && !may_come_later) Error(key, "is missing; it is required");
  return std::nullopt;
}

void MetadataReader::Unsupported(const char* key) {
  for (const std::string& spelling : {std::string(key), std::string(key) + kFromEnv}) {
    known_.push_back(spelling);
    if (spec_.metadata.count(spelling) > 0) {
      Error(spelling, "is not supported by this version of Tidewright; remove it");
    }
  }
}

void MetadataReader::Error(const std::string& key, const std::string& message) {
  errors_.Add({}, path_ + ".metadata." + key, message);
}

void MetadataReader::Refuse(const std::string& key, const std::string& value, const std::string& message) {
  auto plain = spec_.metadata.find(key);
  const bool visible = plain != spec_.metadata.end() && value.find('@') == std::string::npos;
  Error(key, visible ? message : HideQuotesOf(value, message));
}

void MetadataReader::Finish() {
  for (const auto& [key, value] : spec_.metadata) {
    bool known = key == kMetricName;
    for (const std::string& name : known_) known = known || name == key;
    if (known) continue;
    std::string nearest = base::NearestName(key, known_);
    Error(key, "is not a setting of the " + spec_.type + " trigger; " +
                   (nearest.empty() ? "remove it" : "did you mean " + base::Quoted(nearest) + "?"));
  }
}

std::string HideQuotesOf(const std::string& secret, const std::string& message) {
  const std::string escaped = base::Quoted(secret);
  std::string shown;
  size_t done = 0;
  for (size_t open = message.find('"'); open != std::string::npos; open = message.find('"', done)) {
    size_t close = open + 1;
    while (close < message.size() && message[close] != '"') close += message[close] == '\\' ? 2 : 1;
    if (close >= message.size()) break;
    const std::string quoted = message.substr(open + 1, close - open - 1);
    // A single character is punctuation.
    const bool part =
        quoted.size() > 1 && (secret.find(quoted) != std::string::npos || escaped.find(quoted) != std::string::npos);
    shown += message.substr(done, open - done) + (part ? "(hidden)" : message.substr(open, close + 1 - open));
    done = close + 1;
  }
  return shown + message.substr(done);
}

base::Status ParseMilli(const std::string& value, int64_t* milli) {
  double number = 0;
  if (!base::ParseDouble(value, &number) || !std::isfinite(number)) {
    return base::InvalidArgumentError(base::Quoted(value) + " is not a number; use for example 5 or 0.5");
  }
  if (std::fabs(number) > kMaxNumber) {
    return base::InvalidArgumentError(base::Quoted(value) + " is too large; use a number up to 1e12");
  }
  *milli = std::llround(number * 1000);
  if (*milli == 0 && number != 0) {
    return base::InvalidArgumentError(base::Quoted(value) +
                                      " is smaller than 0.001, the smallest step; scale the query");
  }
  return base::Status::Ok();
}

base::Status ParsePositiveMilli(const std::string& value, int64_t* milli) {
  TW_RETURN_IF_ERROR(ParseMilli(value, milli));
  if (*milli > 0) return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not positive; use a number greater than 0");
}

base::Status ParseWhole(const std::string& value, int64_t min, int64_t max, int64_t* out) {
  if (base::ParseInt64(value, out) && *out >= min && *out <= max) return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not a whole number from " + std::to_string(min) +
                                    " to " + std::to_string(max));
}

base::Status ParseFlag(const std::string& value, bool* out) {
  *out = value == "true";
  if (*out || value == "false") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not a truth value; use \"true\" or \"false\"");
}

base::Status ParseTlsMode(const std::string& value, bool* tls) {
  *tls = value == "enable";
  if (*tls || value == "disable") return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not a mode of TLS; use enable or disable");
}

std::string TextOf(const HostPort& server) { return server.host + ":" + std::to_string(server.port); }

base::Status ParseHostPort(const std::string& value, uint16_t default_port, HostPort* out) {
  const size_t bracket = value.rfind(']');
  size_t colon = value.rfind(':');
  if (bracket != std::string::npos && colon != std::string::npos && colon < bracket) colon = std::string::npos;
  int64_t port = default_port;
  bool valid = colon == std::string::npos || base::ParseInt64(value.substr(colon + 1), &port);
  out->host = value.substr(0, colon);
  if (out->host.size() > 2 && out->host.front() == '[' && out->host.back() == ']') {
    out->host = out->host.substr(1, out->host.size() - 2);
  }
  out->port = static_cast<uint16_t>(port);
  if (valid && !out->host.empty() && port > 0 && port <= 65535) return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is not an address; use host:port");
}

base::Status ParseTimeoutMs(const std::string& value, int64_t* ms) {
  if (!base::ParseInt64(value, ms)) {
    auto parsed = base::ParseGoDuration(value);
    if (!parsed.ok()) return parsed.status();
    *ms = parsed->ms;
  }
  if (*ms >= 1 && *ms <= 300'000) return base::Status::Ok();
  return base::InvalidArgumentError(base::Quoted(value) + " is out of range; use 1ms to 5m, for example 3s");
}

}  // namespace tidewright::scaler::trigger
