// Replies that several parts of the web port give: JSON in Prometheus' envelope, and plain text as Go's net/http has
// it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "http/message.h"

namespace tidewright::web {

// {"status":"success","data":...}
http::Response JsonSuccess(const base::Json& data);
// The same around a document that is text already, with warnings and infos where there are any.
http::Response RawSuccess(std::string data, const std::vector<std::string>& warnings = {},
                          const std::vector<std::string>& infos = {});
http::Response PlainText(int status, std::string text);
// A line that says what is wrong, not to be taken for anything but text.
http::Response PlainError(int status, const std::string& text);
// 405; `allowed` are methods separated by commas, OPTIONS left out.
http::Response MethodNotAllowed(std::string_view allowed);
http::Response NoContent();

// Appended to the warnings of a reply that `limit` made shorter.
inline constexpr char kTruncated[] = "results truncated due to limit";

}  // namespace tidewright::web
