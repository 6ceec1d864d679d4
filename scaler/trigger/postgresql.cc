// The postgresql trigger: the number that a query gives.
#include <map>
#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "scaler/trigger/libpq.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct PostgresConfig {
  std::string query;
  std::map<std::string, std::string> parameters = {{"application_name", "tidewright"}};
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
};

base::Status ParseSslMode(const std::string& value, PostgresConfig& config) {
  config.parameters["sslmode"] = value;
  for (const char* known : {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}) {
    if (value == known) return base::Status::Ok();
  }
  return base::InvalidArgumentError(base::Quoted(value) +
                                    " is not a mode; use disable, prefer, require, verify-ca or verify-full");
}

constexpr Field<PostgresConfig> kFields[] = {
    {"query", Need::kRequired, From::kMetadata,
     [](const std::string& value, PostgresConfig& config) { return Keep(value, &config.query); },
     "The first column of its first row is the value."},
    {"targetQueryValue", Need::kTarget, From::kDecision,
     [](const std::string& value, PostgresConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "The value per replica."},
    {"activationTargetQueryValue", Need::kOptional, From::kDecision,
     [](const std::string& value, PostgresConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"connection", Need::kOptional, From::kSecret,
     [](const std::string& value, PostgresConfig& config) { return Keep(value, &config.parameters["dbname"]); },
     "A whole connection string instead of the fields below, for instance `host=db user=shop password=... "
     "dbname=shop`."},
    {"host", Need::kOptional, From::kAny,
     [](const std::string& value, PostgresConfig& config) { return Keep(value, &config.parameters["host"]); },
     "The server. This or connection is required."},
    {"port", Need::kOptional, From::kAny,
     [](const std::string& value, PostgresConfig& config) {
       int64_t port = 0;
       config.parameters["port"] = value;
       return ParseWhole(value, 1, 65535, &port);
     },
     "Default 5432."},
    {"userName", Need::kOptional, From::kAny,
     [](const std::string& value, PostgresConfig& config) { return Keep(value, &config.parameters["user"]); },
     "The role to log in as."},
    {"password", Need::kOptional, From::kSecret,
     [](const std::string& value, PostgresConfig& config) { return Keep(value, &config.parameters["password"]); },
     "Its password."},
    {"dbName", Need::kOptional, From::kAny,
     [](const std::string& value, PostgresConfig& config) {
       // libpq would take these for a connection string.
       if (value.find('=') != std::string::npos || value.find("://") != std::string::npos) {
         return base::InvalidArgumentError("is not the name of a database; use connection for a connection string");
       }
       return Keep(value, &config.parameters["dbname"]);
     },
     "The database."},
    {"sslmode", Need::kOptional, From::kAny, &ParseSslMode, "As libpq has it. Default prefer."},
};

}  // namespace

std::unique_ptr<Trigger> MakePostgresql(const TriggerSpec& spec, MetadataReader& reader,
                                        const TriggerContext* context) {
  PostgresConfig config = ReadMetadata(kFields, reader);
  bool later = context == nullptr && (!spec.authentication.empty() || spec.metadata.count("hostFromEnv") > 0 ||
                                      spec.metadata.count("connectionFromEnv") > 0);
  bool host = config.parameters.count("host") > 0;
  bool connection = config.parameters.count("dbname") > 0 && !host;
  if (!host && !connection && !later)
    reader.Error("host", "is missing; give host, userName and dbName, or connectionFromEnv");
  if (context == nullptr) return nullptr;
  if (host) config.parameters["host"] = context->Resolve(config.parameters["host"]);
  if (host) config.parameters.emplace("port", "5432");
  TriggerInfo info = InfoOf(spec, config.query.substr(0, 60), "postgresql");
  info.source = host ? config.parameters["host"] + ":" + config.parameters["port"] : "connection string";
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return NewSqlTrigger(std::move(info), config.query, [parameters = std::move(config.parameters)](int64_t timeout_ms) {
    return PostgresConnection::Open(parameters, timeout_ms);
  });
}

}  // namespace tidewright::scaler::trigger
