#include "scaler/trigger/redis_source.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/document.h"
#include "base/strings.h"
#include "scaler/trigger/client_library.h"

namespace tidewright::scaler::trigger {

namespace {

constexpr int kMaxRedirects = 5;
constexpr size_t kMaxServers = 32;
// For all servers of a list together, so that many of them that do not answer do not hold up a decision.
constexpr int64_t kPatienceMs = 6000;

// Two settings say it, and either is enough.
template <base::Status (*kParse)(const std::string& value, bool* tls)>
base::Status ParseTls(const std::string& value, RedisEndpoint& endpoint) {
  bool tls = false;
  base::Status status = kParse(value, &tls);
  endpoint.tls = endpoint.tls || tls;
  return status;
}

constexpr Field<RedisEndpoint> kServerFields[] = {
    {"address", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.address); },
     "`host:port`. This, or host and port, is required."},
    {"host", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.host); }, "The host alone."},
    {"port", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) {
       int64_t port = 0;
       endpoint.port = value;
       return ParseWhole(value, 1, 65535, &port);
     },
     "Its port. Default 6379."},
};

constexpr Field<RedisEndpoint> kListFields[] = {
    {"addresses", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.addresses); },
     "`host:port`, separated by commas: some of the cluster's servers, or the sentinels. They are asked in this order "
     "until one answers. This, or hosts and ports, is required."},
    {"hosts", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.hosts); },
     "The hosts alone, separated by commas."},
    {"ports", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.ports); },
     "Their ports, one for each host."},
};

constexpr Field<RedisEndpoint> kSentinelFields[] = {
    {"sentinelMaster", Need::kRequired, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.master); },
     "The name that the sentinels know the master by."},
    {"sentinelUsername", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.sentinel_username); },
     "The user for the sentinels."},
    {"sentinelPassword", Need::kOptional, From::kSecret,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.sentinel_password); },
     "The password for the sentinels; that of the master is not sent to them."},
};

constexpr Field<RedisEndpoint> kDatabaseFields[] = {
    {"databaseIndex", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisEndpoint& endpoint) {
       return ParseWhole(value, 0, INT32_MAX, &endpoint.login.database);
     },
     "The database. Default 0."},
};

constexpr Field<RedisEndpoint> kLoginFields[] = {
    {"username", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.login.username); },
     "The user of an access control list."},
    {"password", Need::kOptional, From::kSecret,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.login.password); },
     "The password."},
    {"enableTLS", Need::kOptional, From::kMetadata, &ParseTls<ParseFlag>,
     "TLS, to every server. Default false. This or tls."},
    {"tls", Need::kOptional, From::kAny, &ParseTls<ParseTlsMode>, "`enable` or `disable`. Default `disable`."},
    {"unsafeSsl", Need::kOptional, From::kMetadata,
     [](const std::string& value, RedisEndpoint& endpoint) {
       return ParseFlag(value, &endpoint.certificates.insecure_skip_verify);
     },
     "With TLS: trust any certificate. Default false."},
    {"ca", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) { return Keep(value, &endpoint.certificates.ca_pem); },
     "With TLS: certificates (PEM) to trust instead of the system's."},
    {"cert", Need::kOptional, From::kAny,
     [](const std::string& value, RedisEndpoint& endpoint) {
       return Keep(value, &endpoint.certificates.certificate_pem);
     },
     "With TLS: client certificate (PEM)."},
    {"key", Need::kOptional, From::kSecret,
     [](const std::string& value, RedisEndpoint& endpoint) {
       return Keep(value, &endpoint.certificates.private_key_pem);
     },
     "Its private key (PEM)."},
    {"keyPassword", Need::kOptional, From::kAny, nullptr},
};

// What is missing where the servers are not said. What comes from the environment is only known on creation.
base::Status Missing(const TriggerSpec& spec, bool list, bool resolved) {
  bool later = !spec.authentication.empty();
  for (const char* key : {"addressFromEnv", "hostFromEnv", "addressesFromEnv", "hostsFromEnv"}) {
    later = later || spec.metadata.count(key) > 0;
  }
  if (later && !resolved) return base::Status::Ok();
  return base::InvalidArgumentError(list ? "is missing; give addresses (host:port, separated by commas), or hosts and "
                                           "ports, or addressesFromEnv"
                                         : "is missing; give address (host:port), or host and port, or addressFromEnv");
}

