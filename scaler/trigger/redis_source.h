// What the redis triggers have in common: where the servers are, which of them has the key, and a connection that is
// kept. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "scaler/trigger.h"
#include "scaler/trigger/metadata.h"
#include "scaler/trigger/redis_connection.h"

namespace tidewright::scaler::trigger {

enum class RedisTopology {
  kServer,
  kCluster,   // Keys are spread over masters; any of them says which one has a key (redis.io/docs, cluster-spec).
  kSentinel,  // One master, which the sentinels know by a name (redis.io/docs, sentinel-clients).
};

// The settings of a connection as written.
struct RedisEndpoint {
  std::string address, addresses;  // One, and a list of them.
  std::string host, hosts;
  std::string port, ports;
  RedisTopology topology = RedisTopology::kServer;
  std::vector<HostPort> servers;  // The server, members of the cluster, or the sentinels: complete once it is read.
  std::string master;             // Its name for the sentinels.
  std::string sentinel_username, sentinel_password;
  bool tls = false;
  http::ClientTls certificates;  // They count with tls.
  RedisAddress login;            // Everything but host and port.
};

// Reads the fields of RedisEndpoint. With `context` it is complete afterwards, or an error is reported.
RedisEndpoint ReadRedisEndpoint(const TriggerSpec& spec, RedisTopology topology, MetadataReader& reader,
                                const TriggerContext* context);

// The servers as a reason shows them: "10.0.0.7:6379,10.0.0.8:6379", with the master's name where sentinels know it.
std::string Servers(const RedisEndpoint& endpoint);

// Not thread-safe.
class RedisSource {
 public:
  using Read = std::function<base::Result<Reading>(RedisConnection&)>;

  // Borrows the context, for the names of servers that other servers name.
  RedisSource(RedisEndpoint endpoint, const TriggerContext& context)
      : endpoint_(std::move(endpoint)), context_(context) {}

  // Runs `read` on the server that has the key, on a connection that is opened on first use and after a failure. A kept
  // connection may have died unnoticed since the last reading, or its server lost the key or the role of a master: then
  // one fresh attempt tells. Errors name the server and never a password.
  base::Result<Reading> Run(const Read& read);

 private:
  base::Result<Reading> Afresh(const Read& read);
  base::Result<Reading> By(const HostPort& server, const Read& read);
  base::Result<Reading> FollowRedirects(const Read& read);
  base::Status Connect(const HostPort& server);
  base::Result<HostPort> AskSentinel(const HostPort& sentinel);
  base::Status ExpectMaster();
  RedisAddress Login(const HostPort& server) const;

  const RedisEndpoint endpoint_;
  const TriggerContext& context_;
  std::unique_ptr<RedisConnection> connection_;
  HostPort at_;  // Its other end.
};

}  // namespace tidewright::scaler::trigger
