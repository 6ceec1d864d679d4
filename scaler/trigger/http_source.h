// What the triggers that ask by HTTP have in common: how to log in, and one exchange. Private to scaler/trigger.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/status.h"
#include "http/client.h"
#include "scaler/trigger.h"
#include "scaler/trigger/metadata.h"

namespace tidewright::scaler::trigger {

// Credentials and connection, as KEDA's common block of parameters has them.
struct HttpAccess {
  std::vector<std::string> modes;  // authModes; empty: whatever is given counts.
  std::string username, password;
  std::string bearer_token;
  std::string api_key, api_key_method = "header", api_key_name;
  std::string custom_header, custom_value;
  http::ClientTls tls;
  int64_t timeout_ms = 3000;
};

// Reads the fields of HttpAccess.
HttpAccess ReadHttpAccess(MetadataReader& reader);
// Only those of the connection: for sources with ways of their own to log in.
HttpAccess ReadHttpConnection(MetadataReader& reader);

// Reads a text as the address of an HTTP server: without a slash at the end, and user info moved into `access` (null
// where an address must not have any).
base::Status ParseHttpAddress(const std::string& value, std::string* address, HttpAccess* access);
// Addresses separated by commas; one without a scheme is `http`.
base::Status ParseHttpAddresses(const std::string& value, std::vector<std::string>* addresses);

// The server of a valid address, without path and query: "http://graphite:8080"; "" of "".
std::string ServerOf(const std::string& address);

// The number at a path such as "queues.0.messages" of a JSON document: members and positions by dots, `#` for the
// number of elements, a backslash before a dot that is part of a name. Texts with a number or a quantity ("1.5Gi")
// count, too.
base::Result<double> NumberAt(const base::Json& document, const std::string& path);
// Whether nothing stands at such a path, or null.
bool IsNullAt(const base::Json& document, const std::string& path);

// A value as a reading: rounded, never a positive number to zero (it would be inactive), below zero to zero. No number,
// or one without bound, is an error.
base::Result<int64_t> ToMilli(double value);

// One exchange at a time. A client certificate or own trust makes a client of its own; all others share one, and so its
// connections. Borrows the context.
class HttpSource {
 public:
  HttpSource(HttpAccess access, const TriggerContext& context) : access_(std::move(access)), context_(context) {}

  // The body of a reply with status 2xx. Errors name the status and never the body, which may repeat what was sent;
  // kInvalidArgument is 400.
  base::Result<std::string> Get(const std::string& url, const http::Headers& headers = {});
  base::Result<std::string> Post(const std::string& url, const std::string& body, const http::Headers& headers = {});
  base::Result<base::Json> GetJson(const std::string& url);
  base::Result<base::Json> PostJson(const std::string& url, const base::Json& body, const http::Headers& headers = {});
  // A reply of any status.
  base::Result<http::Response> Send(http::ClientRequest request);

 private:
  base::Status LogIn(http::ClientRequest* request) const;
  bool Uses(const char* mode, bool given) const;
  std::string Resolved(const std::string& url) const;
  base::Result<http::Client*> ClientFor();

  const HttpAccess access_;
  const TriggerContext& context_;
  std::unique_ptr<http::Client> own_;
};

}  // namespace tidewright::scaler::trigger
