#include "web/cors.h"

#include <re2/re2.h>

namespace tidewright::web {

Cors::Cors(const std::string& origins) : origins_(std::make_unique<const re2::RE2>(origins, re2::RE2::Quiet)) {}

Cors::~Cors() = default;

base::Status Cors::status() const {
  return origins_->ok() ? base::Status::Ok() : base::InvalidArgumentError(origins_->error() + "; use RE2 syntax");
}

void Cors::AddHeaders(const http::ServerRequest& request, http::Response* response) const {
  response->headers.Add("Vary", "Origin");
  const std::string origin = request.headers.Get("Origin");
  if (origin.empty() || !origins_->ok() || !re2::RE2::FullMatch(origin, *origins_)) return;
  response->headers.Set("Access-Control-Allow-Origin", origin);
  response->headers.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin");
  response->headers.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
  response->headers.Set("Access-Control-Expose-Headers", "Date");
}

}  // namespace tidewright::web
