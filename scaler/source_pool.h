// SourcePool: what triggers share, so that a source that many objects read has one set of connections.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/status.h"
#include "http/client.h"
#include "http/grpc.h"

namespace tidewright::scaler {

// Thread-safe. What nobody uses any more is closed.
class SourcePool {
 public:
  // The gRPC client of all who use the same trust and client certificate. `pool` may be null: a client of one's own.
  static base::Result<std::shared_ptr<http::GrpcClient>> Grpc(SourcePool* pool, const http::ClientTls& tls);

 private:
  base::Mutex mu_;
  std::map<std::string, std::weak_ptr<http::GrpcClient>> grpc_ GUARDED_BY(mu_);  // By all texts of their TLS settings.
};

}  // namespace tidewright::scaler