// Either addresses, or hosts and as many ports.
base::Status ParseServers(const std::string& addresses, const std::string& hosts, const std::string& ports,
                          std::vector<HostPort>* servers) {
  std::vector<std::string> texts = base::Split(addresses.empty() ? hosts : addresses, ',');
  if (addresses.empty()) {
    const std::vector<std::string> numbers = base::Split(ports, ',');
    if (numbers.size() != texts.size()) {
      return base::InvalidArgumentError("has " + std::to_string(texts.size()) + " hosts for " +
                                        std::to_string(numbers.size()) + " ports; give one port for each host");
    }
    for (size_t i = 0; i < texts.size(); ++i) texts[i] += ":" + std::string(base::TrimSpace(numbers[i]));
  }
  if (texts.size() > kMaxServers) {
    return base::InvalidArgumentError("has more than " + std::to_string(kMaxServers) + " servers; name some of them");
  }
  for (const std::string& text : texts) {
    TW_RETURN_IF_ERROR(ParseHostPort(std::string(base::TrimSpace(text)), 0, &servers->emplace_back()));
  }
  return base::Status::Ok();
}

base::Status Complete(const TriggerSpec& spec, bool resolved, RedisEndpoint* endpoint) {
  if (endpoint->topology == RedisTopology::kServer) {
    if (endpoint->address.empty() && endpoint->host.empty()) return Missing(spec, false, resolved);
    const std::string port = endpoint->port.empty() ? "6379" : endpoint->port;
    return endpoint->address.empty() ? ParseHostPort(endpoint->host + ":" + port, 0, &endpoint->servers.emplace_back())
                                     : ParseHostPort(endpoint->address, 0, &endpoint->servers.emplace_back());
  }
  if (endpoint->addresses.empty() && endpoint->hosts.empty()) return Missing(spec, true, resolved);
  bool ports_come_later = !resolved && endpoint->addresses.empty() && endpoint->ports.empty();
  if (ports_come_later && (!spec.authentication.empty() || spec.metadata.count("portsFromEnv") > 0)) {
    return base::Status::Ok();
  }
  return ParseServers(endpoint->addresses, endpoint->hosts, endpoint->ports, &endpoint->servers);
}

// Where a server that lacks the key says that it is: "MOVED 3999 10.0.0.7:6381", or "ASK ..." while it is being moved,
// for this one question. A host that is not said is the one that was asked.
struct Redirect {
  HostPort to;
  bool ask = false;
};
std::optional<Redirect> RedirectOf(const base::Status& status, const HostPort& from) {
  const std::vector<std::string> words = base::Split(status.message(), ' ');
  if (status.code() != base::Code::kFailedPrecondition || words.size() != 3) return std::nullopt;
  if (words[0] != "MOVED" && words[0] != "ASK") return std::nullopt;
  Redirect redirect;
  redirect.ask = words[0] == "ASK";
  std::string address = words[2];
  if (address.starts_with(':')) address = from.host + address;
  if (address.starts_with("?:")) address = from.host + address.substr(1);
  const size_t colon = address.rfind(':');
  // Servers write addresses of IPv6 without brackets.
  if (colon != std::string::npos && address.find(':') != colon && !address.starts_with('[')) {
    address = "[" + address.substr(0, colon) + "]" + address.substr(colon);
  }
  if (!ParseHostPort(address, 0, &redirect.to).ok()) return std::nullopt;
  return redirect;
}

// The server was reached and understood the question: another one would say the same.
bool IsAnswer(const base::Status& status) {
  if (status.code() != base::Code::kFailedPrecondition) return false;
  for (const char* elsewhere : {"CLUSTERDOWN", "LOADING", "MASTERDOWN", "TRYAGAIN", "sentinel"}) {
    if (status.message().starts_with(elsewhere)) return false;
  }
  return true;
}

}  // namespace

RedisEndpoint ReadRedisEndpoint(const TriggerSpec& spec, RedisTopology topology, MetadataReader& reader,
                                const TriggerContext* context) {
  RedisEndpoint endpoint;
  endpoint.topology = topology;
  const bool list = topology != RedisTopology::kServer;
  if (list) {
    ReadInto(kListFields, reader, endpoint);
  } else {
    ReadInto(kServerFields, reader, endpoint);
  }
  if (topology == RedisTopology::kSentinel) ReadInto(kSentinelFields, reader, endpoint);
  if (topology != RedisTopology::kCluster) ReadInto(kDatabaseFields, reader, endpoint);
  ReadInto(kLoginFields, reader, endpoint);
  if (endpoint.tls) endpoint.login.tls = endpoint.certificates;
  if (reader.described() != nullptr) return endpoint;
  base::Status complete = Complete(spec, context != nullptr, &endpoint);
  const std::string written = endpoint.address + endpoint.addresses + endpoint.host + endpoint.hosts;
  if (!complete.ok()) reader.Refuse(list ? "addresses" : "address", written, complete.message());
  return endpoint;
}

