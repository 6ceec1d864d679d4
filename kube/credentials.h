// Where the credentials of requests come from, and when they are fetched anew. Private to kube.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "http/client.h"
#include "kube/config.h"

namespace tidewright::kube {

// What a request is signed with, as of now.
struct Credentials {
  std::string authorization;  // Value of the header, or "".
  http::ClientTls tls;
};

// Thread-safe. Blocks while an exec plugin runs.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;

  // The best credentials there are. While files are being replaced or cannot be read the previous ones still are.
  virtual base::Result<Credentials> Get() = 0;

  // The server refused `used` with 401. Returns whether Get() now has others that are worth one more attempt.
  virtual bool Refused(const Credentials& used) = 0;
};

// Tokens and exec plugins expire by `calendar`; what is read from files is read again each minute of `clock`. Borrows
// both, and `metrics`, which may be null.
std::unique_ptr<CredentialSource> NewCredentialSource(const ClientConfig& config, base::Clock& clock,
                                                      base::Clock& calendar, base::MetricRegistry* metrics);

}  // namespace tidewright::kube
