// Cross-origin requests: which pages of other sites may read the API in a browser.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "http/message.h"
#include "http/server.h"

namespace re2 {
class RE2;
}

namespace tidewright::web {

// Immutable; thread-safe. Source: the Fetch standard, and what Prometheus answers.
class Cors {
 public:
  // `origins` is an expression that has to match the whole origin.
  explicit Cors(const std::string& origins);
  ~Cors();
  base::Status status() const;  // kInvalidArgument: not an expression.

  // Tells the browser that the page may read the reply, if its origin matches.
  void AddHeaders(const http::ServerRequest& request, http::Response* response) const;

 private:
  const std::unique_ptr<const re2::RE2> origins_;
};

}  // namespace tidewright::web
