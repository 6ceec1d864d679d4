// Parameters of API requests. Errors are kInvalidArgument and name the parameter.
// Formats: Prometheus "HTTP API" documentation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "http/message.h"
#include "http/server.h"
#include "promql/engine.h"

namespace tidewright::web {

// Those of a form in the body, then those of the URL.
base::Result<http::QueryParams> AllParams(const http::ServerRequest& request);

// Seconds since the epoch as a decimal, or RFC 3339; to milliseconds.
base::Result<int64_t> ParseApiTime(const std::string& name, const std::string& text);
// A number of seconds or a duration such as 5m; to milliseconds, > 0.
base::Result<int64_t> ParseApiDuration(const std::string& name, const std::string& text);

// The time in parameter `name`, or `otherwise` when it is not given.
base::Result<int64_t> TimeParam(const http::QueryParams& params, const std::string& name, int64_t otherwise);
// A flag as Go spells them: 1, t, true, 0, f, false in some cases of letters. False when it is not given.
base::Result<bool> FlagParam(const http::QueryParams& params, const std::string& name);
// `limit`: a number of elements; 0, which is no limit, when it is not given.
base::Result<size_t> LimitParam(const http::QueryParams& params);

// What the parameters match[] select. Each has to have a matcher that does not match the empty string, unless
// `any_series`: else a request would read every series by mistake.
enum class SelectorRule { kNarrow, kAnySeries };
base::Result<std::vector<promql::Matchers>> SelectorParams(const http::QueryParams& params, SelectorRule rule);

}  // namespace tidewright::web
