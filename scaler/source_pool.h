// SourcePool: what triggers share, so that a source that many objects read has one set of connections, is asked once
// what many want to know, and is left alone while it fails.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/status.h"
#include "http/client.h"
#include "http/grpc.h"
#include "scaler/shared_read.h"
#include "scaler/source_health.h"

namespace tidewright::scaler {

// Thread-safe. What nobody uses any more is closed. Borrows the registry, which may be null and receives
//   tidewright_trigger_reads_total {type, result}; result is made, shared (what another trigger asked did) or not_asked
//   (the source is left alone)
//   tidewright_source_left_alone {type, source}; 1 while a source that fails is asked less often, of each that ever did
class SourcePool {
 public:
  explicit SourcePool(base::MetricRegistry* metrics = nullptr) : metrics_(metrics) {}

  // The gRPC client of all who use the same trust and client certificate. `pool` may be null: a client of one's own.
  static base::Result<std::shared_ptr<http::GrpcClient>> Grpc(SourcePool* pool, const http::ClientTls& tls);

  // What a trigger asks of whom. Identities are equal for what is the same, and hold no secret (base::SecretHash).
  struct Question {
    std::string type;          // Of the trigger.
    std::string source;        // As shown: "10.0.0.7:6379".
    uint64_t source_id = 0;    // The source, and who logs in there.
    uint64_t question_id = 0;  // That, and what is asked.
  };
  // Borrows the clock: that of control, the same for all.
  std::shared_ptr<SharedRead> ReadOf(const Question& question, const base::Clock& clock);

 private:
  std::shared_ptr<SourceHealth> HealthOf(const Question& question, const base::Clock& clock) REQUIRES_LOCK(mu_);
  ReadCounters CountersOf(const std::string& type) const;

  base::MetricRegistry* const metrics_;
  base::Mutex mu_;
  std::map<std::string, std::weak_ptr<http::GrpcClient>> grpc_ GUARDED_BY(mu_);  // By all texts of their TLS settings.
  std::map<uint64_t, std::weak_ptr<SharedRead>> reads_ GUARDED_BY(mu_);          // By question_id.
  // By source_id. Held here: a trigger that fails is built anew, and its source's failures count on.
  std::map<uint64_t, std::shared_ptr<SourceHealth>> healths_ GUARDED_BY(mu_);
  size_t tidy_at_ GUARDED_BY(mu_) = 64;  // How many entries make it look for those that nobody needs.
};

}  // namespace tidewright::scaler
