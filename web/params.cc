#include "web/params.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/document.h"
#include "base/duration.h"
#include "base/strings.h"

namespace tidewright::web {

namespace {

constexpr double kMaxSeconds = 9e15;  // In ms still within 64 bits.

base::Status Invalid(const std::string& name, const std::string& why) {
  return base::InvalidArgumentError("invalid parameter \"" + name + "\": " + why);
}

bool ParseSeconds(const std::string& text, double* seconds) {
  return base::ParseDouble(text, seconds) && std::isfinite(*seconds) && std::fabs(*seconds) < kMaxSeconds;
}

}  // namespace

base::Result<http::QueryParams> AllParams(const http::ServerRequest& request) {
  const bool form = request.headers.Get("Content-Type").find("application/x-www-form-urlencoded") == 0;
  if ((request.method != "POST" && request.method != "PUT") || !form) return request.query;
  TW_ASSIGN_OR_RETURN(http::QueryParams params, http::ParseQuery(request.body));
  params.insert(params.end(), request.query.begin(), request.query.end());
  return params;
}

base::Result<int64_t> ParseApiTime(const std::string& name, const std::string& text) {
  double seconds = 0;
  if (ParseSeconds(text, &seconds)) return static_cast<int64_t>(std::llround(seconds * 1000));
  auto time = base::ParseTime(text);
  if (time.ok()) return time;
  return Invalid(
      name, "cannot parse " + base::Quoted(text) + " to a valid timestamp; use seconds since the epoch or RFC 3339");
}

base::Result<int64_t> ParseApiDuration(const std::string& name, const std::string& text) {
  double seconds = 0;
  int64_t ms = 0;
  if (ParseSeconds(text, &seconds)) {
    ms = static_cast<int64_t>(seconds * 1000);
  } else if (auto duration = base::ParseDuration(text); duration.ok()) {
    ms = duration->ms;
  } else {
    return Invalid(name, "cannot parse " + base::Quoted(text) + " to a valid duration; use seconds or for example 30s");
  }
  if (ms <= 0) return Invalid(name, base::Quoted(text) + " is not at least 1 ms");
  return ms;
}

base::Result<int64_t> TimeParam(const http::QueryParams& params, const std::string& name, int64_t otherwise) {
  const std::string text = http::QueryValue(params, name);
  return text.empty() ? base::Result<int64_t>(otherwise) : ParseApiTime(name, text);
}

base::Result<bool> FlagParam(const http::QueryParams& params, const std::string& name) {
  const std::string text = http::QueryValue(params, name);
  for (const char* yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const char* no : {"", "0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return Invalid(name, base::Quoted(text) + " is neither true nor false");
}

base::Result<size_t> LimitParam(const http::QueryParams& params) {
  const std::string text = http::QueryValue(params, "limit");
  int64_t limit = 0;
  if (text.empty() || (base::ParseInt64(text, &limit) && limit >= 0)) return static_cast<size_t>(limit);
  return Invalid("limit", base::Quoted(text) + " is not a number of elements; 0 is no limit");
}

base::Result<std::vector<promql::Matchers>> SelectorParams(const http::QueryParams& params, SelectorRule rule) {
  std::vector<promql::Matchers> selectors;
  for (const auto& [name, value] : params) {
    if (name != "match[]") continue;
    auto matchers = promql::ParseSelector(value);
    if (!matchers.ok()) return matchers.status().Annotate("invalid parameter \"match[]\"");
    const bool narrow = std::any_of(matchers->begin(), matchers->end(),
                                    [](const tsdb::Matcher& matcher) { return !matcher.MatchesEmpty(); });
    if (rule == SelectorRule::kNarrow && !narrow) {
      return Invalid("match[]", "match[] must contain at least one non-empty matcher");
    }
    selectors.push_back(*std::move(matchers));
  }
  return selectors;
}

}  // namespace tidewright::web
