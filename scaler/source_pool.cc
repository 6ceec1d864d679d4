#include "scaler/source_pool.h"

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

}  // namespace tidewright::scaler
