// HTTP messages as plain values, and URLs. Nothing here knows which library carries them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace tidewright::http {

// Header fields in order; names compare without case. A name may occur more than once. Thread-compatible.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}

  void Add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  void Set(std::string_view name, std::string value);  // Replaces every field of that name.
  // The first field's value, or "".
  std::string Get(std::string_view name) const;
  std::vector<std::string> GetAll(std::string_view name) const;
  bool Has(std::string_view name) const;

  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }
  size_t size() const { return fields_.size(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

// Query parameters in order, decoded. A name may occur more than once.
using QueryParams = std::vector<std::pair<std::string, std::string>>;

// The first value of `name`, or "".
std::string QueryValue(const QueryParams& params, std::string_view name);
bool HasQuery(const QueryParams& params, std::string_view name);
// Decodes "a=b&c=d" (also application/x-www-form-urlencoded bodies: '+' is a space). Bad escapes are errors.
base::Result<QueryParams> ParseQuery(std::string_view text);

std::string PercentEncode(std::string_view text);  // Everything but unreserved characters (RFC 3986).
base::Result<std::string> PercentDecode(std::string_view text);

// scheme://host[:port][/path][?query]; user info is kept apart so that it never reaches a log by accident.
struct Url {
  std::string scheme;     // Lower case: http, https.
  std::string user_info;  // "user:password" as written, or "".
  std::string host;       // Without brackets for IPv6.
  uint16_t port = 0;      // The scheme's default if not written.
  std::string path;       // "/" if not written; still encoded.
  std::string query;      // Without '?'; still encoded.

  static base::Result<Url> Parse(std::string_view text);
  std::string Authority() const;  // host:port, with brackets where needed; port left out if it is the default.
  std::string ToString() const;   // Without user info.
};

// The reason phrase of a status code ("Not Found").
std::string_view ReasonPhrase(int status);

}  // namespace tidewright::http