std::string Servers(const RedisEndpoint& endpoint) {
  std::vector<std::string> servers;
  for (const HostPort& server : endpoint.servers) servers.push_back(TextOf(server));
  return base::Join(servers, ",") + (endpoint.master.empty() ? "" : " " + endpoint.master);
}

base::Result<Reading> RedisSource::Run(const Read& read) {
  if (connection_ != nullptr && connection_->Idle()) {
    base::Result<Reading> reading = FollowRedirects(read);
    if (reading.ok()) return reading;
  }
  connection_ = nullptr;
  return Afresh(read);
}

base::Result<Reading> RedisSource::Afresh(const Read& read) {
  const int64_t deadline_ms = SocketNowMs() + kPatienceMs;
  base::Status worst;
  for (const HostPort& server : endpoint_.servers) {
    at_ = server;
    base::Result<Reading> reading = By(server, read);
    if (reading.ok()) return reading;
    connection_ = nullptr;
    base::Status status = reading.status().Annotate("redis at " + TextOf(at_));
    if (IsAnswer(reading.status())) return status;
    // A server that refuses says more than one that is away.
    const bool refused = status.code() == base::Code::kFailedPrecondition;
    if (worst.ok() || (refused && worst.code() != base::Code::kFailedPrecondition)) worst = status;
    if (SocketNowMs() > deadline_ms) break;
  }
  return worst;
}

base::Result<Reading> RedisSource::By(const HostPort& server, const Read& read) {
  if (endpoint_.topology != RedisTopology::kSentinel) {
    TW_RETURN_IF_ERROR(Connect(server));
    return FollowRedirects(read);
  }
  auto master = AskSentinel(server);
  if (!master.ok()) return master.status().Annotate("sentinel");
  TW_RETURN_IF_ERROR(Connect(*master));
  TW_RETURN_IF_ERROR(ExpectMaster());
  return read(*connection_);
}

base::Result<Reading> RedisSource::FollowRedirects(const Read& read) {
  for (int redirects = 0;; ++redirects) {
    base::Result<Reading> reading = read(*connection_);
    const bool borrowed = connection_->asking();  // The key is about to have another server.
    if (reading.ok() && borrowed) connection_ = nullptr;
    if (reading.ok() || endpoint_.topology != RedisTopology::kCluster) return reading;
    std::optional<Redirect> redirect = RedirectOf(reading.status(), at_);
    if (!redirect) return reading;
    if (redirects == kMaxRedirects) {
      return base::UnavailableError("the cluster redirects in a circle: " + reading.status().message());
    }
    TW_RETURN_IF_ERROR(Connect(redirect->to));
    connection_->set_asking(redirect->ask);
  }
}

base::Status RedisSource::Connect(const HostPort& server) {
  connection_ = nullptr;
  at_ = server;
  TW_ASSIGN_OR_RETURN(connection_, RedisConnection::Open(Login(server)));
  return base::Status::Ok();
}

base::Result<HostPort> RedisSource::AskSentinel(const HostPort& sentinel) {
  RedisAddress login = Login(sentinel);
  login.username = endpoint_.sentinel_username;
  login.password = endpoint_.sentinel_password;
  login.database = 0;
  TW_ASSIGN_OR_RETURN(auto connection, RedisConnection::Open(login));
  TW_ASSIGN_OR_RETURN(RedisReply reply, connection->Command({"SENTINEL", "get-master-addr-by-name", endpoint_.master}));
  HostPort master;
  int64_t port = 0;
  if (reply.items.size() == 2 && base::ParseInt64(reply.items[1], &port) && port > 0 && port <= 65535) {
    return HostPort{reply.items[0], static_cast<uint16_t>(port)};
  }
  return base::FailedPreconditionError("knows no master " + base::Quoted(endpoint_.master));
}

// During a failover a sentinel may still name the old master. A user whose access control list lacks the question is
// taken to the server all the same.
base::Status RedisSource::ExpectMaster() {
  auto role = connection_->Command({"ROLE"});
  if (!role.ok()) return role.status().code() == base::Code::kFailedPrecondition ? base::Status::Ok() : role.status();
  if (!role->items.empty() && role->items[0] == "master") return base::Status::Ok();
  return base::UnavailableError("is not the master, as the sentinel said");
}

RedisAddress RedisSource::Login(const HostPort& server) const {
  RedisAddress login = endpoint_.login;
  login.host = context_.Resolve(server.host);
  login.port = server.port;
  const auto servers = static_cast<int64_t>(std::max<size_t>(1, endpoint_.servers.size()));
  login.timeout_ms = std::max<int64_t>(1500, login.timeout_ms / servers);
  return login;
}

}  // namespace tidewright::scaler::trigger
