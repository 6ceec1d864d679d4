#include "scaler/source_pool.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tidewright::scaler {

namespace {

// Equal for equal settings only: each text behind its length.
std::string KeyOf(const http::ClientTls& tls) {
  std::string key = tls.insecure_skip_verify ? "insecure " : "";
  for (const std::string* text : {&tls.ca_pem, &tls.certificate_pem, &tls.private_key_pem, &tls.server_name}) {
    key += std::to_string(text->size()) + ":" + *text;
  }
  return key;
}

}  // namespace

base::Result<std::shared_ptr<http::GrpcClient>> SourcePool::Grpc(SourcePool* pool, const http::ClientTls& tls) {
  if (pool == nullptr) return http::NewGrpcClient(tls);
  base::MutexLock lock(pool->mu_);
  std::weak_ptr<http::GrpcClient>& kept = pool->grpc_[KeyOf(tls)];
  if (auto client = kept.lock()) return client;
  TW_ASSIGN_OR_RETURN(std::shared_ptr<http::GrpcClient> client, http::NewGrpcClient(tls));
  kept = client;
  std::erase_if(pool->grpc_, [](const auto& entry) { return entry.second.expired(); });
  return client;
}

std::shared_ptr<SharedRead> SourcePool::ReadOf(const Question& question, const base::Clock& clock) {
  base::MutexLock lock(mu_);
  if (reads_.size() + healths_.size() >= tidy_at_) {
    std::erase_if(reads_, [](const auto& entry) { return entry.second.expired(); });
    std::erase_if(healths_, [](const auto& entry) { return entry.second.use_count() == 1 && entry.second->Idle(); });
    tidy_at_ = std::max<size_t>(64, 2 * (reads_.size() + healths_.size()));
  }
  std::weak_ptr<SharedRead>& kept = reads_[question.question_id];
  std::shared_ptr<SharedRead> read = kept.lock();
  if (read != nullptr) return read;
  kept = read = std::make_shared<SharedRead>(HealthOf(question, clock), clock, CountersOf(question.type));
  return read;
}

std::shared_ptr<SourceHealth> SourcePool::HealthOf(const Question& question, const base::Clock& clock) {
  std::shared_ptr<SourceHealth>& health = healths_[question.source_id];
  if (health != nullptr) return health;
  std::function<void(bool)> show;
  if (metrics_ != nullptr) {
    show = [metrics = metrics_, type = question.type, source = question.source](bool left_alone) {
      metrics
          ->GetGauge("tidewright_source_left_alone",
                     "Whether a source of triggers fails and is therefore asked less often.",
                     {{"type", type}, {"source", source}})
          .Set(left_alone ? 1 : 0);
    };
  }
  health = std::make_shared<SourceHealth>(question.type + " " + question.source, clock, std::move(show));
  return health;
}

ReadCounters SourcePool::CountersOf(const std::string& type) const {
  if (metrics_ == nullptr) return {};
  auto counter = [&](const char* result) {
    return &metrics_->GetCounter("tidewright_trigger_reads_total",
                                 "Readings of triggers that ask a source outside of this program.",
                                 {{"type", type}, {"result", result}});
  };
  return {counter("made"), counter("shared"), counter("not_asked")};
}

}  // namespace tidewright::scaler
