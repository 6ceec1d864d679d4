// The mysql trigger: the number that a query to MySQL or MariaDB gives.
#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "scaler/trigger/libmariadb.h"
#include "scaler/trigger/types.h"

namespace tidewright::scaler::trigger {

namespace {

struct MysqlConfig {
  std::string query;
  MysqlAddress address;
  bool by_connection_string = false;
  MysqlAddress connection;  // Of connectionString.
  int64_t target_milli = 0;
  int64_t activation_milli = 0;
};

base::Status ParseTls(const std::string& value, MysqlAddress* address) {
  constexpr std::pair<const char*, MysqlTls> kModes[] = {
      {"false", MysqlTls::kOff}, {"true", MysqlTls::kVerified}, {"skip-verify", MysqlTls::kUnverified}};
  for (const auto& [name, mode] : kModes) {
    if (value != name) continue;
    address->tls = mode;
    return base::Status::Ok();
  }
  return base::InvalidArgumentError(base::Quoted(value) + " is not a mode of TLS; use false, true or skip-verify");
}

// "tls=true&parseTime=true". What tells Go's driver how to hand out values does not matter here; what is unknown would
// be a variable of the session, which changes what the query sees.
base::Status ParseParameters(const std::string& text, MysqlAddress* address) {
  constexpr const char* kWithoutEffect[] = {
      "allowNativePasswords", "charset",   "checkConnLiveness", "clientFoundRows", "collation", "loc",
      "maxAllowedPacket",     "parseTime", "interpolateParams", "readTimeout",     "timeout",   "writeTimeout"};
  for (const std::string& parameter : base::Split(text, '&')) {
    const std::string name = parameter.substr(0, parameter.find('='));
    if (name == "tls") {
      TW_RETURN_IF_ERROR(ParseTls(parameter.substr(std::min(parameter.size(), name.size() + 1)), address));
      continue;
    }
    bool known = name.empty();
    for (const char* other : kWithoutEffect) known = known || name == other;
    if (!known) return base::InvalidArgumentError("has the parameter " + base::Quoted(name) + "; remove it");
  }
  return base::Status::Ok();
}

// As Go's driver reads it: [user[:password]@][tcp[(host[:port])]]/database[?parameters]. Only the last "/" and the last
// "@" before it divide, so that a password may have both. Errors must not show the text.
base::Status ParseConnectionString(const std::string& value, MysqlConfig& config) {
  constexpr char kForm[] = "use user:password@tcp(host:3306)/database";
  config.by_connection_string = true;
  const size_t slash = value.rfind('/');
  if (slash == std::string::npos) return base::InvalidArgumentError(std::string("has no \"/\"; ") + kForm);
  const size_t question = value.find('?', slash);
  MysqlAddress& address = config.connection;
  address.database = value.substr(slash + 1, question == std::string::npos ? question : question - slash - 1);
  if (question != std::string::npos) TW_RETURN_IF_ERROR(ParseParameters(value.substr(question + 1), &address));
  std::string server = value.substr(0, slash);
  if (const size_t at = server.rfind('@'); at != std::string::npos) {
    const std::string login = server.substr(0, at);
    address.username = login.substr(0, login.find(':'));
    address.password = login.substr(std::min(login.size(), address.username.size() + 1));
    server.erase(0, at + 1);
  }
  HostPort where{"127.0.0.1", 3306};
  if (!server.empty() && server != "tcp") {
    const bool tcp = server.starts_with("tcp(") && server.ends_with(')');
    if (!tcp) return base::InvalidArgumentError(std::string("has no address of the form tcp(host:port); ") + kForm);
    TW_RETURN_IF_ERROR(ParseHostPort(server.substr(4, server.size() - 5), 3306, &where));
  }
  address.host = where.host;
  address.port = where.port;
  return base::Status::Ok();
}

constexpr Field<MysqlConfig> kFields[] = {
    {"query", Need::kRequired, From::kMetadata,
     [](const std::string& value, MysqlConfig& config) { return Keep(value, &config.query); },
     "The first column of its first row is the value."},
    {"queryValue", Need::kTarget, From::kDecision,
     [](const std::string& value, MysqlConfig& config) { return ParsePositiveMilli(value, &config.target_milli); },
     "The value per replica."},
    {"activationQueryValue", Need::kOptional, From::kDecision,
     [](const std::string& value, MysqlConfig& config) { return ParseMilli(value, &config.activation_milli); },
     "Active above this value. Default 0."},
    {"connectionString", Need::kOptional, From::kSecret, &ParseConnectionString,
     "Everything about the server instead of the fields below: `user:password@tcp(host:3306)/database`, with "
     "`?tls=true` where the connection is encrypted."},
    {"host", Need::kOptional, From::kAny,
     [](const std::string& value, MysqlConfig& config) { return Keep(value, &config.address.host); },
     "The server. This or connectionString is required."},
    {"port", Need::kOptional, From::kAny,
     [](const std::string& value, MysqlConfig& config) {
       int64_t port = 0;
       base::Status status = ParseWhole(value, 1, 65535, &port);
       config.address.port = static_cast<uint16_t>(port);
       return status;
     },
     "Default 3306."},
    {"dbName", Need::kOptional, From::kAny,
     [](const std::string& value, MysqlConfig& config) { return Keep(value, &config.address.database); },
     "The database."},
    {"username", Need::kOptional, From::kAny,
     [](const std::string& value, MysqlConfig& config) { return Keep(value, &config.address.username); },
     "The user to log in as."},
    {"password", Need::kOptional, From::kSecret,
     [](const std::string& value, MysqlConfig& config) { return Keep(value, &config.address.password); },
     "Its password."},
    {"tls", Need::kOptional, From::kAny,
     [](const std::string& value, MysqlConfig& config) { return ParseTls(value, &config.address); },
     "`true`: encrypted, with a certificate of the host by an authority that the system trusts; `skip-verify`: "
     "encrypted; `false`: neither. Default `false`."},
};

}  // namespace

std::unique_ptr<Trigger> MakeMysql(const TriggerSpec& spec, MetadataReader& reader, const TriggerContext* context) {
  MysqlConfig config = ReadMetadata(kFields, reader);
  MysqlAddress address = config.by_connection_string ? config.connection : config.address;
  bool later = context == nullptr && (!spec.authentication.empty() || spec.metadata.count("hostFromEnv") > 0 ||
                                      spec.metadata.count("connectionStringFromEnv") > 0);
  if (address.host.empty() && !config.by_connection_string && !later) {
    reader.Error("host", "is missing; give host, username and dbName, or connectionStringFromEnv");
  }
  if (context == nullptr) return nullptr;
  address.host = context->Resolve(address.host);
  TriggerInfo info = InfoOf(spec, config.query.substr(0, 60), "mysql-" + address.database);
  info.source = address.host + ":" + std::to_string(address.port);
  info.target_milli = config.target_milli;
  info.activation_milli = config.activation_milli;
  return NewSqlTrigger(std::move(info), config.query, [address = std::move(address)](int64_t timeout_ms) {
    return MariadbConnection::Open(address, timeout_ms);
  });
}

}  // namespace tidewright::scaler::trigger
