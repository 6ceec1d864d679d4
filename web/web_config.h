// The file of --web.config.file: TLS, basic authentication and headers of the web port, in the format that Prometheus'
// exporter-toolkit defines.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "base/status.h"
#include "http/message.h"
#include "http/server.h"

namespace tidewright::web {

struct WebConfig {
  std::optional<http::ServerTls> tls;          // What the section `tls_server_config` names, read.
  std::map<std::string, std::string> users;    // Password hashes by name: bcrypt. Empty: nobody is asked.
  std::map<std::string, std::string> headers;  // Added to every reply.
};

// Parses the text. Paths in it are relative to `directory`. What the reader does not know, or cannot do (cipher suites,
// curves, names that client certificates have to carry), is an error: a port that is less closed than its file says
// would be worse than one that does not open.
base::Result<WebConfig> ParseWebConfig(const std::string& text, const std::string& origin,
                                       const std::string& directory);

// Whether `password` is what a bcrypt hash ($2a$, $2b$, $2y$) was made of. Takes as long as the hash asks for.
bool CheckPassword(const std::string& password, const std::string& hash);

// Guards the port with the file's content. The file is read again with each request, so that a changed password or
// header holds at once; certificates are read again with it. A file that cannot be read or has errors closes the port:
// each request is answered with 500 until it is mended. Thread-safe.
class WebGuard {
 public:
  // "" guards nothing.
  explicit WebGuard(std::string path) : path_(std::move(path)) {}

  // Reads the file for the first time: its errors are those of the start.
  base::Status Load();
  bool has_tls() const;
  // What is in force. `changed` says whether certificates are others than at the call before.
  base::Result<http::ServerTls> Tls(bool* changed);

  // The reply that refuses the request, or nothing: it may be answered.
  std::optional<http::Response> Refuse(const http::ServerRequest& request);
  // Adds the file's headers.
  void AddHeaders(http::Response* response) const;

 private:
  base::Status ReadAgain() REQUIRES_LOCK(mu_);
  base::Status Close(const base::Status& why) REQUIRES_LOCK(mu_);
  bool Authenticated(const std::string& user, const std::string& password, const std::string& hash);

  const std::string path_;
  mutable base::Mutex mu_;
  std::string text_ GUARDED_BY(mu_);
  WebConfig config_ GUARDED_BY(mu_);
  base::Status broken_ GUARDED_BY(mu_);
  std::string shown_certificates_ GUARDED_BY(mu_);

  base::Mutex check_mu_;                                    // One hash is computed at a time.
  std::map<uint64_t, bool> checked_ GUARDED_BY(check_mu_);  // By a secret hash of user, password and hash.
};

}  // namespace tidewright::web
