// The elasticsearch trigger: a number in what a search, or a search template, answers.
#include <algorithm>
#include <utility>
#include <vector>

#include "base/document.h"
#include "base/json.h"
#include "base/strings.h"
#include "http/message.h"
#include "scaler/trigger/http_source.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct ElasticsearchConfig {
  std::vector<std::string> addresses;
  std::string cloud_address;
  std::string username, password;
  std::string api_key;
  std::string indexes;  // Escaped, for the path.
  std::string template_name;
  std::string query;
  base::Json parameters = base::Json::object();
  std::string location;
  bool ignore_null = false;
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
};

// "name:" and, in base64, "host[:port]$deployment[:port]$...", by which Elastic Cloud names a deployment.
base::Status ParseCloudId(const std::string& value, ElasticsearchConfig& config) {
  const base::Status malformed = base::InvalidArgumentError("is not a Cloud ID; copy it from the deployment's page");
  std::string text;
  if (!base::Base64Decode(value.substr(value.rfind(':') + 1), &text)) return malformed;
  const std::vector<std::string> parts = base::Split(text, '$');
  if (parts.size() < 2 || parts[0].empty() || parts[1].empty()) return malformed;
  const size_t colon = std::min(parts[1].find(':'), parts[1].size());
  const std::string port = parts[1].substr(colon);
  const std::string host = port.empty() ? parts[0] : parts[0].substr(0, parts[0].find(':'));
  auto parsed =
      ParseHttpAddress("https://" + parts[1].substr(0, colon) + "." + host + port, &config.cloud_address, nullptr);
  return parsed.ok() ? parsed : malformed;
}

// Names that are escaped already, as those with dates are in KEDA's manifests, stay as they are.
base::Status ParseIndexes(const std::string& value, ElasticsearchConfig& config) {
  for (const std::string& part : base::Split(value, ';')) {
    auto name = http::PercentDecode(base::TrimSpace(part));
    if (!name.ok()) return base::InvalidArgumentError(base::Quoted(value) + " has a bad percent escape");
    if (name->empty()) return base::InvalidArgumentError(base::Quoted(value) + " has an index without a name");
    config.indexes += (config.indexes.empty() ? "" : ",") + http::PercentEncode(*name);
  }
  return base::Status::Ok();
}

base::Status ParseQuery(const std::string& value, ElasticsearchConfig& config) {
  auto body = base::ParseJson(value);
  if (!body.ok() || !body->is_object()) {
    return base::InvalidArgumentError("is not the body of a search; use for example {\"query\": {\"match_all\": {}}}");
  }
  config.query = value;
  return base::Status::Ok();
}

base::Status ParseParameters(const std::string& value, ElasticsearchConfig& config) {
  for (const std::string& part : base::Split(value, ';')) {
    if (base::TrimSpace(part).empty()) continue;
    const size_t colon = part.find(':');
    const std::string name(base::TrimSpace(std::string_view(part).substr(0, colon)));
    if (colon == std::string::npos || name.empty()) {
      return base::InvalidArgumentError(base::Quoted(part) + " is not a parameter; use name:value;name:value");
    }
    config.parameters[name] = std::string(base::TrimSpace(std::string_view(part).substr(colon + 1)));
  }
  return base::Status::Ok();
}

