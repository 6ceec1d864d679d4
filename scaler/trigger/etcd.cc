// The etcd trigger: a number that is the value of a key, by the JSON gateway of etcd's API.
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct EtcdConfig {
  std::vector<std::string> endpoints;
  std::string key;
  std::string username, password;
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
};

constexpr Field<EtcdConfig> kFields[] = {
    {"endpoints", Need::kRequired, From::kAny,
     [](const std::string& value, EtcdConfig& config) { return ParseHttpAddresses(value, &config.endpoints); },
     "Addresses, separated by commas; the first that answers counts."},
    {"watchKey", Need::kRequired, From::kMetadata,
     [](const std::string& value, EtcdConfig& config) { return Keep(value, &config.key); }, "The key."},
    {"value", Need::kTarget, From::kDecision,
     [](const std::string& value, EtcdConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "The value per replica."},
    {"activationValue", Need::kOptional, From::kDecision,
     [](const std::string& value, EtcdConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"username", Need::kOptional, From::kAny,
     [](const std::string& value, EtcdConfig& config) { return Keep(value, &config.username); }, "A user of etcd."},
    {"password", Need::kOptional, From::kSecret,
     [](const std::string& value, EtcdConfig& config) { return Keep(value, &config.password); },
     "The user's password."},
    {"ca", Need::kOptional, From::kAny, nullptr},
    {"cert", Need::kOptional, From::kAny, nullptr},
    {"key", Need::kOptional, From::kAny, nullptr},
    {"tls", Need::kOptional, From::kAny, nullptr},
    {"watchProgressNotifyInterval", Need::kOptional, From::kMetadata,
     [](const std::string& value, EtcdConfig&) {
       int64_t ignored = 0;
       return ParseWhole(value, 1, INT32_MAX, &ignored);
     },
     "Accepted, without effect: the key is read every pollingInterval."},
};

class EtcdTrigger : public Trigger {
 public:
  EtcdTrigger(TriggerInfo info, EtcdConfig config, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), source_({}, context) {}

  base::Result<Reading> Read() override {
    base::Status failure;
    for (const std::string& endpoint : config_.endpoints) {
      auto reading = ReadFrom(endpoint);
      if (reading.ok()) return reading;
      failure = reading.status().Annotate("etcd at " + endpoint);
      token_.clear();
    }
    return failure;
  }

 private:
  base::Result<Reading> ReadFrom(const std::string& endpoint) {
    if (!config_.username.empty() && token_.empty()) TW_RETURN_IF_ERROR(LogIn(endpoint));
    http::Headers headers;
    if (!token_.empty()) headers.Set("Authorization", token_);
    TW_ASSIGN_OR_RETURN(base::Json reply,
                        Ask(endpoint + "/v3/kv/range", {{"key", base::Base64Encode(config_.key)}}, headers,
                            "the server answered 400 Bad Request; give username and password if the server asks for "
                            "them"));
    const base::Json* entries = base::Find(reply, {"kvs"});
    if (entries == nullptr || !entries->is_array() || entries->empty()) {
      return base::FailedPreconditionError("key " + base::Quoted(config_.key) + " does not exist");
    }
    std::string text;
    double value = 0;
    bool number = base::Base64Decode(base::FindString(entries->front(), {"value"}), &text) &&
                  base::ParseDouble(base::TrimSpace(text), &value);
    if (!number) return base::FailedPreconditionError("the value of " + base::Quoted(config_.key) + " is not a number");
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(value));
    return Reading{milli, config_.key + " = " + FormatMilli(milli)};
  }

  // `bad_request`: what etcd means by 400, which is its answer to a missing or wrong login.
  base::Result<base::Json> Ask(const std::string& url, const base::Json& question, const http::Headers& headers,
                               const char* bad_request) {
    auto reply = source_.PostJson(url, question, headers);
    if (reply.status().code() == base::Code::kInvalidArgument) return base::FailedPreconditionError(bad_request);
    return reply;
  }

  base::Status LogIn(const std::string& endpoint) {
    auto reply = Ask(endpoint + "/v3/auth/authenticate", {{"name", config_.username}, {"password", config_.password}},
                     {}, "the server refuses the user name or the password, or has no users");
    if (!reply.ok()) return reply.status().Annotate("log in");
    token_ = base::FindString(*reply, {"token"});
    return token_.empty() ? base::UnavailableError("log in: the reply has no token") : base::Status::Ok();
  }

  const EtcdConfig config_;
  HttpSource source_;
  std::string token_;
};

}  // namespace

std::unique_ptr<Trigger> MakeEtcd(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  EtcdConfig config = ReadMetadata(kFields, reader);
  if (context == nullptr) return nullptr;
  TriggerInfo info = InfoOf(spec, config.key, "etcd-" + config.key);
  info.source = base::Join(config.endpoints, ",");
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<EtcdTrigger>(std::move(info), std::move(config), *context);
}

}  // namespace tidewright::scaler::trigger