constexpr Field<ElasticsearchConfig> kFields[] = {
    {"addresses", Need::kOptional, From::kAny,
     [](const std::string& value, ElasticsearchConfig& config) { return ParseHttpAddresses(value, &config.addresses); },
     "Addresses, separated by commas; the first that answers counts, and is asked first from then on. Or cloudID."},
    {"username", Need::kOptional, From::kAny,
     [](const std::string& value, ElasticsearchConfig& config) { return Keep(value, &config.username); },
     "A user of Elasticsearch."},
    {"password", Need::kOptional, From::kSecret,
     [](const std::string& value, ElasticsearchConfig& config) { return Keep(value, &config.password); },
     "The user's password."},
    {"cloudID", Need::kOptional, From::kAny, &ParseCloudId, "The Cloud ID of a deployment in Elastic Cloud."},
    {"apiKey", Need::kOptional, From::kSecret,
     [](const std::string& value, ElasticsearchConfig& config) { return Keep(value, &config.api_key); },
     "An API key, as Elasticsearch encodes it, in place of a user."},
    {"index", Need::kRequired, From::kAny, &ParseIndexes, "What is searched; several are separated by semicolons."},
    {"searchTemplateName", Need::kOptional, From::kAny,
     [](const std::string& value, ElasticsearchConfig& config) { return Keep(value, &config.template_name); },
     "The search template to run. Or query."},
    {"parameters", Need::kOptional, From::kMetadata, &ParseParameters,
     "For the template: `name:value`, separated by semicolons."},
    {"query", Need::kOptional, From::kAny, &ParseQuery, "The body of a search, in JSON. Or searchTemplateName."},
    {"valueLocation", Need::kRequired, From::kAny,
     [](const std::string& value, ElasticsearchConfig& config) { return Keep(value, &config.location); },
     "Where the number stands: `hits.total.value`, `aggregations.waiting.value`; `#` is the number of elements."},
    {"targetValue", Need::kTarget, From::kDecision,
     [](const std::string& value, ElasticsearchConfig& config) {
       return ParsePositiveMilli(value, &config.target_milli);
     },
     "The value per replica."},
    {"activationTargetValue", Need::kOptional, From::kDecision,
     [](const std::string& value, ElasticsearchConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"ignoreNullValues", Need::kOptional, From::kMetadata,
     [](const std::string& value, ElasticsearchConfig& config) { return ParseFlag(value, &config.ignore_null); },
     "null, or nothing, at valueLocation counts as 0. Default false: it is an error."},
};

class ElasticsearchTrigger : public Trigger {
 public:
  ElasticsearchTrigger(TriggerInfo info, ElasticsearchConfig config, HttpAccess access, const TriggerContext& context)
      : Trigger(std::move(info)), config_(std::move(config)), source_(std::move(access), context) {}

  base::Result<Reading> Read() override {
    std::vector<std::string> failures;
    for (size_t i = 0; i < config_.addresses.size(); ++i) {
      const size_t position = (first_ + i) % config_.addresses.size();
      const std::string& address = config_.addresses[position];
      auto reply = Search(address);
      if (!reply.ok()) {
        failures.push_back("elasticsearch at " + address + ": " + reply.status().message());
        continue;
      }
      first_ = position;
      auto reading = ReadingOf(*reply);
      if (reading.ok()) return reading;
      return reading.status().Annotate("elasticsearch at " + address);
    }
    return base::UnavailableError(base::Join(failures, "; "));
  }

 private:
  base::Result<base::Json> Search(const std::string& address) {
    http::Headers headers;
    if (!config_.api_key.empty()) headers.Set("Authorization", "ApiKey " + config_.api_key);
    std::string url = address + "/" + config_.indexes + "/_search";
    std::string body = config_.query;  // As it was written: the order of members may matter, as in `sort`.
    if (body.empty()) {
      url += "/template";
      base::Json request = {{"id", config_.template_name}};
      if (!config_.parameters.empty()) request["params"] = config_.parameters;
      body = base::DumpJson(request);
    }
    TW_ASSIGN_OR_RETURN(std::string text, source_.Post(url, body, headers));
    auto reply = base::ParseJson(text);
    if (!reply.ok()) return base::UnavailableError("the reply is not JSON");
    return reply;
  }

  base::Result<Reading> ReadingOf(const base::Json& reply) const {
    const base::Json* timed_out = base::Find(reply, {"timed_out"});
    if (timed_out != nullptr && *timed_out == true) {
      return base::UnavailableError("the search was cut short by its timeout");
    }
    const base::Json* failed = base::Find(reply, {"_shards", "failed"});
    if (failed != nullptr && failed->is_number() && *failed > 0) {
      return base::UnavailableError("the search failed on " + failed->dump() + " shards");
    }
    if (config_.ignore_null && IsNullAt(reply, config_.location)) {
      return Reading{0, "nothing at " + config_.location + ", which counts as 0"};
    }
    TW_ASSIGN_OR_RETURN(double value, NumberAt(reply, config_.location));
    TW_ASSIGN_OR_RETURN(int64_t milli, ToMilli(value));
    return Reading{milli, config_.location + " = " + FormatMilli(milli)};
  }

  const ElasticsearchConfig config_;
  HttpSource source_;
  size_t first_ = 0;  // Which address answered last.
};

// What no single field can tell. What comes from elsewhere is not known while a manifest is checked.
void CheckTogether(const ElasticsearchConfig& config, const TriggerSpec& spec, bool checking, MetadataReader& reader) {
  auto absent = [&](const char* key, bool empty) {
    const bool later = checking && (!spec.authentication.empty() || spec.metadata.count(key + std::string("FromEnv")));
    return empty && !later && spec.metadata.count(key) == 0;
  };
  if (absent("addresses", config.addresses.empty()) && absent("cloudID", config.cloud_address.empty())) {
    reader.Error("addresses", "is missing; give addresses or cloudID");
  }
  if (!config.addresses.empty() && !config.cloud_address.empty()) {
    reader.Error("cloudID", "stands beside addresses; remove one of them");
  }
  if (!config.username.empty() && !config.api_key.empty()) {
    reader.Error("apiKey", "stands beside username; remove one of them");
  }
  if (absent("searchTemplateName", config.template_name.empty()) && absent("query", config.query.empty())) {
    reader.Error("searchTemplateName", "is missing; give searchTemplateName or query");
  }
  if (config.query.empty()) return;
  if (!config.template_name.empty()) reader.Error("query", "stands beside searchTemplateName; remove one of them");
  if (!config.parameters.empty()) reader.Error("parameters", "is for searchTemplateName, not for query; remove it");
}

}  // namespace

std::unique_ptr<Trigger> MakeElasticsearch(const TriggerSpec& spec, MetadataReader& reader,
                                           const TriggerContext* context) {
  ElasticsearchConfig config = ReadMetadata(kFields, reader);
  HttpAccess access = ReadHttpConnection(reader);
  CheckTogether(config, spec, context == nullptr, reader);
  if (context == nullptr) return nullptr;
  if (!config.cloud_address.empty()) config.addresses = {config.cloud_address};
  access.username = config.username;
  access.password = config.password;
  // All addresses together have the time of one reading.
  access.timeout_ms = std::max<int64_t>(1, access.timeout_ms / std::max<int64_t>(1, config.addresses.size()));
  const std::string subject = config.template_name.empty() ? "query" : config.template_name;
  TriggerInfo info = InfoOf(spec, subject, "elasticsearch-" + subject);
  info.source = base::Join(config.addresses, ",");
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return std::make_unique<ElasticsearchTrigger>(std::move(info), std::move(config), std::move(access), *context);
}

}  // namespace tidewright::scaler::trigger
